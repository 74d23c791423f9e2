/** ALERT (protocol.md §4.4): why an end gives up, sealed; and the errors behind the codes. */
import { ByteReader, ByteWriter, clip, NexusError, utf8 } from "../../base/mod.ts";
import type { Aead } from "../engine.ts";
import {
  boxBytes,
  finishMessage,
  HANDSHAKE_MESSAGE,
  MESSAGE_HEADER_BYTES,
  openBox,
  sealBox,
  startMessage,
} from "./message.ts";

/** Alert codes by name. */
export const ALERT = {
  bad_certificate: 1,
  certificate_expired: 2,
  unknown_ca: 3,
  node_id_mismatch: 4,
  bad_signature: 5,
  bad_finished: 6,
  tenant_mismatch: 7,
  constraint_not_met: 8,
  invite_refused: 9,
  internal: 10,
  revoked: 11,
  overloaded: 12,
} as const;

/** Message bytes before the ciphertext. */
export const ALERT_CLEAR_BYTES = MESSAGE_HEADER_BYTES + 4;

const ALERT_OF_ERROR: Readonly<Record<string, number>> = {
  MALFORMED: ALERT.bad_certificate,
  UNSUPPORTED_EXTENSION: ALERT.bad_certificate,
  CHAIN_LENGTH: ALERT.bad_certificate,
  ISSUER_MISMATCH: ALERT.bad_certificate,
  CONSTRAINT_VIOLATED: ALERT.bad_certificate,
  CERTIFICATE_EXPIRED: ALERT.certificate_expired,
  CERTIFICATE_NOT_YET_VALID: ALERT.certificate_expired,
  UNKNOWN_CA: ALERT.unknown_ca,
  NODE_ID_MISMATCH: ALERT.node_id_mismatch,
  BAD_SIGNATURE: ALERT.bad_signature,
  BAD_FINISHED: ALERT.bad_finished,
  TENANT_MISMATCH: ALERT.tenant_mismatch,
  CONSTRAINT_NOT_MET: ALERT.constraint_not_met,
  INVITE_REFUSED: ALERT.invite_refused,
};

/** Longest phrase that is sent or shown. */
const PHRASE_CHARS_MAX = 200;

/** The alert that tells the peer about one of our errors. */
export function alertCodeOf(error: NexusError): number {
  return ALERT_OF_ERROR[error.code] ?? ALERT.internal;
}

/**
 * The words beside it: what is wrong with the peer's own certificate may be told, what we asked for
 * (part of the SAD) and what went wrong inside us may not.
 */
export function alertPhraseOf(error: NexusError): string {
  const code = alertCodeOf(error);
  return code === ALERT.constraint_not_met || code === ALERT.internal ? "" : error.message;
}

/**
 * The error of a received alert. Its code is `ALERT_` and the alert's name in upper case: the peer
 * refused us, as opposed to our refusing the peer.
 */
export function alertError(code: number, phrase: string): NexusError {
  const name = Object.entries(ALERT).find(([, value]) => value === code)?.[0];
  const words = phrase === "" ? "" : `: ${clip(phrase, PHRASE_CHARS_MAX)}`;
  return new NexusError(
    name === undefined ? "ALERT_UNKNOWN" : `ALERT_${name.toUpperCase()}`,
    `cannot connect: the peer refused us with ${name ?? `alert ${code}`}${words}`,
  );
}

/** A sealed alert. `iv` is the sender's handshake iv. */
export function sealAlert(
  aead: Aead,
  iv: Uint8Array,
  receiverConnectionId: number,
  code: number,
  phrase: string,
): Uint8Array<ArrayBuffer> {
  const words = utf8(phrase.slice(0, PHRASE_CHARS_MAX)).subarray(0, 0xff);
  const plaintext = new ByteWriter(3 + words.length).u16(code).bytes8(words).finish();
  const clear = finishMessage(
    startMessage(new ByteWriter(), HANDSHAKE_MESSAGE.alert).u32(receiverConnectionId),
    boxBytes(plaintext.length),
  );
  return sealBox(aead, alertNonce(iv), clear, plaintext);
}

/** The error of an authentic alert; undefined when the box does not open. */
export function openAlert(
  aead: Aead,
  iv: Uint8Array,
  message: Uint8Array,
): NexusError | undefined {
  const plaintext = openBox(aead, alertNonce(iv), message, ALERT_CLEAR_BYTES);
  if (plaintext === undefined) return undefined;
  try {
    const reader = new ByteReader(plaintext, "ALERT");
    const code = reader.u16();
    return alertError(code, lenient.decode(reader.bytes8()));
  } catch {
    return alertError(ALERT.internal, "unreadable alert");
  }
}
const lenient = new TextDecoder();

/** The iv with its last byte XOR 1: ACCEPT and FINISH use the iv itself. */
function alertNonce(iv: Uint8Array): Uint8Array {
  const nonce = iv.slice();
  nonce[nonce.length - 1] ^= 1;
  return nonce;
}
