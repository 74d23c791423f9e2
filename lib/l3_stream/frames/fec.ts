/** FEC: a repair symbol of a block of source symbols (docs/protocol.md §5.9). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { FEC, type Frame, MALFORMED } from "./frame.ts";
import { SYMBOL_BYTES_MAX, SYMBOL_LENGTH_BYTES } from "./symbol.ts";

/** Bytes before the symbol. */
export const FEC_HEAD_BYTES = 1 + 4 + 8 + 1 + 1 + 2;
/** §5.9: source symbols of a block, and repair symbols of one. */
export const BLOCK_SOURCES_MAX = 64;
export const BLOCK_REPAIRS_MAX = 64;

/** Parses behind the type byte. */
export function parseFec(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < FEC_HEAD_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  frame.symbol = readU64(view, at + 4);
  frame.sourceCount = view.getUint8(at + 12);
  frame.repair = view.getUint8(at + 13);
  frame.dataLength = view.getUint16(at + 14);
  frame.dataAt = at + FEC_HEAD_BYTES - 1;
  const next = frame.dataAt + frame.dataLength;
  const { symbol, sourceCount, repair, dataLength } = frame;
  if (symbol < 0 || !Number.isSafeInteger(symbol + sourceCount) || next > end) return MALFORMED;
  if (sourceCount === 0 || sourceCount > BLOCK_SOURCES_MAX) return MALFORMED;
  if (repair >= BLOCK_REPAIRS_MAX || dataLength <= SYMBOL_LENGTH_BYTES) return MALFORMED;
  return dataLength > SYMBOL_LENGTH_BYTES + SYMBOL_BYTES_MAX ? MALFORMED : next;
}

/** Writes the head; the caller copies `length` bytes to the offset that is returned. */
export function appendFecHead(
  view: DataView,
  at: number,
  stream: number,
  firstSymbol: number,
  sourceCount: number,
  repair: number,
  length: number,
): number {
  view.setUint8(at, FEC);
  view.setUint32(at + 1, stream);
  writeU64(view, at + 5, firstSymbol);
  view.setUint8(at + 13, sourceCount);
  view.setUint8(at + 14, repair);
  view.setUint16(at + 15, length);
  return at + FEC_HEAD_BYTES;
}
