/**
 * Decoding: bytes are checked once, in the order of docs/protocol.md §2, and described in a
 * FrameInfo. No objects, no exceptions: the result is a FrameError code, and `frameError` turns
 * a code into the typed error where one is wanted.
 */
import { NexusError } from "../base/mod.ts";
import { frameCrc } from "./canonical.ts";
import type { FrameInfo } from "./frame_info.ts";
import {
  Compression,
  CRC_BYTES,
  Flag,
  FRAME_BYTES_MAX,
  FRAME_BYTES_MIN,
  FRAME_LENGTH_AT,
  FRAME_VERSION,
  FrameType,
  HEADER_BYTES,
  HOP_LIMIT_AT,
  KEY_PHASE_AT,
  OPTION_CRITICAL,
  OPTION_HEADER_BYTES,
  OPTION_TYPE_MASK,
  OPTION_VALUE_BYTES_MAX,
  OPTION_VALUE_BYTES_MIN,
  OPTIONS_BYTES_MAX,
  OPTIONS_LENGTH_AT,
  OptionType,
  PRIORITY_QOS_AT,
  PRIORITY_QOS_PRIORITY_SHIFT,
  PRIORITY_QOS_QOS_MASK,
  SEQUENCE_NUMBER_AT,
  STREAM_ID_AT,
  TENSOR_ALIGNMENT_AT,
  TENSOR_DTYPE_AT,
  TensorDtype,
  TIMESTAMP_AT,
  WORD0_AT,
  WORD0_FLAGS_SHIFT,
  WORD0_TYPE_MASK,
  WORD0_TYPE_SHIFT,
  WORD0_VERSION_SHIFT,
} from "./gen/link.ts";

/** Why a frame was refused; 0 is no error. The names are also the codes of `frameError`. */
export enum FrameError {
  OK = 0,
  /** Fewer bytes than header and CRC. */
  FRAME_TOO_SHORT,
  /** More than 65,535 bytes. */
  FRAME_TOO_LONG,
  /** frame_length is not the number of bytes received. */
  FRAME_LENGTH_MISMATCH,
  FRAME_VERSION,
  FRAME_TYPE,
  /** options_length above 256. */
  OPTIONS_TOO_LONG,
  /** The options would reach past the frame. */
  OPTIONS_OVERRUN,
  FRAME_CRC,
  TENSOR_DTYPE,
  TENSOR_ALIGNMENT,
  /** key_phase is 0 on an encrypted frame, or not 0 on a clear one. */
  KEY_PHASE,
  /** An option reaches past the options, or half an option header stands at their end. */
  OPTION_TRUNCATED,
  /** A known option has another length than its own. */
  OPTION_LENGTH,
  /** A known option stands twice. */
  OPTION_DUPLICATE,
  /** An unknown option with the critical bit. */
  OPTION_CRITICAL_UNKNOWN,
  /** A known option holds a value that is not defined. */
  OPTION_VALUE,
  /** ENCRYPTION_TAG and the encrypted flag disagree, or another option follows it. */
  OPTION_TAG,
  /** A fragment that is sealed or no handshake frame, or more_fragments without FRAGMENT_INFO. */
  FRAGMENT_FORBIDDEN,
  /** SEMANTIC_ADDR on a sealed frame: sealed frames are never anycast. */
  ANYCAST_SEALED,
}

/** What each code means, for the message of the typed error. */
const REASONS: Record<FrameError, string> = {
  [FrameError.OK]: "nothing is wrong",
  [FrameError.FRAME_TOO_SHORT]: "fewer than 68 bytes",
  [FrameError.FRAME_TOO_LONG]: "more than 65,535 bytes",
  [FrameError.FRAME_LENGTH_MISMATCH]: "frame_length is not the number of bytes received",
  [FrameError.FRAME_VERSION]: "version is not 1",
  [FrameError.FRAME_TYPE]: "frame type is not defined, expected 1…7",
  [FrameError.OPTIONS_TOO_LONG]: "options_length is above 256",
  [FrameError.OPTIONS_OVERRUN]: "options reach past the frame",
  [FrameError.FRAME_CRC]: "CRC does not match the canonical view",
  [FrameError.TENSOR_DTYPE]: "tensor_dtype is not defined, expected 0…9",
  [FrameError.TENSOR_ALIGNMENT]: "tensor_alignment is neither 0 nor a power of two",
  [FrameError.KEY_PHASE]: "key_phase disagrees with the encrypted flag",
  [FrameError.OPTION_TRUNCATED]: "an option reaches past the options",
  [FrameError.OPTION_LENGTH]: "a known option has a length that is not its own",
  [FrameError.OPTION_DUPLICATE]: "an option stands twice",
  [FrameError.OPTION_CRITICAL_UNKNOWN]: "a critical option is unknown",
  [FrameError.OPTION_VALUE]: "an option value is not defined",
  [FrameError.OPTION_TAG]: "ENCRYPTION_TAG is not the last option of an encrypted frame",
  [FrameError.FRAGMENT_FORBIDDEN]: "only clear handshake frames may be fragments",
  [FrameError.ANYCAST_SEALED]: "SEMANTIC_ADDR stands on a sealed frame",
};

