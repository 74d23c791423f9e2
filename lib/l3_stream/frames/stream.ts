/** STREAM_OPEN … STREAM_STOP and WINDOW_UPDATE: the life of a stream (docs/protocol.md §5.3). */
import { readU64, writeU64 } from "../../base/mod.ts";
import {
  type Frame,
  MALFORMED,
  PRIORITY_MAX,
  STREAM_ACK,
  STREAM_CLOSE,
  STREAM_CLOSE_ACK,
  STREAM_OPEN,
  STREAM_RESET,
  STREAM_STOP,
  WINDOW_UPDATE,
} from "./frame.ts";

export const STREAM_OPEN_BYTES = 1 + 4 + 1 + 1 + 8;
export const STREAM_ACK_BYTES = 1 + 4 + 8;
export const STREAM_CLOSE_BYTES = 1 + 4 + 8;
export const STREAM_RESET_BYTES = 1 + 4 + 4 + 8;
export const STREAM_CLOSE_ACK_BYTES = 1 + 4;
export const STREAM_STOP_BYTES = 1 + 4 + 4;
export const WINDOW_UPDATE_BYTES = 1 + 4 + 8;

export function parseStreamOpen(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < STREAM_OPEN_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  frame.mode = view.getUint8(at + 4);
  frame.priority = view.getUint8(at + 5);
  frame.limit = readU64(view, at + 6);
  return frame.limit < 0 || frame.priority > PRIORITY_MAX ? MALFORMED : at + STREAM_OPEN_BYTES - 1;
}

export function appendStreamOpen(
  view: DataView,
  at: number,
  stream: number,
  mode: number,
  priority: number,
  limit: number,
): number {
  view.setUint8(at, STREAM_OPEN);
  view.setUint32(at + 1, stream);
  view.setUint8(at + 5, mode);
  view.setUint8(at + 6, priority);
  writeU64(view, at + 7, limit);
  return at + STREAM_OPEN_BYTES;
}

/** STREAM_ACK and WINDOW_UPDATE: a stream and a limit. */
export function parseLimit(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < STREAM_ACK_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  frame.limit = readU64(view, at + 4);
  return frame.limit < 0 ? MALFORMED : at + STREAM_ACK_BYTES - 1;
}

export function appendStreamAck(view: DataView, at: number, stream: number, limit: number): number {
  return appendStreamAndU64(view, at, STREAM_ACK, stream, limit);
}

export function appendWindowUpdate(
  view: DataView,
  at: number,
  stream: number,
  limit: number,
): number {
  return appendStreamAndU64(view, at, WINDOW_UPDATE, stream, limit);
}

export function parseStreamClose(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < STREAM_CLOSE_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  frame.finalSize = readU64(view, at + 4);
  return frame.finalSize < 0 ? MALFORMED : at + STREAM_CLOSE_BYTES - 1;
}

export function appendStreamClose(
  view: DataView,
  at: number,
  stream: number,
  finalSize: number,
): number {
  return appendStreamAndU64(view, at, STREAM_CLOSE, stream, finalSize);
}

export function parseStreamReset(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < STREAM_RESET_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  frame.error = view.getUint32(at + 4);
  frame.finalSize = readU64(view, at + 8);
  return frame.finalSize < 0 ? MALFORMED : at + STREAM_RESET_BYTES - 1;
}

export function appendStreamReset(
  view: DataView,
  at: number,
  stream: number,
  error: number,
  finalSize: number,
): number {
  view.setUint8(at, STREAM_RESET);
  view.setUint32(at + 1, stream);
  view.setUint32(at + 5, error);
  writeU64(view, at + 9, finalSize);
  return at + STREAM_RESET_BYTES;
}

export function parseStreamCloseAck(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < STREAM_CLOSE_ACK_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  return at + STREAM_CLOSE_ACK_BYTES - 1;
}

export function appendStreamCloseAck(view: DataView, at: number, stream: number): number {
  view.setUint8(at, STREAM_CLOSE_ACK);
  view.setUint32(at + 1, stream);
  return at + STREAM_CLOSE_ACK_BYTES;
}

export function parseStreamStop(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < STREAM_STOP_BYTES - 1) return MALFORMED;
  frame.stream = view.getUint32(at);
  frame.error = view.getUint32(at + 4);
  return at + STREAM_STOP_BYTES - 1;
}

export function appendStreamStop(
  view: DataView,
  at: number,
  stream: number,
  error: number,
): number {
  view.setUint8(at, STREAM_STOP);
  view.setUint32(at + 1, stream);
  view.setUint32(at + 5, error);
  return at + STREAM_STOP_BYTES;
}

function appendStreamAndU64(
  view: DataView,
  at: number,
  type: number,
  stream: number,
  value: number,
): number {
  view.setUint8(at, type);
  view.setUint32(at + 1, stream);
  writeU64(view, at + 5, value);
  return at + 13;
}
