/**
 * Invite tokens (protocol.md §3.3): text that lets a machine join a mesh. It says where the mesh
 * is and which root to trust, and holds a secret that proves the invitation without travelling.
 */
import {
  ByteReader,
  ByteWriter,
  concat,
  equalBytes,
  fromBase64Url,
  fromUtf8,
  NexusError,
  NODE_ID_BYTES,
  toBase64Url,
  utf8,
} from "../base/mod.ts";
import type { CryptoEngine } from "./engine.ts";

/** Bytes of an invite id. */
export const INVITE_ID_BYTES = 8;
/** Bytes of an invite secret, and of the proof made with it. */
export const INVITE_SECRET_BYTES = 32;
/** Seeds in a token: more would only make it long. */
export const INVITE_SEEDS_MAX = 8;

/** A node of the mesh that a newcomer can ask. */
export interface InviteSeed {
  readonly nodeId: Uint8Array;
  /** `host:port` or `[v6]:port`. */
  readonly address: string;
}

/** The content of a token. */
export interface Invite {
  readonly vni: number;
  /** Unix seconds. */
  readonly expiresS: number;
  /** SHA-256 of the mesh's root key. */
  readonly caFingerprint: Uint8Array;
  readonly id: Uint8Array;
  readonly secret: Uint8Array;
  /** 1…8. */
  readonly seeds: readonly InviteSeed[];
}

const PREFIX = "nxi1_";
const VERSION = 1;
const CHECKSUM_BYTES = 4;
/** No valid token is longer: 82 bytes, 8 seeds of 272, as base64url. */
const TEXT_CHARS_MAX = 4_096;
const PROOF_LABEL = utf8("nexus invite");

/** The token's text. */
export function encodeInvite(invite: Invite, engine: CryptoEngine): string {
  const { vni, expiresS, caFingerprint, id, secret, seeds } = invite;
  if (
    caFingerprint.length !== 32 || id.length !== INVITE_ID_BYTES ||
    secret.length !== INVITE_SECRET_BYTES || seeds.length < 1 || seeds.length > INVITE_SEEDS_MAX ||
    seeds.some((seed) => seed.nodeId.length !== NODE_ID_BYTES)
  ) {
    throw new NexusError(
      "INVALID_INVITE",
      `cannot write invite: ${seeds.length} seeds, ${id.length}-byte id, ${secret.length}-byte ` +
        `secret, expected 1 to ${INVITE_SEEDS_MAX}, ${INVITE_ID_BYTES} and ${INVITE_SECRET_BYTES}`,
    );
  }
  const writer = new ByteWriter(TEXT_CHARS_MAX)
    .u8(VERSION)
    .u24(vni)
    .u64(expiresS)
    .put(caFingerprint)
    .put(id)
    .put(secret)
    .u8(seeds.length);
  for (const { nodeId, address } of seeds) writer.put(nodeId).bytes8(utf8(address));
  const content = writer.finish();
  return PREFIX + toBase64Url(concat(content, checksum(content, engine)));
}

/** Reads a token; INVALID_INVITE says what is wrong with it. Blanks around it are ignored. */
export function decodeInvite(text: string, engine: CryptoEngine): Invite {
  const token = text.trim();
  if (!token.startsWith(PREFIX)) throw unreadable(`it does not start with ${PREFIX}`);
  if (token.length > TEXT_CHARS_MAX) throw unreadable(`it is ${token.length} characters long`);
  try {
    const bytes = fromBase64Url(token.slice(PREFIX.length));
    // Trailing bits of the last character are free in base64; one token has one text.
    if (PREFIX + toBase64Url(bytes) !== token) {
      throw unreadable(ALTERED);
    }
    return readInvite(bytes, engine);
  } catch (thrown) {
    if (!(thrown instanceof NexusError) || thrown.code === "INVALID_INVITE") throw thrown;
    throw unreadable(ALTERED, thrown);
  }
}

/** INVITE_EXPIRED when the token's time is over. */
export function checkInviteTime(invite: Invite, unixS: number): void {
  if (unixS > invite.expiresS) {
    throw new NexusError(
      "INVITE_EXPIRED",
      `cannot use invite: it ended ${unixS - invite.expiresS} s ago, expected a live one`,
      { hint: "ask for a new invite on the node that printed it" },
    );
  }
}

/** HMAC(secret, "nexus invite" ‖ transcript hash): knowledge of the secret, for one handshake. */
export function inviteProof(
  secret: Uint8Array,
  transcriptHash: Uint8Array,
  engine: CryptoEngine,
): Uint8Array {
  return engine.hmacSha256(secret, concat(PROOF_LABEL, transcriptHash));
}

function readInvite(bytes: Uint8Array, engine: CryptoEngine): Invite {
  const end = bytes.length - CHECKSUM_BYTES;
  if (end < 0 || !equalBytes(bytes.subarray(end), checksum(bytes.subarray(0, end), engine))) {
    throw unreadable(ALTERED);
  }
  const reader = new ByteReader(bytes.subarray(0, end), "invite");
  const version = reader.u8();
  if (version !== VERSION) throw unreadable(`version is ${version}, expected ${VERSION}`);
  const vni = reader.u24();
  const expiresS = reader.u64();
  const caFingerprint = reader.take(32);
  const id = reader.take(INVITE_ID_BYTES);
  const secret = reader.take(INVITE_SECRET_BYTES);
  const count = reader.u8();
  if (count < 1 || count > INVITE_SEEDS_MAX) {
    throw unreadable(`it has ${count} seeds, expected 1 to ${INVITE_SEEDS_MAX}`);
  }
  const seeds = Array.from({ length: count }, () => ({
    nodeId: reader.take(NODE_ID_BYTES),
    address: fromUtf8(reader.bytes8()),
  }));
  reader.end();
  return { vni, expiresS, caFingerprint, id, secret, seeds };
}

/** A character is wrong or missing: told by alphabet, checksum or length. */
const ALTERED = "the invite is incomplete or altered; copy it again";

function checksum(content: Uint8Array, engine: CryptoEngine): Uint8Array {
  return engine.sha256(content).subarray(0, CHECKSUM_BYTES);
}

function unreadable(defect: string, cause?: unknown): NexusError {
  return new NexusError("INVALID_INVITE", `cannot read invite: ${defect}`, { cause });
}
