/**
 * Ed25519 keys as PKCS #8 in PEM (RFC 8410 §7, RFC 7468 §10), which openssl and ssh tools read:
 * `openssl pkey -in node.key -text`.
 */
import { NexusError } from "../../base/mod.ts";
import { nodeEngine } from "../../io/crypto.ts";
import { Identity } from "../../l4_trust/mod.ts";
import { decodePem, encodePem } from "./pem.ts";
import { readTextFile } from "./files.ts";

const LABEL = "PRIVATE KEY";
/** OneAsymmetricKey version 1, algorithm 1.3.101.112 (Ed25519), a seed of 32 bytes follows. */
const PKCS8_PREFIX = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SEED_BYTES = 32;

/** PEM text of a key. */
export function encodeKey(seed: Uint8Array): string {
  const der = new Uint8Array(PKCS8_PREFIX.length + SEED_BYTES);
  der.set(PKCS8_PREFIX);
  der.set(seed, PKCS8_PREFIX.length);
  const text = encodePem(LABEL, der);
  der.fill(0);
  return text;
}

/** The identity in PEM text; INVALID_KEY when it holds none. */
export function decodeKey(text: string, what: string): Identity {
  const ders = decodePem(text, LABEL);
  const der = ders[0];
  if (
    ders.length !== 1 || der.length !== PKCS8_PREFIX.length + SEED_BYTES ||
    PKCS8_PREFIX.some((byte, i) => der[i] !== byte)
  ) {
    throw new NexusError(
      "INVALID_KEY",
      `cannot read key ${what}: it is no Ed25519 key in PKCS #8 PEM`,
      { hint: "make one with `nexus trust keys generate --out FILE`" },
    );
  }
  return Identity.fromSeed(der.subarray(PKCS8_PREFIX.length), nodeEngine);
}

/** The identity in a file. */
export function readKey(file: string): Identity {
  return decodeKey(readTextFile(file, "key"), file);
}
