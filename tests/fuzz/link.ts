/**
 * Fuzzing of L1: frames, options, overlays and fragments. Inputs are mutations of a corpus that
 * grows by what reaches something new (an error code, a set of options, a frame type). Most get a
 * right length and CRC, so that the checks behind those are reached.
 *
 * A frame must be refused with exactly the code of the slow twin (tests/reference), or be accepted
 * and, built again from what was decoded, give the same bytes but for what receivers ignore.
 */
import { SeededRandom } from "../../lib/base/mod.ts";
import {
  buildFrame,
  checkOverlay,
  crc32c,
  decodeFrame,
  Flag,
  FrameError,
  frameError,
  FrameInfo,
  type FrameOption,
  FrameType,
  type HeaderFields,
  OptionType,
  OVERLAY_BYTES,
  OverlayError,
  readOptions,
} from "../../lib/l1_link/mod.ts";
import { canonicalViewReference } from "../reference/link.ts";
import { decodeReference } from "../reference/link_decode.ts";
import { type FuzzRun, type FuzzTarget, require } from "./fuzzer.ts";
import { FragmentFuzz } from "./link_fragments.ts";
import { mutate } from "./mutate.ts";

/** Frames are kept short: the interesting bytes are at the front, and speed finds more. */
const INPUT_BYTES_MAX = 700;
/** Bytes around the frame that must not matter. */
const MARGIN = 64;
/** The corpus stops growing here. */
const CORPUS_MAX = 2048;

export const linkFuzz: FuzzTarget = {
  name: "link",
  about: "L1: frames, options, overlay and fragments",
  start: (seed) => new LinkFuzz(seed),
};

/** Memory that a frame is decoded in, `filler` all around it. */
interface Place {
  readonly filler: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly info: FrameInfo;
}

