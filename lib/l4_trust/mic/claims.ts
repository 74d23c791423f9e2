/**
 * The claims of a certificate (protocol.md §3.1): typed fields here, `count u16` and `id u8 ‖
 * bytes16` items on the wire, ascending by (id, value). Decoding accepts exactly what encoding
 * makes, so that a content has one encoding and one hash.
 */
import { ByteReader, ByteWriter, clip, compareBytes, NexusError, utf8 } from "../../base/mod.ts";

/** Claim ids (protocol.md §3.1). 0x07 and 0x09 are reserved. */
export const CLAIM = {
  architectureHash: 0x01,
  parameterCount: 0x02,
  trainingDataHash: 0x03,
  capabilitySet: 0x04,
  contextWindow: 0x05,
  benchmarkScore: 0x06,
  publisherIdentity: 0x08,
  region: 0x0a,
  modelName: 0x0b,
  custom: 0xff,
} as const;

/** A benchmark result: score × 1000. */
export interface BenchmarkClaim {
  readonly name: string;
  readonly scoreMilli: number;
}

/** Who publishes the model; each text at most 255 bytes. */
export interface PublisherClaim {
  readonly organisation: string;
  readonly contact: string;
  readonly site: string;
}

/** What a certificate says about its node. An absent field is an absent claim. */
export interface MicClaims {
  /** 32 bytes. */
  readonly architectureHash?: Uint8Array;
  /** Below 2⁵³. */
  readonly parameterCount?: number;
  /** Merkle root, 32 bytes. */
  readonly trainingDataHash?: Uint8Array;
  /** SAD capability bits (protocol.md §6). */
  readonly capabilities?: number;
  /** Tokens. */
  readonly contextWindow?: number;
  readonly benchmarks?: readonly BenchmarkClaim[];
  readonly publisher?: PublisherClaim;
  /** ISO 3166-1 numeric, not empty. */
  readonly regions?: readonly number[];
  /** 1…128 UTF-8 bytes each. */
  readonly modelNames?: readonly string[];
  readonly custom?: readonly Uint8Array[];
}

/** Longest certificate (protocol.md §3.1). */
export const MIC_BYTES_MAX = 8_192;
/** Room for the fixed fields and two item lists, each within the longest certificate. */
export const CONTENT_BYTES_MAX = 3 * MIC_BYTES_MAX;
/** A CUSTOM claim that begins so is the name by which people know the node (protocol.md §3.1). */
const NODE_NAME_PREFIX = "name=";

/** The CUSTOM claim for a node's name. */
export function nodeNameClaim(name: string): Uint8Array {
  return utf8(NODE_NAME_PREFIX + name);
}

/** The node's name that the claims hold; undefined when there is none that is fit to be shown. */
export function nodeNameOf(claims: MicClaims): string | undefined {
  for (const custom of claims.custom ?? []) {
    const match = NODE_NAME.exec(new TextDecoder().decode(custom));
    if (match !== null) return match[1];
  }
  return undefined;
}

const NODE_NAME = /^name=([A-Za-z0-9][A-Za-z0-9._-]{0,62})$/;

/** Longest MODEL_NAME in bytes (protocol.md §3.1). */
export const MODEL_NAME_BYTES_MAX = 128;

/** A `id ‖ bytes16` item, before or after typing. */
export interface Item {
  readonly id: number;
  readonly value: Uint8Array;
}

const MAY_REPEAT: ReadonlySet<number> = new Set([
  CLAIM.benchmarkScore,
  CLAIM.modelName,
  CLAIM.custom,
]);

/** Writes `claim_count ‖ claims`; CLAIM_INVALID when a field is out of its range. */
export function writeClaims(writer: ByteWriter, claims: MicClaims): void {
  writeItems(writer, claimItems(claims));
}

/** Reads `claim_count ‖ claims`; MALFORMED for anything `writeClaims` would not have written. */
export function readClaims(reader: ByteReader): MicClaims {
  const claims: Mutable<MicClaims> = {};
  const items = readItems(reader, MAY_REPEAT);
  for (const { id, value } of items) readClaim(claims, id, value, reader.what);
  return claims;
}

