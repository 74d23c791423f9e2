/** Bodies of HTTP requests, read with a limit that holds while the bytes arrive. */

/** How the API that reads tells what is wrong with a body. */
export interface BodyErrors {
  tooLarge(bytesMax: number): Error;
  /** Cut off, or chunks that are none: the sender's doing, never ours. */
  brokenOff(cause: unknown): Error;
}

/**
 * A body somewhat too large is read to its end (and thrown away) before it is refused: most
 * clients write everything before they read, and would see a broken connection instead of why.
 */
const DISCARD_FACTOR = 4;

/** All bytes of the body; a request without one gives none. */
export async function readBytes(
  request: Request,
  bytesMax: number,
  errors: BodyErrors,
): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  const waits = request.headers.get("expect")?.toLowerCase() === "100-continue";
  if (announced > bytesMax && (waits || announced > bytesMax * DISCARD_FACTOR)) {
    throw errors.tooLarge(bytesMax);
  }
  const chunks: Uint8Array[] = [];
  let total = 0;
  try {
    for await (const chunk of request.body ?? []) {
      total += chunk.length;
      if (total > bytesMax * DISCARD_FACTOR) break;
      if (total > bytesMax) chunks.length = 0;
      else chunks.push(chunk);
    }
  } catch (thrown) {
    throw errors.brokenOff(thrown);
  }
  if (total > bytesMax) throw errors.tooLarge(bytesMax);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * Whether the body says to be JSON. Asked for strictly: a web page cannot send this type to
 * another origin without permission.
 */
export function saysJson(request: Request): boolean {
  const type = request.headers.get("content-type") ?? "";
  return /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type);
}
