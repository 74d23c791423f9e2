/**
 * Certificate chains (protocol.md §3.1): `count u8 ‖ bytes16 each`, leaf first, root last, and the
 * rules that make one valid. Each rule has an error of its own.
 */
import { ByteReader, ByteWriter, equalBytes, formatNodeId, NexusError } from "../../base/mod.ts";
import type { CryptoEngine } from "../engine.ts";
import { isNodeIdOf } from "../identity.ts";
import { malformed } from "./claims.ts";
import type { NodeRole } from "./extensions.ts";
import { CLOCK_SKEW_S, decodeMic, fingerprintOf, isSignedBy, type Mic } from "./mic.ts";

/** Certificates in a chain (protocol.md §3.1). */
export const CHAIN_LENGTH_MAX = 4;

/** What a verifier holds against a chain. */
export interface ChainPolicy {
  /** SHA-256 fingerprints of the root keys that are trusted. */
  readonly roots: readonly Uint8Array[];
  /** Wall time in Unix seconds. */
  readonly unixS: number;
  /** Tenant of the connection. */
  readonly vni: number;
  readonly engine: CryptoEngine;
}

/** A leaf that passed, with what the chain says about it. */
export interface VerifiedMic {
  readonly leaf: Mic;
  /** Leaf first, root last. */
  readonly chain: readonly Mic[];
  readonly nodeId: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly role?: NodeRole;
  /** SAD capability bits that the leaf claims; 0 without the claim. */
  readonly capabilities: number;
  /** 1: valid chain; 0: self-signed, good for joining only. Higher levels are not certified yet. */
  readonly trustLevel: 0 | 1;
  /** Who may be named as the leaf's publisher: its own node id and those of its issuers. */
  readonly publishers: readonly Uint8Array[];
}

/** Writes a chain of encoded certificates. */
export function encodeChain(chain: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  if (chain.length < 1 || chain.length > CHAIN_LENGTH_MAX) {
    throw new NexusError(
      "CHAIN_LENGTH",
      `cannot write chain: it has ${chain.length} certificates, expected 1 to ${CHAIN_LENGTH_MAX}`,
    );
  }
  const bytes = chain.reduce((sum, mic) => sum + 2 + mic.length, 1);
  const writer = new ByteWriter(bytes).u8(chain.length);
  for (const mic of chain) writer.bytes16(mic);
  return writer.finish();
}

/** Reads a chain where the reader stands; the certificates are views. */
export function readChain(reader: ByteReader): Uint8Array[] {
  const count = reader.u8();
  if (count < 1 || count > CHAIN_LENGTH_MAX) {
    throw malformed(reader.what, `chain has ${count} certificates, expected 1 to 4`);
  }
  return Array.from({ length: count }, () => reader.bytes16());
}

/** Reads a chain that fills `bytes`. */
export function decodeChain(bytes: Uint8Array): Uint8Array[] {
  const reader = new ByteReader(bytes, "certificate chain");
  const chain = readChain(reader);
  reader.end();
  return chain;
}

/**
 * Checks a chain, cheap rules first, and returns its leaf. Throws MALFORMED, UNSUPPORTED_EXTENSION,
 * CHAIN_LENGTH, NODE_ID_MISMATCH, ISSUER_MISMATCH, UNKNOWN_CA, CERTIFICATE_EXPIRED,
 * CERTIFICATE_NOT_YET_VALID, TENANT_MISMATCH, CONSTRAINT_VIOLATED or BAD_SIGNATURE.
 */
export function verifyChain(chain: readonly Uint8Array[], policy: ChainPolicy): VerifiedMic {
  const mics = decodeAll(chain, policy.engine);
  checkLinks(mics, policy);
  checkValidity(mics, policy.unixS);
  checkTenant(mics, policy.vni);
  checkConstraints(mics);
  checkSignatures(mics, policy.engine);
  return verified(mics, 1);
}

/**
 * Checks a lone self-signed certificate: form, key, validity, signature, tenant where it names one.
 * It proves a key and nothing else (trust level 0), enough to ask for a certificate with an invite.
 */
export function verifySelfSigned(
  chain: readonly Uint8Array[],
  policy: Omit<ChainPolicy, "roots">,
): VerifiedMic {
  const mics = decodeAll(chain, policy.engine);
  if (!isSelfSigned(mics)) {
    throw new NexusError(
      "ISSUER_MISMATCH",
      `cannot trust certificate: chain has ${mics.length} certificates, expected one, self-signed`,
    );
  }
  checkNodeIds(mics, policy.engine);
  checkValidity(mics, policy.unixS);
  for (const mic of mics) if (mic.extensions.tenant !== undefined) checkTenantOf(mic, policy.vni);
  checkSignatures(mics, policy.engine);
  return verified(mics, 0);
}

/** Whether a decoded chain is one certificate that names itself as issuer. */
export function isSelfSigned(chain: readonly Mic[]): boolean {
  return chain.length === 1 && equalBytes(chain[0].nodeId, chain[0].issuerNodeId);
}

/** Decodes every certificate of a chain. */
export function decodeAll(chain: readonly Uint8Array[], engine: CryptoEngine): Mic[] {
  if (chain.length < 1 || chain.length > CHAIN_LENGTH_MAX) {
    throw new NexusError(
      "CHAIN_LENGTH",
      `cannot trust chain: it has ${chain.length} certificates, expected 1 to ${CHAIN_LENGTH_MAX}`,
    );
  }
  return chain.map((bytes) => decodeMic(bytes, engine));
}

