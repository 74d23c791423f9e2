/**
 * Who this node is: its key, the certificate that the mesh gave it, and, on the node that made
 * the mesh, the certificate authority that admits others (08-node.md, Mesh).
 */
import { equalBytes, formatNodeId, NexusError, type RandomFill, toHex } from "../base/mod.ts";
import type { State } from "../io/state.ts";
import {
  ApiFault,
  decodeMessage,
  encodeMessage,
  errorMessageOf,
  MessageType,
  readMessageHeader,
} from "../l5_api/mod.ts";
import {
  ANY_MODEL_NAME,
  CertificateAuthority,
  CLOCK_SKEW_S,
  createCsr,
  type CryptoEngine,
  decodeMic,
  encodeInvite,
  Identity,
  INVITE_ID_BYTES,
  INVITE_SECRET_BYTES,
  type Mic,
  type MicClaims,
  nodeNameOf,
  verifyChain,
  verifyCsr,
} from "../l4_trust/mod.ts";
import type { Handlers, Session } from "../sdk/mod.ts";

/** Life of a client's certificate: a day, renewed by clients that run longer. */
export const CLIENT_MIC_LIFE_S = 86_400;

/** A node asks again when its models change; more often than this is no honest need. */
const ISSUED_PER_WINDOW_MAX = 6;
const ISSUE_WINDOW_MS = 60_000;

export interface MembershipOptions {
  state: State;
  engine: CryptoEngine;
  random: RandomFill;
  unixMs(): number;
}

export class Membership {
  readonly identity: Identity;
  chain: Uint8Array[];
  roots: Uint8Array[];
  ca?: CertificateAuthority;
  /** Called when this node's own chain was replaced. */
  onChain?: () => void;
  readonly #options: MembershipOptions;
  readonly #issuedInWindow = new Map<string, number>();
  #windowStartMs = 0;

  /** Loads identity, chain and CA; the identity is made on the first start. */
  constructor(options: MembershipOptions) {
    const { state, engine, random } = options;
    this.#options = options;
    const seed = state.identitySeed();
    if (seed === undefined) {
      this.identity = Identity.generate(random, engine);
      state.setIdentitySeed(this.identity.seed, options.unixMs());
    } else {
      this.identity = Identity.fromSeed(seed, engine);
    }
    this.chain = state.chain();
    this.roots = state.roots();
    const ca = state.ca();
    if (ca !== undefined) this.ca = CertificateAuthority.load(ca.seed, [ca.rootMic], engine);
  }

  /** This node has a certificate. */
  get isMember(): boolean {
    return this.chain.length > 0;
  }

