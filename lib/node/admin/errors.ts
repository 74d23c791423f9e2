/** Errors of the admin API: codes to HTTP statuses, one shape of body. */
import { clip, errorMessage, NexusError } from "../../base/mod.ts";
import type { ErrorBody } from "../../admin_api/mod.ts";

/**
 * HTTP status of an error code. What the caller can mend is 4xx; a code that is not listed is 500,
 * since nobody thought of it as the caller's.
 */
export function statusOf(code: string): number {
  return STATUS[code] ?? (code.startsWith("INVALID_") ? 400 : 500);
}

const STATUS: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  SAD_SYNTAX: 400,
  MALFORMED: 400,
  UNKNOWN_CAPABILITY: 400,
  MALFORMED_JSON: 400,
  TENSOR_MISMATCH: 400,
  HOST_MISSING: 400,
  UNAUTHORIZED: 401,
  HOST_REFUSED: 403,
  NOT_FOUND: 404,
  MODEL_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  NOT_A_CA: 409,
  NOT_JOINED: 409,
  STATE_CONFLICT: 409,
  TOO_LARGE: 413,
  CONTEXT_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  RATE_LIMITED: 429,
  STATE_FULL: 429,
  // Nobody reads it (nginx's number for a client that went away).
  CANCELLED: 499,
  NOT_IMPLEMENTED: 501,
  TRUST_FAILURE: 502,
  MODEL_OVERLOADED: 503,
  NOT_READY: 503,
  DRAINING: 503,
  TIMEOUT: 504,
});

/** What is told of a failure. Only NexusErrors speak for themselves; a fault of ours does not. */
export function describeError(thrown: unknown): ErrorBody["error"] {
  if (!(thrown instanceof NexusError)) {
    return { code: "INTERNAL", message: "cannot answer: the node failed, see its log" };
  }
  const { code, message, hint } = thrown;
  return { code, message: clip(message, 1000), ...(hint === undefined ? {} : { hint }) };
}

/** The complete answer to a failure. */
export function errorResponse(thrown: unknown, headers: Record<string, string> = {}): Response {
  const error = describeError(thrown);
  const body: ErrorBody = { error };
  // What was not read of a body would stand before the client's next request.
  const close: Record<string, string> = error.code === "TOO_LARGE" ? { connection: "close" } : {};
  return Response.json(body, { status: statusOf(error.code), headers: { ...headers, ...close } });
}

/** A request whose body does not fit its schema: the first mistake, with its path. */
export function invalidRequest(issues: readonly { path: PropertyKey[]; message: string }[]) {
  const [first] = issues;
  const path = first?.path.map(String).join(".") ?? "";
  const what = first?.message ?? "it does not fit";
  return new NexusError(
    "INVALID_REQUEST",
    `cannot read request: ${path === "" ? "" : clip(path) + ": "}${clip(what, 300)}`,
  );
}

/** A body that is not JSON. */
export function malformedJson(thrown: unknown): NexusError {
  return new NexusError(
    "MALFORMED_JSON",
    `cannot read request: body is not JSON (${clip(errorMessage(thrown), 120)})`,
  );
}