class LinkFuzz implements FuzzRun {
  readonly #random: SeededRandom;
  readonly #fragments: FragmentFuzz;
  readonly #corpus: Uint8Array[];
  readonly #reached = new Set<string>();
  readonly #input = new Uint8Array(INPUT_BYTES_MAX);
  #length = 0;
  // The same frame in different surroundings: a read outside shows as a difference.
  readonly #places: Place[] = [0x00, 0xff].map((filler) => {
    const bytes = new Uint8Array(INPUT_BYTES_MAX + 2 * MARGIN).fill(filler);
    return { filler, bytes, view: new DataView(bytes.buffer), info: new FrameInfo() };
  });
  #accepted = 0;
  #inputs = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#fragments = new FragmentFuzz(new SeededRandom(seed ^ 0x66726167));
    this.#corpus = seedCorpus(this.#random);
  }

  summary(): string {
    return `${this.#corpus.length} in the corpus, ${this.#reached.size} kinds reached, ` +
      `${(100 * this.#accepted / Math.max(1, this.#inputs)).toFixed(1)} % accepted; ` +
      this.#fragments.summary();
  }

  lastInput(): Uint8Array {
    return this.#input.slice(0, this.#length);
  }

  one(): void {
    this.#inputs++;
    const kind = this.#random.below(16);
    if (kind < 9) this.#mutated(kind < 8);
    else if (kind < 12) this.#composed();
    else if (kind === 12) this.#noise();
    else if (kind === 13) this.#overlay();
    else this.#fragments.one();
  }

  #mutated(repair: boolean): void {
    const random = this.#random;
    const parent = this.#pick();
    this.#input.set(parent);
    this.#length = mutate(this.#input, parent.length, INPUT_BYTES_MAX, random, this.#pick());
    if (repair) repairFrame(this.#input, this.#length);
    const code = this.#judge();
    if (this.#corpus.length < CORPUS_MAX) this.#keep(code);
  }

  /** Well-formed options in combinations that may not stand together. */
  #composed(): void {
    const frame = composeFrame(this.#random);
    this.#input.set(frame);
    this.#length = frame.length;
    const code = this.#judge();
    require(
      COMPOSED_MAY_BE.has(code),
      () => `buildFrame wrote what is refused as ${FrameError[code]}`,
    );
    if (this.#corpus.length < CORPUS_MAX) this.#keep(code);
  }

  #noise(): void {
    this.#length = this.#random.below(200);
    this.#random.fill(this.#input.subarray(0, this.#length));
    this.#judge();
  }

  #pick(): Uint8Array {
    return this.#corpus[this.#random.below(this.#corpus.length)];
  }

  /** Decodes the input and judges the outcome. */
  #judge(): FrameError {
    const [first, second] = this.#places;
    const code = this.#decodeAt(first);
    // Nothing of the frame before may be left in a reused info: here it would be nonsense.
    for (const key of Object.keys(second.info) as (keyof FrameInfo)[]) second.info[key] = -77;
    const again = this.#decodeAt(second);
    require(code === again, () => `bytes around the frame matter: ${code} or ${again}`);
    require(FrameError[code] !== undefined, () => `code ${code} is no FrameError`);
    const input = this.#input.subarray(0, this.#length);
    // The twin is slow: always for what was accepted, a sample of the rest.
    if (code === FrameError.OK || (this.#inputs & 15) === 0) {
      const expected = decodeReference(input);
      require(
        FrameError[code] === expected,
        () => `decoded as ${FrameError[code]}, expected ${expected}`,
      );
    }
    if (code === FrameError.OK) {
      this.#accepted++;
      for (const key of Object.keys(first.info) as (keyof FrameInfo)[]) {
        require(first.info[key] === second.info[key], () => `bytes around the frame reach ${key}`);
      }
      checkInfo(first.info, this.#length);
      checkRebuilt(first.bytes, first.view, first.info, input);
    } else if ((this.#inputs & 1023) === 0) {
      const { code: name, message } = frameError(code);
      require(name === FrameError[code] && !message.includes("undefined"), () => message);
    }
    return code;
  }

  #decodeAt({ filler, bytes, view, info }: Place): FrameError {
    for (let i = 0; i < this.#length; i++) bytes[MARGIN + i] = this.#input[i];
    bytes.fill(filler, MARGIN + this.#length, MARGIN + this.#length + MARGIN);
    return decodeFrame(bytes, view, MARGIN, this.#length, info);
  }

  /** Keeps an input that shows something new. */
  #keep(code: FrameError): void {
    const { info } = this.#places[0];
    const options = code === FrameError.OK ? optionSignature(this.#input, info) : "";
    const key = `${code} ${options}`;
    if (this.#reached.has(key)) return;
    this.#reached.add(key);
    this.#corpus.push(this.lastInput());
  }

  #overlay(): void {
    const random = this.#random;
    this.#length = random.chance(0.2) ? random.below(90) : 76 + random.below(30);
    random.fill(this.#input.subarray(0, this.#length));
    if (random.chance(0.8)) this.#input[0] = 0x10 | (this.#input[0] & 0xf);
    const bytes = this.#input;
    const named = bytes[2] * 65_536 + bytes[3] * 256 + bytes[4];
    const vni = random.chance(0.5) ? named : random.below(2 ** 24);
    const expected = this.#length < OVERLAY_BYTES + 68
      ? OverlayError.OVERLAY_TOO_SHORT
      : bytes[0] >> 4 !== 1
      ? OverlayError.OVERLAY_VERSION
      : named !== vni
      ? OverlayError.OVERLAY_VNI
      : OverlayError.OK;
    const code = checkOverlay(bytes, 0, this.#length, vni);
    require(
      code === expected,
      () => `overlay ${OverlayError[code]}, not ${OverlayError[expected]}`,
    );
  }
}

/** Sets frame_length and the CRC that the bytes deserve. */
function repairFrame(bytes: Uint8Array, length: number): void {
  if (length < 68) return;
  new DataView(bytes.buffer).setUint32(4, length);
  // A view would reach past the frame otherwise; such frames are refused before their CRC.
  if (64 + bytes[54] * 256 + bytes[55] + 4 > length) return;
  const canonical = canonicalViewReference(bytes.subarray(0, length));
  new DataView(bytes.buffer).setUint32(length - 4, crc32c(canonical, 0, canonical.length));
}

/** Everything that the info says lies inside the frame. */
function checkInfo(info: FrameInfo, length: number): void {
  const options = MARGIN + 64;
  const payload = options + info.optionsLength;
  require(info.payloadOffset === payload, () => "payload does not follow the options");
  require(
    payload + info.payloadLength + 4 === MARGIN + length,
    () => "payload does not end at the CRC",
  );
  const values: [number, number][] = [
    [info.tagOffset, 16],
    [info.shapeOffset, 1],
    [info.traceOffset, 16],
    [info.hopCountOffset, 1],
    [info.semanticOffset, info.semanticLength],
    [info.gpuHintOffset, 4],
  ];
  for (const [at, bytes] of values) {
    require(
      at === -1 || (at >= options + 2 && at + bytes <= payload),
      () => `an option value of ${bytes} bytes at ${at} leaves the options`,
    );
  }
}

/** The frame built again from what was decoded is the input but for what receivers ignore. */
function checkRebuilt(
  bytes: Uint8Array,
  view: DataView,
  info: FrameInfo,
  input: Uint8Array,
): void {
  const rebuilt = buildFrame(
    {
      flags: info.flags,
      type: info.type,
      streamId: info.streamId,
      sequence: info.sequence,
      source: input.subarray(16, 32),
      dest: input.subarray(32, 48),
      priority: info.priority,
      qos: info.qos,
      tensorDtype: info.tensorDtype,
      hopLimit: info.hopLimit,
      keyPhase: info.keyPhase,
      tensorAlignment: info.tensorAlignment,
      timestampHigh: info.timestampHigh,
      timestampLow: info.timestampLow,
    },
    readOptions(bytes, view, info),
    bytes.subarray(info.payloadOffset, info.payloadOffset + info.payloadLength),
  );
  const expected = withoutIgnored(input);
  for (let i = 0; i < expected.length; i++) {
    require(
      rebuilt[i] === expected[i],
      () => `byte ${i} is ${rebuilt[i]} when built again, not ${expected[i]}`,
    );
  }
  require(rebuilt.length === expected.length, () => "built again it has another length");
}

/** A copy whose reserved bits and PAD bytes are 0, with the CRC that this deserves. */
function withoutIgnored(frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  copy[0] &= 0xf3;
  copy[3] &= 0xf0;
  const end = 64 + copy[54] * 256 + copy[55];
  for (let at = 64; at < end; at += 2 + copy[at + 1]) {
    if ((copy[at] & 0x7f) === OptionType.PAD) copy.fill(0, at + 2, at + 2 + copy[at + 1]);
  }
  repairFrame(copy, copy.length);
  return copy;
}

/** Types of the options in order, with their critical bits, and the frame's type and flags. */
function optionSignature(frame: Uint8Array, info: FrameInfo): string {
  let text = `${info.type}.${info.flags}`;
  const end = 64 + info.optionsLength;
  for (let at = 64; at < end; at += 2 + frame[at + 1]) text += `,${Math.min(frame[at], 0x8f)}`;
  return text;
}

/** What can be wrong with frames whose parts are each well formed. */
const COMPOSED_MAY_BE = new Set([
  FrameError.OK,
  FrameError.OPTION_CRITICAL_UNKNOWN,
  FrameError.OPTION_DUPLICATE,
  FrameError.OPTION_VALUE,
  FrameError.OPTION_TAG,
  FrameError.FRAGMENT_FORBIDDEN,
  FrameError.ANYCAST_SEALED,
]);

/** Any header with any options: valid, or wrong in a way that takes more than one change. */
function composeFrame(random: SeededRandom): Uint8Array {
  const bytes = (length: number) => {
    const out = new Uint8Array(length);
    random.fill(out);
    return out;
  };
  const makers: (() => FrameOption)[] = [
    () => ({ type: OptionType.PAD, length: random.below(9) }),
    () => ({ type: OptionType.FRAGMENT_INFO, offset: random.u32(), total: random.below(4) }),
    () => ({ type: OptionType.COMPRESSION_ALG, algorithm: random.below(5) }),
    () => ({ type: OptionType.ENCRYPTION_TAG, tag: bytes(16) }),
    () => ({
      type: OptionType.TENSOR_SHAPE,
      dims: Array.from({ length: random.below(9) }, () => random.u32()),
    }),
    () => ({ type: OptionType.TRACE_ID, traceId: bytes(16) }),
    () => ({ type: OptionType.HOP_COUNT, hops: random.below(256) }),
    () => ({ type: OptionType.SEMANTIC_ADDR, sad: bytes(4 + random.below(30)) }),
    () => ({ type: OptionType.GPU_HINT, device: random.below(9), memoryPool: random.below(9) }),
    () => ({ type: "unknown", code: 9 + random.below(119), value: bytes(random.below(9)) }),
  ];
  const options: FrameOption[] = [];
  for (let count = random.below(6); count > 0; count--) {
    const option = makers[random.below(makers.length)]();
    options.push(random.chance(0.2) ? { ...option, critical: true } : option);
  }
  const sealed = random.chance(0.4);
  if (sealed) options.push(makers[3]());
  return buildFrame(
    {
      type: random.chance(0.4) ? FrameType.TRUST_HANDSHAKE : 1 + random.below(7),
      flags: random.below(64) & ~Flag.ENCRYPTED | (sealed ? Flag.ENCRYPTED : 0),
      keyPhase: sealed ? 1 + random.below(255) : 0,
      streamId: random.u32(),
      sequence: random.u32(),
      timestampHigh: random.u32(),
      timestampLow: random.u32(),
      tensorDtype: random.below(10),
      tensorAlignment: 1 << random.below(16),
      source: bytes(16),
      dest: bytes(16),
    },
    options,
    bytes(random.below(100)),
  );
}

/** Valid frames of every kind. */
function seedCorpus(random: SeededRandom): Uint8Array[] {
  const bytes = (length: number) => {
    const out = new Uint8Array(length);
    random.fill(out);
    return out;
  };
  const tag: FrameOption = { type: OptionType.ENCRYPTION_TAG, tag: bytes(16) };
  const all: FrameOption[] = [
    { type: OptionType.PAD, length: 3 },
    { type: OptionType.COMPRESSION_ALG, algorithm: 2 },
    { type: OptionType.TENSOR_SHAPE, dims: [2, 3, 4096] },
    { type: OptionType.TRACE_ID, traceId: bytes(16) },
    { type: OptionType.HOP_COUNT, hops: 3, critical: true },
    { type: OptionType.GPU_HINT, device: 1, memoryPool: 2 },
    { type: "unknown", code: 0x44, value: bytes(5) },
  ];
  const sad: FrameOption = { type: OptionType.SEMANTIC_ADDR, sad: bytes(20) };
  const part: FrameOption = { type: OptionType.FRAGMENT_INFO, offset: 100, total: 3 };
  const sealed = { flags: Flag.ENCRYPTED, keyPhase: 1 };
  const handshake = { type: FrameType.TRUST_HANDSHAKE };
  const recipes: [Partial<HeaderFields>, FrameOption[]][] = [
    [{}, []],
    [{}, [sad]],
    [{ tensorAlignment: 64, tensorDtype: 3, flags: Flag.TENSOR_PAYLOAD }, [...all, sad]],
    [sealed, [tag]],
    [sealed, [...all, tag]],
    [handshake, []],
    [handshake, [part, all[4]]],
    [{ ...handshake, flags: Flag.MORE_FRAGMENTS }, [part, ...all]],
    ...Object.values(FrameType).map((type): [Partial<HeaderFields>, FrameOption[]] => [
      { type, priority: 15, qos: 3, flags: Flag.PRIORITY_EXPRESS },
      [all[type - 1]],
    ]),
  ];
  return recipes.flatMap(([fields, options]) =>
    [0, 5, 64, 300].map((payload) =>
      buildFrame({ source: bytes(16), dest: bytes(16), ...fields }, options, bytes(payload))
    )
  );
}
