/**
 * What an upstream's failure means to the mesh. A fault of the request (most 4xx) is final; a
 * fault of the upstream can be cured elsewhere and counts against the provider's health.
 */
import { clip, errorMessage } from "../../base/mod.ts";
import { isMembers } from "../bridge/accumulate.ts";
import { InferenceError } from "../inference.ts";

type InferenceErrorCode = InferenceError["code"];

/** An error page is read up to here; a message needs less. */
export const ERROR_BODY_BYTES_MAX = 64 * 1024;
/** What of an error page is searched for words. */
const ERROR_PAGE_CHARS_MAX = 4096;
/** Characters of the upstream's own words that are passed on. */
const MESSAGE_CHARS_MAX = 500;
/** Longest retry-after that is believed. */
const RETRY_AFTER_MS_MAX = 3_600_000;

/** A failure that is the upstream's own: connection, status 5xx, refused key, broken stream. */
export class UpstreamFault extends InferenceError {
  constructor(code: InferenceErrorCode, message: string, options: {
    retryable?: boolean;
    retryAfterMs?: number;
    cause?: unknown;
  } = {}) {
    super(code, message, {
      retryable: true,
      ...options,
    });
  }
}

interface ErrorWords {
  readonly message: string;
  readonly code?: string;
  readonly param?: string;
}

/** Whatever shape the error has: OpenAI's, FastAPI's, plain text, a proxy's HTML page. */
export function readErrorBody(body: unknown): ErrorWords {
  if (typeof body === "string") {
    try {
      return readErrorBody(JSON.parse(body));
    } catch {
      // An HTML page: its title or text without tags says it best.
      const text = body.slice(0, ERROR_PAGE_CHARS_MAX)
        .replace(/<(style|script)\b[\s\S]*?<\/\1>/gi, " ").replace(/<[^>]*>/g, " ");
      return { message: text.replace(/\s+/g, " ").trim() };
    }
  }
  if (!isMembers(body)) return { message: "" };
  const error = body.error ?? body.detail ?? body.message ?? body;
  if (typeof error === "string") return { message: error };
  if (!isMembers(error)) return { message: shortJson(error) };
  const code = error.code ?? error.type;
  return {
    message: typeof error.message === "string" ? error.message : shortJson(error),
    ...(typeof code === "string" || typeof code === "number" ? { code: String(code) } : {}),
    ...(typeof error.param === "string" ? { param: error.param } : {}),
  };
}

function shortJson(value: unknown): string {
  try {
    return clip(JSON.stringify(value), MESSAGE_CHARS_MAX);
  } catch {
    return "an error nested too deep to show"; // JSON.stringify recurses, JSON.parse does not
  }
}

/** Code and blame of a status; 4xx that are not listed are the request's fault. */
const STATUS: ReadonlyMap<number, readonly [InferenceErrorCode, "request" | "upstream" | "busy"]> =
  new Map([
    // The key is the operator's, so the client can do nothing; another node can.
    [401, ["INTERNAL_ERROR", "upstream"]],
    [402, ["INTERNAL_ERROR", "upstream"]],
    [403, ["INTERNAL_ERROR", "upstream"]],
    [404, ["MODEL_NOT_FOUND", "busy"]],
    [405, ["INTERNAL_ERROR", "upstream"]],
    [407, ["INTERNAL_ERROR", "upstream"]],
    [408, ["TIMEOUT", "busy"]],
    [409, ["MODEL_OVERLOADED", "busy"]],
    [413, ["CONTEXT_TOO_LARGE", "request"]],
    [425, ["MODEL_OVERLOADED", "busy"]],
    [429, ["RATE_LIMITED", "busy"]],
    [501, ["NOT_IMPLEMENTED", "request"]],
    [503, ["MODEL_OVERLOADED", "upstream"]],
    [504, ["TIMEOUT", "upstream"]],
    [529, ["MODEL_OVERLOADED", "busy"]],
  ]);

const CONTEXT_WORDS =
  /context[ _-]?(?:length|window|size)|maximum context|too many (?:input )?tokens|prompt is too long|exceeds? the available context/i;

/** The error for an answer that is not 2xx. `what` names the provider. */
export function statusError(
  what: string,
  status: number,
  body: unknown,
  headers: Headers,
  unixMs: number,
): InferenceError {
  const { message, code, param } = readErrorBody(body);
  const known = STATUS.get(status) ??
    (status >= 400 && status < 500
      ? (["INVALID_REQUEST", "request"] as const)
      : (["INTERNAL_ERROR", "upstream"] as const));
  let [name, blame] = known;
  if (
    (status === 400 || status === 422) &&
    (code === "context_length_exceeded" || CONTEXT_WORDS.test(message))
  ) name = "CONTEXT_TOO_LARGE";
  if (status === 404 && !/model/i.test(`${code} ${message}`)) {
    // Not the model but the address: a wrong base URL in the config.
    [name, blame] = ["INTERNAL_ERROR", "upstream"];
  }
  // An upstream may quote the key that it refuses; its words stay out.
  const words = status === 401 || status === 403 ? "it refused this node's key" : message;
  const text = `cannot generate: ${what} answered HTTP ${status}` +
    (words === "" ? "" : `: ${clip(words, MESSAGE_CHARS_MAX)}`);
  const after = retryAfterMs(headers, unixMs);
  const later = after > 0 ? { retryAfterMs: after } : {};
  if (blame === "upstream") return new UpstreamFault(name, text, later);
  if (blame === "busy") return new InferenceError(name, text, { retryable: true, ...later });
  return new InferenceError(name, text, { retryable: false, param });
}

/** The error for an `error` object inside a stream that began well. */
export function streamError(what: string, error: unknown): InferenceError {
  const { message, code, param } = readErrorBody({ error });
  const text = `cannot go on: ${what} reported ${clip(message || "an error", MESSAGE_CHARS_MAX)}`;
  const status = Number(isMembers(error) ? error.status ?? error.code : undefined);
  if (code === "context_length_exceeded" || CONTEXT_WORDS.test(message)) {
    return new InferenceError("CONTEXT_TOO_LARGE", text, { retryable: false, param });
  }
  if (code?.includes("rate_limit") || status === 429) {
    return new InferenceError("RATE_LIMITED", text, { retryable: true });
  }
  if (code === "invalid_request_error" || (status >= 400 && status < 500)) {
    return new InferenceError("INVALID_REQUEST", text, { retryable: false, param });
  }
  return new UpstreamFault("INTERNAL_ERROR", text);
}

/** The error for a connection that could not be made, broke, or spoke something else. */
export function connectionError(what: string, doing: string, thrown: unknown): UpstreamFault {
  // fetch says "error sending request for url (…): client error (Connect): tcp connect error: …".
  const words = errorMessage(thrown).replace(/^.*?for url \(.*?\): /, "");
  return new UpstreamFault("INTERNAL_ERROR", `cannot ${doing} ${what}: ${clip(words, 200)}`, {
    cause: thrown,
  });
}

/** Milliseconds of `retry-after-ms` or `retry-after` (seconds or a date, RFC 9110 §10.2.3). */
export function retryAfterMs(headers: Headers, unixMs: number): number {
  const ms = headers.get("retry-after-ms");
  const after = headers.get("retry-after");
  const value = ms !== null && ms.trim() !== "" && Number.isFinite(Number(ms))
    ? Number(ms)
    : after === null || after.trim() === ""
    ? 0
    : Number.isFinite(Number(after))
    ? Number(after) * 1000
    : Date.parse(after) - unixMs;
  return value > 0 ? Math.min(value, RETRY_AFTER_MS_MAX) : 0;
}
