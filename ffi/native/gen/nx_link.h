/* Code generated from schemas/link.json by schemas/generate.ts. Do not edit. */
#ifndef NX_LINK_H
#define NX_LINK_H

/* Numbers as they lie on the wire: big-endian, byte by byte where no C type has the width. */
typedef __UINT8_TYPE__ nx_u8;
typedef __UINT16_TYPE__ nx_be16;
typedef __UINT32_TYPE__ nx_be32;
typedef __UINT64_TYPE__ nx_be64;

/* Frame: sizes in bytes, then where each header field starts. */
#define NX_FRAME_VERSION 1u
#define NX_HEADER_BYTES 64u
#define NX_OPTIONS_BYTES_MAX 256u
#define NX_CRC_BYTES 4u
#define NX_FRAME_BYTES_MIN 68u
#define NX_FRAME_BYTES_MAX 65535u
#define NX_HOP_LIMIT_DEFAULT 32u
#define NX_WORD0_AT 0u /* bytes 0-3: version, flags, frame type, reserved */
#define NX_FRAME_LENGTH_AT 4u /* bytes 4-7: whole frame, CRC included */
#define NX_STREAM_ID_AT 8u /* bytes 8-11: connection id of the receiver; 0 in handshakes */
#define NX_SEQUENCE_NUMBER_AT 12u /* bytes 12-15: low half of the packet number */
#define NX_SOURCE_NODE_ID_AT 16u /* bytes 16-31 */
#define NX_DEST_NODE_ID_AT 32u /* bytes 32-47: all zero: resolve by SEMANTIC_ADDR */
#define NX_PRIORITY_QOS_AT 48u /* byte 48: priority in the top four bits */
#define NX_TENSOR_DTYPE_AT 49u /* byte 49 */
#define NX_HOP_LIMIT_AT 50u /* byte 50: mutable: 0 in the canonical view */
#define NX_KEY_PHASE_AT 51u /* byte 51 */
#define NX_TENSOR_ALIGNMENT_AT 52u /* bytes 52-53: 0 or a power of two */
#define NX_OPTIONS_LENGTH_AT 54u /* bytes 54-55 */
#define NX_TIMESTAMP_AT 56u /* bytes 56-63: ns since the Unix epoch */

/* Fields that hold several numbers: shift and mask of each part, in host order. */
#define NX_WORD0_VERSION_SHIFT 28u
#define NX_WORD0_VERSION_MASK 0xfu
#define NX_WORD0_FLAGS_SHIFT 20u
#define NX_WORD0_FLAGS_MASK 0xffu
#define NX_WORD0_TYPE_SHIFT 4u
#define NX_WORD0_TYPE_MASK 0xffffu
#define NX_WORD0_RESERVED_SHIFT 0u
#define NX_WORD0_RESERVED_MASK 0xfu
#define NX_PRIORITY_QOS_PRIORITY_SHIFT 4u
#define NX_PRIORITY_QOS_PRIORITY_MASK 0xfu
#define NX_PRIORITY_QOS_QOS_SHIFT 0u
#define NX_PRIORITY_QOS_QOS_MASK 0xfu

