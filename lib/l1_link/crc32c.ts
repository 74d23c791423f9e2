/**
 * CRC-32C (Castagnoli), the frame's checksum: reflected polynomial 0x82F63B78, initial value and
 * final XOR all ones (RFC 3720 §12.1 names it, RFC 3720 B.4 gives test vectors).
 *
 * Slicing-by-8 (Kounavis and Berry, 2005): eight tables turn eight bytes into eight independent
 * look-ups. tests/reference/crc32c.ts is the bit-by-bit twin.
 */

const POLYNOMIAL_REFLECTED = 0x82f63b78;

/** TABLES[256 * k + b]: register after byte b and k zero bytes. Int32 keeps V8 on small integers. */
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL_REFLECTED : 0);
    }
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const shorter = tables[i - 256];
    tables[i] = (shorter >>> 8) ^ tables[shorter & 0xff];
  }
  return tables;
}

/**
 * CRC-32C of `bytes[from … to)` as a u32. `seed` is the CRC of what stands before (0 at the
 * start), so a checksum can be taken in pieces: `crc32c(b, 0, 9) === crc32c(b, 4, 9, crc32c(b, 0, 4))`.
 */
export function crc32c(bytes: Uint8Array, from: number, to: number, seed = 0): number {
  return ~crcAdd(~seed, bytes, from, to) >>> 0;
}

/** Register (not inverted, signed) after `bytes[from … to)`. The building block of this layer. */
export function crcAdd(register: number, bytes: Uint8Array, from: number, to: number): number {
  const t = TABLES;
  let crc = register;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    crc ^= bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
    crc = t[1792 + (crc & 0xff)] ^ t[1536 + ((crc >>> 8) & 0xff)] ^
      t[1280 + ((crc >>> 16) & 0xff)] ^ t[1024 + (crc >>> 24)] ^
      t[768 + bytes[at + 4]] ^ t[512 + bytes[at + 5]] ^ t[256 + bytes[at + 6]] ^ t[bytes[at + 7]];
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]) & 0xff];
  return crc;
}

/** Register after `count` zero bytes: what stands where the canonical view reads a byte as 0. */
export function crcAddZeroes(register: number, count: number): number {
  let crc = register;
  for (let i = 0; i < count; i++) crc = (crc >>> 8) ^ TABLES[crc & 0xff];
  return crc;
}
