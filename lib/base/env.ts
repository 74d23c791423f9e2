/** Time and randomness as the layers see them: always handed in, never taken. */

/** Fills the array with random bytes; cryptographically strong outside tests. */
export type RandomFill = (into: Uint8Array) => void;

/** What a driver reads once per turn and hands to the cores. */
export interface Clock {
  /** Monotonic time in microseconds, fraction allowed, arbitrary origin. */
  nowUs(): number;
  /** Wall time in milliseconds since the Unix epoch. */
  unixMs(): number;
}

/** No deadline: what `nextTimeoutUs()` returns when nothing is pending. */
export const NEVER = Infinity;

/**
 * Seeded generator for simulations and tests (xoshiro128**, Blackman and Vigna 2018; seeded by
 * splitmix32). Never for keys.
 */
export class SeededRandom {
  #s: Uint32Array;

  constructor(readonly seed: number) {
    let x = seed >>> 0;
    this.#s = Uint32Array.from({ length: 4 }, () => {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    });
  }

  /** Uniform u32. */
  u32(): number {
    const s = this.#s;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }
  /** Uniform in [0, 1). */
  float(): number {
    return this.u32() / 4294967296;
  }
  /** Uniform integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.float() * n);
  }
  /** True with probability p. */
  chance(p: number): boolean {
    return this.float() < p;
  }
  readonly fill: RandomFill = (into) => {
    for (let i = 0; i < into.length; i++) into[i] = this.u32() >>> 24;
  };
}
