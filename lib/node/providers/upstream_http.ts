/**
 * HTTP to one OpenAI-compatible server: requests with a key that appears nowhere else, limits on
 * time and size, and typed errors. Aborting closes the connection at once.
 */
import { clip } from "../../base/mod.ts";
import { cancelled, InferenceError, type Sleep } from "../inference.ts";
import { joinSignals } from "../../sdk/mod.ts";
import {
  connectionError,
  ERROR_BODY_BYTES_MAX,
  statusError,
  UpstreamFault,
} from "./upstream_errors.ts";

/** How long the upstream may take for what, ms. */
export interface UpstreamTimeouts {
  /**
   * Until a TCP connection stands (`fetch` does not tell, so a connection of our own is tried
   * beside a request when the upstream was not heard of for a while), and for a model list.
   */
  readonly connectMs: number;
  /** Until the first byte of a streamed answer: queueing and reading the prompt. */
  readonly firstByteMs: number;
  /** Between two pieces of a streamed answer. */
  readonly idleMs: number;
  /** Until an answer that is not streamed is complete. */
  readonly answerMs: number;
}

export const TIMEOUTS_DEFAULT: UpstreamTimeouts = {
  connectMs: 5_000,
  firstByteMs: 60_000,
  idleMs: 30_000,
  answerMs: 600_000,
};

/** Bytes of an answer that is not streamed; the largest L5 message. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** An upstream heard of so recently needs no proof that it can be connected to. */
const HEARD_OF_MS = 10_000;

export interface UpstreamOptions {
  /** For messages, e.g. `provider "vllm"`. */
  readonly what: string;
  /** With the version, as OpenAI clients take it: "http://127.0.0.1:8000/v1". */
  readonly baseUrl: string;
  /** Sent as bearer token; read anew for each request so that a rotated key file is seen. */
  readonly apiKey?: () => string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeouts: UpstreamTimeouts;
  readonly sleep: Sleep;
  readonly unixMs: () => number;
  /** Opens and closes a TCP connection; settles when it stood. */
  readonly tryConnect: (url: URL, signal: AbortSignal) => Promise<void>;
}

/** One server. */
export class Upstream {
  readonly #options: UpstreamOptions;
  /** HTTP/1.1 only: HTTP/2 of this runtime stalls on small bodies (shared/runtime.md). */
  readonly #client = Deno.createHttpClient({ http2: false });
  #heardOfUnixMs = -Infinity;
  #closed = false;

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  /** JSON text of a GET; the model list. */
  async get(path: string, signal: AbortSignal): Promise<string> {
    const { timeouts } = this.#options;
    return await this.#limited(signal, async (limit) => {
      const response = await limit.within(
        timeouts.connectMs,
        "answer",
        () => this.#fetch(path, { method: "GET" }, limit.signal),
      );
      return await limit.within(
        timeouts.connectMs,
        "answer",
        () => readText(response, limit.signal),
      );
    });
  }

  /** JSON text of the answer to a POST. */
  async post(path: string, body: unknown, signal: AbortSignal): Promise<string> {
    const { timeouts } = this.#options;
    return await this.#limited(
      signal,
      (limit) =>
        limit.within(timeouts.answerMs, "finish its answer", async () => {
          const response = await Promise.race([
            this.#fetch(path, jsonPost(body), limit.signal),
            this.#unreachable(limit),
          ]);
          return await readText(response, limit.signal);
        }),
    );
  }

  /** Pieces of a streamed answer, or the error that its status says. */
  async *stream(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { what, timeouts } = this.#options;
    const limit = new Limit(this.#options, signal);
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    // Not left to fetch: once the garbage collector has taken the Request, it hears no abort.
    limit.signal.addEventListener("abort", () => reader?.cancel().catch(() => {}));
    try {
      let piece = await limit.within(timeouts.firstByteMs, "begin its answer", async () => {
        const response = await Promise.race([
          this.#fetch(path, jsonPost(body), limit.signal),
          this.#unreachable(limit),
        ]);
        const type = response.headers.get("content-type") ?? "";
        if (/^application\/json/i.test(type)) {
          throw connectionError(
            what,
            "stream from",
            `it answered ${clip(await readText(response, limit.signal))}`,
          );
        }
        reader = response.body?.getReader();
        return await reader?.read();
      });
      while (reader !== undefined && piece !== undefined && !piece.done) {
        yield piece.value;
        const from = reader;
        piece = await limit.within(timeouts.idleMs, "go on", () => from.read());
      }
    } catch (error) {
      throw this.#explain(error, signal);
    } finally {
      limit.close(); // whoever leaves early closes the connection by it
    }
  }

  /** Closes idle connections; a second call does nothing. */
  close(): void {
    if (!this.#closed) this.#client.close();
    this.#closed = true;
  }

  async #limited<T>(signal: AbortSignal, work: (limit: Limit) => Promise<T>): Promise<T> {
    const limit = new Limit(this.#options, signal);
    try {
      return await work(limit);
    } catch (error) {
      throw this.#explain(error, signal);
    } finally {
      limit.close();
    }
  }

  async #fetch(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const { what, baseUrl, apiKey, headers, unixMs } = this.#options;
    const key = apiKey?.();
    const response = await fetch(baseUrl.replace(/\/+$/, "") + path, {
      ...init,
      client: this.#client,
      signal,
      // A redirect would take the key and the prompt to a server nobody named.
      redirect: "manual",
      headers: {
        accept: "application/json, text/event-stream",
        ...init.headers as Record<string, string>,
        ...headers,
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
    });
    this.#heardOfUnixMs = unixMs();
    if (response.ok) return response;
    const body = await readText(response, signal, ERROR_BODY_BYTES_MAX);
    throw statusError(what, response.status, body, response.headers, unixMs());
  }

  /** Rejects when no connection can be made within the limit; else stays pending. */
  async #unreachable(limit: Limit): Promise<never> {
    const { what, baseUrl, timeouts, tryConnect, unixMs } = this.#options;
    if (unixMs() - this.#heardOfUnixMs > HEARD_OF_MS) {
      try {
        await limit.within(
          timeouts.connectMs,
          "accept a connection",
          () => tryConnect(new URL(baseUrl), limit.signal),
        );
      } catch (error) {
        throw error instanceof InferenceError ? error : connectionError(what, "reach", error);
      }
    }
    return await new Promise<never>(() => {});
  }

  #explain(error: unknown, signal: AbortSignal): InferenceError {
    if (signal.aborted) return cancelled("the request");
    if (error instanceof InferenceError) return error;
    return connectionError(this.#options.what, "reach", error);
  }
}