/** The typed error of a code other than OK; its `code` is the name, e.g. "FRAME_CRC". */
export function frameError(code: FrameError): NexusError {
  return new NexusError(FrameError[code] ?? "FRAME", `cannot decode frame: ${REASONS[code]}`);
}

const FLAGS_DEFINED = Flag.MORE_FRAGMENTS | Flag.COMPRESSED | Flag.ENCRYPTED |
  Flag.TENSOR_PAYLOAD | Flag.PRIORITY_EXPRESS | Flag.OVERLAY_ENCAP;

/**
 * Checks the frame of `length` bytes at `offset` and describes it in `out`. `view` is a DataView
 * over the same memory as `bytes`. Returns a FrameError; after another one than OK `out` holds
 * leftovers. Never throws, never reads outside `bytes[offset … offset + length)`.
 *
 * `crcVerified` skips the CRC of a frame that a burst check (native, say) has found right. One that
 * it has not is decoded without, which names the first check that fails in the protocol's order.
 */
export function decodeFrame(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  length: number,
  out: FrameInfo,
  crcVerified = false,
): FrameError {
  if (length < FRAME_BYTES_MIN || offset + length > bytes.length) {
    return FrameError.FRAME_TOO_SHORT;
  }
  if (length > FRAME_BYTES_MAX) return FrameError.FRAME_TOO_LONG;
  if (view.getUint32(offset + FRAME_LENGTH_AT) !== length) return FrameError.FRAME_LENGTH_MISMATCH;

  const word0 = view.getUint32(offset + WORD0_AT);
  if (word0 >>> WORD0_VERSION_SHIFT !== FRAME_VERSION) return FrameError.FRAME_VERSION;
  const type = (word0 >>> WORD0_TYPE_SHIFT) & WORD0_TYPE_MASK;
  if (type < FrameType.DATA || type > FrameType.STREAM_CONTROL) return FrameError.FRAME_TYPE;

  const optionsLength = view.getUint16(offset + OPTIONS_LENGTH_AT);
  if (optionsLength > OPTIONS_BYTES_MAX) return FrameError.OPTIONS_TOO_LONG;
  if (FRAME_BYTES_MIN + optionsLength > length) return FrameError.OPTIONS_OVERRUN;

  const end = offset + length - CRC_BYTES;
  if (!crcVerified && frameCrc(bytes, offset, length, optionsLength) !== view.getUint32(end)) {
    return FrameError.FRAME_CRC;
  }

  const dtype = bytes[offset + TENSOR_DTYPE_AT];
  if (dtype > TensorDtype.FP8_E5M2) return FrameError.TENSOR_DTYPE;
  const alignment = view.getUint16(offset + TENSOR_ALIGNMENT_AT);
  if ((alignment & (alignment - 1)) !== 0) return FrameError.TENSOR_ALIGNMENT;
  const flags = (word0 >>> WORD0_FLAGS_SHIFT) & FLAGS_DEFINED;
  const keyPhase = bytes[offset + KEY_PHASE_AT];
  if ((keyPhase !== 0) !== ((flags & Flag.ENCRYPTED) !== 0)) return FrameError.KEY_PHASE;

  const priorityQos = bytes[offset + PRIORITY_QOS_AT];
  const payload = offset + HEADER_BYTES + optionsLength;
  out.offset = offset;
  out.length = length;
  out.flags = flags;
  out.type = type;
  out.streamId = view.getUint32(offset + STREAM_ID_AT);
  out.sequence = view.getUint32(offset + SEQUENCE_NUMBER_AT);
  out.priority = priorityQos >>> PRIORITY_QOS_PRIORITY_SHIFT;
  out.qos = priorityQos & PRIORITY_QOS_QOS_MASK;
  out.tensorDtype = dtype;
  out.hopLimit = bytes[offset + HOP_LIMIT_AT];
  out.keyPhase = keyPhase;
  out.tensorAlignment = alignment;
  out.optionsLength = optionsLength;
  out.timestampHigh = view.getUint32(offset + TIMESTAMP_AT);
  out.timestampLow = view.getUint32(offset + TIMESTAMP_AT + 4);
  out.payloadOffset = payload;
  out.payloadLength = end - payload;
  clearOptions(out);
  const optionError = optionsLength === 0
    ? FrameError.OK
    : decodeOptions(bytes, view, payload - optionsLength, payload, out);
  return optionError !== FrameError.OK ? optionError : checkRoles(out);
}

