/** The portable engine: @noble/*, pure TypeScript, the reference for all others. */
import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type Aead,
  type CryptoEngine,
  isAcceptableSigningKey,
  isAllZero,
  KEY_BYTES,
  SIGNATURE_BYTES,
  SUITE_AES_256_GCM,
  SUITE_CHACHA20_POLY1305,
  TAG_BYTES,
  unknownSuiteError,
  weakKeyError,
} from "./engine.ts";

type Cipher = typeof gcm | typeof chacha20poly1305;

/** Engine over @noble/ciphers, @noble/curves and @noble/hashes. */
export const nobleEngine: CryptoEngine = {
  name: "noble",
  sha256: (bytes) => sha256(bytes),
  hmacSha256: (key, bytes) => hmac(sha256, key, bytes),
  ed25519PublicKey: (seed) => ed25519.getPublicKey(seed),
  ed25519Sign: (seed, message) => ed25519.sign(message, seed),
  ed25519Verify(publicKey, message, signature) {
    if (signature.length !== SIGNATURE_BYTES || !isAcceptableSigningKey(publicKey)) return false;
    try {
      return ed25519.verify(signature, message, publicKey, { zip215: false });
    } catch {
      return false;
    }
  },
  x25519PublicKey: (secret) => x25519.getPublicKey(secret),
  x25519(secret, publicKey) {
    if (secret.length !== KEY_BYTES || publicKey.length !== KEY_BYTES) throw weakKeyError();
    let shared: Uint8Array;
    try {
      shared = x25519.getSharedSecret(secret, publicKey);
    } catch {
      throw weakKeyError();
    }
    if (isAllZero(shared)) throw weakKeyError();
    return shared;
  },
  aead(suite, key) {
    if (suite === SUITE_AES_256_GCM) return new NobleAead(gcm, key);
    if (suite === SUITE_CHACHA20_POLY1305) return new NobleAead(chacha20poly1305, key);
    throw unknownSuiteError(suite);
  },
};

class NobleAead implements Aead {
  readonly #cipher: Cipher;
  readonly #key: Uint8Array;
  /** Ciphertext ‖ tag side by side, as noble wants them; grows to the largest record. */
  #scratch = new Uint8Array(2_048);

  constructor(cipher: Cipher, key: Uint8Array) {
    this.#cipher = cipher;
    this.#key = key;
  }

  seal(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): void {
    const sealed = this.#cipher(this.#key, nonce, aad).encrypt(bytes.subarray(from, from + length));
    bytes.set(sealed.subarray(0, length), from);
    bytes.set(sealed.subarray(length), tagAt);
  }

  open(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): boolean {
    if (this.#scratch.length < length + TAG_BYTES) {
      this.#scratch = new Uint8Array(2 * (length + TAG_BYTES));
    }
    const joined = this.#scratch.subarray(0, length + TAG_BYTES);
    joined.set(bytes.subarray(from, from + length));
    joined.set(bytes.subarray(tagAt, tagAt + TAG_BYTES), length);
    try {
      bytes.set(this.#cipher(this.#key, nonce, aad).decrypt(joined), from);
      return true;
    } catch {
      return false;
    }
  }
}
