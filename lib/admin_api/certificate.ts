/** A certificate in the words of the admin API: the node shows it, the CLI shows files the same way. */
import { toHex } from "../base/mod.ts";
import { formatCapabilities } from "../l2_route/mod.ts";
import { type CryptoEngine, fingerprintOf, type Mic } from "../l4_trust/mod.ts";
import type { CertificateSummary } from "./trust.ts";

/** What a person checks before trusting a certificate. */
export function summarizeMic(mic: Mic, engine: CryptoEngine): CertificateSummary {
  const { claims, extensions } = mic;
  return {
    serial: toHex(mic.serial),
    nodeId: toHex(mic.nodeId),
    publicKey: toHex(mic.publicKey),
    fingerprint: toHex(fingerprintOf(mic.publicKey, engine)),
    issuerNodeId: toHex(mic.issuerNodeId),
    notBeforeS: mic.notBefore,
    notAfterS: mic.notAfter,
    role: extensions.basicConstraints?.isCa ? "ca" : extensions.role ?? "unknown",
    vni: extensions.tenant,
    capabilities: formatCapabilities(claims.capabilities ?? 0).split("+").filter(Boolean),
    context: claims.contextWindow,
    models: [...claims.modelNames ?? []],
    bytes: mic.bytes.length,
  };
}
