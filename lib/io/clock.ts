/** The real clock and the real random source, for drivers to hand to the layers. */
import type { Clock, RandomFill } from "../base/mod.ts";

/** Monotonic time from `performance.now`, wall time from `Date.now`. */
export const systemClock: Clock = {
  nowUs: () => performance.now() * 1000,
  unixMs: () => Date.now(),
};

/** Most bytes of one getRandomValues call (Web Cryptography API, QuotaExceededError above it). */
const RANDOM_BYTES_MAX = 65_536;

/** Cryptographically strong random bytes from the runtime. */
export const randomFill: RandomFill = (into) => {
  for (let at = 0; at < into.length; at += RANDOM_BYTES_MAX) {
    const part = into.subarray(at, at + RANDOM_BYTES_MAX);
    if (part.buffer instanceof ArrayBuffer) {
      crypto.getRandomValues(part as Uint8Array<ArrayBuffer>);
    } else {
      // The runtime refuses shared memory here.
      part.set(crypto.getRandomValues(new Uint8Array(part.length)));
    }
  }
};
