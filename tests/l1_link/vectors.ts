/**
 * The shape of tests/vectors/link.json, and its generator:
 *
 *     deno run --allow-write=tests/vectors tests/l1_link/vectors.ts && deno fmt tests/vectors/link.json
 *
 * Run it only when the protocol changes; vectors_test.ts reads the file, never this generator.
 */
import { fromHex, SeededRandom, toHex } from "../../lib/base/mod.ts";
import {
  buildFrame,
  CANONICAL_BYTES_MAX,
  crc32c,
  Flag,
  fragment,
  FrameError,
  type FrameOption,
  FrameType,
  type HeaderFields,
  OptionType,
  writeCanonicalHeader,
  writeOption,
  writeOverlay,
} from "../../lib/l1_link/mod.ts";
import { damage, decode, nameOf } from "./support.ts";

/** Header fields as JSON: numbers, node ids and timestamp in hex. */
export interface HeaderJson {
  flags: number;
  type: number;
  streamId: number;
  sequence: number;
  source: string;
  dest: string;
  priority: number;
  qos: number;
  tensorDtype: number;
  hopLimit: number;
  keyPhase: number;
  tensorAlignment: number;
  /** 16 hex digits: ns since the Unix epoch. */
  timestamp: string;
}

export interface FrameVector {
  name: string;
  header: HeaderJson;
  /** The options area. */
  options: string;
  payload: string;
  /** header and options before ENCRYPTION_TAG, mutable bytes at 0: the associated data after the VNI. */
  canonicalHeader: string;
  frame: string;
}

export interface LinkVectors {
  about: string;
  crc32c: { bytes: string; crc: string }[];
  frames: FrameVector[];
  /** Forwarded forms of a frame above: as valid as the original, with the same CRC. */
  forwarded: { name: string; original: string; frame: string }[];
  refused: { name: string; frame: string; error: string }[];
  overlay: { name: string; vni: number; datagram: string; error: string }[];
  fragments: { message: string; frameBytesMax: number; frames: string[] };
}

function seeded(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  new SeededRandom(seed).fill(bytes);
  return bytes;
}

const source = fromHex("00112233445566778899aabbccddeeff");
const dest = fromHex("f0e0d0c0b0a090807060504030201000");

function frameVector(
  name: string,
  fields: Partial<HeaderFields>,
  options: FrameOption[],
  payload: Uint8Array,
): FrameVector {
  // 2026-02-26T00:00:00Z.
  const stamp = { timestampHigh: 0x1897a2d1, timestampLow: 0xb7420000 };
  const frame = buildFrame({ source, dest, ...stamp, ...fields }, options, payload);
  const { info, bytes, error } = decode(frame);
  if (error !== FrameError.OK) throw new Error(`${name}: ${nameOf(error)}`);
  const canonical = new Uint8Array(CANONICAL_BYTES_MAX);
  const canonicalBytes = writeCanonicalHeader(bytes, info.offset, info, canonical);
  return {
    name,
    header: {
      flags: info.flags,
      type: info.type,
      streamId: info.streamId,
      sequence: info.sequence,
      source: toHex(frame.subarray(16, 32)),
      dest: toHex(frame.subarray(32, 48)),
      priority: info.priority,
      qos: info.qos,
      tensorDtype: info.tensorDtype,
      hopLimit: info.hopLimit,
      keyPhase: info.keyPhase,
      tensorAlignment: info.tensorAlignment,
      timestamp: toHex(frame.subarray(56, 64)),
    },
    options: toHex(frame.subarray(64, 64 + info.optionsLength)),
    payload: toHex(payload),
    canonicalHeader: toHex(canonical.subarray(0, canonicalBytes)),
    frame: toHex(frame),
  };
}

