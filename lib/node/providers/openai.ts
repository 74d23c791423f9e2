/**
 * A provider that is an OpenAI-compatible server (vLLM, Ollama, llama.cpp, LM Studio, hosted
 * APIs): finds its models, watches its health, passes requests on and answers back.
 *
 *   starting ── probe ok ──► ready ── fault and probe fails ──► down
 *       └────── probe fails ──► down ── probe ok ──► ready
 *
 * Only faults of the upstream count (`UpstreamFault`); a request that it refuses does not.
 */
import { clip, errorMessage } from "../../base/mod.ts";
import type { InferenceRequest } from "../../l5_api/mod.ts";
import { isMembers } from "../bridge/accumulate.ts";
import { writeChatRequest } from "../bridge/chat_request.ts";
import {
  cancelled,
  type GenerationEvent,
  InferenceError,
  type Provider,
  type ProviderHealth,
  type ProviderModel,
  type Sleep,
  sleep as realSleep,
} from "../inference.ts";
import { chooseModel, isOfferable } from "./choose.ts";
import { Gate } from "./gate.ts";
import {
  announcedContext,
  CONTEXT_DEFAULT,
  guessArchitecture,
  guessCapabilities,
  LATENCY_MS_DEFAULT,
} from "./model_defaults.ts";
import { joinSignals } from "../../sdk/mod.ts";
import { AnswerReader } from "./openai_events.ts";
import { SseParser } from "./sse.ts";
import { connectionError, UpstreamFault } from "./upstream_errors.ts";
import {
  TIMEOUTS_DEFAULT,
  tryConnect as realTryConnect,
  Upstream,
  type UpstreamTimeouts,
} from "./upstream_http.ts";

/** What the config says of a model; the rest is announced by the server or guessed. */
export interface OpenAiModel extends Partial<Omit<ProviderModel, "name" | "maxConcurrency">> {
  /** The name in the mesh. */
  readonly name: string;
  /** The name at the server; default: the same. */
  readonly upstream?: string;
}

export interface OpenAiOptions {
  readonly name?: string;
  /** With the version, as OpenAI clients take it: "http://127.0.0.1:8000/v1". */
  readonly baseUrl: string;
  /** Read for each request; never kept, logged or shown. */
  readonly apiKey?: () => string | undefined;
  /** Further request headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Models to offer; none: all that the server lists. */
  readonly models?: readonly OpenAiModel[];
  /** For models that do not say otherwise, listed ones too. */
  readonly defaults?: Omit<OpenAiModel, "name" | "upstream">;
  /** Requests that run at the server at once, and that wait here. */
  readonly maxConcurrency?: number;
  readonly queueMax?: number;
  readonly timeouts?: Partial<UpstreamTimeouts>;
  /** Between probes of a ready server. */
  readonly probeIntervalMs?: number;
  /** Called when `models` or the health's state changed. */
  readonly onChange?: () => void;
  readonly sleep?: Sleep;
  readonly unixMs?: () => number;
  readonly tryConnect?: (url: URL, signal: AbortSignal) => Promise<void>;
}

const CONCURRENCY_DEFAULT = 16;
const QUEUE_DEFAULT = 64;
const PROBE_INTERVAL_MS_DEFAULT = 15_000;
/** A server that is down is probed after 0.5, 1, 2 … s, at most the probe interval. */
const RETRY_MS_MIN = 500;
/** A server that keeps the body open after its [DONE] is left after this. */
const AFTER_DONE_MS = 50;
/** An advertisement holds 256 models; a hosted catalogue may list thousands. */
const MODELS_MAX = 256;

/** Ready model: all that the mesh and the upstream must know. */
interface Model extends ProviderModel {
  readonly upstream: string;
}

/** See the head of the file. */
export class OpenAiProvider implements Provider {
  readonly name: string;
  readonly #options: OpenAiOptions;
  readonly #upstream: Upstream;
  readonly #gate: Gate;
  readonly #sleep: Sleep;
  readonly #stopped = new AbortController();
  #models: readonly Model[];
  #state: ProviderHealth["state"] = "starting";
  #detail?: string;
  /** Ends the pause between two probes. */
  #wake = new AbortController();
  #probing: Promise<void> = Promise.resolve();

