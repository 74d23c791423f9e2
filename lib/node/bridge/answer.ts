/** Reads the events of an inference in the order that `InferenceService` promises. */
import { InferenceError, type ServiceEvent, type ServiceStart } from "../inference.ts";
import type { Exchange } from "./exchange.ts";

/** What follows the start. */
export type AnswerEvent = Exclude<ServiceEvent, { type: "start" }>;

/** Reads the service's events in the order that the interface promises. */
export class Answer {
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
