/** MESSAGE: a message or a part of one (docs/protocol.md §5.1 and §5.3). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { type Frame, MALFORMED, MESSAGE } from "./frame.ts";

/** Bytes before the carried ones. */
export const MESSAGE_HEAD_BYTES = 1 + 1 + 4 + 8 + 4 + 4 + 2;
const MODE_BITS = 0x07;

export function parseMessage(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < MESSAGE_HEAD_BYTES - 1) return MALFORMED;
  frame.mode = view.getUint8(at) & MODE_BITS;
  frame.stream = view.getUint32(at + 1);
  frame.message = readU64(view, at + 5);
  frame.total = view.getUint32(at + 13);
  frame.offset = view.getUint32(at + 17);
  frame.dataLength = view.getUint16(at + 21);
  frame.dataAt = at + MESSAGE_HEAD_BYTES - 1;
  const next = frame.dataAt + frame.dataLength;
  if (next > end || frame.message < 0) return MALFORMED;
  if (frame.offset + frame.dataLength > frame.total) return MALFORMED;
  // An empty part of a message that is not empty would say nothing.
  return frame.dataLength === 0 && frame.total !== 0 ? MALFORMED : next;
}

/** Writes the head; the caller copies `length` bytes to the offset that is returned. */
export function appendMessageHead(
  view: DataView,
  at: number,
  mode: number,
  stream: number,
  message: number,
  total: number,
  offset: number,
  length: number,
): number {
  view.setUint8(at, MESSAGE);
  view.setUint8(at + 1, mode);
  view.setUint32(at + 2, stream);
  writeU64(view, at + 6, message);
  view.setUint32(at + 14, total);
  view.setUint32(at + 18, offset);
  view.setUint16(at + 22, length);
  return at + MESSAGE_HEAD_BYTES;
}