function makeFrames(): FrameVector[] {
  const tag = seeded(1, 16);
  const all: FrameOption[] = [
    { type: OptionType.PAD, length: 3 },
    { type: OptionType.COMPRESSION_ALG, algorithm: 2 },
    { type: OptionType.TENSOR_SHAPE, dims: [2, 3, 65_536], critical: true },
    { type: OptionType.TRACE_ID, traceId: seeded(2, 16) },
    { type: OptionType.HOP_COUNT, hops: 4 },
    { type: OptionType.SEMANTIC_ADDR, sad: fromHex("01010009020400000003") },
    { type: OptionType.GPU_HINT, device: 1, memoryPool: 7 },
    { type: "unknown", code: 0x55, value: fromHex("c0ffee") },
  ];
  return [
    frameVector(
      "shortest frame",
      { source: new Uint8Array(16), dest: new Uint8Array(16) },
      [],
      seeded(3, 0),
    ),
    frameVector(
      "sealed data frame",
      { flags: Flag.ENCRYPTED, keyPhase: 1, streamId: 0xdeadbeef, sequence: 41 },
      [{ type: OptionType.ENCRYPTION_TAG, tag }],
      seeded(4, 64),
    ),
    frameVector(
      "sealed data frame with trace id, hop count and alignment",
      { flags: Flag.ENCRYPTED, keyPhase: 255, streamId: 1, sequence: 0xffffffff, hopLimit: 7 },
      [
        { type: OptionType.TRACE_ID, traceId: seeded(5, 16) },
        { type: OptionType.HOP_COUNT, hops: 25 },
        { type: OptionType.PAD, length: 23 },
        { type: OptionType.ENCRYPTION_TAG, tag },
      ],
      seeded(6, 100),
    ),
    frameVector(
      "handshake frame",
      { type: FrameType.TRUST_HANDSHAKE, dest: new Uint8Array(16) },
      [],
      seeded(7, 96),
    ),
    frameVector(
      "anycast frame with every option of a clear frame",
      {
        flags: Flag.COMPRESSED | Flag.TENSOR_PAYLOAD | Flag.PRIORITY_EXPRESS,
        type: FrameType.TENSOR_TRANSFER,
        priority: 15,
        qos: 2,
        tensorDtype: 9,
        tensorAlignment: 64,
      },
      all,
      seeded(8, 33),
    ),
  ];
}

