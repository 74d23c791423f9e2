/**
 * Advertisement: one signed record per node with all its models (protocol.md §7). This file knows
 * the bytes; keys and certificate chains are behind `Signer` and `AdvertVerifier`, which L4
 * implements.
 */
import {
  ByteReader,
  ByteWriter,
  clip,
  equalBytes,
  fromHex,
  NexusError,
  NODE_ID_BYTES,
  parseSocketAddress,
  toHex,
  utf8,
} from "../base/mod.ts";
import { formatCapabilities } from "./capabilities.ts";
import type { ModelEntry } from "./entry.ts";
import { checkModelName, decodeText, isPrintable } from "./names.ts";
import { decodeCost, encodeCost, TRUST_MAX } from "./sad.ts";

/** Signature context (protocol.md §3). */
export const ADVERT_CONTEXT = "nexus advertisement";
export const ADVERT_VERSION = 1;
export const ADVERT_BYTES_MAX = 65_535;
export const ADVERT_TTL_S_MAX = 3_600;
export const ADVERT_TTL_S_DEFAULT = 300;
export const ADVERT_ENDPOINTS_MAX = 8;
export const ADVERT_MODELS_MAX = 256;
/** How far `issued` may lie ahead of the receiver's clock. */
export const ADVERT_SKEW_S_MAX = 300;
/** NODE_ROLE of a node that may advertise (§3.1). */
export const ROLE_NODE = 1;
const CHAIN_CERTIFICATES_MAX = 4;
const SIGNATURE_BYTES = 64;
const MAGIC = utf8("NXAD");

/** Makes signatures with this node's identity key. An L4 `Identity` is one. */
export interface Signer {
  /** 64 bytes over `context ‖ 0x00 ‖ content`. */
  sign(context: typeof ADVERT_CONTEXT, content: Uint8Array): Uint8Array;
}

/** What a verified chain says of its leaf. */
export interface AdvertSubject {
  readonly nodeId: Uint8Array;
  /** NODE_ROLE of the leaf. */
  readonly role: number;
  /** CAPABILITY_SET of the leaf; undefined when it claims none. */
  readonly capabilities?: number;
}

/** Checks chain and signature. Bound to roots and tenant by whoever makes it. */
export interface AdvertVerifier {
  /**
   * `chain` is `count u8 ‖ bytes16 each`, leaf first; the signature is the leaf's. Throws a
   * NexusError that names the fault (BAD_SIGNATURE, CERTIFICATE_EXPIRED, UNKNOWN_CA, …).
   */
  verify(
    chain: Uint8Array,
    context: string,
    content: Uint8Array,
    signature: Uint8Array,
    unixS: number,
  ): AdvertSubject;
}

/** A model as advertised: an entry without what the whole advertisement says. */
export type AdvertModel =
  & Omit<ModelEntry, "nodeId" | "region" | "publisher">
  & {
    /** 32 hex digits; absent: the node itself. */
    readonly publisher?: string;
  };

/** What a node says of itself. */
export interface AdvertContent {
  readonly nodeId: Uint8Array;
  /** Higher than in every earlier advertisement of the node; Unix milliseconds serve. */
  readonly sequence: number;
  /** Unix seconds. */
  readonly issuedS: number;
  /** 1…3,600. */
  readonly ttlS: number;
  /** "host:port", at most 8. */
  readonly endpoints: readonly string[];
  /** ISO 3166-1 numeric, 0 unknown. */
  readonly region: number;
  /** At most 256, distinct names; none withdraws the node. */
  readonly models: readonly AdvertModel[];
}

/** A decoded advertisement; nothing of it is verified yet. */
export interface Advertisement extends AdvertContent {
  /** `count u8 ‖ bytes16 each`. */
  readonly chain: Uint8Array;
  readonly signature: Uint8Array;
  /** The whole record, as it is passed on. */
  readonly bytes: Uint8Array;
}

/**
 * Signed bytes. `chain` is `count u8 ‖ bytes16 each` of this node's certificates. Throws
 * INVALID_ADVERTISEMENT when a field is out of range, TOO_LARGE past 65,535 bytes.
 */