  /** The decoded certificate, undefined before joining. */
  get mic(): Mic | undefined {
    return this.isMember ? decodeMic(this.chain[0], this.#options.engine) : undefined;
  }

  /** Tenant network of the certificate. */
  get vni(): number | undefined {
    return this.mic?.extensions.tenant;
  }

  /** Makes a mesh of which this node is the authority. */
  createMesh(vni: number, claims: MicClaims): void {
    const { state, engine, random } = this.#options;
    const unixMs = this.#options.unixMs();
    const ca = CertificateAuthority.create(random, engine, { unixS: this.#unixS(), vni });
    state.setCa({ seed: ca.keySeed, rootMic: ca.rootMic }, unixMs);
    this.ca = ca;
    state.addRoot(ca.fingerprint, unixMs);
    this.roots = state.roots();
    this.#issueOwn(vni, claims);
  }

  /** Takes over the chain that a join brought. */
  joined(chain: Uint8Array[], root: Uint8Array): void {
    const { state } = this.#options;
    state.addRoot(root, this.#options.unixMs());
    state.setChain(chain);
    this.roots = state.roots();
    this.chain = chain;
    this.onChain?.();
  }

  /** Whether the certificate claims all of this (a node may only advertise what it claims). */
  claimsCover(claims: MicClaims): boolean {
    const own = this.mic?.claims;
    if (own === undefined) return false;
    const names = new Set(own.modelNames);
    return ((claims.capabilities ?? 0) & ~(own.capabilities ?? 0)) === 0 &&
      (claims.contextWindow ?? 0) <= (own.contextWindow ?? 0) &&
      nodeNameOf(claims) === nodeNameOf(own) &&
      (names.has(ANY_MODEL_NAME) || (claims.modelNames ?? []).every((name) => names.has(name))) &&
      JSON.stringify(claims.regions ?? []) === JSON.stringify(own.regions ?? []);
  }

  /** A new own certificate from the CA on this node; false when the CA is elsewhere. */
  reissueHere(claims: MicClaims): boolean {
    const { vni } = this;
    if (this.ca === undefined || vni === undefined) return false;
    this.#issueOwn(vni, claims);
    this.onChain?.();
    return true;
  }

  /** A signed request for these claims, for the CA on another node. */
  csr(claims: MicClaims): Uint8Array {
    return createCsr(this.identity, claims, { role: "node" });
  }

  /** Takes over a chain that answered `csr`, after the same checks as any other. */
  renewed(chain: Uint8Array[]): void {
    const { vni } = this;
    const mic = verifyChain(chain, {
      roots: this.roots,
      unixS: this.#unixS(),
      vni: vni ?? 0,
      engine: this.#options.engine,
    });
    if (!equalBytes(mic.nodeId, this.identity.nodeId)) {
      throw new NexusError("NODE_ID_MISMATCH", "cannot renew certificate: it is another node's");
    }
    this.#options.state.setChain(chain);
    this.chain = chain;
    this.onChain?.();
  }

  /**
   * A token that admits `uses` newcomers.
   * @throws NexusError NOT_A_CA when the mesh's CA is on another node
   */
  invite(
    addresses: readonly string[],
    { uses, lifeS }: { uses: number; lifeS: number },
  ): { token: string; id: string; expiresS: number; uses: number } {
    const { state, random, engine } = this.#options;
    const { ca, vni } = this;
    if (ca === undefined || vni === undefined) {
      throw new NexusError("NOT_A_CA", "cannot make invite: this node is not the mesh's CA", {
        hint: "ask the node that made the mesh (its `nexus up` printed a token)",
      });
    }
    const id = new Uint8Array(INVITE_ID_BYTES);
    const secret = new Uint8Array(INVITE_SECRET_BYTES);
    random(id);
    random(secret);
    const unixS = this.#unixS();
    const expiresS = unixS + lifeS;
    state.addInvite({ id, secret, expiresS, usesLeft: uses }, unixS);
    const token = encodeInvite({
      vni,
      expiresS,
      caFingerprint: ca.fingerprint,
      id,
      secret,
      seeds: addresses.slice(0, 8).map((address) => ({ nodeId: this.identity.nodeId, address })),
    }, engine);
    return { token, id: toHex(id), expiresS, uses };
  }

  /** For the handshake: secret of a live invite. */
  readonly inviteSecret = (id: Uint8Array): Uint8Array | undefined =>
    this.ca === undefined ? undefined : this.#options.state.inviteSecret(id, this.#unixS());

  /** For `serve`: answers CSR_SUBMIT of newcomers and members. */
  readonly handlers: Handlers = {
    [MessageType.CSR_SUBMIT]: async (message, channel) => {
      const { requestId } = readMessageHeader(message);
      try {
        const decoded = decodeMessage(message);
        if (decoded.kind !== "csrSubmit") return;
        const chain = this.#admit(channel.session, decoded.body.csr);
        await channel.send(encodeMessage("csrResult", requestId, { chain }));
      } catch (error) {
        if (!(error instanceof NexusError)) throw error;
        await channel.send(encodeMessage("error", requestId, errorMessageOf(error)));
      }
      channel.finish();
    },
  };

  /** Checks who asks and issues: an invited newcomer once per use, a member for its own key. */
  #admit(session: Session, csr: Uint8Array): Uint8Array[] {
    const { state, engine } = this.#options;
    const { ca, vni } = this;
    if (ca === undefined || vni === undefined) {
      throw new ApiFault("TRUST_FAILURE", "cannot issue: this node is not the mesh's CA");
    }
    const request = verifyCsr(csr, engine);
    const { inviteId, invited } = session.handshake;
    if (formatNodeId(request.nodeId) !== session.peerNodeId) {
      throw new ApiFault("TRUST_FAILURE", "cannot issue: the request is for another key");
    }
    const unixS = this.#unixS();
    const role = invited ? request.extensions.role ?? "client" : session.peerRole ?? "client";
    if (!invited && session.handshake.peerMic.leaf.notAfter + CLOCK_SKEW_S < unixS) {
      throw new ApiFault("TRUST_FAILURE", "cannot issue: the certificate shown has expired");
    }
    this.#checkRate(session.peerNodeId);
    if (invited && inviteId !== undefined) {
      // Asking again (the answer was lost) does not cost a second use.
      const again = state.issued(request.nodeId).some((mic) =>
        mic.inviteId !== undefined && equalBytes(mic.inviteId, inviteId)
      );
      if (!again && !state.useInvite(inviteId, unixS)) {
        throw new ApiFault("TRUST_FAILURE", "cannot issue: the invite is used up or has expired");
      }
    }
    // A client answers nobody: its certificate says who it is, and nothing else.
    const mic = ca.issue(role === "client" ? { ...request, claims: {} } : request, {
      unixS,
      vni,
      role,
      lifeS: role === "client" ? CLIENT_MIC_LIFE_S : undefined,
    });
    this.#record(mic, inviteId);
    return ca.chainOf(mic);
  }

  /** Each certificate costs a signature and a durable write: nobody gets many of them. */
  #checkRate(nodeId: string): void {
    const nowMs = this.#options.unixMs();
    if (nowMs - this.#windowStartMs >= ISSUE_WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#issuedInWindow.clear();
    }
    const issued = this.#issuedInWindow.get(nodeId) ?? 0;
    if (issued >= ISSUED_PER_WINDOW_MAX) {
      throw new ApiFault(
        "RATE_LIMITED",
        `cannot issue: this key got ${ISSUED_PER_WINDOW_MAX} certificates within a minute`,
        { retryAfterMs: ISSUE_WINDOW_MS },
      );
    }
    this.#issuedInWindow.set(nodeId, issued + 1);
  }

  #issueOwn(vni: number, claims: MicClaims): void {
    const ca = this.ca!;
    const mic = ca.issue(this.csr(claims), { unixS: this.#unixS(), vni, role: "node" });
    this.#record(mic);
    this.chain = ca.chainOf(mic);
    this.#options.state.setChain(this.chain);
  }

  #record(mic: Uint8Array, inviteId?: Uint8Array): void {
    const { serial, nodeId, notAfter } = decodeMic(mic, this.#options.engine);
    this.#options.state.addIssued(
      { serial, nodeId, notAfterS: notAfter, mic, inviteId },
      this.#options.unixMs(),
    );
  }

  #unixS(): number {
    return Math.floor(this.#options.unixMs() / 1000);
  }
}
