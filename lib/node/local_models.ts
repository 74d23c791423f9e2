/** The providers of this node as one: what they offer, how busy they are, and who answers. */
import { formatNodeId, NexusError, utf8 } from "../base/mod.ts";
import { decodeSad, type ModelEntry } from "../l2_route/mod.ts";
import type {
  FinishReason,
  HealthStatus,
  InferenceRequest,
  ModelHealth,
  Usage,
} from "../l5_api/mod.ts";
import { FINISH_REASONS } from "../l5_api/mod.ts";
import { ANY_MODEL_NAME, type MicClaims, nodeNameClaim } from "../l4_trust/mod.ts";
import { type AnswerEvent, InferenceError } from "../sdk/mod.ts";
import type { Provider, ProviderModel } from "./inference.ts";
import { findModel } from "./providers/mod.ts";

/** The one place that knows all providers. */
export class LocalModels {
  readonly #nodeId: string;
  draining = false;
  /** No other node offers anything: the stand-in, where there is one, answers. */
  alone = true;

  constructor(
    nodeId: Uint8Array,
    readonly providers: readonly Provider[],
    /** ISO 3166-1 numeric, 0 unknown. */
    readonly region: number,
    /** What people call this node. */
    readonly name: string,
    /** The provider that steps back as soon as another node has a model. */
    readonly standIn?: Provider,
  ) {
    this.#nodeId = formatNodeId(nodeId);
  }

  /** Rows of the routing table. Of two models of one name the first provider's counts. */
  entries(): ModelEntry[] {
    const entries = new Map<string, ModelEntry>();
    for (const provider of this.#ready()) {
      for (const model of provider.models) {
        if (!entries.has(model.name)) entries.set(model.name, this.#entry(model));
      }
    }
    return [...entries.values()];
  }

  /** What the node's certificate must claim for these entries. */
  claims(): MicClaims {
    const entries = this.entries();
    const custom = [nodeNameClaim(this.name)];
    const regions = this.region === 0 ? {} : { regions: [this.region] };
    if (entries.length === 0) return { custom, ...regions };
    return {
      custom,
      ...regions,
      capabilities: entries.reduce((bits, entry) => (bits | entry.capabilities) >>> 0, 0),
      contextWindow: Math.max(...entries.map((entry) => entry.context)),
      modelNames: namesToClaim(entries.map((entry) => entry.name).sort()),
    };
  }

  /** The answer of HEALTH_CHECK. */
  health(withModels = false): HealthStatus {
    const healths = this.providers.map((provider) => provider.health());
    const sum = (pick: (health: typeof healths[number]) => number) =>
      healths.reduce((total, health) => total + pick(health), 0);
    const capacity = sum((health) => health.capacity);
    const active = sum((health) => health.active);
    return {
      load: capacity === 0 ? 0 : Math.min(1, active / capacity),
      queueDepth: sum((health) => health.queueDepth),
      active,
      capacity,
      models: withModels ? this.#modelHealths() : [],
      draining: this.draining,
    };
  }

  /**
   * Runs a request on the provider that has the model.
   * @throws InferenceError what the provider said, MODEL_NOT_FOUND, MODEL_OVERLOADED when draining
   */
  async *answer(request: InferenceRequest, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    if (this.draining) {
      throw new InferenceError(
        "MODEL_OVERLOADED",
        "cannot answer: this node is shutting down and takes no new requests",
        { retryable: true },
      );
    }
    const provider = this.providerOf(request);
    let model = "";
    let chunks = 0;
    for await (const event of provider.generate(request, signal)) {
      switch (event.type) {
        case "start":
          model = event.model;
          yield event;
          break;
        case "chunk":
          chunks++;
          yield {
            ...event,
            role: event.role === undefined ? undefined : "assistant",
            toolCalls: [...event.toolCalls],
            finishReason: finishReason(event.finishReason),
          };
          break;
        case "end":
          yield {
            type: "end",
            chunks,
            model,
            finishReason: finishReason(event.finishReason) ?? "stop",
            usage: event.usage ?? estimateUsage(request, chunks),
            costMicros: 0,
          };
      }
    }
  }

  /** The provider that the request's SAD means. */
  providerOf(request: InferenceRequest): Provider {
    let sad;
    try {
      sad = decodeSad(request.model);
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
      throw new InferenceError("INVALID_REQUEST", error.message, { param: "model" });
    }
    for (const provider of this.#ready()) {
      if (findModel(provider.models, sad) !== undefined) return provider;
    }
    throw new InferenceError("MODEL_NOT_FOUND", "cannot answer: no provider here has that model", {
      retryable: true,
      param: "model",
    });
  }

  #modelHealths(): ModelHealth[] {
    return this.providers.flatMap((provider) => {
      const { state, active, queueDepth } = provider.health();
      const ready = state === "ready";
      return provider.models.map(({ name }) => ({ name, active, queueDepth, ready }));
    });
  }

  *#ready(): Generator<Provider> {
    for (const provider of this.providers) {
      if (provider === this.standIn && !this.alone) continue;
      if (provider.health().state === "ready") yield provider;
    }
  }

  #entry(model: ProviderModel): ModelEntry {
    return {
      nodeId: this.#nodeId,
      name: model.name,
      arch: model.arch,
      capabilities: model.capabilities,
      context: model.context,
      latencyMs: model.latencyMs,
      cost: model.cost,
      per1k: model.per1k,
      trust: model.trust,
      benchmark: model.benchmark,
      publisher: this.#nodeId,
      region: this.region,
      maxConcurrency: model.maxConcurrency,
    };
  }
}

/** The certificate travels in one ACCEPT, which may have three times the bytes of a HELLO. */
const CLAIMED_NAME_BYTES_MAX = 1_024;

/** The names, or the claim of every name when they would not fit a handshake. */
function namesToClaim(names: readonly string[]): readonly string[] {
  const bytes = names.reduce((sum, name) => sum + 3 + utf8(name).length, 0);
  return bytes <= CLAIMED_NAME_BYTES_MAX ? names : [ANY_MODEL_NAME];
}

/** Characters of a token of English text, about. */
const CHARS_PER_TOKEN = 4;

/** For upstreams that do not count: a chunk is a token, and a prompt token is four characters. */
function estimateUsage({ messages, system = "" }: InferenceRequest, chunks: number): Usage {
  const chars = messages.flatMap(({ parts }) => parts)
    .reduce((sum, part) => sum + (part.type === "text" ? part.text.length : 0), system.length);
  return { prompt: Math.ceil(chars / CHARS_PER_TOKEN), completion: chunks, cached: 0 };
}

/** Upstreams invent reasons; the wire has a closed list. */
function finishReason(reason: string | undefined): FinishReason | undefined {
  if (reason === undefined) return undefined;
  return (FINISH_REASONS as readonly string[]).includes(reason)
    ? reason as FinishReason
    : "unknown";
}
