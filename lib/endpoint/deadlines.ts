/**
 * Binary min-heap of (time, key) with lazy deletion: a key's latest time wins, older heap
 * entries are skipped when they surface. Serves thousands of connections with one timer.
 */
import { NEVER } from "../base/mod.ts";

export class Deadlines<K> {
  readonly #times: number[] = [];
  readonly #keys: K[] = [];
  readonly #current = new Map<K, number>();

  /** Sets, moves or (with NEVER) removes the deadline of a key. */
  set(key: K, timeUs: number): void {
    const old = this.#current.get(key);
    if (old === timeUs) return;
    if (timeUs === NEVER) {
      this.#current.delete(key);
      return;
    }
    this.#current.set(key, timeUs);
    this.#push(timeUs, key);
  }

  delete(key: K): void {
    this.#current.delete(key);
  }

  /** Earliest deadline, NEVER when there is none. */
  nextUs(): number {
    while (this.#times.length > 0 && this.#stale()) this.#pop();
    return this.#times.length > 0 ? this.#times[0] : NEVER;
  }

  /** Takes one key whose deadline has come, undefined when there is none. */
  takeDue(nowUs: number): K | undefined {
    if (this.nextUs() > nowUs) return undefined;
    const key = this.#keys[0];
    this.#pop();
    this.#current.delete(key);
    return key;
  }

  #stale(): boolean {
    return this.#current.get(this.#keys[0]) !== this.#times[0];
  }

  #push(timeUs: number, key: K): void {
    const times = this.#times, keys = this.#keys;
    let i = times.length;
    times.push(timeUs);
    keys.push(key);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (times[parent] <= timeUs) break;
      times[i] = times[parent];
      keys[i] = keys[parent];
      i = parent;
    }
    times[i] = timeUs;
    keys[i] = key;
  }

  #pop(): void {
    const times = this.#times, keys = this.#keys;
    const timeUs = times.pop()!, key = keys.pop()!;
    const n = times.length;
    if (n === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= n) break;
      if (child + 1 < n && times[child + 1] < times[child]) child++;
      if (times[child] >= timeUs) break;
      times[i] = times[child];
      keys[i] = keys[child];
      i = child;
    }
    times[i] = timeUs;
    keys[i] = key;
  }
}
