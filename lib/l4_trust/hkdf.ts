/** HKDF with SHA-256 (RFC 5869) over an engine's HMAC. */
import { NexusError } from "../base/mod.ts";
import type { CryptoEngine } from "./engine.ts";

const HASH_BYTES = 32;

/** RFC 5869 §2.2: PRK = HMAC(salt, input key material). An empty salt means 32 zeroes. */
export function hkdfExtract(engine: CryptoEngine, salt: Uint8Array, ikm: Uint8Array): Uint8Array {
  return engine.hmacSha256(salt.length === 0 ? new Uint8Array(HASH_BYTES) : salt, ikm);
}

/**
 * RFC 5869 §2.3: T(i) = HMAC(PRK, T(i−1) ‖ info ‖ i), cut to `length` bytes. Throws TOO_LARGE past
 * 255 blocks.
 */
export function hkdfExpand(
  engine: CryptoEngine,
  prk: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array<ArrayBuffer> {
  if (length > 255 * HASH_BYTES) {
    throw new NexusError("TOO_LARGE", `cannot derive key: ${length} bytes, expected at most 8160`);
  }
  const out = new Uint8Array(length);
  const block = new Uint8Array(HASH_BYTES + info.length + 1);
  block.set(info, HASH_BYTES);
  for (let at = 0, i = 1; at < length; at += HASH_BYTES, i++) {
    block[block.length - 1] = i;
    // The first block has no predecessor.
    const t = engine.hmacSha256(prk, i === 1 ? block.subarray(HASH_BYTES) : block);
    out.set(t.subarray(0, length - at), at);
    block.set(t);
    t.fill(0);
  }
  block.fill(0);
  return out;
}
