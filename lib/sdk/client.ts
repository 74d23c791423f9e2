/**
 * A program that asks the mesh. It has a key of its own and a short-lived certificate, follows
 * the advertisements through one node, resolves for itself and talks to the answering node
 * directly, encrypted end to end. Portable path only: no native code.
 *
 * ```ts
 * import { NexusClient } from "@nexus/nexus";
 *
 * async function ask(token: string) {
 *   const client = await NexusClient.join(token);
 *   for await (const text of client.stream("cap=code_gen,ctx>=32k", "Write a sieve")) {
 *     console.log(text);
 *   }
 *   await client.close();
 * }
 * ```
 */
import {
  type Clock,
  formatNodeId,
  NexusError,
  parseNodeId,
  parseSocketAddress,
  type RandomFill,
  type SocketAddress,
} from "../base/mod.ts";
import { nodeEngine } from "../io/crypto.ts";
import { randomFill, systemClock } from "../io/clock.ts";
import { openUdpPort } from "../io/udp_port.ts";
import {
  AdvertStore,
  encodeSad,
  type Resolution,
  RoutingTable,
  type Sad,
  sadFromModelField,
} from "../l2_route/mod.ts";
import { type InferenceRequest, inferenceRequest } from "../l5_api/mod.ts";
import {
  advertVerifier,
  checkInviteTime,
  createCsr,
  type CryptoEngine,
  decodeInvite,
  decodeMic,
  Identity,
  type Invite,
  renewalTimeS,
  verifyChain,
} from "../l4_trust/mod.ts";
import { Driver } from "./driver.ts";
import { InferenceError } from "./inference_error.ts";
import { InferenceRouter, type RoutedEvent, type RouteOptions } from "./inference_router.ts";
import { join, newcomerChain, requestCertificate } from "./join.ts";
import { Mesh } from "./mesh.ts";
import { serve } from "./serve.ts";
import type { Session } from "./session.ts";
import { SessionPool } from "./session_pool.ts";

/** Longest pause between two tries to find a node to follow. */
const FOLLOW_RETRY_MS_MAX = 30_000;
/** Shortest pause between two tries to renew the certificate. */
const RENEW_RETRY_MS = 60_000;
/** How long `join` waits for the first advertisement after it has its certificate. */
const FIRST_ROUTES_MS = 5_000;

export interface ClientOptions {
  /** Name shown to the operator of the mesh. */
  name?: string;
  engine?: CryptoEngine;
  clock?: Clock;
  random?: RandomFill;
  /** Local socket; by default any free port, of the family that the seed needs. */
  listen?: SocketAddress;
  /** Drops datagrams on purpose, for tests. */
  faults?: { lossRate: number; seed: number };
}

/** The whole answer to one request. */
export interface InferResult {
  text: string;
  finishReason: string;
  usage: { prompt: number; completion: number; cached: number };
  model: string;
  /** Hexadecimal. */
  nodeId: string;
  latencyMs: number;
  ttftMs?: number;
}

export class NexusClient {
  readonly table: RoutingTable;
  readonly mesh: Mesh;
  readonly pool: SessionPool;
  readonly router: InferenceRouter;
  readonly #engine: CryptoEngine;
  readonly #trust: { roots: Uint8Array[]; vni: number };
  #chain: Uint8Array[];
  #followed?: Session;
  #closed = false;
  #wake?: () => void;
  #retryTimer?: ReturnType<typeof setTimeout>;
  #renewTimer?: ReturnType<typeof setTimeout>;

  private constructor(
    readonly driver: Driver,
    readonly identity: Identity,
    invite: Invite,
    chain: Uint8Array[],
    engine: CryptoEngine,
  ) {
    const { clock } = driver;
    this.#engine = engine;
    this.#chain = chain;
    this.#trust = { roots: [invite.caFingerprint], vni: invite.vni };
    this.table = new RoutingTable();
    const verifier = advertVerifier({ roots: [invite.caFingerprint], vni: invite.vni, engine });
    const store = new AdvertStore({ nodeId: identity.nodeId, verifier });
    this.mesh = new Mesh({ store, table: this.table, clock });
    this.pool = new SessionPool(driver);
    this.pool.onSession = (session) => serve(session, this.mesh.handlers);
    this.router = new InferenceRouter({ table: this.table, clock, pool: this.pool });
  }

  /**
   * Joins the mesh of an invite token with a fresh key.
   * @throws NexusError INVALID_INVITE, INVITE_EXPIRED, JOIN_REFUSED, CONNECT_TIMEOUT, what the
   *   handshake refused
   */
  static async join(token: string, options: ClientOptions = {}): Promise<NexusClient> {
    const {
      engine = nodeEngine,
      clock = systemClock,
      random = randomFill,
      name = "client",
    } = options;
    const invite = decodeInvite(token, engine);
    const unixS = Math.floor(clock.unixMs() / 1000);
    checkInviteTime(invite, unixS);
    const identity = Identity.generate(random, engine);
    const seed = parseSocketAddress(invite.seeds[0].address);
    const port = await openUdpPort({
      listen: options.listen ?? { host: seed.host.includes(":") ? "::" : "0.0.0.0", port: 0 },
      vni: invite.vni,
      faults: options.faults,
    });
    const driver = new Driver({
      port,
      clock,
      random,
      engine,
      identity,
      vni: invite.vni,
      chain: newcomerChain(identity, invite.vni, unixS, engine),
      roots: [invite.caFingerprint],
      acceptConnections: false,
    });
    try {
      const chain = await join({
        driver,
        identity,
        invite,
        engine,
        claims: {},
        role: "client",
        name,
      });
      driver.endpoint.setChain(chain, [invite.caFingerprint]);
      const client = new NexusClient(driver, identity, invite, chain, engine);
      await client.#follow(invite);
      return client;
    } catch (error) {
      await driver.close(0);
      throw error;
    }
  }

