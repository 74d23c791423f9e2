/** ERROR: a request (or, with request id 0, the use of the stream) failed. */
import { ApiError } from "../errors.ts";
import { bytesField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** Why a request failed and whether trying again can help. */
export interface ErrorMessage {
  /** An `ApiError` value; others are possible and mean CUSTOM. */
  code: number;
  /** For people; one line. */
  text: string;
  retryable: boolean;
  retryAfterMs?: number;
  /** OpenAI's `type`, `code`, `param` of an upstream error, one JSON object. */
  detailJson?: string;
}

/** Offsets in the fixed part. */
export const ErrorLayout = {
  text: 4,
  retryAfterMs: 8,
  detailJson: 12,
  code: 16,
  retryable: 18,
  size: 19,
} as const;

export const ErrorShape: TableShape = {
  name: "Error",
  fields: [bytesField(ErrorLayout.text), bytesField(ErrorLayout.detailJson)],
};

export function writeError(w: Writer, t: number, error: ErrorMessage): void {
  w.u16(t + ErrorLayout.code, error.code);
  w.bool(t + ErrorLayout.retryable, error.retryable);
  w.u32Optional(t + ErrorLayout.retryAfterMs, error.retryAfterMs);
  w.string(t + ErrorLayout.text, error.text);
  w.stringOptional(t + ErrorLayout.detailJson, error.detailJson);
}

export function readError(r: Reader, t: number): ErrorMessage {
  return {
    code: r.u16(t, ErrorLayout.code, ApiError.INTERNAL_ERROR),
    text: r.string(t, ErrorLayout.text),
    retryable: r.bool(t, ErrorLayout.retryable, false),
    retryAfterMs: r.u32Optional(t, ErrorLayout.retryAfterMs),
    detailJson: r.stringOptional(t, ErrorLayout.detailJson),
  };
}
