/**
 * The cryptography that trust is built on, as an argument: every function that signs, verifies,
 * agrees on a key or seals takes a `CryptoEngine`. `nobleEngine` (noble.ts) is the portable
 * reference; lib/io/crypto.ts offers the runtime's node:crypto, which is faster and gives the same
 * bytes. One conformance suite runs over both.
 */
import { NexusError } from "../base/mod.ts";
import type { Landing, SealRun } from "../l3_stream/mod.ts";

/** X25519, Ed25519, AES-256-GCM, SHA-256 (protocol.md §4.2). */
export const SUITE_AES_256_GCM = 0x0001;
/** X25519, Ed25519, ChaCha20-Poly1305, SHA-256 (protocol.md §4.2). */
export const SUITE_CHACHA20_POLY1305 = 0x0002;
/** The suites of this version, best first. */
export const SUITES: readonly number[] = [SUITE_AES_256_GCM, SUITE_CHACHA20_POLY1305];

/** Bytes of an AEAD key, an Ed25519 seed, an X25519 secret or public key, and a SHA-256 digest. */
export const KEY_BYTES = 32;
/** Bytes of an AEAD nonce (RFC 5116 §3.2). */
export const NONCE_BYTES = 12;
/** Bytes of an AEAD tag. */
export const TAG_BYTES = 16;
/** Bytes of an Ed25519 signature. */
export const SIGNATURE_BYTES = 64;

/**
 * One AEAD key. It refers to the key array it was made with, so filling that array with zeroes
 * destroys the key.
 */
export interface Aead {
  /** Encrypts `length` bytes at `from` in place and writes 16 bytes of tag at `tagAt`. */
  seal(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): void;
  /** Decrypts in place when the tag at `tagAt` fits; otherwise false, and the bytes are untouched. */
  open(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): boolean;
}

/** An AEAD with a copy of its key elsewhere: it must be closed to wipe that. */
export interface ClosableAead extends Aead {
  close(): void;
}

/** Both directions of the traffic of one path. */
export interface RunKeys {
  readonly suite: number;
  readonly vni: number;
  readonly pathId: number;
  readonly sealKey: Uint8Array;
  readonly sealIv: Uint8Array;
  readonly openKey: Uint8Array;
  readonly openIv: Uint8Array;
}

/** Runs of one path over keys of their own. */
export interface ClosableRuns {
  seal(bytes: Uint8Array, run: SealRun): number;
  sealFrame(bytes: Uint8Array, at: number, length: number, packetNumber: number): void;
  /** `window` is the state of the path's replay window, which is checked and kept up. */
  open(bytes: Uint8Array, landing: Landing, window: Uint32Array): number;
  close(): void;
}

/** What seals and opens records faster than the engine's own AEADs. */
export interface RecordEngine {
  /** For the log: which library. */
  readonly name: string;
  aead(suite: number, key: Uint8Array): ClosableAead;
  /** The headers are as in PacketProtection.openRuns. */
  runs(keys: RunKeys, sealHeader: Uint8Array, openHeader: Uint8Array): ClosableRuns;
}

/** Asymmetric primitives, hashes and AEADs; all synchronous. */
export interface CryptoEngine {
  readonly name: string;
  /** SHA-256 (FIPS 180-4), 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** HMAC-SHA256 (RFC 2104), 32 bytes. */
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array;
  /** Public key of a 32-byte seed (RFC 8032 §5.1.5). */
  ed25519PublicKey(seed: Uint8Array): Uint8Array;
  /** 64-byte signature (RFC 8032 §5.1.6). */
  ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array;
  /** False for anything but a valid signature under an acceptable key; never throws. */
  ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** Public key of a 32-byte secret (RFC 7748 §6.1). */
  x25519PublicKey(secret: Uint8Array): Uint8Array;
  /** Shared secret; throws WEAK_KEY when it is all zero (RFC 7748 §6.1) or a key is not 32 bytes. */
  x25519(secret: Uint8Array, publicKey: Uint8Array): Uint8Array;
  /** The AEAD of a suite; throws UNKNOWN_SUITE for others. */
  aead(suite: number, key: Uint8Array): Aead;
  /** For traffic; absent: `aead` serves it frame by frame. */
  readonly records?: RecordEngine;
}

/** What every engine throws for a key agreement without a secret. */
export function weakKeyError(): NexusError {
  return new NexusError(
    "WEAK_KEY",
    "cannot agree on a key: X25519 result is all zero, expected a key of full order",
  );
}

/** What every engine throws for a suite it does not know. */
export function unknownSuiteError(suite: number): NexusError {
  return new NexusError(
    "UNKNOWN_SUITE",
    `cannot use cipher suite: suite is ${suite}, expected one of ${SUITES.join(", ")}`,
  );
}

/** True when all bytes are zero; takes the same time for every content. */
export function isAllZero(bytes: Uint8Array): boolean {
  let any = 0;
  for (let i = 0; i < bytes.length; i++) any |= bytes[i];
  return any === 0;
}

/**
 * y coordinates of the points of small order on edwards25519, little-endian, sign bit clear: 0, 1,
 * −1 and the two of order 8. A signature under such a key says nothing about who made it.
 */
const SMALL_ORDER_Y: readonly string[] = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];
const SMALL_ORDER: readonly Uint8Array[] = SMALL_ORDER_Y.map((hex) =>
  Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16))
);

/**
 * Whether an Ed25519 public key is one that engines may verify under: 32 bytes, y below
 * 2²⁵⁵ − 19 (RFC 8032 §5.1.3), not of small order. Libraries differ on these; we do not.
 */
export function isAcceptableSigningKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES) return false;
  if (isNotReduced(publicKey)) return false;
  for (const weak of SMALL_ORDER) {
    let difference = (publicKey[31] ^ weak[31]) & 0x7f;
    for (let i = 0; i < 31; i++) difference |= publicKey[i] ^ weak[i];
    if (difference === 0) return false;
  }
  return true;
}

/** y ≥ 2²⁵⁵ − 19: the top 255 bits are ones down to a low byte of 0xed or more. */
function isNotReduced(publicKey: Uint8Array): boolean {
  if ((publicKey[31] & 0x7f) !== 0x7f || publicKey[0] < 0xed) return false;
  for (let i = 1; i < 31; i++) if (publicKey[i] !== 0xff) return false;
  return true;
}
