/**
 * Systematic Reed-Solomon by matrices: a Vandermonde matrix (row r, column c: r^c) multiplied by
 * the inverse of its top square; GF(2^8) with 0x11D. The codecs get there by interpolation.
 */

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

/** Repair symbols of source symbols of equal length. */
export function reedSolomonRepairs(sources: readonly Uint8Array[], count: number): Uint8Array[] {
  const k = sources.length;
  const vandermonde = Array.from({ length: k + count }, (_, r) => {
    const row = [1];
    while (row.length < k) row.push(gfMultiply(row[row.length - 1], r));
    return row;
  });
  const inverse = invert(vandermonde.slice(0, k));
  return vandermonde.slice(k).map((row) => {
    const symbol = new Uint8Array(sources[0].length);
    for (let j = 0; j < k; j++) {
      const weight = row.reduce((sum, value, i) => sum ^ gfMultiply(value, inverse[i][j]), 0);
      sources[j].forEach((byte, at) => symbol[at] ^= gfMultiply(weight, byte));
    }
    return symbol;
  });
}

/** Gauss and Jordan. */
function invert(matrix: number[][]): number[][] {
  const n = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => Number(i === j))]);
  for (let i = 0; i < n; i++) {
    const pivot = rows.findIndex((row, r) => r >= i && row[i] !== 0);
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    const scale = gfInverse(rows[i][i]);
    rows[i] = rows[i].map((value) => gfMultiply(value, scale));
    for (let r = 0; r < n; r++) {
      const factor = rows[r][i];
      if (r === i || factor === 0) continue;
      rows[r] = rows[r].map((value, c) => value ^ gfMultiply(factor, rows[i][c]));
    }
  }
  return rows.map((row) => row.slice(n));
}
