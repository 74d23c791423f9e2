/** The error of inference on every side: provider, node, bridge, client. */
import { errorMessage, NexusError } from "../base/mod.ts";
import { type ApiErrorName, apiErrorName, ApiFault } from "../l5_api/mod.ts";

/** Names of the L5 errors (05-api.md, "Errors"). */
export type InferenceErrorCode = ApiErrorName;

/** An L5 error with the request member that is at fault; it travels in ERROR's detail. */
export class InferenceError extends ApiFault {
  declare readonly code: InferenceErrorCode;
  /** The request member that is at fault, in OpenAI's notation. */
  readonly param?: string;

  constructor(code: InferenceErrorCode, message: string, options: {
    retryable?: boolean;
    retryAfterMs?: number;
    param?: string;
    detailJson?: string;
    cause?: unknown;
    hint?: string;
  } = {}) {
    const { param, ...rest } = options;
    const detailJson = options.detailJson ??
      (param === undefined ? undefined : JSON.stringify({ param }));
    super(code, message, { retryable: false, ...rest, detailJson });
    this.param = param ?? paramOf(detailJson);
  }

  /** The node or its provider is to blame, not the request: counts for the circuit breaker. */
  get isNodeFault(): boolean {
    return this.code === "INTERNAL_ERROR" || this.code === "TRUST_FAILURE";
  }

  /**
   * Anything thrown as an InferenceError. What is neither one nor a received ERROR is a fault of
   * the node asked or of the way to it, so that asking another one can help.
   */
  static from(thrown: unknown): InferenceError {
    if (thrown instanceof InferenceError) return thrown;
    if (thrown instanceof ApiFault) {
      const { message, retryable, retryAfterMs, detailJson } = thrown;
      const code = apiErrorName(thrown.apiCode) as InferenceErrorCode;
      return new InferenceError(code, message, { retryable, retryAfterMs, detailJson });
    }
    const hint = thrown instanceof NexusError ? thrown.hint : undefined;
    const isTrust = thrown instanceof NexusError && TRUST_CODES.has(thrown.code);
    return new InferenceError(
      isTrust ? "TRUST_FAILURE" : "INTERNAL_ERROR",
      errorMessage(thrown),
      { retryable: true, cause: thrown, hint },
    );
  }
}

/** What handshakes refuse (lib/l4_trust). */
const TRUST_CODES: ReadonlySet<string> = new Set([
  "BAD_CERTIFICATE",
  "BAD_FINISHED",
  "BAD_SIGNATURE",
  "CERTIFICATE_EXPIRED",
  "CONSTRAINT_NOT_MET",
  "CONSTRAINT_VIOLATED",
  "NODE_ID_MISMATCH",
  "TENANT_MISMATCH",
  "UNKNOWN_CA",
]);

function paramOf(detailJson: string | undefined): string | undefined {
  if (detailJson === undefined) return undefined;
  try {
    const { param } = JSON.parse(detailJson);
    return typeof param === "string" ? param : undefined;
  } catch {
    return undefined;
  }
}