  constructor(options: OpenAiOptions) {
    this.#options = options;
    this.name = options.name ?? "openai";
    this.#sleep = options.sleep ?? realSleep;
    this.#upstream = new Upstream({
      what: this.#what,
      baseUrl: options.baseUrl,
      apiKey: options.apiKey,
      headers: options.headers,
      timeouts: { ...TIMEOUTS_DEFAULT, ...options.timeouts },
      sleep: this.#sleep,
      unixMs: options.unixMs ?? Date.now,
      tryConnect: options.tryConnect ?? realTryConnect,
    });
    this.#gate = new Gate({
      what: this.#what,
      runningMax: options.maxConcurrency ?? CONCURRENCY_DEFAULT,
      queuedMax: options.queueMax ?? QUEUE_DEFAULT,
    });
    this.#models = this.#ready(options.models ?? [], new Map());
  }

  get models(): readonly ProviderModel[] {
    return this.#models;
  }

  /** Probes once, so that a server that runs is ready when this returns; then goes on watching. */
  async start(): Promise<void> {
    await this.#probe();
    this.#probing = this.#watch();
  }

  health(): ProviderHealth {
    const { running, runningMax, queued } = this.#gate;
    return {
      state: this.#state,
      ...(this.#detail === undefined ? {} : { detail: this.#detail }),
      load: running / runningMax,
      active: running,
      queueDepth: queued,
      capacity: runningMax,
    };
  }

  async *generate(
    request: InferenceRequest,
    callerSignal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    const { signal, release } = joinSignals(callerSignal, this.#stopped.signal);
    let leave = () => {};
    try {
      if (signal.aborted) throw cancelled("the request");
      this.#expectUp();
      const model = chooseModel(this.#what, this.#models, request.model);
      leave = await this.#gate.enter(signal);
      const body = writeChatRequest(request, model.upstream);
      yield* request.stream
        ? this.#stream(model, body, signal)
        : this.#complete(model, body, signal);
    } catch (error) {
      // Look now whether it was this request's bad luck or the server is gone.
      if (error instanceof UpstreamFault) this.#wake.abort();
      throw error;
    } finally {
      leave();
      release();
    }
  }

  async stop(): Promise<void> {
    this.#state = "stopped";
    this.#stopped.abort();
    await this.#probing;
    this.#upstream.close();
  }

  get #what(): string {
    return `provider "${this.name}"`;
  }

  #expectUp(): void {
    if (this.#state !== "down") return;
    throw new InferenceError(
      "MODEL_OVERLOADED",
      `cannot take request: ${this.#what} is down: ${this.#detail}`,
      { retryable: true, retryAfterMs: RETRY_MS_MIN },
    );
  }

  // --- requests -------------------------------------------------------------------------

  async *#complete(
    model: Model,
    body: Record<string, unknown>,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    const reader = new AnswerReader(this.#what);
    const answer = await this.#upstream.post("/chat/completions", body, signal);
    const { chunks, top } = reader.completion(answer);
    if (chunks.length === 0) {
      throw connectionError(this.#what, "read the answer of", "it has no choices");
    }
    yield { type: "start", model: model.name };
    yield* chunks;
    yield reader.end(true, top);
  }

  async *#stream(
    model: Model,
    body: Record<string, unknown>,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    const asked = isMembers(body.stream_options) ? body.stream_options : {};
    body.stream_options = { ...asked, include_usage: true };
    const reader = new AnswerReader(this.#what);
    const news = new News();
    const over = new AbortController();
    const either = joinSignals(signal, over.signal);
    let started = false;
    let done = false;
    try {
      for await (const data of this.#events(body, either.signal)) {
        if (done) continue;
        if (data === "[DONE]") {
          // The end of the body follows; with it read, the connection can serve again.
          done = true;
          this.#sleep(AFTER_DONE_MS, over.signal).then(() => over.abort());
          continue;
        }
        const { chunks, top } = reader.chunk(data);
        const fresh = news.of(top);
        if (!started) {
          started = true;
          yield { type: "start", model: model.name, ...asExtra(fresh) };
          news.told();
        }
        yield* chunks;
        if (signal.aborted) throw cancelled("the answer");
      }
    } catch (error) {
      if (!done) throw error;
    } finally {
      over.abort();
      either.release();
    }
    const end = reader.end(done, news.untold);
    if (!started) yield { type: "start", model: model.name };
    yield end;
  }

  async *#events(body: Record<string, unknown>, signal: AbortSignal): AsyncGenerator<string> {
    const parser = new SseParser();
    for await (const bytes of this.#upstream.stream("/chat/completions", body, signal)) {
      for (const event of parser.push(bytes)) if (event.data !== "") yield event.data;
    }
    for (const event of parser.end()) if (event.data !== "") yield event.data;
  }

  // --- models and health ----------------------------------------------------------------

  async #watch(): Promise<void> {
    const interval = this.#options.probeIntervalMs ?? PROBE_INTERVAL_MS_DEFAULT;
    let retryMs = RETRY_MS_MIN;
    while (!this.#stopped.signal.aborted) {
      const pause = this.#state === "ready" ? interval : Math.min(retryMs, interval);
      retryMs = this.#state === "ready" ? RETRY_MS_MIN : 2 * retryMs;
      this.#wake = new AbortController();
      const { signal, release } = joinSignals(this.#wake.signal, this.#stopped.signal);
      await this.#sleep(pause, signal);
      release();
      if (!this.#stopped.signal.aborted) await this.#probe();
    }
  }

  async #probe(): Promise<void> {
    const before = JSON.stringify([this.#state, this.#models]);
    try {
      const listed = readModelList(await this.#upstream.get("/models", this.#stopped.signal));
      if (this.#stopped.signal.aborted) return;
      const wanted = this.#options.models ?? [];
      const offered = wanted.length > 0 ? wanted : [...listed.keys()].map((name) => ({ name }));
      this.#models = this.#ready(offered, listed);
      this.#set("ready", undefined);
    } catch (error) {
      if (this.#stopped.signal.aborted) return;
      // Some servers answer completions but have no model list: the config must name the models.
      const answers = error instanceof InferenceError && !(error instanceof UpstreamFault) ||
        /HTTP 40[45]\b/.test(errorMessage(error));
      if (answers && this.#models.length > 0) this.#set("ready", undefined);
      else this.#set("down", errorMessage(error).replace(/^cannot generate: /, ""));
    }
    if (JSON.stringify([this.#state, this.#models]) !== before) this.#options.onChange?.();
  }

  #set(state: "ready" | "down", detail: string | undefined): void {
    this.#state = state;
    this.#detail = detail;
  }

  #ready(
    offered: readonly OpenAiModel[],
    listed: ReadonlyMap<string, Record<string, unknown>>,
  ): Model[] {
    const { defaults = {}, maxConcurrency = CONCURRENCY_DEFAULT } = this.#options;
    return offered.slice(0, MODELS_MAX).map((own) => {
      const upstream = own.upstream ?? own.name;
      const said = { ...defaults, ...own };
      return {
        ...said,
        upstream,
        arch: said.arch ?? guessArchitecture(upstream),
        capabilities: said.capabilities ?? guessCapabilities(upstream),
        context: said.context ?? announcedContext(listed.get(upstream) ?? {}) ?? CONTEXT_DEFAULT,
        latencyMs: said.latencyMs ?? LATENCY_MS_DEFAULT,
        cost: said.cost ?? 0,
        per1k: said.per1k ?? false,
        trust: said.trust ?? 0,
        benchmark: said.benchmark ?? 0,
        maxConcurrency,
      };
    });
  }
}

/** Members of the answer that are new since the last time they were looked at. */
class News {
  readonly #known = new Map<string, string>();
  #untold: Record<string, unknown> = {};

  /** Takes what a chunk says; what of it is new. */
  of(top: Record<string, unknown>): Record<string, unknown> {
    for (const [key, value] of Object.entries(top)) {
      const json = JSON.stringify(value);
      if (this.#known.get(key) === json) continue;
      this.#known.set(key, json);
      this.#untold = { ...this.#untold, [key]: value };
    }
    return this.#untold;
  }
  get untold(): Record<string, unknown> {
    return this.#untold;
  }
  told(): void {
    this.#untold = {};
  }
}

function asExtra(members: Record<string, unknown>): { extraJson?: string } {
  return Object.keys(members).length === 0 ? {} : { extraJson: JSON.stringify(members) };
}

/** Entries of `/v1/models` by id. */
function readModelList(json: string): Map<string, Record<string, unknown>> {
  const fault = (why: string) =>
    new UpstreamFault("INTERNAL_ERROR", `its model list cannot be read: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw fault(clip(errorMessage(error), 100));
  }
  const data = isMembers(value) ? value.data : value;
  if (!Array.isArray(data)) throw fault('"data" is not a list');
  const listed = new Map<string, Record<string, unknown>>();
  for (const entry of data) {
    if (isMembers(entry) && typeof entry.id === "string" && isOfferable(entry.id)) {
      listed.set(entry.id, entry);
    }
  }
  return listed;
}
