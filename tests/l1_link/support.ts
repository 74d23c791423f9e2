/** Shared by the link tests: decoding at an offset, arbitraries, hand-made damage. */
import fc from "fast-check";
import {
  buildFrame,
  Compression,
  crc32c,
  decodeFrame,
  Flag,
  FrameError,
  FrameInfo,
  type FrameOption,
  FrameType,
  type HeaderFields,
  OptionType,
  TENSOR_DIMS_MAX,
} from "../../lib/l1_link/mod.ts";
import { canonicalViewReference } from "../reference/link.ts";

/** A decoded frame with the memory it lies in, 13 bytes from its start to catch offset mistakes. */
export interface Decoded {
  readonly error: FrameError;
  readonly info: FrameInfo;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export const OFFSET = 13;

/** Decodes a frame that lies at OFFSET in larger memory. */
export function decode(frame: Uint8Array): Decoded {
  const bytes = new Uint8Array(OFFSET + frame.length + 7).fill(0xee);
  bytes.set(frame, OFFSET);
  const view = new DataView(bytes.buffer);
  const info = new FrameInfo();
  return { error: decodeFrame(bytes, view, OFFSET, frame.length, info), info, bytes, view };
}

/** The frame with a change made and the CRC (by the reference view) put right again. */
export function damage(frame: Uint8Array, change: (frame: Uint8Array) => void): Uint8Array {
  const copy = frame.slice();
  change(copy);
  return refreshCrc(copy);
}

/** Writes the CRC that the bytes deserve. */
export function refreshCrc(frame: Uint8Array): Uint8Array {
  const canonical = canonicalViewReference(frame);
  new DataView(frame.buffer, frame.byteOffset)
    .setUint32(frame.length - 4, crc32c(canonical, 0, canonical.length));
  return frame;
}

/** A sealed-looking data frame: one ENCRYPTION_TAG option and a payload. */
export function sealedFrame(payload: Uint8Array, extra: readonly FrameOption[] = []): Uint8Array {
  return buildFrame(
    { flags: Flag.ENCRYPTED, keyPhase: 1, streamId: 7 },
    [...extra, { type: OptionType.ENCRYPTION_TAG, tag: new Uint8Array(16).fill(0xaa) }],
    payload,
  );
}

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u8 = fc.integer({ min: 0, max: 0xff });

const critical = fc.constantFrom({}, { critical: true as const });

/** Any option that may stand on any clear frame, each known kind at most once. */
const plainOptions: fc.Arbitrary<FrameOption[]> = fc.tuple(
  fc.option(u8.map((n) => ({ type: OptionType.PAD, length: n % 20 }))),
  fc.option(
    fc.constantFrom(...Object.values(Compression)).map((algorithm) => ({
      type: OptionType.COMPRESSION_ALG,
      algorithm,
    })),
  ),
  fc.option(
    fc.array(u32, { maxLength: TENSOR_DIMS_MAX }).map((dims) => ({
      type: OptionType.TENSOR_SHAPE,
      dims,
    })),
  ),
  fc.option(bytesOf(16).map((traceId) => ({ type: OptionType.TRACE_ID, traceId }))),
  fc.option(u8.map((hops) => ({ type: OptionType.HOP_COUNT, hops }))),
  fc.option(
    fc.uint8Array({ minLength: 4, maxLength: 60 }).map((sad) => ({
      type: OptionType.SEMANTIC_ADDR,
      sad,
    })),
  ),
  fc.option(
    fc.tuple(u16, u16).map(([device, memoryPool]) => ({
      type: OptionType.GPU_HINT,
      device,
      memoryPool,
    })),
  ),
  fc.option(
    fc.tuple(fc.integer({ min: 9, max: 127 }), fc.uint8Array({ maxLength: 12 })).map((
      [code, value],
    ) => ({ type: "unknown" as const, code, value })),
  ),
).chain((options) =>
  fc.tuple(
    fc.shuffledSubarray(options.filter((option) => option !== null) as FrameOption[]),
    fc.array(critical, { minLength: 8, maxLength: 8 }),
  )
).map(([options, marks]) =>
  // An unknown option must not be critical: such a frame is refused.
  options.map((option, i) => option.type === "unknown" ? option : { ...option, ...marks[i] })
);

const header: fc.Arbitrary<Partial<HeaderFields>> = fc.record({
  streamId: u32,
  sequence: u32,
  source: bytesOf(16),
  dest: bytesOf(16),
  priority: fc.integer({ min: 0, max: 15 }),
  qos: fc.integer({ min: 0, max: 15 }),
  tensorDtype: fc.integer({ min: 0, max: 9 }),
  hopLimit: u8,
  tensorAlignment: fc.integer({ min: -1, max: 15 }).map((n) => n < 0 ? 0 : 1 << n),
  timestampHigh: u32,
  timestampLow: u32,
});

/** A valid frame of any kind, as what it was made from. */
export interface FrameParts {
  readonly fields: Partial<HeaderFields>;
  readonly options: FrameOption[];
  readonly payload: Uint8Array;
}

const payload = fc.uint8Array({ maxLength: 300 });
const otherFlags = fc.subarray([
  Flag.COMPRESSED,
  Flag.TENSOR_PAYLOAD,
  Flag.PRIORITY_EXPRESS,
  Flag.OVERLAY_ENCAP,
]).map((flags) => flags.reduce<number>((all, flag) => all | flag, 0));

/** Clear frames, sealed frames and fragments. */
export const frameParts: fc.Arbitrary<FrameParts> = fc.oneof(
  fc.record({
    fields: fc.tuple(header, otherFlags, fc.constantFrom(...Object.values(FrameType))).map((
      [fields, flags, type],
    ) => ({ ...fields, flags, type })),
    options: plainOptions,
    payload,
  }),
  fc.record({
    fields: fc.tuple(header, otherFlags, fc.integer({ min: 1, max: 255 })).map((
      [fields, flags, keyPhase],
    ) => ({ ...fields, type: FrameType.DATA, flags: flags | Flag.ENCRYPTED, keyPhase })),
    options: fc.tuple(plainOptions, bytesOf(16)).map(([options, tag]): FrameOption[] => [
      ...options.filter(({ type }) => type !== OptionType.SEMANTIC_ADDR),
      { type: OptionType.ENCRYPTION_TAG, tag },
    ]),
    payload,
  }),
  fc.record({
    fields: fc.tuple(header, fc.boolean()).map(([fields, more]) => ({
      ...fields,
      type: FrameType.TRUST_HANDSHAKE,
      flags: more ? Flag.MORE_FRAGMENTS : 0,
    })),
    options: fc.tuple(plainOptions, u32, fc.integer({ min: 1, max: 0xffff })).map(
      ([options, offset, total]): FrameOption[] => [
        { type: OptionType.FRAGMENT_INFO, offset, total },
        ...options,
      ],
    ),
    payload,
  }),
);

/** The name of an error code, for readable failures. */
export function nameOf(error: FrameError): string {
  return FrameError[error];
}
