/**
 * Finds who answers a request and gets the answer: resolve, ask the best candidate, and while
 * nothing has been handed out yet, ask the next one when that fails (08-node.md, Failure).
 */
import type { Clock } from "../base/mod.ts";
import {
  type Candidate,
  CircuitBreakers,
  decodeSad,
  encodeSad,
  endpointKey,
  formatSad,
  matchesModel,
  type Resolution,
  resolve,
  type ResolveOptions,
  type RoutingTable,
  type Sad,
  smoothed,
} from "../l2_route/mod.ts";
import { requirementsOfSad } from "../l4_trust/mod.ts";
import type { InferenceRequest } from "../l5_api/mod.ts";
import { InferenceError } from "./inference_error.ts";
import { type AnswerEvent, inferOver } from "./inference_client.ts";
import { joinSignals } from "./join_signals.ts";
import { isUnreachable, Reachability } from "./reachability.ts";
import type { Session } from "./session.ts";
import type { SessionPool } from "./session_pool.ts";

/** Nodes asked for one request before giving up. */
const ATTEMPTS_MAX = 5;
/** Time a whole answer may take when the request does not say: what OpenAI's clients wait. */
export const DEADLINE_MS_DEFAULT = 600_000;

/** What happened on the way to the answer; plain data for `--explain`, demo and admin API. */
export type TraceEvent =
  | { type: "resolution"; sad: Sad; resolution: Resolution; durationUs: number }
  | { type: "attempt"; number: number; candidate: Candidate; local: boolean }
  | { type: "session"; number: number; session: Session; reused: boolean }
  | { type: "retry"; number: number; candidate: Candidate; error: InferenceError };

export type RoutedEvent =
  | { type: "start"; nodeId: string; model: string }
  | Extract<AnswerEvent, { type: "chunk" }>
  | (Extract<AnswerEvent, { type: "end" }> & {
    nodeId: string;
    latencyMs: number;
    ttftMs?: number;
  });

export interface RouteOptions {
  signal?: AbortSignal;
  onTrace?(event: TraceEvent): void;
  /** Ask only this node (a request that a peer sent on purpose to us). */
  onlyNode?: string;
}

export interface InferenceRouterOptions {
  table: RoutingTable;
  clock: Clock;
  pool: SessionPool;
  /** This node's id and how it answers itself; absent on clients. */
  local?: {
    nodeId: string;
    answer(request: InferenceRequest, signal: AbortSignal): AsyncIterable<AnswerEvent>;
  };
  resolve?: Pick<ResolveOptions, "weights" | "mode" | "topK">;
  deadlineMs?: number;
}

export class InferenceRouter {
  readonly breakers = new CircuitBreakers();
  readonly #options: InferenceRouterOptions;
  readonly #reachability: Reachability;
  #requests = 0;

