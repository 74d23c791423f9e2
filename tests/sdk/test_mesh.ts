/** Identities and driver options for worker_group_test.ts and its workers. */
import { type RandomFill, SeededRandom } from "../../lib/base/mod.ts";
import { systemClock } from "../../lib/io/clock.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { CertificateAuthority, createCsr, Identity } from "../../lib/l4_trust/mod.ts";
import type { MemberOptions } from "../../lib/sdk/mod.ts";

export const VNI = 7;

/** What a program needs to speak for a node; can be sent to a Worker. */
export interface Credentials {
  readonly seed: Uint8Array;
  readonly chain: Uint8Array[];
  readonly roots: Uint8Array[];
}

/** Identities of one mesh; the same for the same seed. */
export class TestMesh {
  readonly #authority: CertificateAuthority;
  readonly #unixS = Math.floor(systemClock.unixMs() / 1000);
  readonly random: SeededRandom;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    const options = { unixS: this.#unixS, vni: VNI };
    this.#authority = CertificateAuthority.create(this.random.fill, nodeEngine, options);
  }

  /** A node with a certificate for these models. */
  node(modelNames: readonly string[] = []): Credentials {
    const identity = Identity.generate(this.random.fill, nodeEngine);
    const csr = createCsr(identity, { modelNames });
    const mic = this.#authority.issue(csr, { unixS: this.#unixS, vni: VNI, role: "node" });
    return {
      seed: identity.seed,
      chain: this.#authority.chainOf(mic),
      roots: [this.#authority.fingerprint],
    };
  }
}

/** Options of a driver that speaks for a node. */
export function memberOptions(
  { seed, chain, roots }: Credentials,
  random: RandomFill,
): MemberOptions {
  return {
    clock: systemClock,
    random,
    engine: nodeEngine,
    identity: Identity.fromSeed(seed, nodeEngine),
    vni: VNI,
    chain,
    roots,
  };
}

/** A first byte that makes echo_worker.ts fail. */
export const TRIP = 0;

/** The setup of echo_worker.ts. */
export interface EchoSetup extends Credentials {
  /** Fails on purpose while it opens. */
  readonly broken?: boolean;
}
