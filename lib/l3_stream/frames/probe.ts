/** PING, PONG, PATH_CHALLENGE and PATH_RESPONSE: eight bytes each (docs/protocol.md §5.1). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { type Frame, MALFORMED } from "./frame.ts";

/** Bytes of each of the four frames, type byte included. */
export const PROBE_BYTES = 1 + 8;

/** PING and PONG, behind the type byte. */
export function parsePing(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < 8) return MALFORMED;
  frame.id = readU64(view, at);
  return frame.id < 0 ? MALFORMED : at + 8;
}

export function appendPing(view: DataView, at: number, type: number, id: number): number {
  view.setUint8(at, type);
  writeU64(view, at + 1, id);
  return at + PROBE_BYTES;
}

/** PATH_CHALLENGE and PATH_RESPONSE, behind the type byte. */
export function parsePath(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < 8) return MALFORMED;
  frame.tokenHigh = view.getUint32(at);
  frame.tokenLow = view.getUint32(at + 4);
  return at + 8;
}

export function appendPath(
  view: DataView,
  at: number,
  type: number,
  tokenHigh: number,
  tokenLow: number,
): number {
  view.setUint8(at, type);
  view.setUint32(at + 1, tokenHigh);
  view.setUint32(at + 5, tokenLow);
  return at + PROBE_BYTES;
}
