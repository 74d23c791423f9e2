/**
 * Semantic Address Descriptor, binary form (protocol.md §6).
 *
 *   version(8)=1 num_fields(8) total_length(16) ‖ { type(8) length(8) value }…
 *
 * One meaning has one byte string: the decoder refuses every other spelling, so that a digest of
 * the bytes identifies the query and two nodes never disagree on what was asked.
 */
import { assert, NexusError, utf8 } from "../base/mod.ts";
import { ARCH_MAX, CAPABILITY_MASK } from "./capabilities.ts";
import { checkModelPattern, decodeText } from "./names.ts";

export const SAD_VERSION = 1;
/** Bytes before the fields. */
export const SAD_HEADER_BYTES = 4;
export const SAD_BYTES_MAX = 512;
export const SAD_FIELDS_MAX = 16;
export const TRUST_MAX = 4;
/** Bit of a cost: per 1,000 tokens instead of per request. */
export const COST_PER_1K = 0x80000000;
/** Highest amount beside that bit, millionths of a US dollar. */
export const COST_MICROS_MAX = 0x7fffffff;
/** Bytes of an affinity key. */
export const AFFINITY_BYTES = 8;

/** OPTIONS bits. */
export const OPTION_PARTIAL = 1;
export const OPTION_RELAX = 2;
const OPTION_MASK = OPTION_PARTIAL | OPTION_RELAX;

/** Field types on the wire. */
export const SadField = {
  MODEL_ARCH: 0x01,
  CAPABILITY: 0x02,
  CONTEXT_WINDOW: 0x03,
  MAX_LATENCY_MS: 0x04,
  MAX_COST: 0x05,
  TRUST_LEVEL: 0x06,
  REGION_PREFER: 0x07,
  REGION_EXCLUDE: 0x08,
  PUBLISHER_ID: 0x09,
  MIN_BENCHMARK: 0x0a,
  CUSTOM: 0x0b,
  MODEL_NAME: 0x0c,
  AFFINITY: 0x0d,
  OPTIONS: 0x0e,
} as const;

/** An amount of money: millionths of a US dollar, per request or per 1,000 tokens. */
export interface Cost {
  readonly micros: number;
  readonly per1k: boolean;
}

/** What is asked for. An absent field asks nothing; the empty object matches every model. */
export interface Sad {
  /** 1…6, see ARCHITECTURES. */
  arch?: number;
  /** Capability bits, see CAPABILITIES; 0 is the same as absent. */
  capabilities?: number;
  /** Tokens. */
  contextMin?: number;
  latencyMsMax?: number;
  costMax?: Cost;
  /** 0…4. */
  trustMin?: number;
  /** ISO 3166-1 numeric; an empty list is the same as absent. */
  regionPrefer?: number[];
  regionExclude?: number[];
  /** Node id, 16 bytes. */
  publisher?: Uint8Array;
  /** Score × 1000. */
  benchmarkMin?: number;
  /** 1…255 bytes that routing does not look at. */
  custom?: Uint8Array;
  /** 1…128 bytes of UTF-8, exact or with a trailing `*`. */
  model?: string;
  /** 8 bytes: requests with one key prefer one node. */
  affinity?: Uint8Array;
  /** OPTION_PARTIAL, OPTION_RELAX; 0 is the same as absent. */
  options?: number;
}

/**
 * Canonical bytes. Region lists may come in any order and with repetitions; empty sets are left
 * out. Throws INVALID_SAD when a field is out of its range, TOO_LARGE past 512 bytes.
 *
 * ```ts
 * import { decodeSad, encodeSad } from "./mod.ts";
 * const bytes = encodeSad({ capabilities: 2, contextMin: 32768 });
 * console.assert(decodeSad(bytes).contextMin === 32768);
 * ```
 */
