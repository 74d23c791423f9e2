const TWO_POW_32 = 4294967296;

/** Nanoseconds since the Unix epoch as two u32 halves; 2⁵³ is too small for the product. */
export function splitNs(unixMs: number): { high: number; low: number } {
  const us = Math.floor(unixMs * 1000);
  const highUs = Math.floor(us / TWO_POW_32);
  const lowNs = (us % TWO_POW_32) * 1000;
  return {
    high: (highUs * 1000 + Math.floor(lowNs / TWO_POW_32)) >>> 0,
    low: (lowNs % TWO_POW_32) >>> 0,
  };
}
