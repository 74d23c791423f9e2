/**
 * Slow, plain twins of lib/l1_link: CRC bit by bit, and the canonical view as a copy, read straight
 * from docs/protocol.md §2 without the generated constants.
 */

/** CRC-32C, one bit at a time. */
export function crc32cReference(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * 0x82f63b78);
  }
  return ~crc >>> 0;
}

/** Copy of a frame's bytes before the CRC with the mutable ones at 0. */
export function canonicalViewReference(frame: Uint8Array): Uint8Array {
  const copy = frame.slice(0, frame.length - 4);
  copy[50] = 0;
  const optionsEnd = 64 + (frame[54] * 256 + frame[55]);
  let hopCountSeen = false;
  for (let at = 64; at + 2 <= optionsEnd; at += 2 + frame[at + 1]) {
    const [type, length] = [frame[at] & 0x7f, frame[at + 1]];
    if (at + 2 + length > optionsEnd) break;
    if (type === 6 && length === 1 && !hopCountSeen) {
      copy[at + 2] = 0;
      hopCountSeen = true;
    }
    if (type === 7) copy.fill(0, 32, 48);
  }
  return copy;
}