  /** The node's view of a SAD (text or record): every candidate, its score, or why not. */
  resolve(sad: string | Sad): Resolution {
    return this.router.resolve(sadOf(sad));
  }

  /** Routed events of one request: start, chunks, end. Leaving the loop cancels it. */
  events(
    sad: string | Sad,
    prompt: string | Partial<InferenceRequest>,
    options: RouteOptions = {},
  ): AsyncGenerator<RoutedEvent> {
    const fields: Partial<InferenceRequest> = typeof prompt === "string"
      ? { messages: [{ role: "user", parts: [{ type: "text", text: prompt }] }] }
      : prompt;
    return this.router.infer(
      inferenceRequest({ messages: [], stream: true, ...fields, model: encodeSad(sadOf(sad)) }),
      options,
    );
  }

  /** The answer's text as it arrives. */
  async *stream(
    sad: string | Sad,
    prompt: string | Partial<InferenceRequest>,
    options: RouteOptions = {},
  ): AsyncGenerator<string> {
    for await (const event of this.events(sad, prompt, options)) {
      if (event.type === "chunk" && event.text !== "") yield event.text;
    }
  }

  /** The whole answer. */
  async infer(
    sad: string | Sad,
    prompt: string | Partial<InferenceRequest>,
    options: RouteOptions = {},
  ): Promise<InferResult> {
    let text = "";
    for await (const event of this.events(sad, prompt, options)) {
      if (event.type === "chunk") text += event.text;
      else if (event.type === "end") {
        const { finishReason, usage, model, nodeId, latencyMs, ttftMs } = event;
        return { text, finishReason, usage, model, nodeId, latencyMs, ttftMs };
      }
    }
    throw new InferenceError("INTERNAL_ERROR", "cannot finish request: the answer has no end");
  }

  /** Says goodbye to every node and frees socket and timers. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#renewTimer);
    this.#wake?.();
    this.router.close();
    this.mesh.close();
    await this.driver.close();
    this.identity.wipe();
  }

  /** Follows one node; when that ends, another, for as long as the client lives. */
  async #follow(invite: Invite): Promise<void> {
    await this.#followOne(this.#seeds(invite));
    await this.mesh.until(() => this.table.nodeCount > 0, AbortSignal.timeout(FIRST_ROUTES_MS))
      .catch((error) => {
        if (error.code !== "TIMEOUT") throw error; // A mesh without models is no error here.
      });
    this.#keepFollowing(invite);
    this.#scheduleRenewal();
  }

  /** Nodes that may be followed: those of the invite, then those that advertise. */
  #seeds(invite: Invite): Seed[] {
    const seeds: Seed[] = invite.seeds.map(({ nodeId, address }) => ({ nodeId, address }));
    for (const { nodeId, endpoints } of this.table.snapshot().nodes()) {
      for (const address of endpoints) seeds.push({ nodeId: parseNodeId(nodeId), address });
    }
    return seeds;
  }

  /** @throws what the last seed said */
  async #followOne(seeds: readonly Seed[]): Promise<void> {
    let last: unknown = new NexusError("UNREACHABLE", "cannot follow the mesh: no node is known");
    for (const { nodeId, address } of seeds) {
      try {
        const open = this.pool.sessions.get(formatNodeId(nodeId));
        const session = open?.isOpen
          ? open
          : await this.pool.dialAddress(parseSocketAddress(address), nodeId);
        this.#followed = session;
        this.mesh.follow(session).catch((error) => {
          if (!(error instanceof NexusError)) throw error; // The session ended: see below.
        });
        return;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #keepFollowing(invite: Invite): Promise<void> {
    for (let failures = 0; !this.#closed;) {
      await this.#followed?.closed;
      if (this.#closed) return;
      try {
        await this.#followOne(this.#seeds(invite));
        failures = 0;
      } catch {
        const pauseMs = Math.min(FOLLOW_RETRY_MS_MAX, 500 * 2 ** failures++);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          this.#retryTimer = setTimeout(resolve, pauseMs);
        });
      }
    }
  }

  /** A client's certificate lives for a day; one that runs longer asks for the next in time. */
  #scheduleRenewal(): void {
    const leaf = decodeMic(this.#chain[0], this.#engine);
    const waitMs = renewalTimeS(leaf) * 1000 - this.driver.clock.unixMs();
    this.#renewTimer = setTimeout(() => this.#renew(), Math.max(waitMs, RENEW_RETRY_MS));
  }

  async #renew(): Promise<void> {
    for (const session of this.pool.sessions.values()) {
      try {
        const csr = createCsr(this.identity, {}, { role: "client" });
        const chain = await requestCertificate(session, csr, "");
        const { roots, vni } = this.#trust;
        const unixS = Math.floor(this.driver.clock.unixMs() / 1000);
        verifyChain(chain, { roots, vni, unixS, engine: this.#engine });
        this.#chain = chain;
        this.driver.endpoint.setChain(chain, roots);
        break;
      } catch (error) {
        if (!(error instanceof NexusError)) throw error; // Not the CA, or gone: ask the next.
      }
    }
    if (!this.#closed) this.#scheduleRenewal();
  }
}

interface Seed {
  readonly nodeId: Uint8Array;
  readonly address: string;
}

function sadOf(sad: string | Sad): Sad {
  return typeof sad === "string" ? sadFromModelField(sad) : sad;
}
