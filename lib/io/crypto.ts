/**
 * The crypto engine over the runtime's node:crypto (OpenSSL and Rust crates): the same bytes as
 * @noble, called synchronously, an order of magnitude faster.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { Buffer } from "node:buffer";
import { NexusError } from "../base/mod.ts";
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
} from "../l4_trust/mod.ts";

// DER around raw keys (RFC 8410 §4, §7); the byte at OID_AT is the last of the algorithm's OID.
const PKCS8_PREFIX = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0, 4, 0x22, 4, 0x20];
const PKCS8_OID_AT = 11;
const SPKI_PREFIX = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0, 3, 0x21, 0];
const SPKI_OID_AT = 8;
const OID_X25519 = 0x6e;
const OID_ED25519 = 0x70;

/** Engine over node:crypto. */
export const nodeEngine: CryptoEngine = {
  name: "node:crypto",
  sha256: (bytes) => plain(createHash("sha256").update(bytes).digest()),
  hmacSha256: (key, bytes) => plain(createHmac("sha256", key).update(bytes).digest()),
  ed25519PublicKey: (seed) => rawPublicKey(privateKey(OID_ED25519, seed)),
  ed25519Sign: (seed, message) => plain(sign(null, message, privateKey(OID_ED25519, seed))),
  ed25519Verify(publicKeyBytes, message, signature) {
    if (signature.length !== SIGNATURE_BYTES || !isAcceptableSigningKey(publicKeyBytes)) {
      return false;
    }
    try {
      return verify(null, message, publicKey(OID_ED25519, publicKeyBytes), signature);
    } catch {
      return false; // The key is not a point of the curve.
    }
  },
  x25519PublicKey: (secret) => rawPublicKey(privateKey(OID_X25519, secret)),
  x25519(secret, publicKeyBytes) {
    if (secret.length !== KEY_BYTES || publicKeyBytes.length !== KEY_BYTES) throw weakKeyError();
    const shared = plain(diffieHellman({
      privateKey: privateKey(OID_X25519, secret),
      publicKey: publicKey(OID_X25519, publicKeyBytes),
    }));
    // This runtime returns the zeroes of a point of small order (RFC 7748 §6.1: check for them).
    if (isAllZero(shared)) throw weakKeyError();
    return shared;
  },
  aead(suite, key) {
    if (suite === SUITE_AES_256_GCM) return new NodeAead("aes-256-gcm", key);
    if (suite === SUITE_CHACHA20_POLY1305) return new NodeAead("chacha20-poly1305", key);
    throw unknownSuiteError(suite);
  },
};

/** What both AEADs of node:crypto have in common; its own types name each apart. */
interface AeadStream {
  setAAD(aad: Uint8Array): void;
  update(bytes: Uint8Array): Uint8Array;
  final(): Uint8Array;
  getAuthTag(): Uint8Array;
  setAuthTag(tag: Uint8Array): void;
}
type MakeStream = (
  algorithm: string,
  key: Uint8Array,
  nonce: Uint8Array,
  options: { authTagLength: number },
) => AeadStream;
const makeCipher = createCipheriv as unknown as MakeStream;
const makeDecipher = createDecipheriv as unknown as MakeStream;
const AEAD_OPTIONS = { authTagLength: TAG_BYTES };

class NodeAead implements Aead {
  constructor(readonly algorithm: string, readonly key: Uint8Array) {}

  seal(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): void {
    const cipher = makeCipher(this.algorithm, this.key, nonce, AEAD_OPTIONS);
    cipher.setAAD(aad);
    const sealed = cipher.update(bytes.subarray(from, from + length));
    cipher.final();
    bytes.set(sealed, from);
    bytes.set(cipher.getAuthTag(), tagAt);
  }

  open(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): boolean {
    const decipher = makeDecipher(this.algorithm, this.key, nonce, AEAD_OPTIONS);
    decipher.setAAD(aad);
    decipher.setAuthTag(bytes.subarray(tagAt, tagAt + TAG_BYTES));
    const opened = decipher.update(bytes.subarray(from, from + length));
    try {
      decipher.final();
    } catch {
      return false;
    }
    bytes.set(opened, from);
    return true;
  }
}

function privateKey(oid: number, secret: Uint8Array): KeyObject {
  if (secret.length !== KEY_BYTES) {
    throw new NexusError(
      "INVALID_KEY",
      `cannot use secret key: it is ${secret.length} bytes, expected ${KEY_BYTES}`,
    );
  }
  const der = Buffer.alloc(PKCS8_PREFIX.length + KEY_BYTES);
  der.set(PKCS8_PREFIX);
  der[PKCS8_OID_AT] = oid;
  der.set(secret, PKCS8_PREFIX.length);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  return key;
}

function publicKey(oid: number, raw: Uint8Array): KeyObject {
  const der = Buffer.alloc(SPKI_PREFIX.length + KEY_BYTES);
  der.set(SPKI_PREFIX);
  der[SPKI_OID_AT] = oid;
  der.set(raw, SPKI_PREFIX.length);
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

function rawPublicKey(secret: KeyObject): Uint8Array {
  const der = createPublicKey(secret).export({ format: "der", type: "spki" });
  return plain(der.subarray(SPKI_PREFIX.length));
}

/** A plain array instead of a Buffer: `Buffer.slice` does not copy, `Uint8Array.slice` does. */
function plain(buffer: Uint8Array): Uint8Array {
  return Uint8Array.from(buffer);
}
