/** CONN_CLOSE and CONN_CLOSE_ACK (docs/protocol.md §5.2). */
import { fromUtf8, utf8 } from "../../base/mod.ts";
import { CONN_CLOSE, CONN_CLOSE_ACK, type Frame, MALFORMED } from "./frame.ts";

/** Bytes of CONN_CLOSE without its phrase. */
export const CLOSE_HEAD_BYTES = 1 + 4 + 1;
export const CLOSE_ACK_BYTES = 1;
/** A phrase has a one-byte length. */
const PHRASE_BYTES_MAX = 255;

/** Parses behind the type byte; `error` is the reason, the data bytes are the phrase. */
export function parseClose(view: DataView, at: number, end: number, frame: Frame): number {
  if (end - at < 5) return MALFORMED;
  frame.error = view.getUint32(at);
  frame.dataLength = view.getUint8(at + 4);
  frame.dataAt = at + 5;
  const next = frame.dataAt + frame.dataLength;
  return next > end ? MALFORMED : next;
}

export function appendClose(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  reason: number,
  phrase: Uint8Array,
): number {
  bytes[at] = CONN_CLOSE;
  view.setUint32(at + 1, reason);
  bytes[at + 5] = phrase.length;
  bytes.set(phrase, at + 6);
  return at + CLOSE_HEAD_BYTES + phrase.length;
}

export function appendCloseAck(bytes: Uint8Array, at: number): number {
  bytes[at] = CONN_CLOSE_ACK;
  return at + CLOSE_ACK_BYTES;
}

/** A phrase as it goes on the wire: cut to what fits, but not inside a character. */
export function encodePhrase(text: string): Uint8Array {
  const bytes = utf8(text);
  if (bytes.length <= PHRASE_BYTES_MAX) return bytes;
  let end = PHRASE_BYTES_MAX;
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.slice(0, end);
}

/** A phrase that came; empty when it is no UTF-8. */
export function decodePhrase(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    return ""; // a phrase is only for people
  }
}
