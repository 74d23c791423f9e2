/**
 * The OpenAI bridge: HTTP in, `InferenceService` out. Status codes stay usable until the first
 * token: the answer's head is sent with the first event that says something.
 */
import { type Context, Hono } from "hono";
import {
  clip,
  equalConstantTime,
  errorMessage,
  formatSocketAddress,
  NexusError,
  type SocketAddress,
  utf8,
} from "../../base/mod.ts";
import { encodeSad, formatCapabilities } from "../../l2_route/mod.ts";
import {
  cancelled,
  InferenceError,
  type InferenceService,
  type ModelListing,
  type ServiceEvent,
  type ServiceStart,
  type Sleep,
  sleep as realSleep,
} from "../inference.ts";
import { isMembers } from "./accumulate.ts";
import { BODY_BYTES_MAX, readJsonObject } from "./body.ts";
import { readChatRequest } from "./chat_request.ts";
import { type AnswerHead, ChunkStream, Completion } from "./chat_response.ts";
import { HttpError, toHttpError } from "./errors.ts";
import { SAD_HEADER, selectModel } from "./selector.ts";

/** An official client gives up after this. */
const DEADLINE_MS_DEFAULT = 600_000;
/** Proxies close idle connections after 30 or 60 s. */
const KEEP_ALIVE_MS_DEFAULT = 15_000;
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

export interface BridgeOptions {
  readonly service: InferenceService;
  /** Keys that clients must send; none: everybody who reaches the port is served. */
  readonly apiKeys?: readonly string[];
  /** `model` values of the operator's own: name → SAD text or model name. */
  readonly aliases?: ReadonlyMap<string, string>;
  /** Host header values served beside loopback names, when there are no keys. */
  readonly hosts?: readonly string[];
  readonly bodyBytesMax?: number;
  /** For requests without `x-nexus-deadline-ms`. */
  readonly deadlineMs?: number;
  /** A comment is sent when a stream was silent for so long; 0: never. */
  readonly keepAliveMs?: number;
  /** Called once per request, when all of its answer was sent or the client left. */
  readonly onDone?: (record: BridgeRecord) => void;
  readonly sleep?: Sleep;
  readonly unixMs?: () => number;
  readonly newId?: () => string;
}

/** The mutable side of a `BridgeRecord`, with the answer's headers. */
interface Exchange {
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

/** The handler of all requests to the bridge; `serveBridge` puts it on a socket. */
export function createBridge(options: BridgeOptions): (request: Request) => Promise<Response> {
  const bridge = new Bridge(options);
  return (request) => bridge.handle(request);
}

/** A bridge that listens. */
export interface BridgeServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Takes no new requests, waits for those that run, cuts them when the signal aborts. */
  close(signal?: AbortSignal): Promise<void>;
}

/**
 * Listens; port 0 takes a free one. Throws ADDRESS_IN_USE, ADDRESS_NOT_AVAILABLE or LISTEN_FAILED.
 */
export function serveBridge(
  options: BridgeOptions & { readonly host?: string; readonly port?: number },
): BridgeServer {
  const cut = new AbortController();
  const { host = "127.0.0.1", port = 6479 } = options;
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve(
      { hostname: host, port, signal: cut.signal, onListen() {} },
      createBridge(options),
    );
  } catch (thrown) {
    throw listenError({ host, port }, thrown);
  }
  return {
    address: { host: server.addr.hostname, port: server.addr.port },
    async close(signal) {
      const abort = () => cut.abort();
      if (signal?.aborted) abort();
      signal?.addEventListener("abort", abort, { once: true });
      await server.shutdown();
      signal?.removeEventListener("abort", abort);
    },
  };
}

function listenError(listen: SocketAddress, thrown: unknown): NexusError {
  const where = formatSocketAddress(listen);
  const [code, why] = thrown instanceof Deno.errors.AddrInUse
    ? ["ADDRESS_IN_USE", "another program has it"]
    : thrown instanceof Deno.errors.AddrNotAvailable
    ? ["ADDRESS_NOT_AVAILABLE", "this machine has no such address"]
    : ["LISTEN_FAILED", errorMessage(thrown).split("\n")[0]];
  return new NexusError(code, `cannot listen on ${where} for the bridge: ${why}`, {
    cause: thrown,
    hint: "set bridge.listen",
  });
}