export function encodeAdvertisement(
  content: AdvertContent,
  chain: Uint8Array,
  signer: Signer,
): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(512);
  out.put(MAGIC).u16(ADVERT_VERSION);
  out.put(ofLength("node id", content.nodeId, NODE_ID_BYTES));
  out.u64(integer("sequence", content.sequence, 0, Number.MAX_SAFE_INTEGER));
  out.u64(integer("issued", content.issuedS, 0, Number.MAX_SAFE_INTEGER));
  out.u32(integer("ttl", content.ttlS, 1, ADVERT_TTL_S_MAX));
  out.u8(integer("number of endpoints", content.endpoints.length, 0, ADVERT_ENDPOINTS_MAX));
  for (const endpoint of content.endpoints) {
    if (!isEndpoint(endpoint)) throw invalid(`endpoint "${clip(endpoint)}" is not host:port`);
    out.bytes8(utf8(endpoint));
  }
  out.u16(integer("region", content.region, 0, 0xffff));
  out.u16(integer("number of models", content.models.length, 0, ADVERT_MODELS_MAX));
  const names = new Set<string>();
  for (const model of content.models) {
    if (names.has(model.name)) throw invalid(`model ${clip(model.name)} stands twice`);
    names.add(model.name);
    writeModel(out, model);
  }
  out.put(chain);
  if (out.length + SIGNATURE_BYTES > ADVERT_BYTES_MAX) {
    throw new NexusError(
      "TOO_LARGE",
      `cannot write advertisement: ${
        out.length + SIGNATURE_BYTES
      } bytes, expected at most ${ADVERT_BYTES_MAX}`,
    );
  }
  const signature = signer.sign(ADVERT_CONTEXT, out.finish());
  return out.put(ofLength("signature", signature, SIGNATURE_BYTES)).finish();
}

/** Reads and checks the form only. Throws MALFORMED, whatever the bytes are. */
export function decodeAdvertisement(bytes: Uint8Array): Advertisement {
  if (bytes.length > ADVERT_BYTES_MAX) {
    throw malformed(`length is ${bytes.length}, expected at most ${ADVERT_BYTES_MAX}`);
  }
  const record = bytes.slice(); // kept and passed on: must not change under us
  const reader = new ByteReader(record, "advertisement");
  if (!equalBytes(reader.take(MAGIC.length), MAGIC)) throw malformed("it does not begin with NXAD");
  const version = reader.u16();
  if (version !== ADVERT_VERSION) {
    throw malformed(`version is ${version}, expected ${ADVERT_VERSION}`);
  }
  const nodeId = reader.take(NODE_ID_BYTES);
  const sequence = reader.u64();
  const issuedS = reader.u64();
  const ttlS = within("ttl", reader.u32(), 1, ADVERT_TTL_S_MAX);
  const endpoints: string[] = [];
  const endpointCount = within("endpoint_count", reader.u8(), 0, ADVERT_ENDPOINTS_MAX);
  for (let i = 0; i < endpointCount; i++) {
    const endpoint = decodeText(reader.bytes8());
    if (endpoint === undefined || !isEndpoint(endpoint)) {
      throw malformed(`endpoint ${i + 1} is not host:port`);
    }
    endpoints.push(endpoint);
  }
  const region = reader.u16();
  const models: AdvertModel[] = [];
  const names = new Set<string>();
  const modelCount = within("model_count", reader.u16(), 0, ADVERT_MODELS_MAX);
  for (let i = 0; i < modelCount; i++) {
    const model = readModel(reader);
    if (names.has(model.name)) throw malformed(`model ${model.name} stands twice`);
    names.add(model.name);
    models.push(model);
  }
  const chainFrom = reader.offset;
  const certificates = within("chain count", reader.u8(), 1, CHAIN_CERTIFICATES_MAX);
  for (let i = 0; i < certificates; i++) reader.bytes16();
  const chain = record.subarray(chainFrom, reader.offset);
  const signature = reader.take(SIGNATURE_BYTES);
  reader.end();
  return {
    nodeId,
    sequence,
    issuedS,
    ttlS,
    endpoints,
    region,
    models,
    chain,
    signature,
    bytes: record,
  };
}

/** What a receiver asks beyond the protocol. */
export interface AdvertPolicy {
  /** Refuse models with capabilities that the MIC does not claim. */
  readonly claimedCapabilitiesOnly?: boolean;
}

/** Unix second at which the advertisement has outlived its TTL. */
export function advertExpiresS(advert: AdvertContent): number {
  return advert.issuedS + advert.ttlS;
}

/** Throws ADVERT_FUTURE or ADVERT_EXPIRED. Needs no signature check and so comes before it. */
export function checkAdvertTime(advert: AdvertContent, unixS: number): void {
  if (advert.issuedS > unixS + ADVERT_SKEW_S_MAX) {
    throw new NexusError(
      "ADVERT_FUTURE",
      `cannot accept advertisement: issued ${
        Math.round(advert.issuedS - unixS)
      } s ahead, expected at most ${ADVERT_SKEW_S_MAX} s`,
    );
  }
  if (advertExpiresS(advert) <= unixS) {
    throw new NexusError(
      "ADVERT_EXPIRED",
      `cannot accept advertisement: expired ${Math.round(unixS - advertExpiresS(advert))} s ago`,
    );
  }
}

/**
 * Checks time, chain, signature, node id, role and policy. Throws what the verifier throws,
 * ADVERT_FUTURE, ADVERT_EXPIRED, NODE_ID_MISMATCH, ROLE_REFUSED or CAPABILITY_NOT_CLAIMED.
 */