/** Whether one of the trusted roots ends this chain. */
export function endsInRoot(
  chain: readonly Mic[],
  roots: readonly Uint8Array[],
  engine: CryptoEngine,
): boolean {
  const fingerprint = fingerprintOf(chain[chain.length - 1].publicKey, engine);
  return roots.some((root) => equalBytes(root, fingerprint));
}

function checkLinks(chain: readonly Mic[], { roots, engine }: ChainPolicy): void {
  checkNodeIds(chain, engine);
  if (!endsInRoot(chain, roots, engine)) {
    throw new NexusError(
      "UNKNOWN_CA",
      `cannot trust certificate: root is ${formatNodeId(chain[chain.length - 1].nodeId)}, ` +
        `expected one of ${roots.length} trusted`,
    );
  }
  chain.forEach((mic, i) => {
    const issuer = chain[i + 1] ?? mic;
    if (!equalBytes(mic.issuerNodeId, issuer.nodeId)) {
      throw new NexusError(
        "ISSUER_MISMATCH",
        `cannot trust certificate: issuer is ${formatNodeId(mic.issuerNodeId)}, ` +
          `expected ${formatNodeId(issuer.nodeId)}`,
      );
    }
  });
}

function checkNodeIds(chain: readonly Mic[], engine: CryptoEngine): void {
  for (const mic of chain) {
    if (!isNodeIdOf(mic.nodeId, mic.publicKey, engine)) {
      throw new NexusError(
        "NODE_ID_MISMATCH",
        `cannot trust certificate: node id is ${formatNodeId(mic.nodeId)}, ` +
          "expected the hash of its public key",
      );
    }
  }
}

function checkValidity(chain: readonly Mic[], unixS: number): void {
  for (const { notBefore, notAfter, nodeId } of chain) {
    if (unixS > notAfter + CLOCK_SKEW_S) {
      throw new NexusError(
        "CERTIFICATE_EXPIRED",
        `cannot trust certificate of ${formatNodeId(nodeId)}: now is ${unixS}, ` +
          `expected at most ${notAfter}`,
      );
    }
    if (unixS < notBefore - CLOCK_SKEW_S) {
      throw new NexusError(
        "CERTIFICATE_NOT_YET_VALID",
        `cannot trust certificate of ${formatNodeId(nodeId)}: now is ${unixS}, ` +
          `expected at least ${notBefore}`,
        { hint: "check the clocks of both machines" },
      );
    }
  }
}

/** The leaf must name the tenant; certificates above may. */
function checkTenant(chain: readonly Mic[], vni: number): void {
  chain.forEach((mic, i) => {
    if (i === 0 || mic.extensions.tenant !== undefined) checkTenantOf(mic, vni);
  });
}

function checkTenantOf(mic: Mic, vni: number): void {
  if (mic.extensions.tenant !== vni) {
    throw new NexusError(
      "TENANT_MISMATCH",
      `cannot trust certificate: its tenant is ${mic.extensions.tenant ?? "none"}, expected ${vni}`,
    );
  }
}

function checkConstraints(chain: readonly Mic[]): void {
  let casBelow = 0;
  let claimedBelow = 0;
  chain.forEach((mic, i) => {
    const { basicConstraints, capabilityConstraint } = mic.extensions;
    if (i > 0) {
      if (basicConstraints === undefined || !basicConstraints.isCa) {
        throw constraint(`issuer ${formatNodeId(mic.nodeId)} is no CA, expected is_ca = 1`);
      }
      if (basicConstraints.pathLength < casBelow) {
        throw constraint(
          `path length is ${basicConstraints.pathLength}, expected at least ${casBelow}`,
        );
      }
      if (capabilityConstraint !== undefined && (claimedBelow & ~capabilityConstraint) !== 0) {
        throw constraint(
          `capabilities are 0x${(claimedBelow >>> 0).toString(16)}, ` +
            `expected inside 0x${capabilityConstraint.toString(16)}`,
        );
      }
    }
    if (basicConstraints?.isCa) casBelow++;
    claimedBelow |= mic.claims.capabilities ?? 0;
  });
}

function constraint(defect: string): NexusError {
  return new NexusError("CONSTRAINT_VIOLATED", `cannot trust certificate: ${defect}`);
}

function checkSignatures(chain: readonly Mic[], engine: CryptoEngine): void {
  chain.forEach((mic, i) => {
    const issuer = chain[i + 1] ?? mic;
    if (!isSignedBy(mic, issuer.publicKey, engine)) {
      throw new NexusError(
        "BAD_SIGNATURE",
        `cannot trust certificate of ${formatNodeId(mic.nodeId)}: signature is not ` +
          `by ${formatNodeId(issuer.nodeId)}`,
      );
    }
  });
}

function verified(chain: readonly Mic[], trustLevel: 0 | 1): VerifiedMic {
  const leaf = chain[0];
  return {
    leaf,
    chain,
    nodeId: leaf.nodeId,
    publicKey: leaf.publicKey,
    role: leaf.extensions.role,
    capabilities: leaf.claims.capabilities ?? 0,
    trustLevel,
    publishers: chain.map((mic) => mic.nodeId),
  };
}
