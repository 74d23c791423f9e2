/**
 * Key schedule (protocol.md §4.5). Every key depends on the shared secret, both node ids and the
 * hash of the transcript: without the transcript in it, an attacker could splice two handshakes
 * (identity misbinding) or shorten the suite list (downgrade).
 *
 *   Z ─extract─► prk ─┬─ H(T1) ─► hs ─► handshake keys: boxes of ACCEPT, FINISH, ALERT
 *                     └─ H(T2) ───────► traffic keys: sealed frames
 */
import { concat, utf8 } from "../../base/mod.ts";
import { type CryptoEngine, KEY_BYTES, NONCE_BYTES } from "../engine.ts";
import { hkdfExpand, hkdfExtract } from "../hkdf.ts";

/** Key and iv of each direction. */
export interface DirectionKeys {
  readonly clientKey: Uint8Array;
  readonly serverKey: Uint8Array;
  readonly clientIv: Uint8Array;
  readonly serverIv: Uint8Array;
}

/** Keys of the boxes, and those of the finished values. */
export interface HandshakeKeys extends DirectionKeys {
  readonly clientFinished: Uint8Array;
  readonly serverFinished: Uint8Array;
}

/** Who the keys are for. */
export interface KeyContext {
  readonly engine: CryptoEngine;
  readonly clientId: Uint8Array;
  readonly serverId: Uint8Array;
}

/** prk of a shared secret. */
export function extractSecret(engine: CryptoEngine, shared: Uint8Array): Uint8Array {
  return hkdfExtract(engine, new Uint8Array(KEY_BYTES), shared);
}

/** Keys of the boxes; `t1Hash` is H(T1). */
export function deriveHandshakeKeys(
  context: KeyContext,
  prk: Uint8Array,
  t1Hash: Uint8Array,
): HandshakeKeys {
  const hs = expand(context, prk, "nexus handshake", t1Hash, KEY_BYTES);
  const keys = {
    ...deriveDirections(context, hs, t1Hash),
    clientFinished: expand(context, hs, "client finished", t1Hash, KEY_BYTES),
    serverFinished: expand(context, hs, "server finished", t1Hash, KEY_BYTES),
  };
  hs.fill(0);
  return keys;
}

/** Keys of sealed frames; `t2Hash` is H(T2). */
export function deriveTrafficKeys(
  context: KeyContext,
  prk: Uint8Array,
  t2Hash: Uint8Array,
): DirectionKeys {
  return deriveDirections(context, prk, t2Hash);
}

/** Overwrites every key of a set. */
export function wipeKeys(keys: DirectionKeys | HandshakeKeys | undefined): void {
  if (keys !== undefined) { for (const key of Object.values(keys)) key.fill(0); }
}

function deriveDirections(
  context: KeyContext,
  secret: Uint8Array,
  transcriptHash: Uint8Array,
): DirectionKeys {
  return {
    clientKey: expand(context, secret, "client write key", transcriptHash, KEY_BYTES),
    serverKey: expand(context, secret, "server write key", transcriptHash, KEY_BYTES),
    clientIv: expand(context, secret, "client write iv", transcriptHash, NONCE_BYTES),
    serverIv: expand(context, secret, "server write iv", transcriptHash, NONCE_BYTES),
  };
}

function expand(
  { engine, clientId, serverId }: KeyContext,
  secret: Uint8Array,
  label: string,
  transcriptHash: Uint8Array,
  length: number,
): Uint8Array {
  return hkdfExpand(
    engine,
    secret,
    concat(utf8(label), clientId, serverId, transcriptHash),
    length,
  );
}
