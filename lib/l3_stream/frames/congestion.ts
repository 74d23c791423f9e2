/** CONGESTION: how full the way looks from the other end (docs/protocol.md §5.4). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { CONGESTION, type Frame, MALFORMED } from "./frame.ts";

export const CONGESTION_BYTES = 1 + 8 + 8;

/** Parses behind the type byte. */
export function parseCongestion(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < CONGESTION_BYTES - 1) return MALFORMED;
  frame.ce = readU64(view, at);
  frame.bytesInFlight = readU64(view, at + 8);
  return frame.ce < 0 || frame.bytesInFlight < 0 ? MALFORMED : at + CONGESTION_BYTES - 1;
}

export function appendCongestion(
  view: DataView,
  at: number,
  ce: number,
  bytesInFlight: number,
): number {
  view.setUint8(at, CONGESTION);
  writeU64(view, at + 1, ce);
  writeU64(view, at + 9, bytesInFlight);
  return at + CONGESTION_BYTES;
}
