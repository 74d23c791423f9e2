/** MESSAGE of mode 4: a source symbol, that is one or more records (docs/protocol.md §5.9). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { type Frame, MALFORMED, MESSAGE, MODE_PROBABILISTIC } from "./frame.ts";
import { parseRecord, RECORD_HEAD_BYTES } from "./record.ts";

/** §5.9: bytes of a source symbol; what an end must keep to repair others is bounded by it. */
export const SYMBOL_BYTES_MAX = 2_048;
/** A symbol as the code sees it begins with its length, so that padding can be told from content. */
export const SYMBOL_LENGTH_BYTES = 2;
/** Bytes before the records. */
export const SYMBOL_HEAD_BYTES = 1 + 1 + 4 + 8 + SYMBOL_LENGTH_BYTES;

/** Parses behind the stream. `symbol` is its number, the data all of its records. */
export function parseSymbol(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < 8 + SYMBOL_LENGTH_BYTES) return MALFORMED;
  frame.symbol = readU64(view, at);
  const length = view.getUint16(at + 8);
  const from = at + 8 + SYMBOL_LENGTH_BYTES;
  const next = from + length;
  if (frame.symbol < 0 || next > end || !areRecords(view, from, next, frame)) return MALFORMED;
  frame.dataAt = from;
  frame.dataLength = length;
  return next;
}

/** Whether the bytes are a symbol: records back to back. `frame` is used to parse. */
export function areRecords(view: DataView, at: number, end: number, frame: Frame): boolean {
  if (end - at < RECORD_HEAD_BYTES || end - at > SYMBOL_BYTES_MAX) return false;
  while (at < end) {
    at = parseRecord(view, at, end, frame);
    if (at === MALFORMED) return false;
  }
  return true;
}

/** Writes the head up to the length, which is the first of the bytes that the caller copies. */
export function appendSymbolHead(
  view: DataView,
  at: number,
  stream: number,
  symbol: number,
): number {
  view.setUint8(at, MESSAGE);
  view.setUint8(at + 1, MODE_PROBABILISTIC);
  view.setUint32(at + 2, stream);
  writeU64(view, at + 6, symbol);
  return at + SYMBOL_HEAD_BYTES - SYMBOL_LENGTH_BYTES;
}
