/** Reed-Solomon parity by the definition: GF(2^8) with 0x11d, row i, column j: 1 / (i xor j). */

/** Product in the field, bit by bit. */
export function gfMultiply(a: number, b: number): number {
  let product = 0;
  for (; b > 0; b >>= 1) {
    if (b & 1) product ^= a;
    a = (a << 1) ^ (a & 0x80 ? 0x11d : 0);
  }
  return product;
}

/** The element whose product with `a` is 1. */
export function gfInverse(a: number): number {
  for (let b = 1; b < 256; b++) if (gfMultiply(a, b) === 1) return b;
  throw new RangeError("0 has no inverse");
}

/** Parity symbols of data symbols of equal length. */
export function reedSolomonParity(data: readonly Uint8Array[], parity: number): Uint8Array[] {
  return Array.from({ length: parity }, (_, p) => {
    const symbol = new Uint8Array(data[0].length);
    data.forEach((bytes, j) => {
      const coefficient = gfInverse((data.length + p) ^ j);
      bytes.forEach((byte, at) => symbol[at] ^= gfMultiply(coefficient, byte));
    });
    return symbol;
  });
}
