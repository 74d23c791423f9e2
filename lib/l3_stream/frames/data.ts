/** DATA: bytes of a reliable ordered stream at an offset (docs/protocol.md §5.1). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { DATA, type Frame, MALFORMED } from "./frame.ts";

/** Bytes before the carried ones. */
export const DATA_HEAD_BYTES = 1 + 4 + 8 + 2;
/** The length field has 16 bits. */
export const DATA_LENGTH_MAX = 0xffff;

export function parseData(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < DATA_HEAD_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  frame.offset = readU64(view, at + 4);
  frame.dataLength = view.getUint16(at + 12);
  frame.dataAt = at + DATA_HEAD_BYTES - 1;
  const next = frame.dataAt + frame.dataLength;
  if (next > end || frame.offset < 0) return MALFORMED;
  // The last byte's offset must be below 2⁵³ too.
  return frame.offset + frame.dataLength > Number.MAX_SAFE_INTEGER ? MALFORMED : next;
}

/** Writes the head; the caller copies `length` bytes to the offset that is returned. */
export function appendDataHead(
  view: DataView,
  at: number,
  stream: number,
  offset: number,
  length: number,
): number {
  view.setUint8(at, DATA);
  view.setUint32(at + 1, stream);
  writeU64(view, at + 5, offset);
  view.setUint16(at + 13, length);
  return at + DATA_HEAD_BYTES;
}