struct nx_frame_header {
	nx_be32 word0;
	nx_be32 frame_length;
	nx_be32 stream_id;
	nx_be32 sequence_number;
	nx_u8 source_node_id[16];
	nx_u8 dest_node_id[16];
	nx_u8 priority_qos;
	nx_u8 tensor_dtype;
	nx_u8 hop_limit;
	nx_u8 key_phase;
	nx_be16 tensor_alignment;
	nx_be16 options_length;
	nx_be64 timestamp;
};
_Static_assert(sizeof(struct nx_frame_header) == 64, "nx_frame_header is 64 bytes");
_Static_assert(__builtin_offsetof(struct nx_frame_header, word0) == NX_WORD0_AT, "WORD0");
_Static_assert(__builtin_offsetof(struct nx_frame_header, frame_length) == NX_FRAME_LENGTH_AT, "FRAME_LENGTH");
_Static_assert(__builtin_offsetof(struct nx_frame_header, stream_id) == NX_STREAM_ID_AT, "STREAM_ID");
_Static_assert(__builtin_offsetof(struct nx_frame_header, sequence_number) == NX_SEQUENCE_NUMBER_AT, "SEQUENCE_NUMBER");
_Static_assert(__builtin_offsetof(struct nx_frame_header, source_node_id) == NX_SOURCE_NODE_ID_AT, "SOURCE_NODE_ID");
_Static_assert(__builtin_offsetof(struct nx_frame_header, dest_node_id) == NX_DEST_NODE_ID_AT, "DEST_NODE_ID");
_Static_assert(__builtin_offsetof(struct nx_frame_header, priority_qos) == NX_PRIORITY_QOS_AT, "PRIORITY_QOS");
_Static_assert(__builtin_offsetof(struct nx_frame_header, tensor_dtype) == NX_TENSOR_DTYPE_AT, "TENSOR_DTYPE");
_Static_assert(__builtin_offsetof(struct nx_frame_header, hop_limit) == NX_HOP_LIMIT_AT, "HOP_LIMIT");
_Static_assert(__builtin_offsetof(struct nx_frame_header, key_phase) == NX_KEY_PHASE_AT, "KEY_PHASE");
_Static_assert(__builtin_offsetof(struct nx_frame_header, tensor_alignment) == NX_TENSOR_ALIGNMENT_AT, "TENSOR_ALIGNMENT");
_Static_assert(__builtin_offsetof(struct nx_frame_header, options_length) == NX_OPTIONS_LENGTH_AT, "OPTIONS_LENGTH");
_Static_assert(__builtin_offsetof(struct nx_frame_header, timestamp) == NX_TIMESTAMP_AT, "TIMESTAMP");

/* Options: type(8), length(8), value. */
#define NX_OPTION_HEADER_BYTES 2u
#define NX_OPTION_CRITICAL 128u
#define NX_OPTION_TYPE_MASK 127u
#define NX_OPTION_FRAGMENT_INFO_BYTES_MIN 6u
#define NX_OPTION_FRAGMENT_INFO_BYTES_MAX 6u
#define NX_OPTION_COMPRESSION_ALG_BYTES_MIN 1u
#define NX_OPTION_COMPRESSION_ALG_BYTES_MAX 1u
#define NX_OPTION_ENCRYPTION_TAG_BYTES_MIN 16u
#define NX_OPTION_ENCRYPTION_TAG_BYTES_MAX 16u
#define NX_OPTION_TENSOR_SHAPE_BYTES_MIN 1u
#define NX_OPTION_TENSOR_SHAPE_BYTES_MAX 33u
#define NX_OPTION_TRACE_ID_BYTES_MIN 16u
#define NX_OPTION_TRACE_ID_BYTES_MAX 16u
#define NX_OPTION_HOP_COUNT_BYTES_MIN 1u
#define NX_OPTION_HOP_COUNT_BYTES_MAX 1u
#define NX_OPTION_SEMANTIC_ADDR_BYTES_MIN 4u
#define NX_OPTION_SEMANTIC_ADDR_BYTES_MAX 192u
#define NX_OPTION_GPU_HINT_BYTES_MIN 4u
#define NX_OPTION_GPU_HINT_BYTES_MAX 4u
/* Initializers of tables by option type. */
#define NX_OPTION_VALUE_BYTES_MIN {0, 6, 1, 16, 1, 16, 1, 4, 4}
#define NX_OPTION_VALUE_BYTES_MAX {255, 6, 1, 16, 33, 16, 1, 192, 4}

/* Overlay in front of a frame in a UDP datagram. */
#define NX_OVERLAY_VERSION 1u
#define NX_OVERLAY_BYTES 8u
#define NX_OVERLAY_PORT 6477u
#define NX_VNI_MAX 16777215u
#define NX_OVERLAY_VERSION_FLAGS_AT 0u /* byte 0: version in the top four bits */
#define NX_OVERLAY_RESERVED_AT 1u /* byte 1: 0 */
#define NX_OVERLAY_VNI_AT 2u /* bytes 2-4: the tenant network */
#define NX_OVERLAY_RESERVED_END_AT 5u /* bytes 5-7: 0 */
#define NX_OVERLAY_VERSION_FLAGS_VERSION_SHIFT 4u
#define NX_OVERLAY_VERSION_FLAGS_VERSION_MASK 0xfu
#define NX_OVERLAY_VERSION_FLAGS_FLAGS_SHIFT 0u
#define NX_OVERLAY_VERSION_FLAGS_FLAGS_MASK 0xfu