class Bridge {
  readonly #options: BridgeOptions;
  readonly #keys: readonly Uint8Array[];
  readonly #app = new Hono<{ Bindings: { exchange: Exchange } }>();
  readonly #unixMs: () => number;

  constructor(options: BridgeOptions) {
    this.#options = options;
    this.#keys = (options.apiKeys ?? []).map(utf8);
    this.#unixMs = options.unixMs ?? Date.now;
    this.#route();
  }

  async handle(request: Request): Promise<Response> {
    const exchange = this.#begin(request);
    try {
      this.#admit(request);
      const response = await this.#app.fetch(request, { exchange });
      if (!exchange.streamed) exchange.finish(response.status);
      return response;
    } catch (thrown) {
      return this.#fail(exchange, thrown);
    }
  }

  #begin(request: Request): Exchange {
    const given = request.headers.get("x-request-id") ?? "";
    const requestId = REQUEST_ID.test(given) ? given : `req_${this.#newId()}`;
    const left = new AbortController();
    const leave = () => left.abort();
    request.signal.addEventListener("abort", leave, { once: true });
    if (request.signal.aborted) leave();
    let open = true;
    const exchange: Exchange = {
      requestId,
      method: request.method,
      path: new URL(request.url).pathname,
      startedMs: this.#unixMs(),
      streamed: false,
      chunks: 0,
      headers: { "x-request-id": requestId },
      left,
      finish: (status, error) => {
        if (!open) return;
        open = false;
        request.signal.removeEventListener("abort", leave);
        this.#options.onDone?.(recordOf(exchange, status, this.#unixMs(), error));
      },
    };
    return exchange;
  }

  /** Who may ask at all. */
  #admit(request: Request): void {
    if (this.#keys.length === 0) return this.#checkHost(request);
    const [, token] = /^Bearer +(\S+) *$/i.exec(request.headers.get("authorization") ?? "") ?? [];
    if (token === undefined) {
      throw unauthorized("no API key was sent, expected: Authorization: Bearer <key>", null);
    }
    const sent = utf8(token);
    // All keys are compared, so that time does not tell which one came close.
    if (!this.#keys.map((key) => equalConstantTime(key, sent)).includes(true)) {
      throw unauthorized("the API key is not one of this node's", "invalid_api_key");
    }
  }

  /** Without keys, a web page whose name was rebound to our address must not get in. */
  #checkHost(request: Request): void {
    const host = request.headers.get("host") ?? new URL(request.url).host;
    const name = host.replace(/:\d+$/, "").toLowerCase();
    const loopback = name === "localhost" || name === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(name);
    const hosts = this.#options.hosts ?? [];
    if (!loopback && !isAddress(name) && !hosts.includes(name) && !hosts.includes(host)) {
      throw new HttpError(
        403,
        "host_not_allowed",
        `cannot serve host "${
          clip(host)
        }": it is not an address, and not one of the bridge's hosts`,
      );
    }
  }

  #route(): void {
    const app = this.#app;
    app.post("/v1/chat/completions", (c) => this.#chat(c));
    app.get("/v1/models", (c) => c.json(this.#models(), 200, c.env.exchange.headers));
    // Model names may hold slashes, as in meta-llama/Llama-3.
    app.get("/v1/models/:id{.+}", (c) => {
      const name = c.req.param("id");
      const model = this.#models().data.find(({ id }) => id === name);
      if (model !== undefined) return c.json(model, 200, c.env.exchange.headers);
      const message = `The model "${clip(name)}" does not exist on this mesh`;
      throw new HttpError(404, "model_not_found", message, { param: "model" });
    });
    for (const path of LATER) {
      app.post(path, () => {
        const message = `cannot answer POST ${path}: this node does not offer it yet`;
        throw new HttpError(501, "not_implemented", message);
      });
    }
    app.all("*", ({ req: { method, path } }) => {
      const allowed = METHODS.find(([pattern]) => pattern.test(path))?.[1];
      if (allowed === undefined) {
        throw new HttpError(404, "unknown_url", `Unknown request URL: ${method} ${clip(path)}`);
      }
      const message = `cannot ${clip(method)} ${clip(path)}: expected ${allowed}`;
      throw new HttpError(405, "method_not_allowed", message, { headers: { allow: allowed } });
    });
    app.onError((error, c) => this.#fail(c.env.exchange, error));
  }

  #models(): { object: "list"; data: ModelBody[] } {
    return { object: "list", data: this.#options.service.models().map(modelBody) };
  }

  async #chat(c: Context<{ Bindings: { exchange: Exchange } }>): Promise<Response> {
    const { service, aliases = new Map(), bodyBytesMax = BODY_BYTES_MAX } = this.#options;
    const { exchange } = c.env;
    const body = await readJsonObject(c.req.raw, bodyBytesMax);
    const sad = selectModel(body.model, c.req.header(SAD_HEADER) ?? null, aliases);
    const request = readChatRequest(body, encodeSad(sad), this.#deadlineMs(c.req.raw));
    const { signal } = exchange.left;
    const events = service.infer(request, { signal, source: "bridge" })[Symbol.asyncIterator]();
    const answer = new Answer(events, exchange);
    const { start, first } = await answer.open();
    const head: AnswerHead = {
      id: `chatcmpl-${this.#newId()}`,
      created: Math.floor(this.#unixMs() / 1000),
      model: start.model,
    };
    exchange.headers["x-nexus-node"] = start.nodeId;
    exchange.headers["x-nexus-model"] = encodeHeader(start.model);
    if (!request.stream) {
      const completion = new Completion(head, start);
      let event = first;
      for (; event.type === "chunk"; event = await answer.next()) completion.chunk(event);
      return c.json(completion.end(event), 200, exchange.headers);
    }
    const options = isMembers(body.stream_options) ? body.stream_options : {};
    const chunks = new ChunkStream(head, start, options.include_usage === true);
    exchange.streamed = true;
    return new Response(this.#sse(answer, first, chunks, exchange), {
      headers: {
        ...exchange.headers,
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
      },
    });
  }

  /** One pull, one event: a slow client slows the generation down, nothing piles up. */
  #sse(
    answer: Answer,
    first: AnswerEvent,
    chunks: ChunkStream,
    exchange: Exchange,
  ): ReadableStream<Uint8Array> {
    const frame = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
    let pending: AnswerEvent | undefined = first;
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        try {
          let text = "";
          while (text === "") {
            const event: AnswerEvent | undefined = pending ?? await this.#orKeepAlive(answer);
            pending = undefined;
            if (event === undefined) text = ": keep-alive\n\n";
            else if (event.type === "chunk") text = chunks.chunk(event).map(frame).join("");
            else {
              text = chunks.end(event).map(frame).join("") + "data: [DONE]\n\n";
              controller.enqueue(utf8(text));
              controller.close();
              exchange.finish(200);
              return;
            }
          }
          controller.enqueue(utf8(text));
        } catch (thrown) {
          // Status 200 is out: the error is an event, and the missing [DONE] says it is no end.
          const gone = exchange.left.signal.aborted;
          if (!gone) controller.enqueue(utf8(frame(toHttpError(thrown).body())));
          if (!gone) controller.close();
          exchange.left.abort();
          exchange.finish(gone ? 499 : 200, thrown);
        }
      },
      cancel: () => {
        exchange.left.abort();
        exchange.finish(499, cancelled("the answer"));
      },
    }, { highWaterMark: 0 });
  }

  /** The next event, or undefined when it is time for a comment. */
  async #orKeepAlive(answer: Answer): Promise<AnswerEvent | undefined> {
    const { keepAliveMs = KEEP_ALIVE_MS_DEFAULT, sleep = realSleep } = this.#options;
    if (keepAliveMs === 0) return await answer.next();
    const came = new AbortController();
    try {
      return await Promise.race([
        answer.next(),
        sleep(keepAliveMs, came.signal).then(() => undefined),
      ]);
    } finally {
      came.abort();
    }
  }

  #deadlineMs(request: Request): number {
    const header = request.headers.get("x-nexus-deadline-ms");
    const most = this.#options.deadlineMs ?? DEADLINE_MS_DEFAULT;
    if (header === null) return most;
    const value = /^\d{1,10}$/.test(header) ? Number(header) : 0;
    if (value < 1) {
      const message = `cannot read request: x-nexus-deadline-ms is "${clip(header)}", ` +
        "expected a number of milliseconds";
      throw new HttpError(400, "invalid_value", message, { param: "x-nexus-deadline-ms" });
    }
    return Math.min(value, most);
  }

  #fail(exchange: Exchange, thrown: unknown): Response {
    const gone = exchange.left.signal.aborted;
    const error = toHttpError(thrown);
    exchange.left.abort(); // whatever still runs for this request has no reader any more
    exchange.finish(gone ? 499 : error.status, thrown);
    return error.response(exchange.headers);
  }

  #newId(): string {
    return (this.#options.newId ?? (() => crypto.randomUUID().replaceAll("-", "")))();
  }
}

