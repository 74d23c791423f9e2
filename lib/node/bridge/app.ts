/**
 * The OpenAI bridge: HTTP in, `InferenceService` out. Status codes stay usable until the first
 * token: the answer's head is sent with the first event that says something.
 */
import { type Context, Hono } from "hono";
import { clip } from "../../base/mod.ts";
import { encodeSad, formatCapabilities } from "../../l2_route/mod.ts";
import {
  type InferenceService,
  type ModelListing,
  type Sleep,
  sleep as realSleep,
} from "../inference.ts";
import { isMembers } from "./accumulate.ts";
import { Admission } from "./admission.ts";
import { Answer } from "./answer.ts";
import { BODY_BYTES_MAX, readJsonObject } from "./body.ts";
import { readChatRequest } from "./chat_request.ts";
import { type AnswerHead, ChunkStream, Completion } from "./chat_response.ts";
import { HttpError, toHttpError } from "./errors.ts";
import { beginExchange, type BridgeRecord, type Exchange } from "./exchange.ts";
import { SAD_HEADER, selectModel } from "./selector.ts";
import { type KeepAlive, streamAnswer } from "./sse.ts";

/** An official client gives up after this. */
const DEADLINE_MS_DEFAULT = 600_000;
/** Proxies close idle connections after 30 or 60 s. */
const KEEP_ALIVE_MS_DEFAULT = 15_000;

/** What a bridge serves, and how. */
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
  /** `created` of the models, Unix seconds: since when this node serves; default: from now on. */
  readonly createdS?: number;
  /** Called once per request, when all of its answer was sent or the client left. */
  readonly onDone?: (record: BridgeRecord) => void;
  readonly sleep?: Sleep;
  readonly unixMs?: () => number;
  readonly newId?: () => string;
}

/** The handler of all requests to the bridge; `serveBridge` puts it on a socket. */
export function createBridge(options: BridgeOptions): (request: Request) => Promise<Response> {
  const bridge = new Bridge(options);
  return (request) => bridge.handle(request);
}

class Bridge {
  readonly #options: BridgeOptions;
  readonly #admission: Admission;
  readonly #keepAlive: KeepAlive;
  readonly #app = new Hono<{ Bindings: { exchange: Exchange } }>();
  readonly #unixMs: () => number;
  readonly #createdS: number;

  constructor(options: BridgeOptions) {
    this.#options = options;
    const { apiKeys = [], hosts = [], keepAliveMs = KEEP_ALIVE_MS_DEFAULT } = options;
    this.#admission = new Admission(apiKeys, hosts);
    this.#keepAlive = { everyMs: keepAliveMs, sleep: options.sleep ?? realSleep };
    this.#unixMs = options.unixMs ?? Date.now;
    this.#createdS = options.createdS ?? Math.floor(this.#unixMs() / 1000);
    this.#route();
  }

  async handle(request: Request): Promise<Response> {
    const exchange = beginExchange(request, {
      onDone: this.#options.onDone,
      unixMs: this.#unixMs,
      newId: () => this.#newId(),
    });
    try {
      this.#admission.check(request);
      const response = await this.#app.fetch(request, { exchange });
      if (!exchange.streamed) exchange.finish(response.status);
      return response;
    } catch (thrown) {
      return this.#fail(exchange, thrown);
    }
  }

  #route(): void {
    const app = this.#app;
    app.post("/v1/chat/completions", (c) => this.#chat(c));
    for (const path of ["/v1/models", "/v1/models/"]) {
      app.get(path, (c) => c.json(this.#models(), 200, c.env.exchange.headers));
    }
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
    const data = this.#options.service.models().map((model) => modelBody(model, this.#createdS));
    return { object: "list", data };
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
    return new Response(streamAnswer(answer, first, chunks, exchange, this.#keepAlive), {
      headers: {
        ...exchange.headers,
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
      },
    });
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

/** Parts of the OpenAI API that official clients know and this version does not answer. */
const LATER = ["/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"];

const METHODS: readonly (readonly [RegExp, string])[] = [
  [/^\/v1\/chat\/completions$/, "POST"],
  [/^\/v1\/models(?:\/.*)?$/, "GET"],
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

function modelBody(model: ModelListing, createdS: number): ModelBody {
  const { name, nodes, capabilities, contextMax } = model;
  return {
    id: name,
    object: "model",
    created: createdS, // an advertisement does not say when a model was made
    owned_by: "nexus",
    nexus: {
      capabilities: formatCapabilities(capabilities).split("+").filter((word) => word !== ""),
      context: contextMax,
      nodes,
    },
  };
}

/** Header values are Latin-1; names beyond it are percent-encoded. */
function encodeHeader(value: string): string {
  return /^[\x20-\x7e]*$/.test(value) ? value : encodeURIComponent(value);
}
