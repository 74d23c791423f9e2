/**
 * The newest source symbols of a probabilistic stream by number: what became of each, and the counts
 * for receiver reports. A symbol is counted once `REORDER_SYMBOLS` newer ones are known of, and
 * counted anew when it arrives or is rebuilt later, as long as it is in the window.
 *
 *   forgotten | counted ............ settled ... newest | not known yet
 *             next - WINDOW_SYMBOLS                     next
 */
import type { SymbolCounts } from "../frames/report.ts";

/** Symbols of which is known whether they came: a slower path may be so far behind. */
export const WINDOW_SYMBOLS = 1_024;
/** A symbol that so many newer ones overtook counts as missing for now. */
const REORDER_SYMBOLS = 8;

const MISSING = 0;
const ARRIVED = 1;
const RECOVERED = 2;

export class SymbolWindow {
  /** Made with the first symbol: most streams send one way only. */
  #state = new Uint8Array(0);
  /** Number of the first symbol that is not known of. */
  #next = 0;
  /** Number of the first symbol that is not counted. */
  #settled = 0;
  readonly counts: SymbolCounts = { received: 0, recovered: 0, lost: 0, gaps: 0 };

  get settled(): number {
    return this.#settled;
  }
  /** Lowest number in the window. */
  get low(): number {
    return Math.max(0, this.#next - WINDOW_SYMBOLS);
  }

  /** Symbols below `next` exist. Their places begin empty. */
  advance(next: number): void {
    if (next <= this.#next) return;
    if (this.#state.length === 0) this.#state = new Uint8Array(WINDOW_SYMBOLS);
    this.#settle(Math.max(0, next - REORDER_SYMBOLS));
    for (let i = Math.max(this.#next, next - WINDOW_SYMBOLS); i < next; i++) {
      this.#state[i % WINDOW_SYMBOLS] = MISSING;
    }
    this.#next = next;
  }

  /** Whether the symbol, which is in the window, is here in some way. */
  has(symbol: number): boolean {
    return this.#state[symbol % WINDOW_SYMBOLS] !== MISSING;
  }

  /** A symbol of the window arrived; false when its content is here already. */
  arrive(symbol: number): boolean {
    const before = this.#state[symbol % WINDOW_SYMBOLS];
    if (before === ARRIVED) return false;
    if (symbol < this.#settled) {
      if (before === MISSING) this.counts.lost--;
      else this.counts.recovered--;
      this.counts.received++;
      // One run less, or one more when this was in the middle of one.
      this.counts.gaps += 1 - this.#arrivedAt(symbol - 1) - this.#arrivedAt(symbol + 1);
    }
    this.#state[symbol % WINDOW_SYMBOLS] = ARRIVED;
    return before === MISSING;
  }

  /** A missing symbol of the window was rebuilt. */
  recover(symbol: number): void {
    this.#state[symbol % WINDOW_SYMBOLS] = RECOVERED;
    if (symbol >= this.#settled) return;
    this.counts.lost--;
    this.counts.recovered++;
  }

  /** 1 where no run of missing symbols goes on: it arrived, or is not counted (yet or any more). */
  #arrivedAt(symbol: number): number {
    if (symbol < this.low || symbol >= this.#settled) return 1;
    return this.#state[symbol % WINDOW_SYMBOLS] === ARRIVED ? 1 : 0;
  }

  #settle(until: number): void {
    const { counts } = this;
    let arrivedBefore = this.#arrivedAt(this.#settled - 1);
    const known = Math.min(until, this.#next);
    for (; this.#settled < known; this.#settled++) {
      const state = this.#state[this.#settled % WINDOW_SYMBOLS];
      if (state === ARRIVED) {
        counts.received++;
        arrivedBefore = 1;
        continue;
      }
      counts.gaps += arrivedBefore;
      arrivedBefore = 0;
      if (state === RECOVERED) counts.recovered++;
      else counts.lost++;
    }
    if (this.#settled >= until) return;
    counts.lost += until - this.#settled; // nothing is known of these but that they were sent
    counts.gaps += arrivedBefore;
    this.#settled = until;
  }
}
