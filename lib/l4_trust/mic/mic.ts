/**
 * Model Identity Certificate (protocol.md §3.1): who holds a key and what may be believed of it,
 * signed by an issuer over every byte before the signature.
 */
import {
  ByteReader,
  ByteWriter,
  concat,
  equalBytes,
  NexusError,
  NODE_ID_BYTES,
  utf8,
} from "../../base/mod.ts";
import { type CryptoEngine, KEY_BYTES, SIGNATURE_BYTES } from "../engine.ts";
import { SIGN_CONTEXT, type SigningIdentity, verifySignature } from "../identity.ts";
import {
  CONTENT_BYTES_MAX,
  malformed,
  MIC_BYTES_MAX,
  type MicClaims,
  readClaims,
  writeClaims,
} from "./claims.ts";
import { type MicExtensions, readExtensions, writeExtensions } from "./extensions.ts";

export { MIC_BYTES_MAX };
/** How much a verifier tolerates, and an issuer backdates, for clocks that differ. */
export const CLOCK_SKEW_S = 300;

/** What an issuer signs. */
export interface MicContent {
  readonly nodeId: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly issuerNodeId: Uint8Array;
  /** Unix seconds. */
  readonly notBefore: number;
  /** Unix seconds. */
  readonly notAfter: number;
  readonly claims: MicClaims;
  readonly extensions: MicExtensions;
}

/** A decoded certificate. Its fields are views into `bytes`. */
export interface Mic extends MicContent {
  /** The whole certificate as received: what signatures and fingerprints refer to. */
  readonly bytes: Uint8Array;
  readonly serial: Uint8Array;
  readonly signature: Uint8Array;
}

const MAGIC = utf8("MIC");
const VERSION = 1;
const SERIAL_AT = MAGIC.length + 2;
const SERIAL_BYTES = 32;

/** Makes and signs a certificate; `issuer.nodeId` becomes issuer_node_id. */
export function issueMic(
  content: Omit<MicContent, "issuerNodeId">,
  issuer: SigningIdentity,
  engine: CryptoEngine,
): Uint8Array<ArrayBuffer> {
  const unsigned = encodeUnsigned({ ...content, issuerNodeId: issuer.nodeId }, engine);
  return withSignature(unsigned, issuer.sign(SIGN_CONTEXT.mic, unsigned));
}

/** The bytes of a certificate from its parts, signature included; inverse of `decodeMic`. */
export function encodeMic(
  mic: MicContent & { signature: Uint8Array },
  engine: CryptoEngine,
): Uint8Array<ArrayBuffer> {
  return withSignature(encodeUnsigned(mic, engine), mic.signature);
}

/**
 * Reads a certificate (copied) and checks its form and serial, not its signature. MALFORMED or
 * UNSUPPORTED_EXTENSION for anything that `encodeMic` would not have made.
 */
export function decodeMic(received: Uint8Array, engine: CryptoEngine): Mic {
  if (received.length > MIC_BYTES_MAX) {
    throw malformed("certificate", `${received.length} bytes, expected at most ${MIC_BYTES_MAX}`);
  }
  const bytes = Uint8Array.from(received);
  const reader = new ByteReader(bytes, "certificate");
  readMagic(reader, MAGIC, VERSION);
  const serial = reader.take(SERIAL_BYTES);
  const nodeId = reader.take(NODE_ID_BYTES);
  const publicKey = reader.take(KEY_BYTES);
  const issuerNodeId = reader.take(NODE_ID_BYTES);
  const notBefore = reader.u64();
  const notAfter = reader.u64();
  const claims = readClaims(reader);
  const extensions = readExtensions(reader);
  if (reader.u8() !== 0) throw malformed("certificate", "provenance is present, expected none");
  const contentEnd = reader.offset;
  const signature = reader.take(SIGNATURE_BYTES);
  reader.end();
  if (!equalBytes(serial, serialOf(bytes.subarray(0, contentEnd), engine))) {
    throw malformed("certificate", "serial is not the hash of the content");
  }
  return {
    bytes,
    serial,
    nodeId,
    publicKey,
    issuerNodeId,
    notBefore,
    notAfter,
    claims,
    extensions,
    signature,
  };
}

