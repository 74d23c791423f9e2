/**
 * Signature and finished value of each side (protocol.md §4.5). Both cover the transcript and what
 * stands in the box before them, so neither can be moved to another handshake.
 */
import { concat, equalConstantTime, NexusError } from "../../base/mod.ts";
import type { CryptoEngine } from "../engine.ts";
import { type SignContext, type SigningIdentity, verifySignature } from "../identity.ts";

/** `signature ‖ finished`, the end of a box. */
export function makeProofs(
  engine: CryptoEngine,
  identity: SigningIdentity,
  context: SignContext,
  finishedKey: Uint8Array,
  signedTranscript: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const signature = identity.sign(context, engine.sha256(signedTranscript));
  const finished = engine.hmacSha256(
    finishedKey,
    engine.sha256(concat(signedTranscript, signature)),
  );
  return concat(signature, finished);
}

/** Throws BAD_SIGNATURE or BAD_FINISHED. */
export function checkProofs(
  engine: CryptoEngine,
  publicKey: Uint8Array,
  context: SignContext,
  finishedKey: Uint8Array,
  signedTranscript: Uint8Array,
  { signature, finished }: { signature: Uint8Array; finished: Uint8Array },
): void {
  const digest = engine.sha256(signedTranscript);
  if (!verifySignature(engine, publicKey, context, digest, signature)) {
    throw new NexusError(
      "BAD_SIGNATURE",
      "cannot connect: the peer's signature does not cover this handshake",
    );
  }
  const expected = engine.hmacSha256(
    finishedKey,
    engine.sha256(concat(signedTranscript, signature)),
  );
  if (!equalConstantTime(expected, finished)) {
    throw new NexusError(
      "BAD_FINISHED",
      "cannot connect: the peer's finished value does not fit this handshake",
    );
  }
}
