/**
 * Certificate authority: a key, the chain that certifies it, and the rules by which it turns a
 * signed request into a certificate (protocol.md §3.1, 04-trust.md "CA").
 */
import { equalBytes, NexusError, type RandomFill } from "../base/mod.ts";
import type { CryptoEngine } from "./engine.ts";
import { type Csr, verifyCsr } from "./csr.ts";
import { Identity } from "./identity.ts";
import { CHAIN_LENGTH_MAX, decodeAll } from "./mic/chain.ts";
import type { MicClaims } from "./mic/claims.ts";
import type { NodeRole } from "./mic/extensions.ts";
import { CLOCK_SKEW_S, fingerprintOf, issueMic, type Mic, selfSignedMic } from "./mic/mic.ts";

/** Life of an issued certificate unless told otherwise: 30 days, renewed after two thirds. */
export const MIC_LIFE_S = 30 * 86_400;
/** Life of a root: ten years. */
export const ROOT_LIFE_S = 3_650 * 86_400;
/** Intermediates that may stand below a root: a chain holds leaf, root and two between. */
export const ROOT_PATH_LENGTH = CHAIN_LENGTH_MAX - 2;

/** How a root is made. */
export interface RootOptions {
  /** Wall time, Unix seconds. */
  readonly unixS: number;
  readonly lifeS?: number;
  /** Tenant that the root is confined to; any when left out. */
  readonly vni?: number;
  /** CA certificates that may stand below it; 0…2. */
  readonly pathLength?: number;
  /** Capability bits that certificates below may claim; all when left out. */
  readonly capabilityConstraint?: number;
  readonly claims?: MicClaims;
}

/** What the issuer decides about a certificate; the request decides the claims. */
export interface IssueOptions {
  /** Wall time, Unix seconds. */
  readonly unixS: number;
  readonly vni: number;
  /** Default 30 days; cut to the issuer's own end. */
  readonly lifeS?: number;
  readonly role?: NodeRole;
  /** Capability bits that this request may claim; for a CA also those below it. */
  readonly capabilityConstraint?: number;
  /** Makes the certificate a CA's. */
  readonly ca?: { readonly pathLength: number };
}

/** When to ask for a certificate's successor: two thirds into its life, Unix seconds. */
export function renewalTimeS(mic: Mic): number {
  return Math.floor(mic.notBefore + (mic.notAfter - mic.notBefore) * 2 / 3);
}

/** Issues certificates under one key. */
export class CertificateAuthority {
  readonly #identity: Identity;
  readonly #engine: CryptoEngine;
  readonly #certificates: Mic[];
  /** Own certificate first, root last: what follows an issued leaf in its chain. */
  readonly chain: readonly Uint8Array[];

