/**
 * What the parts of a node agree on about inference: a *provider* produces tokens, the
 * *inference service* finds a provider (here or on another node) for a request, the bridge
 * and the admin API consume the service. Errors are thrown, always as `InferenceError`s.
 */
import type { ModelEntry, ModelSummary } from "../l2_route/mod.ts";
import type { FinishReason, InferenceRequest, TokenStreamChunk, Usage } from "../l5_api/mod.ts";
import { InferenceError } from "../sdk/mod.ts";

export { InferenceError };

export type { FinishReason, InferenceRequest, Usage };

// --- events -----------------------------------------------------------------------------

/** The request was accepted; the first event of every generation. */
export interface GenerationStart {
  readonly type: "start";
  /** Name of the model that answers, as the provider advertises it. */
  readonly model: string;
  /** Other members of the OpenAI answer (system_fingerprint …), one JSON object. */
  readonly extraJson?: string;
}

/**
 * The next piece of one choice. `sequence` counts from 0 over all choices of the request.
 * `extraJson` is JSON text of `ChunkExtra`.
 */
export interface GenerationChunk extends Readonly<TokenStreamChunk> {
  readonly type: "chunk";
}

/** What a chunk says beyond its fields. Absent members are empty. */
export interface ChunkExtra {
  /** Members of the OpenAI delta (or message), e.g. `reasoning_content`, `refusal`. */
  delta?: Record<string, unknown>;
  /** Members of the OpenAI choice, e.g. `logprobs`, or a `finish_reason` of a new kind. */
  choice?: Record<string, unknown>;
}

/** The generation is complete; the last event. */
export interface GenerationEnd {
  readonly type: "end";
  /** Finish reason of choice 0. */
  readonly finishReason: FinishReason;
  /** Absent when the provider did not count. */
  readonly usage?: Readonly<Usage>;
  /** Members of the OpenAI answer that came after the start (detailed `usage` …), one object. */
  readonly extraJson?: string;
}

export type GenerationEvent = GenerationStart | GenerationChunk | GenerationEnd;

/** `GenerationStart` with the node that answers. */
export interface ServiceStart extends GenerationStart {
  /** Hexadecimal node id. */
  readonly nodeId: string;
}

/** `GenerationEnd` with what the service measured. */
export interface ServiceEnd extends GenerationEnd {
  readonly nodeId?: string;
  readonly latencyMs?: number;
  readonly ttftMs?: number;
  readonly costMicros?: number;
}

export type ServiceEvent = ServiceStart | GenerationChunk | ServiceEnd;

// --- provider ---------------------------------------------------------------------------

/**
 * A model as a provider offers it: a routing entry without what the node adds (its id and, as the
 * publisher, itself). `name` is what clients ask for, `latencyMs` estimates the time to the first
 * token without network.
 */
export type ProviderModel = Omit<ModelEntry, "nodeId" | "publisher" | "region">;

/** What a provider can do right now. */
export interface ProviderHealth {
  /** starting: not probed yet; ready; down: takes no requests until a probe succeeds. */
  readonly state: "starting" | "ready" | "down" | "stopped";
  /** Why it is not ready, in words for the operator; never holds a key. */
  readonly detail?: string;
  /** Running requests by capacity, 0…1. */
  readonly load: number;
  /** Requests running. */
  readonly active: number;
  /** Requests waiting for a place. */
  readonly queueDepth: number;
  /** Requests that may run at the same time. */
  readonly capacity: number;
}

/** A source of tokens. */
export interface Provider {
  readonly name: string;
  /** Changes when a provider discovers models; read it anew for each advertisement. */
  readonly models: readonly ProviderModel[];
  /**
   * Begins probing and returns; a provider that cannot be reached is not an error here but a
   * `health()` of "down", so that a node starts before its upstream does.
   */
  start(): Promise<void>;
  health(): ProviderHealth;
  /**
   * Runs one request: start, chunks, end. Throws `InferenceError`. When `signal` aborts, the
   * work at the provider stops at once and CANCELLED is thrown. Leaving the loop early has
   * the same effect on the provider.
   */
  generate(request: InferenceRequest, signal: AbortSignal): AsyncIterable<GenerationEvent>;
  /** Stops probing and running requests. */
  stop(): Promise<void>;
}

// --- service ----------------------------------------------------------------------------

/** A model name that can be asked for through this node, and the nodes that have it. */
export type ModelListing = ModelSummary;

/** Where a request came from, for policy and metrics. */
export type InferenceSource = "bridge" | "admin" | "peer";

/** A step of routing, for `--explain` and the demo; plain data. */
export interface InferenceTrace {
  readonly type: string;
  readonly [detail: string]: unknown;
}

export interface InferOptions {
  readonly signal: AbortSignal;
  readonly source: InferenceSource;
  /** Called as routing proceeds: resolution, attempts, retries. */
  onTrace?(event: InferenceTrace): void;
}

/** Finds who answers and relays the answer. */
export interface InferenceService {
  /** Start, chunks, end. Throws `InferenceError`; CANCELLED when `signal` aborts. */
  infer(request: InferenceRequest, options: InferOptions): AsyncIterable<ServiceEvent>;
  models(): readonly ModelListing[];
}

// --- errors -----------------------------------------------------------------------------

/** The error that an aborted signal stands for. */
export function cancelled(what: string): InferenceError {
  return new InferenceError("CANCELLED", `cannot finish ${what}: it was cancelled`);
}

// --- time -------------------------------------------------------------------------------

/**
 * Waits `ms`, or until the signal aborts; then it returns early and the caller looks at the
 * signal. Handed in so that tests need not wait.
 */
export type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

/** `Sleep` over the real clock. */
export const sleep: Sleep = (ms, signal) => {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
};