function claimItems(claims: MicClaims): Item[] {
  const items: Item[] = [];
  const add = (id: number, value: Uint8Array) => items.push({ id, value });
  if (claims.architectureHash !== undefined) {
    add(CLAIM.architectureHash, hash(claims.architectureHash, "architecture hash"));
  }
  if (claims.parameterCount !== undefined) {
    const count = integer(claims.parameterCount, Number.MAX_SAFE_INTEGER, "parameter count");
    add(CLAIM.parameterCount, new ByteWriter(8).u64(count).finish());
  }
  if (claims.trainingDataHash !== undefined) {
    add(CLAIM.trainingDataHash, hash(claims.trainingDataHash, "training data hash"));
  }
  if (claims.capabilities !== undefined) {
    add(CLAIM.capabilitySet, u32(claims.capabilities, "capability set"));
  }
  if (claims.contextWindow !== undefined) {
    add(CLAIM.contextWindow, u32(claims.contextWindow, "context window"));
  }
  for (const { name, scoreMilli } of claims.benchmarks ?? []) {
    const text = textBytes(name, 1, 255, "benchmark name");
    const score = integer(scoreMilli, 0xffffffff, "benchmark score");
    add(CLAIM.benchmarkScore, new ByteWriter(5 + text.length).bytes8(text).u32(score).finish());
  }
  if (claims.publisher !== undefined) {
    const writer = new ByteWriter(3 * 256);
    const { organisation, contact, site } = claims.publisher;
    for (const text of [organisation, contact, site]) {
      writer.bytes8(textBytes(text, 0, 255, "publisher text"));
    }
    add(CLAIM.publisherIdentity, writer.finish());
  }
  if (claims.regions !== undefined) add(CLAIM.region, regionBytes(claims.regions));
  for (const name of claims.modelNames ?? []) {
    add(CLAIM.modelName, textBytes(name, 1, MODEL_NAME_BYTES_MAX, "model name"));
  }
  for (const value of claims.custom ?? []) add(CLAIM.custom, value);
  return items;
}

function readClaim(claims: Mutable<MicClaims>, id: number, value: Uint8Array, what: string): void {
  const reader = new ByteReader(value, what);
  switch (id) {
    case CLAIM.architectureHash:
      claims.architectureHash = reader.take(32);
      break;
    case CLAIM.parameterCount:
      claims.parameterCount = reader.u64();
      break;
    case CLAIM.trainingDataHash:
      claims.trainingDataHash = reader.take(32);
      break;
    case CLAIM.capabilitySet:
      claims.capabilities = reader.u32();
      break;
    case CLAIM.contextWindow:
      claims.contextWindow = reader.u32();
      break;
    case CLAIM.benchmarkScore: {
      const name = exactText(reader.bytes8(), 1, 255, what);
      (claims.benchmarks ??= []).push({ name, scoreMilli: reader.u32() });
      break;
    }
    case CLAIM.publisherIdentity: {
      const [organisation, contact, site] = [reader.bytes8(), reader.bytes8(), reader.bytes8()]
        .map((bytes) => exactText(bytes, 0, 255, what));
      claims.publisher = { organisation, contact, site };
      break;
    }
    case CLAIM.region:
      claims.regions = readRegions(reader);
      break;
    case CLAIM.modelName:
      (claims.modelNames ??= []).push(
        exactText(reader.take(value.length), 1, MODEL_NAME_BYTES_MAX, what),
      );
      break;
    case CLAIM.custom:
      (claims.custom ??= []).push(reader.take(value.length));
      break;
    default:
      throw malformed(what, `claim id 0x${id.toString(16)} is not known`);
  }
  reader.end();
}

function readRegions(reader: ByteReader): number[] {
  const regions: number[] = [];
  do {
    const region = reader.u16();
    if (regions.length > 0 && region <= regions[regions.length - 1]) {
      throw malformed(reader.what, "regions do not ascend");
    }
    regions.push(region);
  } while (reader.remaining > 0);
  return regions;
}

/**
 * Writes `count u16 ‖ items` in canonical order; exact duplicates are CLAIM_INVALID, more bytes
 * than a certificate may have TOO_LARGE.
 */
