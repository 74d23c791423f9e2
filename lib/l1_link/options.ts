/**
 * Options, `type(8) length(8) value` (docs/protocol.md §2.1), in two forms. The `putX` writers
 * write one option at `at` and return where the next one starts: for hot paths. `FrameOption` is
 * the same as a plain record, for cold paths, tools and tests.
 */
import { NexusError } from "../base/mod.ts";
import type { FrameInfo } from "./frame_info.ts";
import {
  HEADER_BYTES,
  OPTION_CRITICAL,
  OPTION_HEADER_BYTES,
  OPTION_TYPE_MASK,
  OPTION_VALUE_BYTES_MAX,
  OPTION_VALUE_BYTES_MIN,
  OptionType,
} from "./gen/link.ts";

/** Most dimensions of TENSOR_SHAPE. */
export const TENSOR_DIMS_MAX = 8;
/** Longest value that the length byte can say. */
const VALUE_BYTES_MAX = 255;

/** PAD over `length` bytes in all (2…257): zeroes that move the payload to where it must start. */
export function putPad(bytes: Uint8Array, at: number, length: number): number {
  const end = at + length;
  putHeader(bytes, at, OptionType.PAD, length - OPTION_HEADER_BYTES);
  for (let i = at + OPTION_HEADER_BYTES; i < end; i++) bytes[i] = 0;
  return end;
}

/** FRAGMENT_INFO: byte offset in the message, number of fragments. */
export function putFragmentInfo(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  offset: number,
  total: number,
): number {
  const value = putHeader(bytes, at, OptionType.FRAGMENT_INFO, 6);
  view.setUint32(value, offset);
  view.setUint16(value + 4, total);
  return value + 6;
}

/** COMPRESSION_ALG: a code of Compression. */
export function putCompression(bytes: Uint8Array, at: number, algorithm: number): number {
  const value = putHeader(bytes, at, OptionType.COMPRESSION_ALG, 1);
  bytes[value] = algorithm;
  return value + 1;
}

/** ENCRYPTION_TAG with 16 bytes of room: the sealer writes the tag there. Must be the last option. */
export function putEncryptionTag(bytes: Uint8Array, at: number): number {
  return putHeader(bytes, at, OptionType.ENCRYPTION_TAG, 16) + 16;
}

/** TENSOR_SHAPE: at most TENSOR_DIMS_MAX dimensions. */
export function putTensorShape(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  dims: ArrayLike<number>,
): number {
  let value = putHeader(bytes, at, OptionType.TENSOR_SHAPE, 1 + 4 * dims.length);
  bytes[value++] = dims.length;
  for (let i = 0; i < dims.length; i++, value += 4) view.setUint32(value, dims[i]);
  return value;
}

/** TRACE_ID: 16 bytes, a W3C trace id. */
export function putTraceId(bytes: Uint8Array, at: number, traceId: Uint8Array): number {
  return putBytes(bytes, at, OptionType.TRACE_ID, traceId);
}

/** HOP_COUNT: hops so far. Forwarders count it up; the checksum does not cover the value. */
export function putHopCount(bytes: Uint8Array, at: number, hops: number): number {
  const value = putHeader(bytes, at, OptionType.HOP_COUNT, 1);
  bytes[value] = hops;
  return value + 1;
}

/** SEMANTIC_ADDR: an encoded SAD of 4…192 bytes. Makes the destination mutable (anycast). */
export function putSemanticAddress(bytes: Uint8Array, at: number, sad: Uint8Array): number {
  return putBytes(bytes, at, OptionType.SEMANTIC_ADDR, sad);
}

/** GPU_HINT: device and memory pool that should receive the payload. */
export function putGpuHint(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  device: number,
  memoryPool: number,
): number {
  const value = putHeader(bytes, at, OptionType.GPU_HINT, 4);
  view.setUint16(value, device);
  view.setUint16(value + 2, memoryPool);
  return value + 4;
}

/** Sets the critical bit of the option that starts at `at`: who does not know it drops the frame. */
export function markCritical(bytes: Uint8Array, at: number): void {
  bytes[at] |= OPTION_CRITICAL;
}

/**
 * Bytes of PAD (0, or 2 and more) that align a payload behind `optionsLength` bytes of options to
 * `alignment`, a power of two of at most 64, in a frame that itself starts aligned (NL-F-008).
 */
export function padFor(optionsLength: number, alignment: number): number {
  const spare = -(HEADER_BYTES + optionsLength) & (alignment - 1);
  // One byte cannot hold an option; the next aligned place is a whole step further.
  return spare === 1 ? spare + alignment : spare;
}

function putHeader(bytes: Uint8Array, at: number, type: number, length: number): number {
  bytes[at] = type;
  bytes[at + 1] = length;
  return at + OPTION_HEADER_BYTES;
}

function putBytes(bytes: Uint8Array, at: number, type: number, value: Uint8Array): number {
  bytes.set(value, putHeader(bytes, at, type, value.length));
  return at + OPTION_HEADER_BYTES + value.length;
}

