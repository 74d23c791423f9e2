/** GF(2^8) with polynomial 0x11D: bytes as a field, where adding is XOR and 2 generates all but 0. */

const POLYNOMIAL = 0x11d;
/** Non-zero elements: exponents of 2 repeat after this many. */
export const GF_ORDER = 255;

/** 2^i, for i < 2 · GF_ORDER, so that the sum of two logarithms needs no modulo. */
export const GF_EXP = new Uint8Array(2 * GF_ORDER);
/** i with 2^i = a; GF_LOG[0] means nothing. */
export const GF_LOG = new Uint8Array(256);
/** Product of a and b at `a << 8 | b`: a row of 256 bytes for each coefficient. */
export const GF_PRODUCT = new Uint8Array(65_536);

for (let i = 0, value = 1; i < GF_ORDER; i++) {
  GF_EXP[i] = GF_EXP[i + GF_ORDER] = value;
  GF_LOG[value] = i;
  value <<= 1;
  if (value > 0xff) value ^= POLYNOMIAL;
}
for (let a = 1; a < 256; a++) {
  for (let b = 1; b < 256; b++) GF_PRODUCT[a << 8 | b] = GF_EXP[GF_LOG[a] + GF_LOG[b]];
}
