/** Which node the CLI talks to, and with which token. */
import { NexusError } from "../../base/mod.ts";
import { adminTokenFile, readAdminToken } from "../../io/admin_token.ts";
import { defaultStateDir } from "../../io/state.ts";
import { usageError } from "../exit.ts";
import { AdminClient } from "./client.ts";

/** Port of the admin API when the endpoint names none; a test compares it with the node's. */
export const ADMIN_PORT_DEFAULT = 6478;

/** What flags say; undefined when not given. */
export interface NodeFlags {
  readonly endpoint?: string;
  readonly tokenFile?: string;
  readonly stateDir?: string;
}

type Env = (name: string) => string | undefined;

/** A client for the node that flags, environment and defaults name, in this order. */
export function findNode(flags: NodeFlags, env: Env, warn: (text: string) => void): AdminClient {
  const endpoint = readEndpoint(
    flags.endpoint ?? env("NEXUS_ENDPOINT") ?? `127.0.0.1:${ADMIN_PORT_DEFAULT}`,
  );
  const local = isLoopback(endpoint.hostname);
  const token = findToken(flags, env, local);
  if (local) bypassProxy(endpoint.hostname);
  else if (endpoint.protocol === "http:" && typeof token === "string") {
    warn(`the token goes to ${endpoint.host} unencrypted; prefer https:// or a tunnel`);
  }
  return new AdminClient({ endpoint, token });
}

/** "host:port", "host" or a URL. */
export function readEndpoint(text: string): URL {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const url = URL.parse(hasScheme ? text : `http://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === "") {
    throw usageError(
      `cannot read endpoint: "${text}" is no address, expected host:port or http://host:port`,
    );
  }
  if (!hasScheme && url.port === "" && !/:80$/.test(text)) url.port = String(ADMIN_PORT_DEFAULT);
  return url;
}

/** Whether a URL's host is this machine by name or address. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

function findToken(flags: NodeFlags, env: Env, local: boolean): string | NexusError {
  if (flags.tokenFile !== undefined) return readTokenFile(flags.tokenFile);
  const fromEnv = env("NEXUS_TOKEN");
  if (fromEnv !== undefined) return fromEnv;
  if (!local && flags.stateDir === undefined) {
    // This machine's token opens this machine's node; it is nothing to send around.
    return new NexusError("TOKEN_MISSING", "cannot use node: it is remote and asks for a token", {
      hint: "copy its admin.token and name the copy with --token-file, or set NEXUS_TOKEN",
    });
  }
  try {
    return readAdminToken(stateDirOf(flags, env));
  } catch (thrown) {
    if (!(thrown instanceof NexusError)) throw thrown;
    // Perhaps no node runs: that is told first.
    if (thrown.code !== "TOKEN_UNREADABLE") return thrown;
    return new NexusError(thrown.code, thrown.message, {
      cause: thrown.cause,
      hint: "name the state directory of the node with --state-dir, or its token with --token-file",
    });
  }
}

/** The state directory that a node of this user would have. */
export function stateDirOf(flags: NodeFlags, env: Env): string {
  return flags.stateDir ?? env("NEXUS_NODE_STATE_DIR") ??
    defaultStateDir({ XDG_STATE_HOME: env("XDG_STATE_HOME"), HOME: env("HOME") }, Deno.uid());
}

function readTokenFile(file: string): string {
  try {
    const token = Deno.readTextFileSync(file).trim();
    if (/^[\x21-\x7e]{8,512}$/.test(token)) return token;
  } catch (thrown) {
    const missing = thrown instanceof Deno.errors.NotFound;
    throw new NexusError(
      "TOKEN_UNREADABLE",
      `cannot read token file ${file}: ${missing ? "no such file" : "it cannot be opened"}`,
      { cause: thrown, hint: `a node keeps its own in ${adminTokenFile("<state_dir>")}` },
    );
  }
  throw new NexusError("TOKEN_UNREADABLE", `cannot use token file ${file}: it holds no token`);
}

/** fetch() obeys http_proxy for every host; no proxy knows the way to our own loopback. */
function bypassProxy(hostname: string): void {
  const host = hostname.replace(/^\[|\]$/g, "");
  for (const name of ["NO_PROXY", "no_proxy"]) {
    const before = Deno.env.get(name);
    if (before?.split(",").includes(host)) continue;
    Deno.env.set(name, before ? `${before},${host}` : host);
  }
}