  private constructor(identity: Identity, chain: readonly Uint8Array[], engine: CryptoEngine) {
    this.#identity = identity;
    this.#engine = engine;
    this.#certificates = decodeAll(chain, engine);
    this.chain = chain;
    if (!equalBytes(this.#certificates[0].publicKey, identity.publicKey)) {
      throw new NexusError(
        "INVALID_KEY",
        "cannot open authority: its key is not the one of its certificate",
      );
    }
  }

  /** A new root with a new key. */
  static create(
    random: RandomFill,
    engine: CryptoEngine,
    options: RootOptions,
  ): CertificateAuthority {
    return CertificateAuthority.root(Identity.generate(random, engine), engine, options);
  }

  /** A new self-signed root for a key that exists. */
  static root(
    identity: Identity,
    engine: CryptoEngine,
    options: RootOptions,
  ): CertificateAuthority {
    const { unixS, lifeS = ROOT_LIFE_S, vni, pathLength = ROOT_PATH_LENGTH } = options;
    const { capabilityConstraint, claims } = options;
    const root = selfSignedMic(identity, {
      unixS,
      lifeS,
      claims,
      extensions: {
        tenant: vni,
        basicConstraints: { isCa: true, pathLength },
        capabilityConstraint,
      },
    }, engine);
    return new CertificateAuthority(identity, [root], engine);
  }

  /** An authority from storage: its seed and its chain, own certificate first. */
  static load(
    seed: Uint8Array,
    chain: readonly Uint8Array[],
    engine: CryptoEngine,
  ): CertificateAuthority {
    return new CertificateAuthority(Identity.fromSeed(seed, engine), chain, engine);
  }

  /** The root's certificate. */
  get rootMic(): Uint8Array {
    return this.chain[this.chain.length - 1];
  }

  /** SHA-256 of the root's public key: what verifiers trust. */
  get fingerprint(): Uint8Array {
    return fingerprintOf(this.#certificates[this.#certificates.length - 1].publicKey, this.#engine);
  }

  /** Node id of this authority's own key. */
  get nodeId(): Uint8Array {
    return this.#identity.nodeId;
  }

  /** A copy of the secret key, for storage. */
  get keySeed(): Uint8Array {
    return this.#identity.seed;
  }

  /**
   * Issues a certificate for a request. Extensions of the request are wishes that this version
   * does not grant; tenant, role and constraints come from `options`. Throws what `verifyCsr`
   * throws, CONSTRAINT_VIOLATED for claims or a path length outside what this authority may
   * certify, CERTIFICATE_EXPIRED when its own certificate ended.
   */
  issue(csr: Uint8Array | Csr, options: IssueOptions): Uint8Array<ArrayBuffer> {
    const request = csr instanceof Uint8Array ? verifyCsr(csr, this.#engine) : csr;
    const { unixS, vni, lifeS = MIC_LIFE_S, role, capabilityConstraint, ca } = options;
    this.#checkCapabilities(request.claims.capabilities ?? 0, capabilityConstraint);
    this.#checkTenant(vni);
    if (ca !== undefined) this.#checkPath(ca.pathLength);
    const endS = Math.min(...this.#certificates.map((mic) => mic.notAfter));
    if (unixS >= endS) {
      throw new NexusError(
        "CERTIFICATE_EXPIRED",
        `cannot issue certificate: the authority ended at ${endS}, now is ${unixS}`,
      );
    }
    return issueMic(
      {
        nodeId: request.nodeId,
        publicKey: request.publicKey,
        notBefore: Math.max(0, unixS - CLOCK_SKEW_S),
        notAfter: Math.min(unixS + lifeS, endS),
        claims: request.claims,
        extensions: {
          tenant: vni,
          role,
          basicConstraints: ca === undefined ? undefined : { isCa: true, ...ca },
          capabilityConstraint: ca === undefined ? undefined : capabilityConstraint,
        },
      },
      this.#identity,
      this.#engine,
    );
  }

  /** The whole chain of a certificate that this authority issued, leaf first. */
  chainOf(mic: Uint8Array): Uint8Array[] {
    return [mic, ...this.chain];
  }

  /** Forgets the key. */
  wipe(): void {
    this.#identity.wipe();
  }

  #checkCapabilities(claimed: number, constraint = 0xffffffff): void {
    let allowed = constraint;
    for (const { extensions } of this.#certificates) {
      allowed &= extensions.capabilityConstraint ?? 0xffffffff;
    }
    if ((claimed & ~allowed) !== 0) {
      throw refused(
        `capabilities are 0x${(claimed >>> 0).toString(16)}, ` +
          `expected inside 0x${(allowed >>> 0).toString(16)}`,
      );
    }
  }

  #checkTenant(vni: number): void {
    for (const { extensions: { tenant } } of this.#certificates) {
      if (tenant !== undefined && tenant !== vni) {
        throw refused(`tenant is ${vni}, expected ${tenant}`);
      }
    }
  }

  #checkPath(pathLength: number): void {
    this.#certificates.forEach((mic, i) => {
      const below = i + 1 + pathLength;
      const allowed = mic.extensions.basicConstraints?.pathLength ?? 0;
      if (below > allowed) {
        throw refused(`path needs ${below} authorities below, expected at most ${allowed}`);
      }
    });
  }
}

function refused(defect: string): NexusError {
  return new NexusError("CONSTRAINT_VIOLATED", `cannot issue certificate: ${defect}`);
}
