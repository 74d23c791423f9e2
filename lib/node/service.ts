/** Inference as bridge, admin API and other nodes ask for it, with limits and metrics. */
import type { InferenceRequest, Usage } from "../l5_api/mod.ts";
import { listModels } from "../l2_route/mod.ts";
import { systemClock } from "../io/clock.ts";
import { type AnswerEvent, InferenceError, type RoutedEvent, type TraceEvent } from "../sdk/mod.ts";
import type { InferenceService, InferOptions, ModelListing, ServiceEvent } from "./inference.ts";
import type { Node } from "./node.ts";

export class NodeService implements InferenceService {
  readonly #node: Node;
  /** Requests under way: asked through this node, and answered here for others. */
  active = 0;
  #idle?: () => void;

  constructor(node: Node) {
    this.#node = node;
  }

  /** The bridge's view: the mesh as one service. */
  async *infer(request: InferenceRequest, options: InferOptions): AsyncGenerator<ServiceEvent> {
    yield* this.route(request, options.signal);
  }

  /** Asks the mesh, this node included. */
  async *route(
    request: InferenceRequest,
    signal: AbortSignal,
    onTrace?: (event: TraceEvent) => void,
  ): AsyncGenerator<RoutedEvent> {
    const record = { side: "client", provider: "nexus" } as const;
    yield* this.#admitted(this.#measured(record, () =>
      this.#node.router.infer(request, {
        signal,
        onTrace: (event) => {
          if (event.type === "retry") this.#node.metrics.retry();
          onTrace?.(event);
        },
      })));
  }

  /** Answers another node with a provider of this one. */
  async *answerPeer(request: InferenceRequest, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    yield* this.#admitted(this.answerHere(request, signal));
  }

  /** Answers with a provider of this node; the request was admitted already. */
  async *answerHere(request: InferenceRequest, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    const { local } = this.#node;
    const record = { side: "server", provider: local.providerOf(request).name } as const;
    yield* this.#measured(record, () => local.answer(request, signal));
  }

  /** Lets a request in, once, however many layers of this node it passes. */
  async *#admitted<E>(events: AsyncGenerator<E>): AsyncGenerator<E> {
    const { requests_max: max } = this.#node.loaded.config.limits;
    if (this.active >= max) {
      throw new InferenceError(
        "MODEL_OVERLOADED",
        `cannot take request: ${this.active} run on this node, expected fewer than ${max}`,
        { retryable: true },
      );
    }
    this.active++;
    try {
      yield* events;
    } finally {
      this.active--;
      if (this.active === 0) this.#idle?.();
    }
  }

  /** Measures a request, whichever way it ends. */
  async *#measured<E extends RoutedEvent | AnswerEvent>(
    record: { side: "client" | "server"; provider: string },
    begin: () => AsyncIterable<E>,
  ): AsyncGenerator<E> {
    const startedUs = systemClock.nowUs();
    const elapsedS = () => (systemClock.nowUs() - startedUs) / 1e6;
    let model: string | undefined;
    let firstTokenS: number | undefined;
    let usage: Usage | undefined;
    // Until it is whole, the asking side may leave the loop, which runs no line but `finally`.
    let outcome: string | undefined = "CANCELLED";
    try {
      for await (const event of begin()) {
        if (event.type === "start") model = event.model;
        else if (event.type === "chunk") firstTokenS ??= elapsedS();
        else {
          usage = event.usage;
          outcome = undefined;
        }
        yield event;
      }
    } catch (error) {
      const failure = InferenceError.from(error);
      outcome = failure.code;
      throw failure;
    } finally {
      this.#node.metrics.operation({
        ...record,
        operation: "chat",
        model,
        durationS: elapsedS(),
        firstTokenS,
        inputTokens: usage?.prompt,
        outputTokens: usage?.completion,
        error: outcome,
      });
    }
  }

  models(): readonly ModelListing[] {
    const { table } = this.#node;
    return listModels(table.snapshot(), systemClock.nowUs());
  }

  /** Resolves when nothing runs any more, or after `deadlineMs`. */
  async idle(deadlineMs: number): Promise<void> {
    if (this.active === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      timer = setTimeout(resolve, deadlineMs);
    });
    clearTimeout(timer);
  }
}
