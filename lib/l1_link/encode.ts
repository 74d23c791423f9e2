/**
 * Encoding: header, options, payload and CRC are written where the frame will lie (a pool slot),
 * in that order, without a copy (NL-F-003). The order of calls:
 *
 *     encodeHeader → option writers → payload (→ seal) → finishFrame
 */
import { NexusError } from "../base/mod.ts";
import { frameCrc } from "./canonical.ts";
import {
  CRC_BYTES,
  DEST_NODE_ID_AT,
  FRAME_BYTES_MAX,
  FRAME_LENGTH_AT,
  FRAME_VERSION,
  FrameType,
  HEADER_BYTES,
  HOP_LIMIT_AT,
  HOP_LIMIT_DEFAULT,
  KEY_PHASE_AT,
  OPTION_HEADER_BYTES,
  OPTIONS_BYTES_MAX,
  OPTIONS_LENGTH_AT,
  PRIORITY_QOS_AT,
  PRIORITY_QOS_PRIORITY_SHIFT,
  PRIORITY_QOS_QOS_MASK,
  SEQUENCE_NUMBER_AT,
  SOURCE_NODE_ID_AT,
  STREAM_ID_AT,
  TENSOR_ALIGNMENT_AT,
  TENSOR_DTYPE_AT,
  TIMESTAMP_AT,
  WORD0_AT,
  WORD0_FLAGS_SHIFT,
  WORD0_TYPE_SHIFT,
  WORD0_VERSION_SHIFT,
} from "./gen/link.ts";
import { type FrameOption, optionBytes, writeOption } from "./options.ts";

/** Bytes of the ENCRYPTION_TAG option with its header. */
const TAG_OPTION_BYTES = OPTION_HEADER_BYTES + 16;
/** Where the tag value stands in a sealed frame whose only option is the tag. */
export const SEALED_TAG_OFFSET = HEADER_BYTES + OPTION_HEADER_BYTES;
/** Where the payload starts in a sealed frame whose only option is the tag. */
export const SEALED_PAYLOAD_OFFSET = HEADER_BYTES + TAG_OPTION_BYTES;
/** Bytes that such a frame adds to its payload: header, tag option, CRC. */
export const SEALED_OVERHEAD = SEALED_PAYLOAD_OFFSET + CRC_BYTES;
/** Bytes that a frame without options adds to its payload. */
export const PLAIN_OVERHEAD = HEADER_BYTES + CRC_BYTES;

const ZERO_NODE_ID = new Uint8Array(16);

/**
 * The header as its sender knows it. Mutable, so that one object serves every frame of a sender;
 * the defaults make a clear data frame without options. Values are trusted (they are ours) and
 * cut to their fields' widths.
 */
export class HeaderFields {
  flags = 0;
  /** A FrameType. */
  type: number = FrameType.DATA;
  /** Whole frame, CRC included. May stay 0 when finishFrame follows without sealing. */
  length = 0;
  streamId = 0;
  sequence = 0;
  /** 16 bytes each. */
  source: Uint8Array = ZERO_NODE_ID;
  dest: Uint8Array = ZERO_NODE_ID;
  priority = 0;
  qos = 0;
  tensorDtype = 0;
  hopLimit = HOP_LIMIT_DEFAULT;
  keyPhase = 0;
  tensorAlignment = 0;
  optionsLength = 0;
  timestampHigh = 0;
  timestampLow = 0;
}

/** Writes the 64 header bytes at `offset`. `view` covers the same memory as `bytes`. */
export function encodeHeader(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  fields: HeaderFields,
): void {
  view.setUint32(
    offset + WORD0_AT,
    FRAME_VERSION << WORD0_VERSION_SHIFT | fields.flags << WORD0_FLAGS_SHIFT |
      fields.type << WORD0_TYPE_SHIFT,
  );
  view.setUint32(offset + FRAME_LENGTH_AT, fields.length);
  view.setUint32(offset + STREAM_ID_AT, fields.streamId);
  view.setUint32(offset + SEQUENCE_NUMBER_AT, fields.sequence);
  const { source, dest } = fields;
  for (let i = 0; i < 16; i++) bytes[offset + SOURCE_NODE_ID_AT + i] = source[i];
  for (let i = 0; i < 16; i++) bytes[offset + DEST_NODE_ID_AT + i] = dest[i];
  bytes[offset + PRIORITY_QOS_AT] = fields.priority << PRIORITY_QOS_PRIORITY_SHIFT |
    fields.qos & PRIORITY_QOS_QOS_MASK;
  bytes[offset + TENSOR_DTYPE_AT] = fields.tensorDtype;
  bytes[offset + HOP_LIMIT_AT] = fields.hopLimit;
  bytes[offset + KEY_PHASE_AT] = fields.keyPhase;
  view.setUint16(offset + TENSOR_ALIGNMENT_AT, fields.tensorAlignment);
  view.setUint16(offset + OPTIONS_LENGTH_AT, fields.optionsLength);
  view.setUint32(offset + TIMESTAMP_AT, fields.timestampHigh);
  view.setUint32(offset + TIMESTAMP_AT + 4, fields.timestampLow);
}

/**
 * Writes frame_length and, after everything else is in place, the CRC in the last four of the
 * `length` bytes at `offset`. The last call for every frame.
 */
export function finishFrame(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  length: number,
): void {
  view.setUint32(offset + FRAME_LENGTH_AT, length);
  const optionsLength = view.getUint16(offset + OPTIONS_LENGTH_AT);
  view.setUint32(offset + length - CRC_BYTES, frameCrc(bytes, offset, length, optionsLength));
}

/**
 * A whole clear frame in new memory: the convenient form for handshakes, tools and tests.
 * `fields.length` and `fields.optionsLength` are worked out here. Throws OPTIONS_TOO_LONG or
 * FRAME_TOO_LONG past 256 bytes of options or 65,535 of frame.
 */
export function buildFrame(
  fields: Partial<HeaderFields>,
  options: readonly FrameOption[] = [],
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array<ArrayBuffer> {
  const header = Object.assign(new HeaderFields(), fields);
  header.optionsLength = options.reduce((sum, option) => sum + optionBytes(option), 0);
  header.length = HEADER_BYTES + header.optionsLength + payload.length + CRC_BYTES;
  if (header.optionsLength > OPTIONS_BYTES_MAX) {
    throw new NexusError(
      "OPTIONS_TOO_LONG",
      `cannot build frame: options are ${header.optionsLength} bytes, expected at most ${OPTIONS_BYTES_MAX}`,
    );
  }
  if (header.length > FRAME_BYTES_MAX) {
    throw new NexusError(
      "FRAME_TOO_LONG",
      `cannot build frame: it is ${header.length} bytes, expected at most ${FRAME_BYTES_MAX}`,
    );
  }
  const bytes = new Uint8Array(header.length);
  const view = new DataView(bytes.buffer);
  encodeHeader(bytes, view, 0, header);
  let at = HEADER_BYTES;
  for (const option of options) at = writeOption(bytes, view, at, option);
  bytes.set(payload, at);
  finishFrame(bytes, view, 0, header.length);
  return bytes;
}