export function encodeSad(sad: Sad): Uint8Array<ArrayBuffer> {
  const out = new SadWriter();
  if (sad.arch !== undefined) {
    out.u32(SadField.MODEL_ARCH, inRange("arch", sad.arch, 1, ARCH_MAX));
  }
  if (sad.capabilities) {
    out.u32(
      SadField.CAPABILITY,
      inRange("capabilities", sad.capabilities, 1, CAPABILITY_MASK),
    );
  }
  if (sad.contextMin !== undefined) {
    out.u32(SadField.CONTEXT_WINDOW, u32("contextMin", sad.contextMin));
  }
  if (sad.latencyMsMax !== undefined) {
    out.u32(SadField.MAX_LATENCY_MS, u32("latencyMsMax", sad.latencyMsMax));
  }
  if (sad.costMax !== undefined) out.u32(SadField.MAX_COST, encodeCost(sad.costMax));
  if (sad.trustMin !== undefined) {
    out.field(SadField.TRUST_LEVEL, [inRange("trustMin", sad.trustMin, 0, TRUST_MAX)]);
  }
  if (sad.regionPrefer?.length) {
    out.field(SadField.REGION_PREFER, regionBytes("regionPrefer", sad.regionPrefer));
  }
  if (sad.regionExclude?.length) {
    out.field(SadField.REGION_EXCLUDE, regionBytes("regionExclude", sad.regionExclude));
  }
  if (sad.publisher !== undefined) {
    out.field(SadField.PUBLISHER_ID, ofLength("publisher", sad.publisher, 16, 16));
  }
  if (sad.benchmarkMin !== undefined) {
    out.u32(SadField.MIN_BENCHMARK, u32("benchmarkMin", sad.benchmarkMin));
  }
  if (sad.custom !== undefined) {
    out.field(SadField.CUSTOM, ofLength("custom", sad.custom, 1, 255));
  }
  if (sad.model !== undefined) {
    const fault = checkModelPattern(sad.model);
    if (fault !== undefined) throw invalid(`model ${fault}`);
    out.field(SadField.MODEL_NAME, utf8(sad.model));
  }
  if (sad.affinity !== undefined) {
    out.field(
      SadField.AFFINITY,
      ofLength("affinity", sad.affinity, AFFINITY_BYTES, AFFINITY_BYTES),
    );
  }
  if (sad.options) {
    out.field(SadField.OPTIONS, [inRange("options", sad.options, 1, OPTION_MASK)]);
  }
  return out.finish();
}

/**
 * Reads canonical bytes; byte fields are copies. Throws MALFORMED for anything else, whatever the
 * bytes are.
 */
