/** Errors of the application protocol: numbers on the wire, words in programs. */
import { NexusError } from "../base/mod.ts";
import type { ErrorMessage } from "./messages/error.ts";

/** Error codes of ERROR messages. A NexusError of these carries the word as its `code`. */
export const ApiError = {
  OK: 0,
  CANCELLED: 1,
  TIMEOUT: 2,
  INVALID_REQUEST: 3,
  MODEL_NOT_FOUND: 4,
  MODEL_OVERLOADED: 5,
  CONTEXT_TOO_LARGE: 6,
  TENSOR_MISMATCH: 7,
  TOOL_EXECUTION_FAILED: 8,
  TRUST_FAILURE: 9,
  RATE_LIMITED: 10,
  INTERNAL_ERROR: 11,
  NOT_IMPLEMENTED: 12,
  CUSTOM: 0xff,
} as const;

/** One of the words of `ApiError`. */
export type ApiErrorName = keyof typeof ApiError;

const names: ReadonlyMap<number, ApiErrorName> = new Map(
  (Object.keys(ApiError) as ApiErrorName[]).map((name) => [ApiError[name], name]),
);

/** Errors of lower layers and of decoding that are the requester's doing. */
const REQUESTER_CODES: ReadonlySet<string> = new Set([
  "MALFORMED",
  "INVALID_VALUE",
  "SAD_SYNTAX",
  "TOO_LARGE",
]);

/** The word of a code; CUSTOM for codes that version 1 does not know. */
export function apiErrorName(code: number): ApiErrorName {
  return names.get(code) ?? "CUSTOM";
}

/** Is this the word of an ApiError? */
export function isApiErrorName(word: string): word is ApiErrorName {
  return Object.hasOwn(ApiError, word);
}

/**
 * Can the same request succeed later or on another node? What a sender says when it does not
 * know better: yes for timeouts, overload, rate limits and faults of the node.
 */
export function retryableByDefault(code: number): boolean {
  return code === ApiError.TIMEOUT || code === ApiError.MODEL_OVERLOADED ||
    code === ApiError.RATE_LIMITED || code === ApiError.INTERNAL_ERROR;
}

/** An error that travels: thrown by services and providers, made from a received ERROR. */
export class ApiFault extends NexusError {
  /** Wire code, see `ApiError`. */
  readonly apiCode: number;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  /** OpenAI's `type`, `code`, `param` of an upstream error, one JSON object. */
  readonly detailJson?: string;

  constructor(
    code: ApiErrorName | number,
    message: string,
    options: {
      retryable?: boolean;
      retryAfterMs?: number;
      detailJson?: string;
      cause?: unknown;
      hint?: string;
    } = {},
  ) {
    const apiCode = typeof code === "number" ? code : ApiError[code];
    super(apiErrorName(apiCode), message, options);
    this.apiCode = apiCode;
    this.retryable = options.retryable ?? retryableByDefault(apiCode);
    this.retryAfterMs = options.retryAfterMs;
    this.detailJson = options.detailJson;
  }
}

/** The ApiFault of a received ERROR. */
export function faultOf(error: ErrorMessage): ApiFault {
  return new ApiFault(error.code, error.text, error);
}

/**
 * The ERROR for anything thrown while serving. Only the texts of our own errors leave the node:
 * others may quote memory, paths or keys.
 */
export function errorMessageOf(thrown: unknown): ErrorMessage {
  if (thrown instanceof ApiFault) {
    return {
      code: thrown.apiCode,
      text: thrown.message,
      retryable: thrown.retryable,
      retryAfterMs: thrown.retryAfterMs,
      detailJson: thrown.detailJson,
    };
  }
  let code: number = ApiError.INTERNAL_ERROR;
  let text = "internal error";
  if (thrown instanceof NexusError) {
    text = thrown.message;
    if (isApiErrorName(thrown.code)) code = ApiError[thrown.code];
    else if (REQUESTER_CODES.has(thrown.code)) code = ApiError.INVALID_REQUEST;
  }
  return { code, text, retryable: retryableByDefault(code) };
}
