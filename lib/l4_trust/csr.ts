/** Certificate signing request (protocol.md §3.2): a wish for claims, signed by the key itself. */
import { ByteReader, ByteWriter, concat, NexusError, utf8 } from "../base/mod.ts";
import { type CryptoEngine, KEY_BYTES, SIGNATURE_BYTES } from "./engine.ts";
import { nodeIdOf, SIGN_CONTEXT, type SigningIdentity, verifySignature } from "./identity.ts";
import {
  CONTENT_BYTES_MAX,
  malformed,
  type MicClaims,
  readClaims,
  writeClaims,
} from "./mic/claims.ts";
import { type MicExtensions, readExtensions, writeExtensions } from "./mic/extensions.ts";
import { MIC_BYTES_MAX, readMagic } from "./mic/mic.ts";

/** A request whose signature proved possession of the key. */
export interface Csr {
  readonly publicKey: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly claims: MicClaims;
  readonly extensions: MicExtensions;
}

const MAGIC = utf8("CSR");
const VERSION = 1;

/** Longest request: it would not fit a certificate otherwise. */
export const CSR_BYTES_MAX = MIC_BYTES_MAX;

/** Asks for a certificate with these claims. */
export function createCsr(
  identity: SigningIdentity,
  claims: MicClaims = {},
  extensions: MicExtensions = {},
): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(CONTENT_BYTES_MAX).put(MAGIC).u16(VERSION).put(identity.publicKey);
  writeClaims(writer, claims);
  writeExtensions(writer, extensions);
  const unsigned = writer.finish();
  return concat(unsigned, identity.sign(SIGN_CONTEXT.csr, unsigned));
}

/** Reads a request (copied) and checks it: MALFORMED, UNSUPPORTED_EXTENSION or BAD_SIGNATURE. */
export function verifyCsr(received: Uint8Array, engine: CryptoEngine): Csr {
  if (received.length > CSR_BYTES_MAX) {
    throw malformed("request", `${received.length} bytes, expected at most ${CSR_BYTES_MAX}`);
  }
  const bytes = Uint8Array.from(received);
  const reader = new ByteReader(bytes, "certificate request");
  readMagic(reader, MAGIC, VERSION);
  const publicKey = reader.take(KEY_BYTES);
  const claims = readClaims(reader);
  const extensions = readExtensions(reader);
  const unsigned = bytes.subarray(0, reader.offset);
  const signature = reader.take(SIGNATURE_BYTES);
  reader.end();
  if (!verifySignature(engine, publicKey, SIGN_CONTEXT.csr, unsigned, signature)) {
    throw new NexusError(
      "BAD_SIGNATURE",
      "cannot accept request: signature is not by the key that asks, expected proof of possession",
    );
  }
  return { publicKey, nodeId: nodeIdOf(publicKey, engine), claims, extensions };
}