export function decodeSad(bytes: Uint8Array): Sad {
  if (bytes.length < SAD_HEADER_BYTES || bytes.length > SAD_BYTES_MAX) {
    throw malformed(`length is ${bytes.length}, expected ${SAD_HEADER_BYTES}…${SAD_BYTES_MAX}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fieldCount = bytes[1];
  if (bytes[0] !== SAD_VERSION) throw malformed(`version is ${bytes[0]}, expected ${SAD_VERSION}`);
  if (fieldCount > SAD_FIELDS_MAX) {
    throw malformed(`num_fields is ${fieldCount}, expected at most ${SAD_FIELDS_MAX}`);
  }
  if (view.getUint16(2) !== bytes.length) {
    throw malformed(`total_length is ${view.getUint16(2)}, expected ${bytes.length}`);
  }
  const sad: Sad = {};
  let at = SAD_HEADER_BYTES;
  let typeBefore = 0;
  for (let i = 0; i < fieldCount; i++) {
    if (at + 2 > bytes.length) throw malformed(`field ${i + 1} of ${fieldCount} is cut short`);
    const type = bytes[at];
    const length = bytes[at + 1];
    at += 2;
    if (at + length > bytes.length) throw malformed(`field type ${type} is cut short`);
    if (type <= typeBefore) throw malformed(`field type ${type} stands after ${typeBefore}`);
    typeBefore = type;
    decodeField(sad, type, view, at, length);
    at += length;
  }
  if (at !== bytes.length) throw malformed(`${bytes.length - at} spare bytes after the fields`);
  return sad;
}

/** A cost as its u32. Throws INVALID_SAD out of range. */
export function encodeCost(cost: Cost): number {
  inRange("cost in millionths of a dollar", cost.micros, 0, COST_MICROS_MAX);
  return cost.per1k ? cost.micros + COST_PER_1K : cost.micros;
}

/** The cost of a u32. */
export function decodeCost(value: number): Cost {
  return { micros: value % COST_PER_1K, per1k: value >= COST_PER_1K };
}

function decodeField(sad: Sad, type: number, view: DataView, at: number, length: number): void {
  switch (type) {
    case SadField.MODEL_ARCH:
      sad.arch = within(type, readU32(type, view, at, length), 1, ARCH_MAX);
      return;
    case SadField.CAPABILITY:
      sad.capabilities = within(type, readU32(type, view, at, length), 1, CAPABILITY_MASK);
      return;
    case SadField.CONTEXT_WINDOW:
      sad.contextMin = readU32(type, view, at, length);
      return;
    case SadField.MAX_LATENCY_MS:
      sad.latencyMsMax = readU32(type, view, at, length);
      return;
    case SadField.MAX_COST:
      sad.costMax = decodeCost(readU32(type, view, at, length));
      return;
    case SadField.TRUST_LEVEL:
      lengthIs(type, length, 1);
      sad.trustMin = within(type, view.getUint8(at), 0, TRUST_MAX);
      return;
    case SadField.REGION_PREFER:
      sad.regionPrefer = readRegions(type, view, at, length);
      return;
    case SadField.REGION_EXCLUDE:
      sad.regionExclude = readRegions(type, view, at, length);
      return;
    case SadField.PUBLISHER_ID:
      lengthIs(type, length, 16);
      sad.publisher = copy(view, at, length);
      return;
    case SadField.MIN_BENCHMARK:
      sad.benchmarkMin = readU32(type, view, at, length);
      return;
    case SadField.CUSTOM:
      if (length === 0) throw malformed(`field type ${type} is empty`);
      sad.custom = copy(view, at, length);
      return;
    case SadField.MODEL_NAME: {
      const name = decodeText(copy(view, at, length));
      const fault = name === undefined ? "is not UTF-8" : checkModelPattern(name);
      if (fault !== undefined) throw malformed(`model name ${fault}`);
      sad.model = name;
      return;
    }
    case SadField.AFFINITY:
      lengthIs(type, length, AFFINITY_BYTES);
      sad.affinity = copy(view, at, length);
      return;
    case SadField.OPTIONS:
      lengthIs(type, length, 1);
      sad.options = within(type, view.getUint8(at), 1, OPTION_MASK);
      return;
    default:
      throw malformed(`field type ${type} is unknown`);
  }
}

function readU32(type: number, view: DataView, at: number, length: number): number {
  lengthIs(type, length, 4);
  return view.getUint32(at);
}

function readRegions(type: number, view: DataView, at: number, length: number): number[] {
  if (length === 0 || length % 2 !== 0) {
    throw malformed(`length of field type ${type} is ${length}, expected 2 bytes a region`);
  }
  const regions: number[] = [];
  for (let i = 0; i < length; i += 2) {
    const region = view.getUint16(at + i);
    if (i > 0 && region <= regions[regions.length - 1]) {
      throw malformed(`regions of field type ${type} do not ascend`);
    }
    regions.push(region);
  }
  return regions;
}

function copy(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
}

function lengthIs(type: number, length: number, expected: number): void {
  if (length !== expected) {
    throw malformed(`length of field type ${type} is ${length}, expected ${expected}`);
  }
}

function within(type: number, value: number, min: number, max: number): number {
  if (value < min || value > max) {
    throw malformed(`field type ${type} is ${value}, expected ${min}…${max}`);
  }
  return value;
}

function malformed(detail: string): NexusError {
  return new NexusError("MALFORMED", `cannot read SAD: ${detail}`);
}

function invalid(detail: string): NexusError {
  return new NexusError("INVALID_SAD", `cannot write SAD: ${detail}`);
}

function inRange(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalid(`${name} is ${value}, expected an integer ${min}…${max}`);
  }
  return value;
}

function u32(name: string, value: number): number {
  return inRange(name, value, 0, 0xffffffff);
}

function ofLength(name: string, bytes: Uint8Array, min: number, max: number): Uint8Array {
  if (bytes.length < min || bytes.length > max) {
    throw invalid(
      `${name} is ${bytes.length} bytes, expected ${min === max ? min : `${min}…${max}`}`,
    );
  }
  return bytes;
}

function regionBytes(name: string, regions: readonly number[]): Uint8Array {
  const sorted = [...new Set(regions)].sort((a, b) => a - b);
  if (sorted.length > 127) {
    throw invalid(`${name} holds ${sorted.length} regions, expected at most 127`);
  }
  const bytes = new Uint8Array(2 * sorted.length);
  const view = new DataView(bytes.buffer);
  sorted.forEach((region, i) => view.setUint16(2 * i, inRange(name, region, 0, 0xffff)));
  return bytes;
}

/** Room for every field at its largest; SadWriter.finish holds the whole to SAD_BYTES_MAX. */
const scratch = new Uint8Array(SAD_HEADER_BYTES + SAD_FIELDS_MAX * 257);

/** Collects fields in the shared scratch buffer, then puts the header in front and copies. */
class SadWriter {
  #at = SAD_HEADER_BYTES;
  #count = 0;

  u32(type: number, value: number): void {
    const at = this.#begin(type, 4);
    scratch[at] = value >>> 24;
    scratch[at + 1] = value >>> 16;
    scratch[at + 2] = value >>> 8;
    scratch[at + 3] = value;
  }

  field(type: number, value: ArrayLike<number>): void {
    assert(value.length <= 255, "a SAD field fits its length byte");
    scratch.set(value, this.#begin(type, value.length));
  }

  finish(): Uint8Array<ArrayBuffer> {
    if (this.#at > SAD_BYTES_MAX) {
      throw new NexusError(
        "TOO_LARGE",
        `cannot write SAD: ${this.#at} bytes, expected at most ${SAD_BYTES_MAX}`,
      );
    }
    scratch[0] = SAD_VERSION;
    scratch[1] = this.#count;
    scratch[2] = this.#at >>> 8;
    scratch[3] = this.#at;
    return scratch.slice(0, this.#at);
  }

  #begin(type: number, length: number): number {
    const at = this.#at;
    scratch[at] = type;
    scratch[at + 1] = length;
    this.#at += 2 + length;
    this.#count++;
    return at + 2;
  }
}
