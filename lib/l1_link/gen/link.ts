// Code generated from schemas/link.json by schemas/generate.ts. Do not edit.

/** Frame: sizes in bytes, then where each header field starts. */
export const FRAME_VERSION = 1;
export const HEADER_BYTES = 64;
export const OPTIONS_BYTES_MAX = 256;
export const CRC_BYTES = 4;
export const FRAME_BYTES_MIN = 68;
export const FRAME_BYTES_MAX = 65535;
export const HOP_LIMIT_DEFAULT = 32;
/** bytes 0…3: version, flags, frame type, reserved */
export const WORD0_AT = 0;
/** bytes 4…7: whole frame, CRC included */
export const FRAME_LENGTH_AT = 4;
/** bytes 8…11: connection id of the receiver; 0 in handshakes */
export const STREAM_ID_AT = 8;
/** bytes 12…15: low half of the packet number */
export const SEQUENCE_NUMBER_AT = 12;
/** bytes 16…31 */
export const SOURCE_NODE_ID_AT = 16;
/** bytes 32…47: all zero: resolve by SEMANTIC_ADDR */
export const DEST_NODE_ID_AT = 32;
/** byte 48: priority in the top four bits */
export const PRIORITY_QOS_AT = 48;
/** byte 49 */
export const TENSOR_DTYPE_AT = 49;
/** byte 50: mutable: 0 in the canonical view */
export const HOP_LIMIT_AT = 50;
/** byte 51 */
export const KEY_PHASE_AT = 51;
/** bytes 52…53: 0 or a power of two */
export const TENSOR_ALIGNMENT_AT = 52;
/** bytes 54…55 */
export const OPTIONS_LENGTH_AT = 54;
/** bytes 56…63: ns since the Unix epoch */
export const TIMESTAMP_AT = 56;

/** Fields that hold several numbers: shift and mask of each part. */
export const WORD0_VERSION_SHIFT = 28;
export const WORD0_VERSION_MASK = 0xf;
export const WORD0_FLAGS_SHIFT = 20;
export const WORD0_FLAGS_MASK = 0xff;
export const WORD0_TYPE_SHIFT = 4;
export const WORD0_TYPE_MASK = 0xffff;
export const WORD0_RESERVED_SHIFT = 0;
export const WORD0_RESERVED_MASK = 0xf;
export const PRIORITY_QOS_PRIORITY_SHIFT = 4;
export const PRIORITY_QOS_PRIORITY_MASK = 0xf;
export const PRIORITY_QOS_QOS_SHIFT = 0;
export const PRIORITY_QOS_QOS_MASK = 0xf;

/** Options: type(8), length(8), value. */
export const OPTION_HEADER_BYTES = 2;
export const OPTION_CRITICAL = 128;
export const OPTION_TYPE_MASK = 127;
/** Shortest and longest value by option type. */
export const OPTION_VALUE_BYTES_MIN: readonly number[] = [0, 6, 1, 16, 1, 16, 1, 4, 4];
export const OPTION_VALUE_BYTES_MAX: readonly number[] = [255, 6, 1, 16, 33, 16, 1, 192, 4];

/** Overlay in front of a frame in a UDP datagram. */
export const OVERLAY_VERSION = 1;
export const OVERLAY_BYTES = 8;
export const OVERLAY_PORT = 6477;
export const VNI_MAX = 16777215;
/** byte 0: version in the top four bits */
export const OVERLAY_VERSION_FLAGS_AT = 0;
/** byte 1: 0 */
export const OVERLAY_RESERVED_AT = 1;
/** bytes 2…4: the tenant network */
export const OVERLAY_VNI_AT = 2;
/** bytes 5…7: 0 */
export const OVERLAY_RESERVED_END_AT = 5;
export const OVERLAY_VERSION_FLAGS_VERSION_SHIFT = 4;
export const OVERLAY_VERSION_FLAGS_VERSION_MASK = 0xf;
export const OVERLAY_VERSION_FLAGS_FLAGS_SHIFT = 0;
export const OVERLAY_VERSION_FLAGS_FLAGS_MASK = 0xf;

/** Codes of Flag. */
export const Flag = {
  MORE_FRAGMENTS: 1,
  COMPRESSED: 2,
  ENCRYPTED: 4,
  TENSOR_PAYLOAD: 8,
  PRIORITY_EXPRESS: 16,
  OVERLAY_ENCAP: 32,
} as const;

/** Codes of FrameType. */
export const FrameType = {
  DATA: 1,
  CONTROL: 2,
  HEARTBEAT: 3,
  ROUTE_ADVERTISEMENT: 4,
  TRUST_HANDSHAKE: 5,
  TENSOR_TRANSFER: 6,
  STREAM_CONTROL: 7,
} as const;

/** Codes of OptionType. */
export const OptionType = {
  PAD: 0,
  FRAGMENT_INFO: 1,
  COMPRESSION_ALG: 2,
  ENCRYPTION_TAG: 3,
  TENSOR_SHAPE: 4,
  TRACE_ID: 5,
  HOP_COUNT: 6,
  SEMANTIC_ADDR: 7,
  GPU_HINT: 8,
} as const;

/** Codes of Qos. */
export const Qos = {
  BEST_EFFORT: 0,
  RELIABLE_ORDERED: 1,
  RELIABLE_UNORDERED: 2,
  PROBABILISTIC: 3,
} as const;

/** Codes of TensorDtype. */
export const TensorDtype = {
  NONE: 0,
  F16: 1,
  BF16: 2,
  F32: 3,
  F64: 4,
  I8: 5,
  I4: 6,
  U8: 7,
  FP8_E4M3: 8,
  FP8_E5M2: 9,
} as const;

/** Codes of Compression. */
export const Compression = {
  LZ4: 1,
  ZSTD: 2,
  SNAPPY: 3,
} as const;
