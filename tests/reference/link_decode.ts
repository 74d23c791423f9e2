/**
 * The checks of a receiver, slow and plain, straight from docs/protocol.md §2 without the generated
 * constants: the twin of lib/l1_link/decode.ts for differential tests.
 */
import { canonicalViewReference, crc32cReference } from "./link.ts";

/** [shortest, longest] value by option type; PAD takes any. */
const LENGTHS: Record<number, [number, number]> = {
  1: [6, 6],
  2: [1, 1],
  3: [16, 16],
  4: [1, 33],
  5: [16, 16],
  6: [1, 1],
  7: [4, 192],
  8: [4, 4],
};

/** The name of the FrameError that the bytes deserve, "OK" for a frame. */
export function decodeReference(frame: Uint8Array): string {
  if (frame.length < 68) return "FRAME_TOO_SHORT";
  if (frame.length > 65_535) return "FRAME_TOO_LONG";
  const big = (at: number, bytes: number) => {
    let value = 0;
    for (let i = 0; i < bytes; i++) value = value * 256 + frame[at + i];
    return value;
  };
  if (big(4, 4) !== frame.length) return "FRAME_LENGTH_MISMATCH";
  const word = big(0, 4);
  if (Math.floor(word / 2 ** 28) !== 1) return "FRAME_VERSION";
  const flags = Math.floor(word / 2 ** 20) % 256;
  const type = Math.floor(word / 2 ** 4) % 65_536;
  if (type < 1 || type > 7) return "FRAME_TYPE";
  const optionsLength = big(54, 2);
  if (optionsLength > 256) return "OPTIONS_TOO_LONG";
  if (64 + optionsLength + 4 > frame.length) return "OPTIONS_OVERRUN";
  if (crc32cReference(canonicalViewReference(frame)) !== big(frame.length - 4, 4)) {
    return "FRAME_CRC";
  }
  if (frame[49] > 9) return "TENSOR_DTYPE";
  const alignment = big(52, 2);
  if (alignment !== 0 && !Number.isInteger(Math.log2(alignment))) return "TENSOR_ALIGNMENT";
  const encrypted = (flags & 0x04) !== 0;
  if (encrypted !== (frame[51] !== 0)) return "KEY_PHASE";
  return checkOptions(frame, 64, 64 + optionsLength, encrypted, type, (flags & 0x01) !== 0);
}

function checkOptions(
  frame: Uint8Array,
  from: number,
  to: number,
  encrypted: boolean,
  frameType: number,
  more: boolean,
): string {
  const seen = new Set<number>();
  for (let at = from; at < to;) {
    if (seen.has(3)) return "OPTION_TAG";
    if (at + 2 > to || at + 2 + frame[at + 1] > to) return "OPTION_TRUNCATED";
    const type = frame[at] % 128;
    const critical = frame[at] >= 128;
    const value = frame.subarray(at + 2, at + 2 + frame[at + 1]);
    at += 2 + value.length;
    if (type === 0) continue;
    if (type > 8) {
      if (critical) return "OPTION_CRITICAL_UNKNOWN";
      continue;
    }
    const [shortest, longest] = LENGTHS[type];
    if (value.length < shortest || value.length > longest) return "OPTION_LENGTH";
    if (seen.has(type)) return "OPTION_DUPLICATE";
    seen.add(type);
    if (type === 1 && value[4] === 0 && value[5] === 0) return "OPTION_VALUE";
    if (type === 2 && (value[0] < 1 || value[0] > 3)) return "OPTION_VALUE";
    if (type === 4 && value.length !== 1 + 4 * value[0]) return "OPTION_LENGTH";
  }
  if (encrypted !== seen.has(3)) return "OPTION_TAG";
  if ((seen.has(1) || more) && (encrypted || frameType !== 5 || !seen.has(1))) {
    return "FRAGMENT_FORBIDDEN";
  }
  if (encrypted && seen.has(7)) return "ANYCAST_SEALED";
  return "OK";
}