type AnswerEvent = Exclude<ServiceEvent, { type: "start" }>;

/** Reads the service's events in the order that the interface promises. */
class Answer {
  readonly #events: AsyncIterator<ServiceEvent>;
  readonly #exchange: Exchange;
  /** A read that lost against a keep-alive comment. */
  #reading?: Promise<AnswerEvent>;

  constructor(events: AsyncIterator<ServiceEvent>, exchange: Exchange) {
    this.#events = events;
    this.#exchange = exchange;
    exchange.left.signal.addEventListener("abort", () => this.#close(), { once: true });
  }

  /** The start and the first event that says something. */
  async open(): Promise<{ start: ServiceStart; first: AnswerEvent }> {
    const { value: start, done } = await this.#events.next();
    if (done || start.type !== "start") throw brokenOff();
    this.#exchange.nodeId = start.nodeId;
    this.#exchange.model = start.model;
    return { start: start as ServiceStart, first: await this.next() };
  }

  async next(): Promise<AnswerEvent> {
    const reading = this.#reading ??= this.#read();
    const event = await reading;
    if (this.#reading === reading) this.#reading = undefined;
    return event;
  }

  async #read(): Promise<AnswerEvent> {
    const { value: event, done } = await this.#events.next();
    if (done || event.type === "start") throw brokenOff();
    if (event.type === "chunk") this.#exchange.chunks++;
    else {
      this.#exchange.usage = event.usage;
      this.#close();
    }
    return event;
  }

  /** Lets a generator run its `finally`: after the end nobody asks it again. */
  #close(): void {
    this.#events.return?.().catch(() => {});
  }
}

