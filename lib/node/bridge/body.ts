/** Request bodies: JSON only, read with a limit that holds while the bytes arrive. */
import { clip, errorMessage } from "../../base/mod.ts";
import { HttpError, invalid } from "./errors.ts";

/** A prompt with several large images; OpenAI's own limit is of this order. */
export const BODY_BYTES_MAX = 32 * 1024 * 1024;

/**
 * A body somewhat too large is read to its end (and thrown away) before 413 is sent: most
 * clients write everything before they read, and would see a broken connection instead.
 */
const DISCARD_FACTOR = 4;

/** The JSON object in the body. 415, 413, and 400 where it is not one. */
export async function readJsonObject(
  request: Request,
  bytesMax: number,
): Promise<Record<string, unknown>> {
  const type = request.headers.get("content-type") ?? "";
  // Asked for strictly: a web page cannot send this type to another origin without permission.
  if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type)) {
    throw new HttpError(
      415,
      "unsupported_media_type",
      `cannot read request: content-type is "${clip(type)}", expected application/json`,
    );
  }
  const bytes = await readBytes(request, bytesMax);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(null, `cannot read request: ${clip(errorMessage(error), 120)}`, "invalid_json");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(null, "cannot read request: body is not a JSON object", "invalid_json");
  }
  return value as Record<string, unknown>;
}

async function readBytes(request: Request, bytesMax: number): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  const waits = request.headers.get("expect")?.toLowerCase() === "100-continue";
  if (announced > bytesMax && (waits || announced > bytesMax * DISCARD_FACTOR)) {
    throw tooLarge(bytesMax);
  }
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body ?? []) {
    total += chunk.length;
    if (total > bytesMax * DISCARD_FACTOR) throw tooLarge(bytesMax);
    if (total > bytesMax) chunks.length = 0;
    else chunks.push(chunk);
  }
  if (total > bytesMax) throw tooLarge(bytesMax);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function tooLarge(bytesMax: number): HttpError {
  return new HttpError(
    413,
    "request_too_large",
    `cannot read request: body is larger than ${bytesMax} bytes`,
  );
}
