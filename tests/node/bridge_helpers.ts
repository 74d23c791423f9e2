/** Fakes for bridge and provider tests: a scripted service, an OpenAI-like upstream, clocks. */
import {
  type GenerationChunk,
  type InferenceRequest,
  type InferenceService,
  type InferOptions,
  type ModelListing,
  type Provider,
  type ServiceEvent,
  type Sleep,
} from "../../lib/node/inference.ts";

export const NODE_ID = "00112233445566778899aabbccddeeff";

/** A chunk with the defaults filled in. */
export function chunk(sequence: number, fields: Partial<GenerationChunk>): GenerationChunk {
  return { type: "chunk", sequence, index: 0, text: "", toolCalls: [], ...fields };
}

/** A service that does what the test says and remembers what it was asked. */
export class FakeService implements InferenceService {
  readonly requests: InferenceRequest[] = [];
  readonly signals: AbortSignal[] = [];
  listing: ModelListing[] = [];
  /** Generators that ran to their `finally`. */
  closed = 0;

  constructor(
    public answer: (
      request: InferenceRequest,
      signal: AbortSignal,
    ) => AsyncIterable<ServiceEvent> | Iterable<ServiceEvent>,
  ) {}

  async *infer(request: InferenceRequest, { signal }: InferOptions): AsyncGenerator<ServiceEvent> {
    this.requests.push(request);
    this.signals.push(signal);
    try {
      yield* this.answer(request, signal);
    } finally {
      this.closed++;
    }
  }
  models(): readonly ModelListing[] {
    return this.listing;
  }
}

/** Start, the texts, end. */
export function* say(...texts: string[]): Generator<ServiceEvent> {
  yield { type: "start", nodeId: NODE_ID, model: "m" };
  yield* texts.map((text, i) => chunk(i, { text }));
  yield {
    type: "end",
    finishReason: "stop",
    usage: { prompt: 3, completion: texts.length, cached: 1 },
  };
}

/** A service that asks one provider. */
export function serviceOf(provider: Provider): FakeService {
  return new FakeService(async function* (request, signal) {
    for await (const event of provider.generate(request, signal)) {
      yield event.type === "start" ? { ...event, nodeId: NODE_ID } : event;
    }
  });
}

/** Resolves when the signal aborts. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

/** Sleeps that end only when the signal aborts or the test says so. */
export class ManualSleep {
  readonly pending: { ms: number; wake: () => void }[] = [];
  readonly sleep: Sleep = (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const entry = { ms, wake: resolve };
      this.pending.push(entry);
      signal?.addEventListener("abort", () => {
        const at = this.pending.indexOf(entry);
        if (at >= 0) this.pending.splice(at, 1); // it may have been woken before
        resolve();
      }, { once: true });
    });
  /** Ends all sleeps of this length that are under way. */
  wake(ms: number): number {
    const due = this.pending.filter((entry) => entry.ms === ms);
    for (const entry of due) {
      this.pending.splice(this.pending.indexOf(entry), 1);
      entry.wake();
    }
    return due.length;
  }
}

/** Lets sockets and microtasks run until the condition holds; no clock decides the test. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn > 5000) throw new Error("the condition never held");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** What the upstream got. */
export interface UpstreamCall {
  path: string;
  headers: Headers;
  body: Record<string, unknown>;
  /** Settles when the caller closed the connection. */
  left: Promise<void>;
}

/** An HTTP server that answers as the test says; `/v1/models` lists `models`. */
export class FakeUpstream {
  readonly calls: UpstreamCall[] = [];
  models: Record<string, unknown>[] = [{ id: "up-model", object: "model", max_model_len: 32768 }];
  modelsResponse?: () => Response;
  #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(public answer: (call: UpstreamCall) => Response | Promise<Response>) {
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const path = new URL(request.url).pathname;
        if (path === "/v1/models") {
          return this.modelsResponse?.() ?? Response.json({ object: "list", data: this.models });
        }
        const call: UpstreamCall = {
          path,
          headers: request.headers,
          body: await request.json(),
          left: whenAborted(request.signal),
        };
        this.calls.push(call);
        return await Promise.race([this.answer(call), call.left.then(() => new Response())]);
      },
    );
  }
  get baseUrl(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/v1`;
  }
  async close(): Promise<void> {
    await this.#server.shutdown();
  }
}

/** An SSE answer of these data values; `open` leaves it without an end. */
export function sse(values: unknown[], open = false): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const value of values) {
        const data = typeof value === "string" ? value : JSON.stringify(value);
        controller.enqueue(encoder.encode(`data: ${data}\n\n`));
      }
      if (!open) controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** A chat.completion.chunk with one choice. */
export function delta(
  fields: Record<string, unknown>,
  finish: string | null = null,
  rest: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    id: "up",
    object: "chat.completion.chunk",
    created: 1,
    model: "up-model",
    choices: [{ index: 0, delta: fields, finish_reason: finish, ...rest }],
  };
}