export function verifyAdvertisement(
  advert: Advertisement,
  verifier: AdvertVerifier,
  unixS: number,
  policy: AdvertPolicy = {},
): void {
  checkAdvertTime(advert, unixS);
  const content = advert.bytes.subarray(0, advert.bytes.length - SIGNATURE_BYTES);
  const subject = verifier.verify(advert.chain, ADVERT_CONTEXT, content, advert.signature, unixS);
  if (!equalBytes(subject.nodeId, advert.nodeId)) {
    throw new NexusError(
      "NODE_ID_MISMATCH",
      `cannot accept advertisement: it is of node ${toHex(advert.nodeId)}, its certificate of ${
        toHex(subject.nodeId)
      }`,
    );
  }
  if (subject.role !== ROLE_NODE) {
    throw new NexusError(
      "ROLE_REFUSED",
      `cannot accept advertisement: role of ${
        toHex(advert.nodeId)
      } is ${subject.role}, expected ${ROLE_NODE} (node)`,
    );
  }
  if (!policy.claimedCapabilitiesOnly) return;
  for (const model of advert.models) {
    const unclaimed = model.capabilities & ~(subject.capabilities ?? 0);
    if (unclaimed !== 0) {
      throw new NexusError(
        "CAPABILITY_NOT_CLAIMED",
        `cannot accept advertisement: model ${model.name} offers ${
          formatCapabilities(unclaimed) || `bits ${unclaimed >>> 0}`
        }, which its certificate does not claim`,
      );
    }
  }
}

/** The routing-table entries of an advertisement. */
export function advertEntries(advert: AdvertContent): ModelEntry[] {
  const nodeId = toHex(advert.nodeId);
  return advert.models.map((model) => ({
    ...model,
    nodeId,
    region: advert.region,
    publisher: model.publisher ?? nodeId,
  }));
}

function writeModel(out: ByteWriter, model: AdvertModel): void {
  const fault = checkModelName(model.name);
  if (fault !== undefined) throw invalid(`model name ${fault}`);
  out.bytes8(utf8(model.name));
  out.u32(integer("arch", model.arch, 0, 0xffffffff));
  out.u32(integer("capabilities", model.capabilities, 0, 0xffffffff));
  out.u32(integer("context", model.context, 0, 0xffffffff));
  out.u32(integer("latency", model.latencyMs, 0, 0xffffffff));
  out.u32(encodeCost({ micros: model.cost, per1k: model.per1k }));
  out.u8(integer("trust", model.trust, 0, TRUST_MAX));
  out.u32(integer("benchmark", model.benchmark, 0, 0xffffffff));
  out.put(
    model.publisher === undefined
      ? new Uint8Array(NODE_ID_BYTES)
      : ofLength("publisher", fromHex(model.publisher), NODE_ID_BYTES),
  );
  out.u16(integer("max concurrency", model.maxConcurrency, 0, 0xffff));
}

function readModel(reader: ByteReader): AdvertModel {
  const name = decodeText(reader.bytes8());
  const fault = name === undefined ? "is not UTF-8" : checkModelName(name);
  if (fault !== undefined) throw malformed(`model name ${fault}`);
  const arch = reader.u32();
  const capabilities = reader.u32();
  const context = reader.u32();
  const latencyMs = reader.u32();
  const { micros, per1k } = decodeCost(reader.u32());
  const trust = within("trust", reader.u8(), 0, TRUST_MAX);
  const benchmark = reader.u32();
  const publisher = reader.take(NODE_ID_BYTES);
  const maxConcurrency = reader.u16();
  return {
    name: name!,
    arch,
    capabilities,
    context,
    latencyMs,
    cost: micros,
    per1k,
    trust,
    benchmark,
    ...(publisher.some((byte) => byte !== 0) ? { publisher: toHex(publisher) } : {}),
    maxConcurrency,
  };
}

function isEndpoint(text: string): boolean {
  if (utf8(text).length > 255 || !isPrintable(text)) return false;
  try {
    parseSocketAddress(text);
    return text === text.trim();
  } catch {
    return false;
  }
}

function integer(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalid(`${name} is ${value}, expected an integer ${min}…${max}`);
  }
  return value;
}

function within(name: string, value: number, min: number, max: number): number {
  if (value < min || value > max) {
    throw malformed(`${name} is ${value}, expected ${min}…${max}`);
  }
  return value;
}

function ofLength(name: string, bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) {
    throw invalid(`${name} is ${bytes.length} bytes, expected ${length}`);
  }
  return bytes;
}

function invalid(detail: string): NexusError {
  return new NexusError("INVALID_ADVERTISEMENT", `cannot write advertisement: ${detail}`);
}

function malformed(detail: string): NexusError {
  return new NexusError("MALFORMED", `cannot read advertisement: ${detail}`);
}
