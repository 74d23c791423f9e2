/** DATA_NACK: packets that the receiver misses (docs/protocol.md §5.4). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { DATA_NACK, type Frame, MALFORMED } from "./frame.ts";

const HEAD_BYTES = 1 + 1;
const RANGE_BYTES = 8 + 1;
/** §5.4: ranges of one frame, and packets of one range. */
export const NACK_RANGES_MAX = 8;
export const NACK_PACKETS_MAX = 32;

/** Bytes of a frame with so many ranges. */
export function nackBytes(ranges: number): number {
  return HEAD_BYTES + ranges * RANGE_BYTES;
}

/** Parses behind the type byte. `ranges` gets highest and lowest of each range, as they stand. */
export function parseNack(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < HEAD_BYTES - 1) return MALFORMED;
  const count = view.getUint8(at);
  const next = at + nackBytes(count) - 1;
  if (count === 0 || count > NACK_RANGES_MAX || next > end) return MALFORMED;
  frame.ranges.length = 2 * count;
  for (let i = 0; i < count; i++) {
    const from = at + HEAD_BYTES - 1 + i * RANGE_BYTES;
    const low = readU64(view, from);
    const packets = view.getUint8(from + 8) + 1;
    const high = low + packets - 1;
    if (low < 0 || packets > NACK_PACKETS_MAX || !Number.isSafeInteger(high)) return MALFORMED;
    frame.ranges[2 * i] = high;
    frame.ranges[2 * i + 1] = low;
  }
  return next;
}

/** Writes `count` ranges (flat highest, lowest), each of at most NACK_PACKETS_MAX packets. */
export function appendNack(
  view: DataView,
  at: number,
  ranges: ArrayLike<number>,
  count: number,
): number {
  view.setUint8(at, DATA_NACK);
  view.setUint8(at + 1, count);
  for (let i = 0; i < count; i++) {
    const to = at + HEAD_BYTES + i * RANGE_BYTES;
    writeU64(view, to, ranges[2 * i + 1]);
    view.setUint8(to + 8, ranges[2 * i] - ranges[2 * i + 1]);
  }
  return at + nackBytes(count);
}
