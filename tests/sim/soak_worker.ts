/** Runs seeds of the soak for main.ts: ranges in, one message for each seed out. */
/// <reference lib="deno.worker" />
import { soak, type SoakResult } from "./soak.ts";

/** Seeds from `from` to before `until`. */
export interface SeedRange {
  readonly from: number;
  readonly until: number;
}

/** What a seed gave; `error` is the text of the failure. */
export interface SeedReport {
  readonly seed: number;
  readonly result?: SoakResult;
  readonly error?: string;
  /** The worker wants the next range. */
  readonly isLast: boolean;
}

self.onmessage = ({ data: { from, until } }: MessageEvent<SeedRange>) => {
  for (let seed = from; seed < until; seed++) {
    const isLast = seed === until - 1;
    try {
      self.postMessage({ seed, result: soak(seed), isLast } satisfies SeedReport);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      self.postMessage({ seed, error: text, isLast } satisfies SeedReport);
    }
  }
};
