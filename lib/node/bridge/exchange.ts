/** One request and its answer, from the first byte to the record that logs and metrics get. */

/** Request ids of clients are taken over when they are harmless in a log and a header. */
const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** What one request came to, for logs and metrics; no content, no keys. */
export interface BridgeRecord {
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
  /** What was sent; 499 when the client left before an answer. */
  readonly status: number;
  readonly durationMs: number;
  readonly nodeId?: string;
  readonly model?: string;
  readonly streamed: boolean;
  /** Tokens as counted by the provider; absent when the answer did not end. */
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  /** Pieces of answer received, also of one that was cut. */
  readonly chunks: number;
  /** Set when it failed, also when it failed after status 200. */
  readonly error?: unknown;
}

/** The mutable side of a `BridgeRecord`, with the answer's headers. */
export interface Exchange {
  requestId: string;
  method: string;
  path: string;
  startedMs: number;
  streamed: boolean;
  chunks: number;
  nodeId?: string;
  model?: string;
  usage?: { prompt: number; completion: number };
  headers: Record<string, string>;
  /** Aborted when the client goes away. */
  left: AbortController;
  finish(status: number, error?: unknown): void;
}

/** What an exchange needs from its bridge. */
export interface ExchangeOptions {
  /** Called once, when all of the answer was sent or the client left. */
  readonly onDone?: (record: BridgeRecord) => void;
  readonly unixMs: () => number;
  readonly newId: () => string;
}

/** Begins with the request; its end is `finish`. */
export function beginExchange(
  request: Request,
  { onDone, unixMs, newId }: ExchangeOptions,
): Exchange {
  const given = request.headers.get("x-request-id") ?? "";
  const requestId = REQUEST_ID.test(given) ? given : `req_${newId()}`;
  const left = new AbortController();
  const leave = () => left.abort();
  request.signal.addEventListener("abort", leave, { once: true });
  if (request.signal.aborted) leave();
  let open = true;
  const exchange: Exchange = {
    requestId,
    method: request.method,
    path: new URL(request.url).pathname,
    startedMs: unixMs(),
    streamed: false,
    chunks: 0,
    headers: { "x-request-id": requestId },
    left,
    finish: (status, error) => {
      if (!open) return;
      open = false;
      request.signal.removeEventListener("abort", leave);
      onDone?.(recordOf(exchange, status, unixMs(), error));
    },
  };
  return exchange;
}

function recordOf(
  exchange: Exchange,
  status: number,
  unixMs: number,
  error: unknown,
): BridgeRecord {
  const { requestId, method, path, startedMs, nodeId, model, streamed, chunks, usage } = exchange;
  return {
    requestId,
    method,
    path,
    status,
    durationMs: unixMs - startedMs,
    streamed,
    chunks,
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(model === undefined ? {} : { model }),
    ...(usage === undefined
      ? {}
      : { promptTokens: usage.prompt, completionTokens: usage.completion }),
    ...(error === undefined ? {} : { error }),
  };
}
