// Code generated from schemas/link.json by schemas/generate.ts. Do not edit.
#ifndef NEXLINK_P4
#define NEXLINK_P4

// Sizes are in bytes.
const bit<32> NEXLINK_FRAME_VERSION = 1;
const bit<32> NEXLINK_HEADER_BYTES = 64;
const bit<32> NEXLINK_OPTIONS_BYTES_MAX = 256;
const bit<32> NEXLINK_CRC_BYTES = 4;
const bit<32> NEXLINK_FRAME_BYTES_MIN = 68;
const bit<32> NEXLINK_FRAME_BYTES_MAX = 65535;
const bit<32> NEXLINK_HOP_LIMIT_DEFAULT = 32;
const bit<32> NEXLINK_OPTION_HEADER_BYTES = 2;
const bit<32> NEXLINK_OPTION_CRITICAL = 128;
const bit<32> NEXLINK_OPTION_TYPE_MASK = 127;
const bit<32> NEXLINK_OVERLAY_VERSION = 1;
const bit<32> NEXLINK_OVERLAY_BYTES = 8;
const bit<32> NEXLINK_OVERLAY_PORT = 6477;
const bit<32> NEXLINK_VNI_MAX = 16777215;

header nexlink_overlay_t {
    bit<4> version;
    bit<4> flags;
    bit<8> reserved; // byte 1: 0
    bit<24> vni; // bytes 2-4: the tenant network
    bit<24> reserved_end; // bytes 5-7: 0
}

header nexlink_frame_t {
    bit<4> version;
    bit<8> flags;
    bit<16> frame_type;
    bit<4> reserved;
    bit<32> frame_length; // bytes 4-7: whole frame, CRC included
    bit<32> stream_id; // bytes 8-11: connection id of the receiver; 0 in handshakes
    bit<32> sequence_number; // bytes 12-15: low half of the packet number
    bit<128> source_node_id; // bytes 16-31
    bit<128> dest_node_id; // bytes 32-47: all zero: resolve by SEMANTIC_ADDR
    bit<4> priority;
    bit<4> qos;
    bit<8> tensor_dtype; // byte 49
    bit<8> hop_limit; // byte 50: mutable: 0 in the canonical view
    bit<8> key_phase; // byte 51
    bit<16> tensor_alignment; // bytes 52-53: 0 or a power of two
    bit<16> options_length; // bytes 54-55
    bit<64> timestamp; // bytes 56-63: ns since the Unix epoch
}

// In front of each option value.
header nexlink_option_t {
    bit<1> critical;
    bit<7> option_type;
    bit<8> length;
}

// Values of the options that have one length.
header nexlink_fragment_info_t {
    bit<48> value;
}
header nexlink_compression_alg_t {
    bit<8> value;
}
header nexlink_encryption_tag_t {
    bit<128> value;
}
header nexlink_trace_id_t {
    bit<128> value;
}
header nexlink_hop_count_t {
    bit<8> value;
}
header nexlink_gpu_hint_t {
    bit<32> value;
}

const bit<8> NEXLINK_FLAG_MORE_FRAGMENTS = 1;
const bit<8> NEXLINK_FLAG_COMPRESSED = 2;
const bit<8> NEXLINK_FLAG_ENCRYPTED = 4;
const bit<8> NEXLINK_FLAG_TENSOR_PAYLOAD = 8;
const bit<8> NEXLINK_FLAG_PRIORITY_EXPRESS = 16;
const bit<8> NEXLINK_FLAG_OVERLAY_ENCAP = 32;

const bit<16> NEXLINK_FRAME_TYPE_DATA = 1;
const bit<16> NEXLINK_FRAME_TYPE_CONTROL = 2;
const bit<16> NEXLINK_FRAME_TYPE_HEARTBEAT = 3;
const bit<16> NEXLINK_FRAME_TYPE_ROUTE_ADVERTISEMENT = 4;
const bit<16> NEXLINK_FRAME_TYPE_TRUST_HANDSHAKE = 5;
const bit<16> NEXLINK_FRAME_TYPE_TENSOR_TRANSFER = 6;
const bit<16> NEXLINK_FRAME_TYPE_STREAM_CONTROL = 7;

const bit<7> NEXLINK_OPTION_TYPE_PAD = 0;
const bit<7> NEXLINK_OPTION_TYPE_FRAGMENT_INFO = 1;
const bit<7> NEXLINK_OPTION_TYPE_COMPRESSION_ALG = 2;
const bit<7> NEXLINK_OPTION_TYPE_ENCRYPTION_TAG = 3;
const bit<7> NEXLINK_OPTION_TYPE_TENSOR_SHAPE = 4;
const bit<7> NEXLINK_OPTION_TYPE_TRACE_ID = 5;
const bit<7> NEXLINK_OPTION_TYPE_HOP_COUNT = 6;
const bit<7> NEXLINK_OPTION_TYPE_SEMANTIC_ADDR = 7;
const bit<7> NEXLINK_OPTION_TYPE_GPU_HINT = 8;

const bit<4> NEXLINK_QOS_BEST_EFFORT = 0;
const bit<4> NEXLINK_QOS_RELIABLE_ORDERED = 1;
const bit<4> NEXLINK_QOS_RELIABLE_UNORDERED = 2;
const bit<4> NEXLINK_QOS_PROBABILISTIC = 3;

const bit<8> NEXLINK_TENSOR_DTYPE_NONE = 0;
const bit<8> NEXLINK_TENSOR_DTYPE_F16 = 1;
const bit<8> NEXLINK_TENSOR_DTYPE_BF16 = 2;
const bit<8> NEXLINK_TENSOR_DTYPE_F32 = 3;
const bit<8> NEXLINK_TENSOR_DTYPE_F64 = 4;
const bit<8> NEXLINK_TENSOR_DTYPE_I8 = 5;
const bit<8> NEXLINK_TENSOR_DTYPE_I4 = 6;
const bit<8> NEXLINK_TENSOR_DTYPE_U8 = 7;
const bit<8> NEXLINK_TENSOR_DTYPE_FP8_E4M3 = 8;
const bit<8> NEXLINK_TENSOR_DTYPE_FP8_E5M2 = 9;

const bit<8> NEXLINK_COMPRESSION_LZ4 = 1;
const bit<8> NEXLINK_COMPRESSION_ZSTD = 2;
const bit<8> NEXLINK_COMPRESSION_SNAPPY = 3;

#endif