/** One option as a record. `critical` is the top bit of the type. */
export type FrameOption =
  & { readonly critical?: boolean }
  & (
    | { readonly type: typeof OptionType.PAD; readonly length: number /* of the zeroes */ }
    | {
      readonly type: typeof OptionType.FRAGMENT_INFO;
      readonly offset: number;
      readonly total: number;
    }
    | { readonly type: typeof OptionType.COMPRESSION_ALG; readonly algorithm: number }
    | { readonly type: typeof OptionType.ENCRYPTION_TAG; readonly tag: Uint8Array }
    | { readonly type: typeof OptionType.TENSOR_SHAPE; readonly dims: readonly number[] }
    | { readonly type: typeof OptionType.TRACE_ID; readonly traceId: Uint8Array }
    | { readonly type: typeof OptionType.HOP_COUNT; readonly hops: number }
    | { readonly type: typeof OptionType.SEMANTIC_ADDR; readonly sad: Uint8Array }
    | {
      readonly type: typeof OptionType.GPU_HINT;
      readonly device: number;
      readonly memoryPool: number;
    }
    | { readonly type: "unknown"; readonly code: number; readonly value: Uint8Array }
  );

/** Bytes that the option takes, header included. Throws OPTION_LENGTH when no length byte can say it. */
export function optionBytes(option: FrameOption): number {
  const length = valueBytes(option);
  const code = option.type === "unknown" ? option.code : option.type;
  const known = option.type !== "unknown";
  const min = known ? OPTION_VALUE_BYTES_MIN[code] : 0;
  const max = known ? OPTION_VALUE_BYTES_MAX[code] : VALUE_BYTES_MAX;
  if (length < min || length > max) {
    throw new NexusError(
      "OPTION_LENGTH",
      `cannot write option ${code}: value is ${length} bytes, expected ${min}…${max}`,
    );
  }
  return OPTION_HEADER_BYTES + length;
}

function valueBytes(option: FrameOption): number {
  switch (option.type) {
    case OptionType.PAD:
      return option.length;
    case OptionType.ENCRYPTION_TAG:
      return option.tag.length;
    case OptionType.TENSOR_SHAPE:
      return 1 + 4 * option.dims.length;
    case OptionType.TRACE_ID:
      return option.traceId.length;
    case OptionType.SEMANTIC_ADDR:
      return option.sad.length;
    case "unknown":
      return option.value.length;
    default:
      return OPTION_VALUE_BYTES_MIN[option.type];
  }
}

/** Writes any option at `at`; returns where the next one starts. */
export function writeOption(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  option: FrameOption,
): number {
  const next = writeOptionBody(bytes, view, at, option);
  if (option.critical) markCritical(bytes, at);
  return next;
}

function writeOptionBody(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  option: FrameOption,
): number {
  switch (option.type) {
    case OptionType.PAD:
      return putPad(bytes, at, OPTION_HEADER_BYTES + option.length);
    case OptionType.FRAGMENT_INFO:
      return putFragmentInfo(bytes, view, at, option.offset, option.total);
    case OptionType.COMPRESSION_ALG:
      return putCompression(bytes, at, option.algorithm);
    case OptionType.ENCRYPTION_TAG:
      return putBytes(bytes, at, option.type, option.tag);
    case OptionType.TENSOR_SHAPE:
      return putTensorShape(bytes, view, at, option.dims);
    case OptionType.TRACE_ID:
      return putTraceId(bytes, at, option.traceId);
    case OptionType.HOP_COUNT:
      return putHopCount(bytes, at, option.hops);
    case OptionType.SEMANTIC_ADDR:
      return putSemanticAddress(bytes, at, option.sad);
    case OptionType.GPU_HINT:
      return putGpuHint(bytes, view, at, option.device, option.memoryPool);
    case "unknown":
      return putBytes(bytes, at, option.code, option.value);
  }
}

/**
 * The options of a frame that decodeFrame accepted, as records in their order, values copied.
 * Unknown options come as type "unknown".
 */
export function readOptions(bytes: Uint8Array, view: DataView, info: FrameInfo): FrameOption[] {
  const options: FrameOption[] = [];
  let at = info.payloadOffset - info.optionsLength;
  while (at < info.payloadOffset) {
    const value = at + OPTION_HEADER_BYTES;
    const length = bytes[at + 1];
    options.push({
      ...readOption(bytes[at] & OPTION_TYPE_MASK, bytes, view, value, length),
      ...((bytes[at] & OPTION_CRITICAL) !== 0 && { critical: true }),
    });
    at = value + length;
  }
  return options;
}

function readOption(
  code: number,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  length: number,
): FrameOption {
  const copy = () => bytes.slice(at, at + length);
  switch (code) {
    case OptionType.PAD:
      return { type: code, length };
    case OptionType.FRAGMENT_INFO:
      return { type: code, offset: view.getUint32(at), total: view.getUint16(at + 4) };
    case OptionType.COMPRESSION_ALG:
      return { type: code, algorithm: bytes[at] };
    case OptionType.ENCRYPTION_TAG:
      return { type: code, tag: copy() };
    case OptionType.TENSOR_SHAPE:
      return { type: code, dims: readTensorShape(bytes, view, at) };
    case OptionType.TRACE_ID:
      return { type: code, traceId: copy() };
    case OptionType.HOP_COUNT:
      return { type: code, hops: bytes[at] };
    case OptionType.SEMANTIC_ADDR:
      return { type: code, sad: copy() };
    case OptionType.GPU_HINT:
      return { type: code, device: view.getUint16(at), memoryPool: view.getUint16(at + 2) };
    default:
      return { type: "unknown", code, value: copy() };
  }
}

/** The dimensions of a TENSOR_SHAPE value that starts at `at` (FrameInfo.shapeOffset). */
export function readTensorShape(bytes: Uint8Array, view: DataView, at: number): number[] {
  return Array.from({ length: bytes[at] }, (_, i) => view.getUint32(at + 1 + 4 * i));
}
