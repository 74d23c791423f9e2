/**
 * A set of integers kept as disjoint, non-adjacent, ascending ranges: received packet numbers,
 * received or acknowledged stream bytes. Additions near the top are the common case and cost
 * nothing but two comparisons; anything else is a binary search and at most one splice.
 */

/** What a RangeSet may hold. */
export interface RangeSetOptions {
  /** Most ranges kept; when one more appears the lowest range is forgotten. Default: no bound. */
  rangesMax?: number;
}

/** Set of non-negative safe integers stored as inclusive ranges. */
export class RangeSet {
  /** Lowest value of each range, ascending; valid below `count`. Read only for callers. */
  readonly lows: number[] = [];
  /** Highest value of each range (inclusive), same index as `lows`. Read only for callers. */
  readonly highs: number[] = [];
  readonly #rangesMax: number;

  constructor({ rangesMax = Infinity }: RangeSetOptions = {}) {
    this.#rangesMax = rangesMax;
  }

  /** Number of ranges. */
  get count(): number {
    return this.lows.length;
  }
  /** Largest value, -1 when empty. */
  get largest(): number {
    const n = this.highs.length;
    return n === 0 ? -1 : this.highs[n - 1];
  }
  /** Smallest value, -1 when empty. */
  get smallest(): number {
    return this.lows.length === 0 ? -1 : this.lows[0];
  }

  /** Adds one value; false when it was there already. */
  insert(n: number): boolean {
    const last = this.highs.length - 1;
    if (last >= 0) {
      const high = this.highs[last];
      if (n === high + 1) {
        this.highs[last] = n;
        return true;
      }
      if (n <= high && n >= this.lows[last]) return false;
    }
    return this.insertRange(n, n) !== 0;
  }

  /** Adds low…high (inclusive; nothing when high < low); how many values were new. */
  insertRange(low: number, high: number): number {
    if (high < low) return 0;
    const { lows, highs } = this;
    // Ranges from..to-1 overlap or touch low…high and melt into it.
    const from = this.#firstEndingAtOrAfter(low - 1);
    let to = from;
    let known = 0;
    let mergedLow = low;
    let mergedHigh = high;
    while (to < lows.length && lows[to] <= high + 1) {
      known += Math.max(0, Math.min(high, highs[to]) - Math.max(low, lows[to]) + 1);
      mergedLow = Math.min(mergedLow, lows[to]);
      mergedHigh = Math.max(mergedHigh, highs[to]);
      to++;
    }
    if (to === from) {
      lows.splice(from, 0, low);
      highs.splice(from, 0, high);
      if (lows.length > this.#rangesMax) {
        lows.shift();
        highs.shift();
      }
    } else {
      lows[from] = mergedLow;
      highs[from] = mergedHigh;
      if (to - from > 1) {
        lows.splice(from + 1, to - from - 1);
        highs.splice(from + 1, to - from - 1);
      }
    }
    return high - low + 1 - known;
  }

  /** Takes out low…high (inclusive; nothing when high < low); how many values were there. */
  removeRange(low: number, high: number): number {
    if (high < low) return 0;
    const { lows, highs } = this;
    const from = this.#firstEndingAtOrAfter(low);
    let to = from;
    let removed = 0;
    while (to < lows.length && lows[to] <= high) {
      removed += Math.min(high, highs[to]) - Math.max(low, lows[to]) + 1;
      to++;
    }
    if (to === from) return 0;
    const keepLow = lows[from];
    const keepHigh = highs[to - 1];
    let at = from;
    const rests = (keepLow < low ? 1 : 0) + (keepHigh > high ? 1 : 0);
    if (rests > to - from) {
      // One range is cut in two: the only case that grows.
      lows.splice(from + 1, 0, 0);
      highs.splice(from + 1, 0, 0);
    } else if (rests < to - from) {
      lows.splice(from, to - from - rests);
      highs.splice(from, to - from - rests);
    }
    if (keepLow < low) {
      lows[at] = keepLow;
      highs[at++] = low - 1;
    }
    if (keepHigh > high) {
      lows[at] = high + 1;
      highs[at] = keepHigh;
    }
    if (lows.length > this.#rangesMax) {
      lows.shift();
      highs.shift();
    }
    return removed;
  }

  /** Forgets everything below n. */
  dropBelow(n: number): void {
    const { lows, highs } = this;
    let gone = 0;
    while (gone < highs.length && highs[gone] < n) gone++;
    if (gone > 0) {
      lows.splice(0, gone);
      highs.splice(0, gone);
    }
    if (lows.length > 0 && lows[0] < n) lows[0] = n;
  }

  /** Empties the set. */
  clear(): void {
    this.lows.length = 0;
    this.highs.length = 0;
  }

  /** Whether n is in the set. */
  contains(n: number): boolean {
    return this.containsRange(n, n);
  }

  /** Whether all of low…high is in the set; true for nothing (high < low). */
  containsRange(low: number, high: number): boolean {
    if (high < low) return true;
    const at = this.#firstEndingAtOrAfter(low);
    return at < this.lows.length && this.lows[at] <= low && this.highs[at] >= high;
  }

  /** Smallest value ≥ n that is not in the set. */
  nextMissing(n: number): number {
    const at = this.#firstEndingAtOrAfter(n);
    return at < this.lows.length && this.lows[at] <= n ? this.highs[at] + 1 : n;
  }

  /** Smallest value ≥ n that is in the set, -1 when there is none. */
  nextPresent(n: number): number {
    const at = this.#firstEndingAtOrAfter(n);
    return at < this.lows.length ? Math.max(n, this.lows[at]) : -1;
  }

  /**
   * Writes the ranges as flat high, low pairs, highest first (the order of DATA_ACK), at most
   * `rangesMax` of them; how many were written.
   */
  writeDescending(into: number[], rangesMax = Infinity): number {
    const n = Math.min(this.lows.length, rangesMax);
    for (let i = 0, at = this.lows.length - 1; i < n; i++, at--) {
      into[2 * i] = this.highs[at];
      into[2 * i + 1] = this.lows[at];
    }
    return n;
  }

  /** Index of the first range whose high is ≥ n; `count` when none is. */
  #firstEndingAtOrAfter(n: number): number {
    const { highs } = this;
    let high = highs.length;
    // Most questions are about the top: look there before searching.
    if (high === 0 || highs[high - 1] < n) return high;
    if (high === 1 || highs[high - 2] < n) return high - 1;
    let low = 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (highs[middle] < n) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
