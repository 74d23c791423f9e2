/** The token of the admin API: a file that only the node's user can read. */
import { join } from "node:path";
import { errorMessage, NexusError, type RandomFill, toBase64Url } from "../base/mod.ts";

const FILE = "admin.token";
/** As hard to guess as a key. */
const TOKEN_BYTES = 32;
const TOKEN_FORM = /^nxa_[A-Za-z0-9_-]{43}$/;

/** Path of the token file in a state directory. */
export function adminTokenFile(stateDir: string): string {
  return join(stateDir, FILE);
}

/**
 * The token of a node, made on first use (mode 0600). To be called by the process that has the
 * state open. Throws STATE_DAMAGED when the file holds something else, STATE_NOT_WRITABLE when it
 * cannot be made.
 */
export function ensureAdminToken(stateDir: string, random: RandomFill): string {
  const file = adminTokenFile(stateDir);
  if (!exists(file)) {
    const bytes = new Uint8Array(TOKEN_BYTES);
    random(bytes);
    try {
      // Whole or not at all, also when the process is killed in between.
      const fresh = file + ".new";
      if (exists(fresh)) Deno.removeSync(fresh);
      Deno.writeTextFileSync(fresh, `nxa_${toBase64Url(bytes)}\n`, {
        mode: 0o600,
        createNew: true,
      });
      Deno.renameSync(fresh, file);
    } catch (thrown) {
      throw new NexusError(
        "STATE_NOT_WRITABLE",
        `cannot write ${file}: ${errorMessage(thrown).split("\n")[0]}`,
        { cause: thrown },
      );
    }
  }
  Deno.chmodSync(file, 0o600);
  return readAdminToken(stateDir);
}

/** The token of an existing node, for the CLI. TOKEN_UNREADABLE or STATE_DAMAGED otherwise. */
export function readAdminToken(stateDir: string): string {
  const file = adminTokenFile(stateDir);
  let token: string;
  try {
    token = Deno.readTextFileSync(file).trim();
  } catch (thrown) {
    const missing = thrown instanceof Deno.errors.NotFound;
    throw new NexusError(
      "TOKEN_UNREADABLE",
      `cannot read ${file}: ${missing ? "no such file" : errorMessage(thrown).split("\n")[0]}`,
      { cause: thrown, hint: "is the node running, and is this its user and state directory?" },
    );
  }
  if (!TOKEN_FORM.test(token)) {
    throw new NexusError("STATE_DAMAGED", `cannot use ${file}: it holds no admin token`, {
      hint: "remove the file; the node makes a new one when it starts",
    });
  }
  return token;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return false;
    throw thrown;
  }
}
