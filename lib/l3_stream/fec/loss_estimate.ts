/**
 * What receiver reports say about a path's losses. Windows of decaying counts: the slow one gives
 * the precise estimate, the fast one tells when the path has become another one, upon which both
 * begin anew from the newest symbols.
 */
import type { SymbolCounts } from "../frames/report.ts";
import type { LossModel } from "./redundancy.ts";

/** Symbols that the windows look back. 4,096 tell 1 % from 1.3 %, 512 tell 1 % from 3 %. */
const SLOW_SYMBOLS = 4_096;
const FAST_SYMBOLS = 512;
const NEWEST_SYMBOLS = 64;
/** Before the first report: two of forty lost, one after the other, so that the first blocks are on the safe side. */
const PRIOR_SYMBOLS = 40;
const PRIOR_MISSING = 2;
const PRIOR_GAPS = 1;
const PRIOR_FADES_SYMBOLS = 512;
/** Standard deviations of the upper bound: 95 % one-sided. */
const BOUND_DEVIATIONS = 1.645;
/** Standard deviations from which the fast window disagrees with the slow one. */
const CHANGE_DEVIATIONS = 3;
/** Deviation in symbols below which nothing is a disagreement: one loss is no news. */
const CHANGE_SYMBOLS_MIN = 0.8;
/** Losses that are assumed to have been independent, so that a single pair makes no burst path. */
const RUN_PRIOR = 2;
const RUN_RATE_MAX = 0.98;

class Window {
  symbols = 0;
  missing = 0;
  gaps = 0;
  /** How much of the assumption still counts. */
  prior = 1;

  constructor(readonly length: number) {}

  add(symbols: number, missing: number, gaps: number): void {
    const keep = Math.exp(-symbols / this.length);
    this.symbols = this.symbols * keep + symbols;
    this.missing = Math.max(0, this.missing * keep + missing);
    this.gaps = Math.max(0, this.gaps * keep + gaps);
    this.prior = Math.max(0, this.prior - symbols / PRIOR_FADES_SYMBOLS);
  }

  copy(other: Window): void {
    this.symbols = other.symbols;
    this.missing = other.missing;
    this.gaps = other.gaps;
  }

  get count(): number {
    return this.symbols + this.prior * PRIOR_SYMBOLS;
  }
  get lossRate(): number {
    return Math.min(1, (this.missing + this.prior * PRIOR_MISSING) / this.count);
  }
  get runRate(): number {
    const rate = this.lossRate;
    const pairs = this.missing - this.gaps + this.prior * (PRIOR_MISSING - PRIOR_GAPS);
    const run = (pairs + RUN_PRIOR * rate) / (this.missing + this.prior + RUN_PRIOR);
    return Math.min(Math.max(run, rate), Math.max(RUN_RATE_MAX, rate));
  }
}

export class LossEstimate {
  readonly #slow = new Window(SLOW_SYMBOLS);
  readonly #fast = new Window(FAST_SYMBOLS);
  readonly #newest = new Window(NEWEST_SYMBOLS);
  #covered = 0;
  #missing = 0;
  #gaps = 0;

  /** Takes a report; false when it is not newer than the last one. */
  onReport({ received, recovered, lost, gaps }: Readonly<SymbolCounts>): boolean {
    const missing = recovered + lost;
    const symbols = received + missing - this.#covered;
    if (symbols <= 0) return false;
    for (const window of [this.#slow, this.#fast, this.#newest]) {
      window.add(symbols, missing - this.#missing, gaps - this.#gaps);
    }
    this.#covered += symbols;
    this.#missing = missing;
    this.#gaps = gaps;
    if (this.#hasChanged()) {
      this.#slow.copy(this.#newest);
      this.#fast.copy(this.#newest);
    }
    return true;
  }

  /** Most likely share of lost symbols. */
  get lossRate(): number {
    return this.#slow.lossRate;
  }

  /** What to plan with: the upper confidence bound (Wilson) of the loss rate, and how runs go on. */
  get model(): LossModel {
    const { lossRate: rate, runRate } = this.#slow;
    // Losses in runs say less than as many independent ones.
    const count = this.#slow.count / spread(runRate);
    const z2 = BOUND_DEVIATIONS ** 2;
    const deviation = Math.sqrt(rate * (1 - rate) / count + z2 / (4 * count * count));
    const bound = (rate + z2 / (2 * count) + BOUND_DEVIATIONS * deviation) / (1 + z2 / count);
    const lossRate = Math.min(1, bound);
    const runs = this.#slow.missing + RUN_PRIOR;
    const runBound = runRate + Math.sqrt(runRate * (1 - runRate) / runs);
    return { lossRate, runRate: Math.min(Math.max(runBound, lossRate), RUN_RATE_MAX) };
  }

  #hasChanged(): boolean {
    const { lossRate, runRate } = this.#slow;
    const { symbols, missing } = this.#fast;
    const variance = symbols * lossRate * (1 - lossRate) * spread(runRate);
    const deviation = Math.max(CHANGE_SYMBOLS_MIN, Math.sqrt(variance));
    return Math.abs(missing - symbols * lossRate) > CHANGE_DEVIATIONS * deviation;
  }
}

/** How much wider the number of losses spreads in a chain with this run rate. */
function spread(runRate: number): number {
  return (1 + runRate) / Math.max(1e-3, 1 - runRate);
}