export function writeItems(writer: ByteWriter, items: Item[]): void {
  const bytes = items.reduce((sum, item) => sum + 3 + item.value.length, 2);
  if (bytes > MIC_BYTES_MAX) {
    throw new NexusError(
      "TOO_LARGE",
      `cannot write certificate: its claims are ${bytes} bytes, expected at most ${MIC_BYTES_MAX}`,
    );
  }
  const sorted = [...items].sort((a, b) => a.id - b.id || compareBytes(a.value, b.value));
  writer.u16(sorted.length);
  sorted.forEach((item, i) => {
    if (i > 0 && compareItems(sorted[i - 1], item) === 0) {
      throw invalid(`item 0x${item.id.toString(16)}`, "stands twice", "different values");
    }
    writer.u8(item.id).bytes16(item.value);
  });
}

/** Reads `count u16 ‖ items` and checks order and repetition. */
export function readItems(reader: ByteReader, mayRepeat: ReadonlySet<number>): Item[] {
  const items: Item[] = [];
  for (let left = reader.u16(); left > 0; left--) {
    const item = { id: reader.u8(), value: reader.bytes16() };
    const last = items[items.length - 1];
    if (last !== undefined) {
      if (compareItems(last, item) >= 0) throw malformed(reader.what, "items do not ascend");
      if (last.id === item.id && !mayRepeat.has(item.id)) {
        throw malformed(reader.what, `item 0x${item.id.toString(16)} stands twice`);
      }
    }
    items.push(item);
  }
  return items;
}

function compareItems(a: Item, b: Item): number {
  return a.id - b.id || compareBytes(a.value, b.value);
}

/** Text whose UTF-8 is exactly `bytes`: a byte order mark is kept, not eaten. */
function exactText(bytes: Uint8Array, bytesMin: number, bytesMax: number, what: string): string {
  if (bytes.length < bytesMin || bytes.length > bytesMax) {
    throw malformed(what, `text is ${bytes.length} bytes, expected ${bytesMin} to ${bytesMax}`);
  }
  try {
    return exactUtf8.decode(bytes);
  } catch {
    throw malformed(what, "text is not UTF-8");
  }
}
const exactUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 of a text within its length limits; CLAIM_INVALID outside them. */
function textBytes(text: string, bytesMin: number, bytesMax: number, what: string): Uint8Array {
  if (!text.isWellFormed()) throw invalid(what, `"${clip(text)}"`, "well-formed Unicode");
  const bytes = utf8(text);
  if (bytes.length < bytesMin || bytes.length > bytesMax) {
    throw invalid(what, `${bytes.length} bytes`, `${bytesMin} to ${bytesMax}`);
  }
  return bytes;
}

function regionBytes(regions: readonly number[]): Uint8Array {
  const sorted = [...new Set(regions)].sort((a, b) => a - b);
  if (sorted.length === 0) throw invalid("region list", "empty", "one region or more");
  const writer = new ByteWriter(2 * sorted.length);
  for (const region of sorted) writer.u16(integer(region, 0xffff, "region"));
  return writer.finish();
}

function u32(value: number, what: string): Uint8Array {
  return new ByteWriter(4).u32(integer(value, 0xffffffff, what)).finish();
}

function integer(value: number, max: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) {
    throw invalid(what, String(value), `an integer from 0 to ${max}`);
  }
  return value;
}

function hash(bytes: Uint8Array, what: string): Uint8Array {
  if (bytes.length !== 32) throw invalid(what, `${bytes.length} bytes`, "32");
  return bytes;
}

function invalid(what: string, value: string, expected: string): NexusError {
  return new NexusError(
    "CLAIM_INVALID",
    `cannot write certificate: ${what} is ${value}, expected ${expected}`,
  );
}

/** A MALFORMED error of a certificate or request. */
export function malformed(what: string, defect: string): NexusError {
  return new NexusError("MALFORMED", `cannot read ${what}: ${defect}`);
}

type Mutable<T> = {
  -readonly [K in keyof T]: T[K] extends readonly (infer E)[] | undefined ? E[] : T[K];
};