function makeVectors(): LinkVectors {
  const frames = makeFrames();
  const bytesOf = (name: string) => fromHex(frames.find((each) => each.name === name)!.frame);
  const anycast = frames.at(-1)!.name;
  const rerouted = bytesOf(anycast);
  rerouted[50] = 1;
  rerouted.set(source, 32);
  rerouted[decode(rerouted).info.hopCountOffset - decode(rerouted).info.offset] = 31;
  const hop = bytesOf("sealed data frame");
  hop[50]--;

  const plain = buildFrame({ source, dest }, [], seeded(9, 20));
  const refuse = (name: string, error: FrameError, frame: Uint8Array) => {
    if (decode(frame).error !== error) throw new Error(`${name}: ${nameOf(decode(frame).error)}`);
    return { name, frame: toHex(frame), error: nameOf(error) };
  };
  const withOptions = (hex: string) =>
    damage(buildFrame({}, [], fromHex(hex + "01020304")), (f) => f[55] = hex.length / 2);

  const datagram = (vni: number) => {
    const bytes = new Uint8Array(8 + plain.length);
    writeOverlay(bytes, 0, vni);
    bytes.set(plain, 8);
    return bytes;
  };
  const oldOverlay = datagram(7);
  oldOverlay[0] = 0;

  const message = seeded(10, 300);
  return {
    about: "Golden vectors of docs/protocol.md §1 and §2. Bytes are hex. Codes of refused frames " +
      "name the first check of §2 that fails.",
    crc32c: [
      "313233343536373839",
      "00".repeat(32),
      "ff".repeat(32),
      toHex(Uint8Array.from({ length: 32 }, (_, i) => i)),
      toHex(Uint8Array.from({ length: 32 }, (_, i) => 31 - i)),
    ].map((hex) => ({
      bytes: hex,
      crc: crc32c(fromHex(hex), 0, hex.length / 2).toString(16).padStart(8, "0"),
    })),
    frames,
    forwarded: [
      { name: "hop_limit one less", original: "sealed data frame", frame: toHex(hop) },
      { name: "new destination and hop count", original: anycast, frame: toHex(rerouted) },
    ],
    refused: [
      refuse("cut", FrameError.FRAME_TOO_SHORT, plain.subarray(0, 67)),
      refuse("byte missing", FrameError.FRAME_LENGTH_MISMATCH, plain.slice(0, -1)),
      refuse("version 2", FrameError.FRAME_VERSION, damage(plain, (f) => f[0] = 0x20)),
      refuse("type 8", FrameError.FRAME_TYPE, damage(plain, (f) => f[3] = 0x80)),
      refuse(
        "options past the frame",
        FrameError.OPTIONS_OVERRUN,
        damage(plain, (f) => f[55] = 21),
      ),
      refuse("payload bit", FrameError.FRAME_CRC, flip(plain, 70)),
      refuse("dtype 10", FrameError.TENSOR_DTYPE, damage(plain, (f) => f[49] = 10)),
      refuse("alignment 3", FrameError.TENSOR_ALIGNMENT, damage(plain, (f) => f[53] = 3)),
      refuse("key phase on a clear frame", FrameError.KEY_PHASE, damage(plain, (f) => f[51] = 1)),
      refuse("option cut", FrameError.OPTION_TRUNCATED, withOptions("0905aa")),
      refuse("trace id of 2 bytes", FrameError.OPTION_LENGTH, withOptions("0502aabb")),
      refuse("hop count twice", FrameError.OPTION_DUPLICATE, withOptions("060101060101")),
      refuse("critical unknown", FrameError.OPTION_CRITICAL_UNKNOWN, withOptions("8900")),
      refuse("compression 9", FrameError.OPTION_VALUE, withOptions("020109")),
      refuse("tag on a clear frame", FrameError.OPTION_TAG, withOptions("0310" + "00".repeat(16))),
      refuse("fragment of data", FrameError.FRAGMENT_FORBIDDEN, withOptions("0106000000000002")),
      refuse(
        "anycast sealed",
        FrameError.ANYCAST_SEALED,
        buildFrame({ flags: Flag.ENCRYPTED, keyPhase: 1 }, [
          { type: OptionType.SEMANTIC_ADDR, sad: fromHex("01000004") },
          { type: OptionType.ENCRYPTION_TAG, tag: seeded(1, 16) },
        ]),
      ),
    ],
    overlay: [
      { name: "accepted", vni: 7, datagram: toHex(datagram(7)), error: "OK" },
      { name: "largest VNI", vni: 0xffffff, datagram: toHex(datagram(0xffffff)), error: "OK" },
      { name: "another VNI", vni: 7, datagram: toHex(datagram(8)), error: "OVERLAY_VNI" },
      { name: "version 0", vni: 7, datagram: toHex(oldOverlay), error: "OVERLAY_VERSION" },
      {
        name: "too short",
        vni: 7,
        datagram: toHex(datagram(7).subarray(0, 75)),
        error: "OVERLAY_TOO_SHORT",
      },
    ],
    fragments: {
      message: toHex(message),
      frameBytesMax: 200,
      frames: fragment(message, 200).map(({ offset, total, more, bytes }) =>
        toHex(buildFrame(
          {
            type: FrameType.TRUST_HANDSHAKE,
            flags: more ? Flag.MORE_FRAGMENTS : 0,
            source,
            dest,
            sequence: 2,
          },
          [{ type: OptionType.FRAGMENT_INFO, offset, total }],
          bytes,
        ))
      ),
    },
  };
}

/** The options area of a list of options. */
export function optionsBytes(options: readonly FrameOption[]): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  return bytes.slice(0, options.reduce((at, option) => writeOption(bytes, view, at, option), 0));
}

function flip(frame: Uint8Array, at: number): Uint8Array {
  const copy = frame.slice();
  copy[at] ^= 1;
  return copy;
}

if (import.meta.main) {
  const path = new URL("../vectors/link.json", import.meta.url);
  await Deno.writeTextFile(path, JSON.stringify(makeVectors(), null, 2) + "\n");
}
