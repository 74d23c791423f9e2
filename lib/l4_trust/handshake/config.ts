/** What both ends of a handshake are given, and what it yields. */
import { NexusError, type RandomFill } from "../../base/mod.ts";
import type { PacketProtection } from "../../l3_stream/mod.ts";
import { type CryptoEngine, isAllZero, KEY_BYTES, SUITES } from "../engine.ts";
import type { SigningIdentity } from "../identity.ts";
import { encodeChain, type VerifiedMic } from "../mic/chain.ts";
import type { Mic } from "../mic/mic.ts";
import { RecordProtection } from "../records/protection.ts";
import { type DirectionKeys, wipeKeys } from "./keys.ts";
import { MESSAGE_BYTES_MAX } from "./limits.ts";

/** Common to client and server. */
export interface HandshakeConfig {
  identity: SigningIdentity;
  /** Encoded certificates of `identity`, leaf first. */
  chain: Uint8Array[];
  /** SHA-256 fingerprints of the root keys that are trusted. */
  roots: Uint8Array[];
  vni: number;
  engine: CryptoEngine;
  random: RandomFill;
  /** Allowed suites; the client offers them in this order. Default: all of this version. */
  suites?: readonly number[];
  /** Microseconds until the handshake gives up; default 5 s. */
  timeoutUs?: number;
  /** Server: the secret of a live invite; undefined when unknown, expired or used up. */
  inviteSecret?: (id: Uint8Array) => Uint8Array | undefined;
}

/** What a finished handshake knows. */
export interface HandshakeResult {
  readonly peerNodeId: Uint8Array;
  readonly peerConnectionId: number;
  readonly localConnectionId: number;
  readonly suite: number;
  /** Leaf first. */
  readonly peerChain: readonly Mic[];
  readonly peerMic: VerifiedMic;
  /**
   * The client showed a self-signed certificate and an invite's proof: the connection may carry
   * CSR messages only (protocol.md §4.5).
   */
  readonly invited: boolean;
  readonly inviteId?: Uint8Array;
  /** Server: the whole SAD of the client, when it sent one. */
  readonly sad?: Uint8Array;
  /** From the first message to the verified last one, microseconds. */
  readonly durationUs: number;
  /** The records of this connection, once: packet numbers under one key must have one owner. */
  protection(): PacketProtection;
}

/** The suites a config allows. */
export function suitesOf(config: HandshakeConfig): readonly number[] {
  return config.suites ?? SUITES;
}

/** The encoded chain of a config; CHAIN_LENGTH or TOO_LARGE when no message could carry it. */
export function ownChain(config: HandshakeConfig): Uint8Array {
  const chain = encodeChain(config.chain);
  if (chain.length > MESSAGE_BYTES_MAX - 1_024) {
    throw new NexusError(
      "TOO_LARGE",
      `cannot connect: own chain is ${chain.length} bytes, ` +
        `expected at most ${MESSAGE_BYTES_MAX - 1_024}`,
    );
  }
  return chain;
}

/** A fresh X25519 key. */
export function freshEphemeral(
  { engine, random }: HandshakeConfig,
): { secret: Uint8Array; publicKey: Uint8Array } {
  const secret = new Uint8Array(KEY_BYTES);
  random(secret);
  return { secret, publicKey: engine.x25519PublicKey(secret) };
}

/** Hands the traffic keys to records at the first call; they own and wipe them. */
export function protectionOnce(
  config: HandshakeConfig,
  side: "client" | "server",
  suite: number,
  keys: DirectionKeys,
): () => PacketProtection {
  return () => {
    // Taken or wiped keys are all zero; no derived key is.
    if (isAllZero(keys.clientKey)) {
      throw new NexusError(
        "KEYS_TAKEN",
        "cannot protect packets: the keys are in use or wiped, expected the first call",
      );
    }
    const protection = new RecordProtection({
      engine: config.engine,
      suite,
      vni: config.vni,
      sealKey: (side === "client" ? keys.clientKey : keys.serverKey).slice(),
      sealIv: (side === "client" ? keys.clientIv : keys.serverIv).slice(),
      openKey: (side === "client" ? keys.serverKey : keys.clientKey).slice(),
      openIv: (side === "client" ? keys.serverIv : keys.clientIv).slice(),
    });
    wipeKeys(keys);
    return protection;
  };
}
