/** The deadlines of a connection in one table; its paths keep their own (Path.nextTimeoutUs). */
import { NEVER } from "../base/mod.ts";

/** When to … */
export const Timer = {
  /** … give up a silent peer. */
  Idle: 0,
  /** … ask a silent peer for a sign of life. */
  KeepAlive: 1,
  /** … give up a peer that never sent its parameters. */
  Connect: 2,
  /** … send CONN_CLOSE once more. */
  CloseRepeat: 3,
  /** … forget a connection that is closing. */
  Close: 4,
  /** … end a block or the lingering of a PR stream. */
  Probabilistic: 5,
} as const;
export type Timer = (typeof Timer)[keyof typeof Timer];

const TIMERS = 6;

/** Deadline of each timer, NEVER when it is not set. */
export class TimerTable {
  readonly #atUs = new Float64Array(TIMERS).fill(NEVER);

  set(timer: Timer, atUs: number): void {
    this.#atUs[timer] = atUs;
  }
  stop(timer: Timer): void {
    this.#atUs[timer] = NEVER;
  }
  stopAll(): void {
    this.#atUs.fill(NEVER);
  }
  at(timer: Timer): number {
    return this.#atUs[timer];
  }
  /** Earliest deadline. */
  next(): number {
    let next = NEVER;
    for (let i = 0; i < TIMERS; i++) if (this.#atUs[i] < next) next = this.#atUs[i];
    return next;
  }
  /** Whether the timer is due; a due one is stopped. */
  take(timer: Timer, nowUs: number): boolean {
    if (this.#atUs[timer] > nowUs) return false;
    this.#atUs[timer] = NEVER;
    return true;
  }
}
