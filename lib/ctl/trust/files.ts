/** Files of keys and certificates: made for their owner only, never overwritten unasked. */
import { errorMessage, NexusError } from "../../base/mod.ts";

/** More than any key, request or chain has; a longer file is a mistake. */
const FILE_BYTES_MAX = 1 << 20;

/**
 * Text of a file; "-" is no file here. FILE_NOT_FOUND, FILE_DENIED or FILE_UNREADABLE with one
 * line on why.
 */
export function readTextFile(file: string, what: string): string {
  return new TextDecoder().decode(readFile(file, what));
}

/** Bytes of a file; errors as above. */
export function readFile(file: string, what: string): Uint8Array {
  try {
    const { size, isDirectory } = Deno.statSync(file);
    if (isDirectory) throw new Error("it is a directory");
    if (size > FILE_BYTES_MAX) throw new Error(`it has ${size} bytes`);
    return Deno.readFileSync(file);
  } catch (thrown) {
    throw fileError(`cannot read ${what} ${file}`, thrown);
  }
}

/** Writes a new file with mode 0600; FILE_EXISTS when there is one, unless it may be replaced. */
export function writePrivateFile(file: string, text: string, replace = false): void {
  try {
    Deno.writeTextFileSync(file, text, { mode: 0o600, createNew: !replace });
    if (replace && Deno.build.os !== "windows") Deno.chmodSync(file, 0o600);
  } catch (thrown) {
    throw fileError(`cannot write ${file}`, thrown);
  }
}

/** Makes a directory of its owner's, which may exist as long as it is empty. */
export function makePrivateDirectory(dir: string): void {
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (![...Deno.readDirSync(dir)].length) {
      if (Deno.build.os !== "windows") Deno.chmodSync(dir, 0o700);
      return;
    }
  } catch (thrown) {
    throw fileError(`cannot make directory ${dir}`, thrown);
  }
  throw new NexusError("FILE_EXISTS", `cannot use directory ${dir}: it is not empty`, {
    hint: "choose a new one",
  });
}

function fileError(what: string, cause: unknown): NexusError {
  if (cause instanceof Deno.errors.NotFound) {
    return new NexusError("FILE_NOT_FOUND", `${what}: no such file or directory`, { cause });
  }
  if (cause instanceof Deno.errors.AlreadyExists) {
    return new NexusError("FILE_EXISTS", `${what}: it exists already`, {
      cause,
      hint: "choose another name, or remove it first",
    });
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return new NexusError("FILE_DENIED", `${what}: permission denied`, { cause });
  }
  return new NexusError("FILE_UNREADABLE", `${what}: ${errorMessage(cause).split("\n")[0]}`, {
    cause,
  });
}
