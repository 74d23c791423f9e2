/** MESSAGE: a message or a part of one, or a symbol of PR (docs/protocol.md §5.1, §5.3). */
import { type Frame, MALFORMED, MESSAGE, MODE_PROBABILISTIC } from "./frame.ts";
import { appendRecordHead, parseRecord, RECORD_HEAD_BYTES } from "./record.ts";
import { parseSymbol } from "./symbol.ts";

/** Bytes before the carried ones. */
export const MESSAGE_HEAD_BYTES = 1 + 1 + 4 + RECORD_HEAD_BYTES;
const MODE_BITS = 0x07;

export function parseMessage(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < 5) return MALFORMED;
  frame.mode = view.getUint8(at) & MODE_BITS;
  frame.stream = view.getUint32(at + 1);
  return frame.mode === MODE_PROBABILISTIC
    ? parseSymbol(view, at + 5, end, frame)
    : parseRecord(view, at + 5, end, frame);
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
  return appendRecordHead(view, at + 6, message, total, offset, length);
}