  constructor(options: InferenceRouterOptions) {
    this.#options = options;
    const { clock, pool, table } = options;
    this.#reachability = new Reachability(
      clock,
      pool,
      (nodeId) => table.snapshot().node(nodeId)?.endpoints,
    );
  }

  /** Stops looking for lost nodes. */
  close(): void {
    this.#reachability.close();
  }

  /** Everything the table says about a SAD, without asking anybody. */
  resolve(sad: Sad): Resolution {
    const { table, clock } = this.#options;
    return resolve(table.snapshot(), sad, {
      ...this.#options.resolve,
      nowUs: clock.nowUs(),
      breakers: this.breakers,
      exclude: this.#reachability.reasons(),
    });
  }

  /**
   * Runs one request.
   * @throws InferenceError MODEL_NOT_FOUND when nobody can, TIMEOUT at the deadline, CANCELLED by
   *   the signal, else what the last node asked said
   */
  async *infer(request: InferenceRequest, options: RouteOptions = {}): AsyncGenerator<RoutedEvent> {
    const { clock } = this.#options;
    const startedUs = clock.nowUs();
    const deadlineMs = request.deadlineMs || this.#options.deadlineMs || DEADLINE_MS_DEFAULT;
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), deadlineMs);
    const { signal, release } = joinSignals(
      deadline.signal,
      ...options.signal ? [options.signal] : [],
    );
    try {
      yield* this.#attempts(request, options, signal, startedUs, deadlineMs);
    } catch (error) {
      if (options.signal?.aborted) {
        throw new InferenceError("CANCELLED", "cannot finish request: the caller went away");
      }
      if (deadline.signal.aborted) {
        throw new InferenceError(
          "TIMEOUT",
          `cannot finish request: no whole answer within ${deadlineMs} ms`,
          { retryable: true },
        );
      }
      throw error;
    } finally {
      clearTimeout(timer);
      release();
    }
  }

  async *#attempts(
    request: InferenceRequest,
    options: RouteOptions,
    signal: AbortSignal,
    startedUs: number,
    deadlineMs: number,
  ): AsyncGenerator<RoutedEvent> {
    const { clock } = this.#options;
    const sad = decodeSad(request.model);
    const resolution = this.resolve(sad);
    options.onTrace?.({
      type: "resolution",
      sad,
      resolution,
      durationUs: clock.nowUs() - startedUs,
    });
    if (resolution.chosen === undefined) throw notFound(sad, resolution);
    const order = resolution.order.slice(0, ATTEMPTS_MAX);
    for (let i = 0; i < order.length; i++) {
      const candidate = order[i];
      const number = i + 1;
      const elapsedMs = (clock.nowUs() - startedUs) / 1000;
      const attempt: InferenceRequest = {
        ...request,
        model: encodeSad({ ...sad, model: candidate.model }),
        deadlineMs: Math.max(1, Math.round(deadlineMs - elapsedMs)),
      };
      let handedOut = false;
      const endpoint = endpointKey(candidate.nodeId, candidate.model);
      this.breakers.attempt(endpoint, clock.nowUs());
      try {
        for await (
          const event of this.#ask(candidate, attempt, number, options, signal, startedUs)
        ) {
          handedOut = true;
          // Not after the loop: nobody asks for more after the end.
          if (event.type === "end") this.breakers.success(endpoint);
          yield event;
        }
        return;
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        const error = InferenceError.from(thrown);
        if (isUnreachable(error)) this.#reachability.lost(candidate.nodeId);
        else if (error.isNodeFault) this.breakers.failure(endpoint, clock.nowUs());
        if (handedOut || !error.retryable || number === order.length) throw error;
        options.onTrace?.({ type: "retry", number, candidate, error });
      }
    }
  }

  /** One attempt. The start is held back until there is something to show for it. */
  async *#ask(
    candidate: Candidate,
    request: InferenceRequest,
    number: number,
    options: RouteOptions,
    signal: AbortSignal,
    startedUs: number,
  ): AsyncGenerator<RoutedEvent> {
    const { clock, local, pool, table } = this.#options;
    const { nodeId } = candidate;
    const isLocal = nodeId === local?.nodeId;
    options.onTrace?.({ type: "attempt", number, candidate, local: isLocal });
    let answer: AsyncIterable<AnswerEvent>;
    if (isLocal) {
      answer = local!.answer(request, signal);
    } else {
      const requirements = requirementsOfSad(decodeSad(request.model));
      const { session, reused } = await pool.get(nodeId, candidate.endpoints, requirements, signal);
      options.onTrace?.({ type: "session", number, session, reused });
      answer = inferOver(session, request, this.#nextRequestId(), signal);
    }
    const askedUs = clock.nowUs();
    let model = candidate.model;
    let ttftMs: number | undefined;
    for await (const event of answer) {
      if (event.type === "start") {
        model = event.model || model;
        continue;
      }
      if (ttftMs === undefined) {
        ttftMs = (clock.nowUs() - askedUs) / 1000;
        const before = table.snapshot().node(nodeId)?.metrics.ttftMs;
        table.updateMetrics(nodeId, { ttftMs: smoothed(before, ttftMs) });
        yield { type: "start", nodeId, model };
      }
      if (event.type === "chunk") {
        yield event;
      } else {
        const latencyMs = (clock.nowUs() - startedUs) / 1000;
        yield { ...event, nodeId, latencyMs, ttftMs };
      }
    }
  }

  #nextRequestId(): number {
    this.#requests = this.#requests >= 0xffffffff ? 1 : this.#requests + 1;
    return this.#requests;
  }
}

/** Candidates whose reasons an error lists; `nexus route resolve` shows all. */
const REASONS_MAX = 5;

/** Says why nobody can answer, with the reasons that help: of a model asked for by name, its own. */
function notFound(sad: Sad, resolution: Resolution): InferenceError {
  const { candidates } = resolution;
  const { model } = sad;
  const named = model === undefined
    ? candidates
    : candidates.filter((candidate) => matchesModel(model, candidate.model));
  const passing = named.some(({ rejected }) => PASSING.test(rejected ?? ""));
  const reasons = named.slice(0, REASONS_MAX).map(
    (candidate) => `${candidate.model} on ${candidate.nodeId.slice(0, 8)}: ${candidate.rejected}`,
  );
  if (named.length > REASONS_MAX) reasons.push(`and ${named.length - REASONS_MAX} more`);
  const why = candidates.length === 0
    ? "no models are known here yet"
    : named.length === 0
    ? `none of the ${candidates.length} models known here has that name`
    : reasons.join("; ");
  return new InferenceError(
    passing ? "MODEL_OVERLOADED" : "MODEL_NOT_FOUND",
    `no node can answer "${formatSad(sad)}": ${why}`,
    {
      param: "model",
      retryable: passing,
      hint: candidates.length === 0
        ? "is a provider configured, and up? `nexus node info` shows it"
        : "`nexus route table` lists the models, `nexus route resolve` says why each was left out",
    },
  );
}

/** The only reason against a candidate, where asking again later can help. */
const PASSING = /^(?:draining|circuit [^;]*|unreachable for \d+ s)$/;