/** `Deno.connect` to the URL's host. Behind a proxy it proves nothing and does nothing. */
export async function tryConnect(url: URL, signal: AbortSignal): Promise<void> {
  if (PROXY_VARIABLES.some(isSet)) return;
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  (await Deno.connect({ hostname, port, signal })).close();
}

const PROXY_VARIABLES = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"];

function isSet(variable: string): boolean {
  try {
    return (Deno.env.get(variable) ?? "") !== "";
  } catch {
    return false; // not permitted to look: fetch cannot use it either
  }
}

/** The signal of one request, and clocks on its steps. */
class Limit {
  readonly #options: UpstreamOptions;
  readonly #controller = new AbortController();
  readonly #release: () => void;
  readonly signal: AbortSignal;

  constructor(options: UpstreamOptions, caller: AbortSignal) {
    this.#options = options;
    const joined = joinSignals(this.#controller.signal, caller);
    this.signal = joined.signal;
    this.#release = joined.release;
  }

  /** The work's result, or a TIMEOUT fault (and the end of the connection) after `ms`. */
  async within<T>(ms: number, doing: string, work: () => Promise<T>): Promise<T> {
    const { what, sleep } = this.#options;
    const done = new AbortController();
    const late = sleep(ms, done.signal).then(() => {
      if (done.signal.aborted) return new Promise<never>(() => {});
      const fault = new UpstreamFault(
        "TIMEOUT",
        `cannot wait: ${what} did not ${doing} in ${ms} ms`,
      );
      this.#controller.abort(fault);
      throw fault;
    });
    try {
      const result = await Promise.race([work(), late, aborted(this.signal, done.signal)]);
      // A read that was cancelled looks like the end of the body.
      if (this.signal.aborted) throw this.signal.reason;
      return result;
    } finally {
      done.abort();
    }
  }

  close(): void {
    this.#controller.abort();
    this.#release();
  }
}

/** Rejects when the signal aborts: a pending read may not notice for a while. */
function aborted(signal: AbortSignal, done: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true, signal: done });
  });
}

function jsonPost(body: unknown): RequestInit {
  return {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
}

/** Text of a body, cut (and the rest never read) at the limit, or when the signal aborts. */
async function readText(
  response: Response,
  signal: AbortSignal,
  bytesMax = ANSWER_BYTES_MAX,
): Promise<string> {
  const reader = response.body?.getReader();
  const leave = () => reader?.cancel().catch(() => {});
  signal.addEventListener("abort", leave, { once: true });
  const decoder = new TextDecoder();
  let text = "";
  let left = bytesMax;
  while (left > 0) {
    const piece = await reader?.read();
    if (piece === undefined || piece.done) break;
    text += decoder.decode(piece.value.subarray(0, left), { stream: true });
    left -= piece.value.length;
  }
  signal.removeEventListener("abort", leave);
  if (left <= 0) leave();
  return text + decoder.decode();
}
