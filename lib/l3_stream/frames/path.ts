/** PATH_OPEN, PATH_ACCEPT, PATH_CLOSE: further paths of a connection (docs/protocol.md §5.8). */
import { type Frame, MALFORMED, PATH_CLOSE } from "./frame.ts";

/** Bytes of PATH_OPEN and PATH_ACCEPT, type byte included. */
export const PATH_OPEN_BYTES = 1 + 4 + 4;
/** Bytes of PATH_CLOSE. */
export const PATH_CLOSE_BYTES = 1 + 4;

/** PATH_OPEN and PATH_ACCEPT, behind the type byte. */
export function parsePathOpen(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < PATH_OPEN_BYTES - 1) return MALFORMED;
  frame.path = view.getUint32(at);
  frame.connectionId = view.getUint32(at + 4);
  return at + PATH_OPEN_BYTES - 1;
}

export function appendPathOpen(
  view: DataView,
  at: number,
  type: number,
  path: number,
  connectionId: number,
): number {
  view.setUint8(at, type);
  view.setUint32(at + 1, path);
  view.setUint32(at + 5, connectionId);
  return at + PATH_OPEN_BYTES;
}

/** PATH_CLOSE, behind the type byte. */
export function parsePathClose(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < PATH_CLOSE_BYTES - 1) return MALFORMED;
  frame.path = view.getUint32(at);
  return at + PATH_CLOSE_BYTES - 1;
}

export function appendPathClose(view: DataView, at: number, path: number): number {
  view.setUint8(at, PATH_CLOSE);
  view.setUint32(at + 1, path);
  return at + PATH_CLOSE_BYTES;
}
