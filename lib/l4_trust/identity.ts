/**
 * A node's key and the id that follows from it (protocol.md §3). The id is a hash of the public
 * key, so whoever claims it must sign for it.
 */
import {
  concat,
  equalBytes,
  NexusError,
  NODE_ID_BYTES,
  type RandomFill,
  utf8,
} from "../base/mod.ts";
import { type CryptoEngine, KEY_BYTES } from "./engine.ts";

/** What a signature is for. Different contexts keep one signature from serving as another. */
export const SIGN_CONTEXT = {
  mic: "nexus mic",
  csr: "nexus csr",
  advertisement: "nexus advertisement",
  clientHandshake: "nexus client handshake",
  serverHandshake: "nexus server handshake",
} as const;

/** One of the contexts of protocol.md §3. */
export type SignContext = typeof SIGN_CONTEXT[keyof typeof SIGN_CONTEXT];

/** An identity as its users need it: it signs, where the key lives is its own business. */
export interface SigningIdentity {
  readonly nodeId: Uint8Array;
  readonly publicKey: Uint8Array;
  /** 64-byte Ed25519 signature over `context ‖ 0 ‖ content`. */
  sign(context: SignContext, content: Uint8Array): Uint8Array;
}

/** Node id of a public key: the first 16 bytes of its SHA-256. */
export function nodeIdOf(publicKey: Uint8Array, engine: CryptoEngine): Uint8Array {
  return engine.sha256(publicKey).slice(0, NODE_ID_BYTES);
}

/** Whether `nodeId` is the id of `publicKey`. */
export function isNodeIdOf(
  nodeId: Uint8Array,
  publicKey: Uint8Array,
  engine: CryptoEngine,
): boolean {
  return equalBytes(nodeId, nodeIdOf(publicKey, engine));
}

/** Checks a signature over `context ‖ 0 ‖ content`; false on any defect. */
export function verifySignature(
  engine: CryptoEngine,
  publicKey: Uint8Array,
  context: SignContext,
  content: Uint8Array,
  signature: Uint8Array,
): boolean {
  return engine.ed25519Verify(publicKey, signedContent(context, content), signature);
}

/** An Ed25519 key pair held in memory. */
export class Identity implements SigningIdentity {
  readonly nodeId: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly #engine: CryptoEngine;
  readonly #seed: Uint8Array;
  #wiped = false;

  private constructor(seed: Uint8Array, engine: CryptoEngine) {
    this.#engine = engine;
    this.#seed = seed;
    this.publicKey = engine.ed25519PublicKey(seed);
    this.nodeId = nodeIdOf(this.publicKey, engine);
  }

  /** A new key from strong randomness. */
  static generate(random: RandomFill, engine: CryptoEngine): Identity {
    const seed = new Uint8Array(KEY_BYTES);
    random(seed);
    return new Identity(seed, engine);
  }

  /** The identity of a stored 32-byte seed (copied); INVALID_KEY for another length. */
  static fromSeed(seed: Uint8Array, engine: CryptoEngine): Identity {
    if (seed.length !== KEY_BYTES) {
      throw new NexusError(
        "INVALID_KEY",
        `cannot load identity: seed is ${seed.length} bytes, expected ${KEY_BYTES}`,
      );
    }
    return new Identity(seed.slice(), engine);
  }

  /** A copy of the secret seed, for storage. */
  get seed(): Uint8Array {
    this.#mustLive();
    return this.#seed.slice();
  }

  sign(context: SignContext, content: Uint8Array): Uint8Array {
    this.#mustLive();
    return this.#engine.ed25519Sign(this.#seed, signedContent(context, content));
  }

  /** Overwrites the seed; signing afterwards is a KEY_WIPED error. */
  wipe(): void {
    this.#seed.fill(0);
    this.#wiped = true;
  }

  #mustLive(): void {
    if (this.#wiped) {
      throw new NexusError(
        "KEY_WIPED",
        "cannot use identity: its key is wiped, expected a live key",
      );
    }
  }
}

function signedContent(context: SignContext, content: Uint8Array): Uint8Array {
  return concat(utf8(context), ZERO, content);
}

const ZERO = new Uint8Array(1);
