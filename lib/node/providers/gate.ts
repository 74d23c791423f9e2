/** Admission: so many requests run, so many wait in order, the rest are refused at once. */
import { cancelled, InferenceError } from "../inference.ts";

/** Guess of when a full queue has moved, for `retry-after`. */
const RETRY_AFTER_MS = 1_000;

export interface GateOptions {
  /** For error messages, e.g. `provider "vllm"`. */
  readonly what: string;
  readonly runningMax: number;
  readonly queuedMax: number;
}

/** First come, first served. */
export class Gate {
  readonly #options: GateOptions;
  #running = 0;
  /** Insertion order is the order of the queue. */
  readonly #waiting = new Set<() => void>();

  constructor(options: GateOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }
  get queued(): number {
    return this.#waiting.size;
  }
  get runningMax(): number {
    return this.#options.runningMax;
  }

  /**
   * Waits for a place; the returned function gives it back and may be called twice. Throws
   * MODEL_OVERLOADED when the queue is full, CANCELLED when the signal aborts while waiting.
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    const { what, runningMax, queuedMax } = this.#options;
    if (signal.aborted) throw cancelled("the request");
    if (this.#running >= runningMax) {
      if (this.#waiting.size >= queuedMax) {
        throw new InferenceError(
          "MODEL_OVERLOADED",
          `cannot take request: ${what} runs ${this.#running} and has ${this.#waiting.size} ` +
            `waiting, its limits are ${runningMax} and ${queuedMax}`,
          { retryable: true, retryAfterMs: RETRY_AFTER_MS },
        );
      }
      await this.#wait(signal);
    } else this.#running++;
    let held = true;
    return () => {
      if (held) this.#leave();
      held = false;
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const admitted = () => {
        this.#waiting.delete(admitted);
        signal.removeEventListener("abort", gone);
        resolve();
      };
      const gone = () => {
        this.#waiting.delete(admitted);
        reject(cancelled("the request"));
      };
      signal.addEventListener("abort", gone, { once: true });
      this.#waiting.add(admitted);
    });
  }

  /** The place passes to the longest waiter, so `#running` changes only when nobody waits. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#running--;
    else next();
  }
}
