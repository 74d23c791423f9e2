/** A message or a part of one, as MESSAGE frames and PR symbols carry it (docs/protocol.md §5.3). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { type Frame, MALFORMED } from "./frame.ts";

/** message u64 ‖ total u32 ‖ offset u32 ‖ length u16, before the carried bytes. */
export const RECORD_HEAD_BYTES = 8 + 4 + 4 + 2;

export function parseRecord(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < RECORD_HEAD_BYTES) return MALFORMED;
  frame.message = readU64(view, at);
  frame.total = view.getUint32(at + 8);
  frame.offset = view.getUint32(at + 12);
  frame.dataLength = view.getUint16(at + 16);
  frame.dataAt = at + RECORD_HEAD_BYTES;
  const next = frame.dataAt + frame.dataLength;
  if (next > end || frame.message < 0) return MALFORMED;
  if (frame.offset + frame.dataLength > frame.total) return MALFORMED;
  // An empty part of a message that is not empty would say nothing.
  return frame.dataLength === 0 && frame.total !== 0 ? MALFORMED : next;
}

/** Writes the head; the caller copies `length` bytes to the offset that is returned. */
export function appendRecordHead(
  view: DataView,
  at: number,
  message: number,
  total: number,
  offset: number,
  length: number,
): number {
  writeU64(view, at, message);
  view.setUint32(at + 8, total);
  view.setUint32(at + 12, offset);
  view.setUint16(at + 16, length);
  return at + RECORD_HEAD_BYTES;
}
