/** DATA_ACK: which packets arrived (docs/protocol.md §5.4, the arithmetic of RFC 9000 §19.3.1). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { DATA_ACK, type Frame, MALFORMED } from "./frame.ts";

const HEAD_BYTES = 1 + 1 + 8 + 4 + 1 + 4;
const RANGE_BYTES = 4 + 4;
const ECN_BYTES = 24;
const FLAG_ECN = 0x01;
/** range_count is one byte and does not count the first range. */
export const ACK_RANGES_MAX = 256;

/** What an acknowledgement is written from. */
export interface AckSource {
  /** How many ranges there are, at least one; 0 is the highest. */
  readonly count: number;
  highAt(i: number): number;
  lowAt(i: number): number;
  /** Counts of packets by ECN codepoint; all zero means the port does not read ECN. */
  readonly ect0: number;
  readonly ect1: number;
  readonly ce: number;
}

/** Parses behind the type byte. `ranges` gets highest and lowest of each range, descending. */
export function parseAck(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < HEAD_BYTES - 1) return MALFORMED;
  const flags = view.getUint8(at);
  frame.largest = readU64(view, at + 1);
  frame.ackDelayUs = view.getUint32(at + 9);
  const rangeCount = view.getUint8(at + 13);
  frame.hasEcn = (flags & FLAG_ECN) !== 0;
  const next = at + HEAD_BYTES - 1 + rangeCount * RANGE_BYTES + (frame.hasEcn ? ECN_BYTES : 0);
  if (next > end || frame.largest < 0) return MALFORMED;
  let low = frame.largest - view.getUint32(at + 14);
  if (low < 0) return MALFORMED;
  const ranges = frame.ranges;
  ranges.length = 2 * (rangeCount + 1);
  ranges[0] = frame.largest;
  ranges[1] = low;
  let from = at + HEAD_BYTES - 1;
  for (let i = 1; i <= rangeCount; i++) {
    const high = low - view.getUint32(from) - 2;
    low = high - view.getUint32(from + 4);
    if (low < 0) return MALFORMED;
    ranges[2 * i] = high;
    ranges[2 * i + 1] = low;
    from += RANGE_BYTES;
  }
  if (frame.hasEcn) {
    frame.ect0 = readU64(view, from);
    frame.ect1 = readU64(view, from + 8);
    frame.ce = readU64(view, from + 16);
    if (frame.ect0 < 0 || frame.ect1 < 0 || frame.ce < 0) return MALFORMED;
  }
  return next;
}

/**
 * Writes as many ranges as fit `end`, highest first, and returns the offset behind the frame, or
 * `at` itself when not even one fits.
 */
export function appendAck(
  view: DataView,
  at: number,
  end: number,
  source: AckSource,
  ackDelayUs: number,
): number {
  const ecn = source.ect0 + source.ect1 + source.ce > 0;
  const room = end - at - HEAD_BYTES - (ecn ? ECN_BYTES : 0);
  if (room < 0) return at;
  const count = Math.min(source.count, ACK_RANGES_MAX, 1 + Math.floor(room / RANGE_BYTES));
  view.setUint8(at, DATA_ACK);
  view.setUint8(at + 1, ecn ? FLAG_ECN : 0);
  writeU64(view, at + 2, source.highAt(0));
  view.setUint32(at + 10, Math.min(Math.max(0, Math.round(ackDelayUs)), 0xffffffff));
  view.setUint8(at + 14, count - 1);
  view.setUint32(at + 15, source.highAt(0) - source.lowAt(0));
  let to = at + HEAD_BYTES;
  for (let i = 1; i < count; i++) {
    view.setUint32(to, source.lowAt(i - 1) - source.highAt(i) - 2);
    view.setUint32(to + 4, source.highAt(i) - source.lowAt(i));
    to += RANGE_BYTES;
  }
  if (ecn) {
    writeU64(view, to, source.ect0);
    writeU64(view, to + 8, source.ect1);
    writeU64(view, to + 16, source.ce);
    to += ECN_BYTES;
  }
  return to;
}