function brokenOff(): InferenceError {
  return new InferenceError("INTERNAL_ERROR", "cannot go on: the answer has no end", {
    retryable: true,
  });
}

/** Parts of the OpenAI API that official clients know and this version does not answer. */
const LATER = ["/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"];

const METHODS: readonly (readonly [RegExp, string])[] = [
  [/^\/v1\/chat\/completions$/, "POST"],
  [/^\/v1\/models(?:\/.+)?$/, "GET"],
  [/^\/v1\/(?:completions|embeddings|responses|messages)$/, "POST"],
];

interface ModelBody {
  id: string;
  object: "model";
  created: number;
  owned_by: string;
  /** Not OpenAI's: what the SAD's words say of it. */
  nexus: { capabilities: string[]; context: number; nodes: readonly string[] };
}

function modelBody({ name, nodes, capabilities, contextMax }: ModelListing): ModelBody {
  return {
    id: name,
    object: "model",
    created: 0, // an advertisement does not say when a model was made
    owned_by: "nexus",
    nexus: {
      capabilities: formatCapabilities(capabilities).split("+").filter((word) => word !== ""),
      context: contextMax,
      nodes,
    },
  };
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

function unauthorized(why: string, code: string | null): HttpError {
  return new HttpError(401, code ?? "missing_api_key", `cannot serve: ${why}`, {
    headers: { "www-authenticate": "Bearer" },
  });
}

/** An IP address cannot be rebound to another one. */
function isAddress(name: string): boolean {
  return /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name) || /^\[[0-9a-f:.]+\]$/.test(name);
}

/** Header values are Latin-1; names beyond it are percent-encoded. */
function encodeHeader(value: string): string {
  return /^[\x20-\x7e]*$/.test(value) ? value : encodeURIComponent(value);
}
