/** FINISH (protocol.md §4.4): the client's certificate, wish and proof, all sealed. */
import { ByteReader, ByteWriter } from "../../base/mod.ts";
import { KEY_BYTES, SIGNATURE_BYTES } from "../engine.ts";
import { INVITE_ID_BYTES } from "../invite.ts";
import { readChain } from "../mic/chain.ts";
import { malformed } from "../mic/claims.ts";
import {
  boxBytes,
  finishMessage,
  HANDSHAKE_MESSAGE,
  MESSAGE_HEADER_BYTES,
  startMessage,
} from "./message.ts";

/** Proof of an invitation. */
export interface InviteClaim {
  readonly id: Uint8Array;
  readonly proof: Uint8Array;
}

/** Fields of the box. */
export interface FinishBox {
  /** Encoded certificates, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** The whole SAD; may be empty. */
  readonly sad: Uint8Array;
  readonly invite?: InviteClaim;
  readonly signature: Uint8Array;
  readonly finished: Uint8Array;
  /** The plaintext up to the signature: what it covers, after T3. */
  readonly signed: Uint8Array;
}

/** Message bytes before the ciphertext. */
export const FINISH_CLEAR_BYTES = MESSAGE_HEADER_BYTES + 4;

/** The message up to the ciphertext, with its final length. */
export function encodeFinishClear(
  serverConnectionId: number,
  plaintextBytes: number,
): Uint8Array<ArrayBuffer> {
  const writer = startMessage(new ByteWriter(), HANDSHAKE_MESSAGE.finish).u32(serverConnectionId);
  return finishMessage(writer, boxBytes(plaintextBytes));
}

/** `chain ‖ proofs (empty) ‖ sad ‖ invite`: the signed beginning of the box. */
export function encodeFinishSigned(
  chain: Uint8Array,
  sad: Uint8Array,
  invite: InviteClaim | undefined,
): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(chain.length + sad.length + 64).put(chain).u16(0).bytes16(sad);
  if (invite === undefined) writer.u8(0);
  else writer.u8(invite.id.length + invite.proof.length).put(invite.id).put(invite.proof);
  return writer.finish();
}

/** Reads a box. */
export function decodeFinishBox(plaintext: Uint8Array): FinishBox {
  const reader = new ByteReader(plaintext, "FINISH");
  const chain = readChain(reader);
  reader.bytes16();
  const sad = reader.bytes16();
  const invite = readInvite(reader.bytes8());
  const signed = plaintext.subarray(0, reader.offset);
  const signature = reader.take(SIGNATURE_BYTES);
  const finished = reader.take(KEY_BYTES);
  reader.end();
  return { chain, sad, invite, signature, finished, signed };
}

function readInvite(bytes: Uint8Array): InviteClaim | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes.length !== INVITE_ID_BYTES + KEY_BYTES) {
    throw malformed("FINISH", `invite is ${bytes.length} bytes, expected 0 or 40`);
  }
  return { id: bytes.subarray(0, INVITE_ID_BYTES), proof: bytes.subarray(INVITE_ID_BYTES) };
}
