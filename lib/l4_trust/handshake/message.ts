/** The common shape of handshake messages (protocol.md §4.1): type, version, length, body. */
import type { ByteWriter } from "../../base/mod.ts";
import { type Aead, TAG_BYTES } from "../engine.ts";

/** Message types. RETRY is reserved and ignored in version 1. */
export const HANDSHAKE_MESSAGE = {
  hello: 1,
  retry: 2,
  accept: 3,
  finish: 4,
  alert: 5,
} as const;

/** The only version there is. */
export const HANDSHAKE_VERSION = 1;
/** Bytes before the body. */
export const MESSAGE_HEADER_BYTES = 4;

/** A message that is to be framed and sent. */
export interface OutgoingMessage {
  /** Header and body, without padding. */
  readonly message: Uint8Array;
  /** Its place among our messages of this attempt, from 0; the same for each retransmission. */
  readonly sequence: number;
  /** Bytes that the frame must have at least, filled with zeroes after the message; 0: as is. */
  readonly padTo: number;
}

/** A received message, cut to its length field. */
export interface IncomingMessage {
  readonly type: number;
  /** Header and body: a view into the payload. */
  readonly message: Uint8Array;
}

/** Cuts the message out of a frame's payload or a reassembled one; undefined when it is none. */
export function readMessage(payload: Uint8Array): IncomingMessage | undefined {
  if (payload.length < MESSAGE_HEADER_BYTES || payload[1] !== HANDSHAKE_VERSION) return undefined;
  const end = MESSAGE_HEADER_BYTES + (payload[2] << 8 | payload[3]);
  if (end > payload.length) return undefined;
  return { type: payload[0], message: payload.subarray(0, end) };
}

/** Starts a message; `finishMessage` fills in the length. */
export function startMessage(writer: ByteWriter, type: number): ByteWriter {
  return writer.u8(type).u8(HANDSHAKE_VERSION).u16(0);
}

/** Ends a message that has `sealedBytes` of box to come after what is written. */
export function finishMessage(writer: ByteWriter, sealedBytes: number): Uint8Array<ArrayBuffer> {
  return writer.patchU16(2, writer.length - MESSAGE_HEADER_BYTES + sealedBytes).finish();
}

/** Bytes that a sealed plaintext takes. */
export function boxBytes(plaintextBytes: number): number {
  return plaintextBytes + TAG_BYTES;
}

/** `clear ‖ ciphertext ‖ tag`; the clear part, with its final length field, is associated data. */
export function sealBox(
  aead: Aead,
  nonce: Uint8Array,
  clear: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(clear.length + boxBytes(plaintext.length));
  message.set(clear);
  message.set(plaintext, clear.length);
  const tagAt = clear.length + plaintext.length;
  aead.seal(nonce, clear, message, clear.length, plaintext.length, tagAt);
  return message;
}

/** The plaintext of a box whose clear part is `clearBytes` long; undefined when it does not open. */
export function openBox(
  aead: Aead,
  nonce: Uint8Array,
  message: Uint8Array,
  clearBytes: number,
): Uint8Array<ArrayBuffer> | undefined {
  const length = message.length - clearBytes - TAG_BYTES;
  if (length < 0) return undefined;
  const box = Uint8Array.from(message.subarray(clearBytes));
  const clear = message.subarray(0, clearBytes);
  if (!aead.open(nonce, clear, box, 0, length, length)) return undefined;
  return box.subarray(0, length);
}
