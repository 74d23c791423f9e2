/** ACCEPT (protocol.md §4.3): the server's answer, certificate and proof sealed. */
import { ByteReader, ByteWriter, NODE_ID_BYTES } from "../../base/mod.ts";
import { KEY_BYTES, SIGNATURE_BYTES } from "../engine.ts";
import { readChain } from "../mic/chain.ts";
import { malformed } from "../mic/claims.ts";
import {
  boxBytes,
  finishMessage,
  HANDSHAKE_MESSAGE,
  MESSAGE_HEADER_BYTES,
  startMessage,
} from "./message.ts";

/** Fields that travel in clear. */
export interface AcceptClear {
  readonly serverId: Uint8Array;
  readonly clientConnectionId: number;
  readonly connectionId: number;
  readonly ephemeral: Uint8Array;
  readonly suite: number;
}

/** Fields of the box. */
export interface AcceptBox {
  /** Encoded certificates, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly signature: Uint8Array;
  readonly finished: Uint8Array;
  /** The plaintext up to the signature: what it covers, after T1. */
  readonly signed: Uint8Array;
}

/** Bytes of signature and finished, with which both boxes end. */
export const PROOF_BYTES = SIGNATURE_BYTES + KEY_BYTES;
/** Message bytes before the ciphertext. */
export const ACCEPT_CLEAR_BYTES = MESSAGE_HEADER_BYTES + NODE_ID_BYTES + 4 + 4 + KEY_BYTES + 2;

/** The message up to the ciphertext, with its final length. */
export function encodeAcceptClear(
  accept: AcceptClear,
  plaintextBytes: number,
): Uint8Array<ArrayBuffer> {
  const writer = startMessage(new ByteWriter(), HANDSHAKE_MESSAGE.accept)
    .put(accept.serverId)
    .u32(accept.clientConnectionId)
    .u32(accept.connectionId)
    .put(accept.ephemeral)
    .u16(accept.suite);
  return finishMessage(writer, boxBytes(plaintextBytes));
}

/** Reads the clear part; MALFORMED when it is cut short or the connection id is 0. */
export function decodeAcceptClear(message: Uint8Array): AcceptClear {
  const reader = new ByteReader(message.subarray(MESSAGE_HEADER_BYTES), "ACCEPT");
  const serverId = reader.take(NODE_ID_BYTES);
  const clientConnectionId = reader.u32();
  const connectionId = reader.u32();
  if (connectionId === 0) throw malformed("ACCEPT", "connection id is 0");
  const ephemeral = reader.take(KEY_BYTES);
  const suite = reader.u16();
  return { serverId, clientConnectionId, connectionId, ephemeral, suite };
}

/** `chain ‖ proofs (empty)`: the signed beginning of the box. */
export function encodeAcceptSigned(chain: Uint8Array): Uint8Array<ArrayBuffer> {
  return new ByteWriter(chain.length + 2).put(chain).u16(0).finish();
}

/** Reads a box. */
export function decodeAcceptBox(plaintext: Uint8Array): AcceptBox {
  const reader = new ByteReader(plaintext, "ACCEPT");
  const chain = readChain(reader);
  reader.bytes16();
  const signed = plaintext.subarray(0, reader.offset);
  const signature = reader.take(SIGNATURE_BYTES);
  const finished = reader.take(KEY_BYTES);
  reader.end();
  return { chain, signature, finished, signed };
}