function clearOptions(out: FrameInfo): void {
  out.tagOffset = -1;
  out.fragmentOffset = 0;
  out.fragmentTotal = 0;
  out.compression = 0;
  out.shapeOffset = -1;
  out.traceOffset = -1;
  out.hopCountOffset = -1;
  out.semanticOffset = -1;
  out.semanticLength = 0;
  out.gpuHintOffset = -1;
}

/** Walks the options; every known one is checked and noted in `out`. */
function decodeOptions(
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
  out: FrameInfo,
): FrameError {
  let seen = 0;
  let at = from;
  while (at < to) {
    if (out.tagOffset >= 0) return FrameError.OPTION_TAG;
    if (at + OPTION_HEADER_BYTES > to) return FrameError.OPTION_TRUNCATED;
    const word = bytes[at];
    const length = bytes[at + 1];
    const value = at + OPTION_HEADER_BYTES;
    at = value + length;
    if (at > to) return FrameError.OPTION_TRUNCATED;

    const type = word & OPTION_TYPE_MASK;
    if (type === OptionType.PAD) continue;
    if (type > OptionType.GPU_HINT) {
      if ((word & OPTION_CRITICAL) !== 0) return FrameError.OPTION_CRITICAL_UNKNOWN;
      continue;
    }
    if (length < OPTION_VALUE_BYTES_MIN[type] || length > OPTION_VALUE_BYTES_MAX[type]) {
      return FrameError.OPTION_LENGTH;
    }
    if ((seen & (1 << type)) !== 0) return FrameError.OPTION_DUPLICATE;
    seen |= 1 << type;

    switch (type) {
      case OptionType.ENCRYPTION_TAG:
        out.tagOffset = value;
        break;
      case OptionType.FRAGMENT_INFO:
        out.fragmentOffset = view.getUint32(value);
        out.fragmentTotal = view.getUint16(value + 4);
        if (out.fragmentTotal === 0) return FrameError.OPTION_VALUE;
        break;
      case OptionType.COMPRESSION_ALG:
        out.compression = bytes[value];
        if (out.compression < Compression.LZ4 || out.compression > Compression.SNAPPY) {
          return FrameError.OPTION_VALUE;
        }
        break;
      case OptionType.TENSOR_SHAPE:
        // n (≤ 8, which the longest length implies), then n dimensions.
        if (length !== 1 + 4 * bytes[value]) return FrameError.OPTION_LENGTH;
        out.shapeOffset = value;
        break;
      case OptionType.TRACE_ID:
        out.traceOffset = value;
        break;
      case OptionType.HOP_COUNT:
        out.hopCountOffset = value;
        break;
      case OptionType.SEMANTIC_ADDR:
        out.semanticOffset = value;
        out.semanticLength = length;
        break;
      case OptionType.GPU_HINT:
        out.gpuHintOffset = value;
        break;
    }
  }
  return FrameError.OK;
}

/** Which options may stand on which frame (docs/protocol.md §2.1, §2.2). */
function checkRoles(out: FrameInfo): FrameError {
  const sealed = (out.flags & Flag.ENCRYPTED) !== 0;
  if (sealed !== (out.tagOffset >= 0)) return FrameError.OPTION_TAG;
  if (out.fragmentTotal !== 0 || (out.flags & Flag.MORE_FRAGMENTS) !== 0) {
    if (sealed || out.type !== FrameType.TRUST_HANDSHAKE || out.fragmentTotal === 0) {
      return FrameError.FRAGMENT_FORBIDDEN;
    }
  }
  if (sealed && out.semanticOffset >= 0) return FrameError.ANYCAST_SEALED;
  return FrameError.OK;
}