/** Whether the holder of `issuerKey` signed this certificate. */
export function isSignedBy(mic: Mic, issuerKey: Uint8Array, engine: CryptoEngine): boolean {
  const content = mic.bytes.subarray(0, mic.bytes.length - SIGNATURE_BYTES);
  return verifySignature(engine, issuerKey, SIGN_CONTEXT.mic, content, mic.signature);
}

/** SHA-256 of a public key: how roots are named in configurations and invites. */
export function fingerprintOf(publicKey: Uint8Array, engine: CryptoEngine): Uint8Array {
  return engine.sha256(publicKey);
}

/** A certificate for oneself: how a node introduces itself before it has an issued one. */
export function selfSignedMic(
  identity: SigningIdentity,
  options: { unixS: number; lifeS: number; claims?: MicClaims; extensions?: MicExtensions },
  engine: CryptoEngine,
): Uint8Array<ArrayBuffer> {
  const { unixS, lifeS, claims = {}, extensions = {} } = options;
  return issueMic(
    {
      nodeId: identity.nodeId,
      publicKey: identity.publicKey,
      notBefore: Math.max(0, unixS - CLOCK_SKEW_S),
      notAfter: unixS + lifeS,
      claims,
      extensions,
    },
    identity,
    engine,
  );
}

/** Checks magic and version of a signed record. */
export function readMagic(reader: ByteReader, magic: Uint8Array, version: number): void {
  if (!equalBytes(reader.take(magic.length), magic)) throw malformed(reader.what, "magic differs");
  const found = reader.u16();
  if (found !== version) {
    throw malformed(reader.what, `version is ${found}, expected ${version}`);
  }
}

function encodeUnsigned(content: MicContent, engine: CryptoEngine): Uint8Array {
  checkLengths(content);
  const writer = new ByteWriter(CONTENT_BYTES_MAX)
    .put(MAGIC)
    .u16(VERSION)
    .put(new Uint8Array(SERIAL_BYTES))
    .put(content.nodeId)
    .put(content.publicKey)
    .put(content.issuerNodeId)
    .u64(content.notBefore)
    .u64(content.notAfter);
  writeClaims(writer, content.claims);
  writeExtensions(writer, content.extensions);
  const bytes = writer.u8(0).finish();
  bytes.set(serialOf(bytes, engine), SERIAL_AT);
  return bytes;
}

/** SHA-256 of the unsigned certificate with the serial field left out. */
function serialOf(unsigned: Uint8Array, engine: CryptoEngine): Uint8Array {
  return engine.sha256(
    concat(unsigned.subarray(0, SERIAL_AT), unsigned.subarray(SERIAL_AT + SERIAL_BYTES)),
  );
}

function withSignature(unsigned: Uint8Array, signature: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = concat(unsigned, signature);
  if (bytes.length > MIC_BYTES_MAX) {
    throw new NexusError(
      "TOO_LARGE",
      `cannot issue certificate: ${bytes.length} bytes, expected at most ${MIC_BYTES_MAX}`,
    );
  }
  return bytes;
}

function checkLengths(content: MicContent): void {
  const { nodeId, publicKey, issuerNodeId, notBefore, notAfter } = content;
  if (
    nodeId.length !== NODE_ID_BYTES || issuerNodeId.length !== NODE_ID_BYTES ||
    publicKey.length !== KEY_BYTES || !Number.isSafeInteger(notBefore) ||
    !Number.isSafeInteger(notAfter) || notBefore < 0 || notAfter < notBefore
  ) {
    throw new NexusError(
      "CLAIM_INVALID",
      `cannot issue certificate: validity is ${notBefore} to ${notAfter} and keys are ` +
        `${publicKey.length} bytes, expected ascending Unix seconds and ${KEY_BYTES}`,
    );
  }
}