struct nx_overlay_header {
	nx_u8 overlay_version_flags;
	nx_u8 overlay_reserved;
	nx_u8 overlay_vni[3];
	nx_u8 overlay_reserved_end[3];
};
_Static_assert(sizeof(struct nx_overlay_header) == 8, "nx_overlay_header is 8 bytes");
_Static_assert(__builtin_offsetof(struct nx_overlay_header, overlay_version_flags) == NX_OVERLAY_VERSION_FLAGS_AT, "OVERLAY_VERSION_FLAGS");
_Static_assert(__builtin_offsetof(struct nx_overlay_header, overlay_reserved) == NX_OVERLAY_RESERVED_AT, "OVERLAY_RESERVED");
_Static_assert(__builtin_offsetof(struct nx_overlay_header, overlay_vni) == NX_OVERLAY_VNI_AT, "OVERLAY_VNI");
_Static_assert(__builtin_offsetof(struct nx_overlay_header, overlay_reserved_end) == NX_OVERLAY_RESERVED_END_AT, "OVERLAY_RESERVED_END");

enum nx_flag {
	NX_FLAG_MORE_FRAGMENTS = 1,
	NX_FLAG_COMPRESSED = 2,
	NX_FLAG_ENCRYPTED = 4,
	NX_FLAG_TENSOR_PAYLOAD = 8,
	NX_FLAG_PRIORITY_EXPRESS = 16,
	NX_FLAG_OVERLAY_ENCAP = 32,
};

enum nx_frame_type {
	NX_FRAME_TYPE_DATA = 1,
	NX_FRAME_TYPE_CONTROL = 2,
	NX_FRAME_TYPE_HEARTBEAT = 3,
	NX_FRAME_TYPE_ROUTE_ADVERTISEMENT = 4,
	NX_FRAME_TYPE_TRUST_HANDSHAKE = 5,
	NX_FRAME_TYPE_TENSOR_TRANSFER = 6,
	NX_FRAME_TYPE_STREAM_CONTROL = 7,
};

enum nx_option_type {
	NX_OPTION_TYPE_PAD = 0,
	NX_OPTION_TYPE_FRAGMENT_INFO = 1,
	NX_OPTION_TYPE_COMPRESSION_ALG = 2,
	NX_OPTION_TYPE_ENCRYPTION_TAG = 3,
	NX_OPTION_TYPE_TENSOR_SHAPE = 4,
	NX_OPTION_TYPE_TRACE_ID = 5,
	NX_OPTION_TYPE_HOP_COUNT = 6,
	NX_OPTION_TYPE_SEMANTIC_ADDR = 7,
	NX_OPTION_TYPE_GPU_HINT = 8,
};

enum nx_qos {
	NX_QOS_BEST_EFFORT = 0,
	NX_QOS_RELIABLE_ORDERED = 1,
	NX_QOS_RELIABLE_UNORDERED = 2,
	NX_QOS_PROBABILISTIC = 3,
};

enum nx_tensor_dtype {
	NX_TENSOR_DTYPE_NONE = 0,
	NX_TENSOR_DTYPE_F16 = 1,
	NX_TENSOR_DTYPE_BF16 = 2,
	NX_TENSOR_DTYPE_F32 = 3,
	NX_TENSOR_DTYPE_F64 = 4,
	NX_TENSOR_DTYPE_I8 = 5,
	NX_TENSOR_DTYPE_I4 = 6,
	NX_TENSOR_DTYPE_U8 = 7,
	NX_TENSOR_DTYPE_FP8_E4M3 = 8,
	NX_TENSOR_DTYPE_FP8_E5M2 = 9,
};

enum nx_compression {
	NX_COMPRESSION_LZ4 = 1,
	NX_COMPRESSION_ZSTD = 2,
	NX_COMPRESSION_SNAPPY = 3,
};

#endif
