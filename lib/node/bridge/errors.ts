/**
 * Errors in the OpenAI API's own shape: `{"error":{"message","type","param","code"}}` with the
 * status that makes an official client behave: it retries 408, 409, 429 and 5xx, and obeys
 * `retry-after-ms` and `retry-after`.
 */
import { NexusError } from "../../base/mod.ts";
import { ApiFault } from "../../l5_api/mod.ts";
import { InferenceError } from "../inference.ts";

/** The body of every answer that is an error, and of an `error` event in a stream. */
export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/** A failure with its HTTP form. `code` is OpenAI's code, not a Nexus one. */
export class HttpError extends NexusError {
  readonly status: number;
  /** OpenAI's `type`: who is at fault. */
  readonly type: string;
  readonly param: string | null;
  readonly retryAfterMs: number;
  readonly headers: Record<string, string>;

  constructor(status: number, code: string, message: string, options: {
    type?: string;
    param?: string | null;
    retryAfterMs?: number;
    headers?: Record<string, string>;
    cause?: unknown;
  } = {}) {
    super(code, message, { cause: options.cause });
    this.status = status;
    this.type = options.type ?? (status < 500 ? "invalid_request_error" : "server_error");
    this.param = options.param ?? null;
    this.retryAfterMs = options.retryAfterMs ?? 0;
    this.headers = options.headers ?? {};
  }

  /** The JSON body. */
  body(): ErrorBody {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code } };
  }

  /** The complete answer. */
  response(headers: Record<string, string> = {}): Response {
    const all: Record<string, string> = { ...headers, ...this.headers };
    if (this.retryAfterMs > 0) {
      all["retry-after"] = String(Math.ceil(this.retryAfterMs / 1000));
      all["retry-after-ms"] = String(Math.ceil(this.retryAfterMs));
    }
    return Response.json(this.body(), { status: this.status, headers: all });
  }
}

/** 400 about one member of the request. */
export function invalid(
  param: string | null,
  message: string,
  code = "invalid_value",
): HttpError {
  return new HttpError(400, code, message, { param });
}

/** What anything thrown while answering means over HTTP. */
export function toHttpError(thrown: unknown): HttpError {
  if (thrown instanceof HttpError) return thrown;
  if (!(thrown instanceof NexusError)) {
    // A defect of ours: its text could hold anything, so it goes to the operator, not the client.
    return new HttpError(500, "internal_error", "internal error of the node", { cause: thrown });
  }
  const { message } = thrown;
  const fault = thrown instanceof ApiFault ? InferenceError.from(thrown) : undefined;
  const options = {
    param: fault?.param ?? null,
    retryAfterMs: fault?.retryAfterMs ?? 0,
    cause: thrown,
  };
  switch (thrown.code) {
    case "INVALID_REQUEST":
    case "TENSOR_MISMATCH":
      return new HttpError(400, "invalid_value", message, options);
    case "SAD_SYNTAX":
      return new HttpError(400, "invalid_model_selector", message, { ...options, param: "model" });
    case "CONTEXT_TOO_LARGE":
      return new HttpError(400, "context_length_exceeded", message, {
        ...options,
        param: options.param ?? "messages",
      });
    case "MODEL_NOT_FOUND":
      return new HttpError(404, "model_not_found", message, { ...options, param: "model" });
    case "RATE_LIMITED":
      return new HttpError(429, "rate_limit_exceeded", message, { ...options, type: "requests" });
    case "CANCELLED":
      // Nobody reads this answer when the client went away; a drain of the node is seen so.
      return new HttpError(503, "cancelled", message, options);
    case "NOT_IMPLEMENTED":
      return new HttpError(501, "not_implemented", message, options);
    case "TOOL_EXECUTION_FAILED":
    case "TRUST_FAILURE":
      return new HttpError(502, thrown.code.toLowerCase(), message, options);
    case "MODEL_OVERLOADED":
      return new HttpError(503, "overloaded", message, options);
    case "TIMEOUT":
      return new HttpError(504, "timeout", message, options);
    default:
      // A retryable internal error is one of something behind this node, not of the node.
      return fault?.retryable
        ? new HttpError(502, "upstream_error", message, options)
        : new HttpError(500, "internal_error", message, options);
  }
}
