/** RECEIVER_REPORT: what became of the source symbols of a PR stream (docs/protocol.md §5.9). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { type Frame, MALFORMED, RECEIVER_REPORT } from "./frame.ts";

export const REPORT_BYTES = 1 + 4 + 4 * 8;

/** Counts over all time; their sum is the number of symbols that the report covers. */
export interface SymbolCounts {
  /** Arrived by themselves. */
  received: number;
  /** Rebuilt. */
  recovered: number;
  lost: number;
  /** How many runs the symbols that did not arrive form. */
  gaps: number;
}

/** Parses behind the type byte. */
export function parseReport(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < REPORT_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  const { counts } = frame;
  counts.received = readU64(view, at + 4);
  counts.recovered = readU64(view, at + 12);
  counts.lost = readU64(view, at + 20);
  counts.gaps = readU64(view, at + 28);
  const missing = counts.recovered + counts.lost;
  if (counts.received < 0 || counts.recovered < 0 || counts.lost < 0) return MALFORMED;
  if (!Number.isSafeInteger(counts.received + missing)) return MALFORMED;
  return counts.gaps < 0 || counts.gaps > missing ? MALFORMED : at + REPORT_BYTES - 1;
}

export function appendReport(
  view: DataView,
  at: number,
  stream: number,
  counts: Readonly<SymbolCounts>,
): number {
  view.setUint8(at, RECEIVER_REPORT);
  view.setUint32(at + 1, stream);
  writeU64(view, at + 5, counts.received);
  writeU64(view, at + 13, counts.recovered);
  writeU64(view, at + 21, counts.lost);
  writeU64(view, at + 29, counts.gaps);
  return at + REPORT_BYTES;
}
