/** The 16 bytes in front of every body (docs/protocol.md §8), big-endian. */
import { NexusError } from "../base/mod.ts";

/** Bytes of a message header; a multiple of 8, so that bodies stay aligned behind it. */
export const MESSAGE_HEADER_BYTES = 16;

/** Largest body: 64 MiB, room for a long context with images, small enough to hold whole. */
export const BODY_BYTES_MAX = 64 * 1024 * 1024;

/** Message types (docs/protocol.md §8.1). */
export const MessageType = {
  INFERENCE_REQUEST: 0x0001,
  INFERENCE_RESPONSE: 0x0002,
  TOKEN_STREAM_START: 0x0003,
  TOKEN_STREAM_CHUNK: 0x0004,
  TOKEN_STREAM_END: 0x0005,
  HEALTH_CHECK: 0x000e,
  HEALTH_STATUS: 0x000f,
  CANCEL: 0x0011,
  ERROR: 0x0012,
  ADVERTISEMENTS: 0x0080,
  ADVERTISEMENT_PULL: 0x0081,
  CSR_SUBMIT: 0x0082,
  CSR_RESULT: 0x0083,
} as const;

/** A decoded header. Flags and the reserved word are ignored in version 1. */
export interface MessageHeader {
  readonly type: number;
  /** Unique among the client's live requests on a connection; 0 = belongs to no request. */
  readonly requestId: number;
  readonly bodyLength: number;
}

const AT = { type: 0, flags: 2, requestId: 4, bodyLength: 8, reserved: 12 } as const;

/** Writes a header at `offset`. */
export function writeMessageHeader(view: DataView, offset: number, header: MessageHeader): void {
  if (header.requestId >>> 0 !== header.requestId) {
    throw new NexusError(
      "INVALID_VALUE",
      `cannot encode message: request id is ${header.requestId}, expected a u32`,
    );
  }
  view.setUint16(offset + AT.type, header.type);
  view.setUint16(offset + AT.flags, 0);
  view.setUint32(offset + AT.requestId, header.requestId);
  view.setUint32(offset + AT.bodyLength, header.bodyLength);
  view.setUint32(offset + AT.reserved, 0);
}

/** Reads the header in front; MALFORMED when cut short, TOO_LARGE when it claims too much. */
export function readMessageHeader(
  bytes: Uint8Array,
  bodyBytesMax: number = BODY_BYTES_MAX,
): MessageHeader {
  if (bytes.length < MESSAGE_HEADER_BYTES) {
    throw new NexusError(
      "MALFORMED",
      `cannot read message: ${bytes.length} bytes, expected a header of ${MESSAGE_HEADER_BYTES}`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, MESSAGE_HEADER_BYTES);
  const bodyLength = view.getUint32(AT.bodyLength);
  if (bodyLength > bodyBytesMax) {
    throw new NexusError(
      "TOO_LARGE",
      `cannot read message: body is ${bodyLength} bytes, expected at most ${bodyBytesMax}`,
    );
  }
  return {
    type: view.getUint16(AT.type),
    requestId: view.getUint32(AT.requestId),
    bodyLength,
  };
}
