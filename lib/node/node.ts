/**
 * The daemon: state, mesh, providers, admin API and bridge, wired together.
 *
 *   HTTP client ─► bridge ─► InferenceRouter ─┬─► providers of this node
 *   CLI ─► admin API ─────────┘               └─► session to another node ─► its providers
 *   other nodes ─► sessions ─► providers of this node
 */
import {
  equalBytes,
  formatNodeId,
  formatSocketAddress,
  NexusError,
  parseSocketAddress,
} from "../base/mod.ts";
import { ensureAdminToken } from "../io/admin_token.ts";
import { randomFill, systemClock } from "../io/clock.ts";
import { nodeEngine } from "../io/crypto.ts";
import { chooseEngine } from "../io/native_records.ts";
import { localAddresses } from "../io/local_addresses.ts";
import { nativeErasureCodec } from "../io/native_reed_solomon.ts";
import { openBestPort } from "../io/open_port.ts";
import { bestPoolMemory } from "../io/pool_memory.ts";
import { defaultStateDir, State } from "../io/state.ts";
import { Pool, type Port, SLOT_BYTES } from "../l1_link/mod.ts";
import { AdvertStore, RoutingTable } from "../l2_route/mod.ts";
import {
  advertVerifier,
  checkInviteTime,
  decodeChain,
  decodeInvite,
  decodeMic,
  encodeChain,
  type Invite,
  renewalTimeS,
} from "../l4_trust/mod.ts";
import {
  Driver,
  inferenceHandlers,
  InferenceRouter,
  join,
  Mesh,
  newcomerChain,
  requestCertificate,
  serve,
  type Session,
  SessionPool,
} from "../sdk/mod.ts";
import { Acquaintances } from "./acquaintances.ts";
import { AdminServer } from "./admin/mod.ts";
import { NodeBackend } from "./backend.ts";
import { type BridgeServer, serveBridge } from "./bridge/mod.ts";
import type { LoadedConfig } from "./config/mod.ts";
import { createProviders, demoProvider } from "./create_providers.ts";
import { LocalModels } from "./local_models.ts";
import { nodeLog } from "./log.ts";
import { Membership } from "./membership.ts";
import { NodeMetrics } from "./metrics.ts";
import { NodeNumbers } from "./numbers.ts";

import { Seeds, type SeedTarget } from "./seeds.ts";
import { NodeService } from "./service.ts";
import { VERSION } from "./version.ts";

/** How often providers are looked at for new models, and lost seeds dialled again. */
const UPKEEP_MS = 1_000;
/** Slots of the frame pool: 8 MiB, some 100 ms of a 1 Gbit/s burst at 1,200-byte frames. */
const POOL_SLOTS = 256;
/** Longest pause between two tries to get a certificate. */
const RENEW_RETRY_MS_MAX = 60_000;

export class Node {
  readonly startedMs = systemClock.unixMs();
  readonly table = new RoutingTable();
  readonly local: LocalModels;
  readonly membership: Membership;
  readonly acquaintances: Acquaintances;
  readonly metrics: NodeMetrics;
  readonly service: NodeService;
  seeds?: Seeds;
  driver!: Driver;
  port!: Port;
  /** Tenant network. */
  vni = 0;
  /** Which port it is, and why. */
  portKind = "";
  portReason = "";
  pool!: SessionPool;
  mesh!: Mesh;
  router!: InferenceRouter;
  admin?: AdminServer;
  bridge?: BridgeServer;
  state: "starting" | "running" | "draining" = "starting";
  readonly stateDir: string;
  /** Resolves when the node has stopped. */
  readonly stopped: Promise<void>;

  readonly #log = nodeLog("node");
  readonly #state: State;
  #store!: AdvertStore;
  #advertised = "";
  #renewAtS = Infinity;
  #renewing = false;
  #renewFailures = 0;
  #renewAgainMs = 0;
  #upkeep?: ReturnType<typeof setInterval>;
  #resolveStopped!: () => void;
  #stopping?: Promise<void>;
  /** What was last said of each provider. */
  readonly #providerStates = new Map<string, string>();

  private constructor(readonly loaded: LoadedConfig) {
    const { config } = loaded;
    this.stateDir = config.node.state_dir ?? defaultStateDir(Deno.env.toObject(), Deno.uid());
    this.stopped = new Promise((resolve) => this.#resolveStopped = resolve);
    this.#state = State.open(this.stateDir);
    this.membership = new Membership({
      state: this.#state,
      engine: nodeEngine,
      random: randomFill,
      unixMs: systemClock.unixMs,
    });
    const { ca, identity, isMember } = this.membership;
    this.acquaintances = new Acquaintances(this.#state, identity.nodeId);
    const makesMesh = ca !== undefined ||
      (!isMember && loaded.secrets.join === undefined && config.mesh.seeds.length === 0);
    const standIn = !loaded.providersGiven && makesMesh ? demoProvider() : undefined;
    this.local = new LocalModels(
      this.membership.identity.nodeId,
      standIn ? [standIn] : createProviders(loaded),
      config.node.region ?? 0,
      config.node.name,
      standIn,
    );
    this.service = new NodeService(this);
    const startedS = Math.floor(this.startedMs / 1000);
    this.metrics = new NodeMetrics(new NodeNumbers(this), VERSION, startedS);
  }

  /**
   * Starts a node; resolves when it serves.
   * @throws NexusError with one clear line for whatever keeps it from starting
   */
  static async start(loaded: LoadedConfig): Promise<Node> {
    const node = new Node(loaded);
    try {
      await node.#start();
      return node;
    } catch (error) {
      await node.#teardown();
      throw error;
    }
  }

  get nodeId(): string {
    return formatNodeId(this.membership.identity.nodeId);
  }

  /** Addresses that others are told. */
  get advertised(): string[] {
    const { link } = this.loaded.config;
    if (link.advertise.length > 0) return link.advertise.map(formatSocketAddress);
    const { host, port } = this.port.localAddress;
    return localAddresses(host).map((each) => formatSocketAddress({ host: each, port })).slice(
      0,
      8,
    );
  }

  /** The name in a node's certificate, as far as it has been seen. */
  nameOf(nodeId: string): string | undefined {
    return nodeId === this.nodeId
      ? this.loaded.config.node.name
      : this.acquaintances.nameOf(nodeId);
  }

  /** Why the node is not ready, one line each. */
  notReady(): string[] {
    const reasons: string[] = [];
    if (this.state === "starting") reasons.push("starting");
    if (this.state === "draining") reasons.push("draining");
    if (!this.membership.isMember) reasons.push("no certificate of a mesh yet");
    reasons.push(...this.seeds?.unreached() ?? []);
    return reasons;
  }

  /** Drains: takes no new work, waits for what runs, says goodbye, frees everything. */
  stop(deadlineMs = this.loaded.config.limits.drain_ms): Promise<void> {
    return this.#stopping ??= this.#stop(deadlineMs);
  }

  /** No new work from now on; other nodes hear of it. */
  drain(): void {
    if (this.state === "draining") return;
    this.state = "draining";
    this.local.draining = true;
    this.#log.info("draining", { activeRequests: this.service.active });
    this.#advertise();
  }

  // ── start ─────────────────────────────────────────────────────────────────────────────

  async #start(): Promise<void> {
    const { config } = this.loaded;
    for (const warning of this.loaded.warnings) this.#log.warn(warning);
    if (this.local.standIn !== undefined) {
      this.#log.info(
        "no providers are configured: the built-in model nexus-demo answers until the mesh has another",
      );
    }
    for (const provider of this.local.providers) await provider.start();
    const invite = this.#invite();
    await this.#openPort(invite);
    this.#openDriver();
    await this.#becomeMember(invite);
    this.#openMesh();
    this.#startServers();
    const { nodeId } = this.membership.identity;
    this.seeds = new Seeds(this.#seedTargets(invite), nodeId, this.pool);
    await this.seeds.start();
    this.#upkeep = setInterval(() => {
      try {
        this.#lookAfter();
      } catch (error) {
        this.#log.error("upkeep failed", { error });
      }
    }, UPKEEP_MS);
    this.state = "running";
    this.#log.info("node is up", {
      node: this.nodeId,
      name: config.node.name,
      port: this.port.name,
      crypto: nodeEngine.name,
      vni: this.vni,
      admin: this.admin && formatSocketAddress(this.admin.address),
      bridge: this.bridge && formatSocketAddress(this.bridge.address),
      models: this.local.entries().length,
    });
  }

  /** The invite to join with, unless the node is a member already. */
  #invite(): Invite | undefined {
    const token = this.loaded.secrets.join;
    if (token === undefined) return undefined;
    const invite = decodeInvite(token, nodeEngine);
    if (this.membership.isMember) {
      if (!this.membership.roots.some((root) => equalBytes(root, invite.caFingerprint))) {
        throw new NexusError(
          "OTHER_MESH",
          `cannot join: state directory ${this.stateDir} belongs to another mesh`,
          { hint: "use another node.state_dir, or start without the token" },
        );
      }
      return invite;
    }
    checkInviteTime(invite, Math.floor(systemClock.unixMs() / 1000));
    return invite;
  }

  async #openPort(invite: Invite | undefined): Promise<void> {
    const { link } = this.loaded.config;
    const vni = this.membership.vni ?? invite?.vni ?? link.vni ?? 0;
    if (link.vni !== undefined && link.vni !== vni) {
      throw new NexusError(
        "VNI_MISMATCH",
        `cannot open mesh port: link.vni is ${link.vni}, expected the mesh's ${vni}`,
      );
    }
    const { faults } = link;
    const pool = new Pool({
      slotBytes: SLOT_BYTES.large,
      slots: POOL_SLOTS,
      memory: bestPoolMemory(POOL_SLOTS * SLOT_BYTES.large),
    });
    const { port, kind, reason } = await openBestPort({
      kind: link.port,
      listen: link.listen,
      vni,
      pool,
      spinUsMax: 0, // The same loop serves bridge, admin API and providers.
      faults: faults && { lossRate: faults.loss_rate, seed: faults.seed },
    });
    this.port = port;
    this.vni = vni;
    this.portKind = kind;
    this.portReason = reason;
    this.#log.info("mesh port is open", { port: port.name, kind, reason, pages: pool.pages });
  }

  #openDriver(): void {
    const { identity } = this.membership;
    const unixS = Math.floor(systemClock.unixMs() / 1000);
    const handshakes = nodeLog("trust");
    const { engine, blocks, reason } = chooseEngine(this.loaded.config.link.records);
    this.#log.info("record engine is chosen", {
      engine: engine.records?.name ?? engine.name,
      reason,
    });
    this.driver = new Driver({
      port: this.port,
      clock: systemClock,
      random: randomFill,
      engine,
      blocks,
      identity,
      vni: this.vni,
      chain: this.membership.isMember
        ? this.membership.chain
        : newcomerChain(identity, this.vni, unixS, nodeEngine),
      roots: this.membership.roots,
      connectionsMax: this.loaded.config.limits.connections_max,
      inviteSecret: this.membership.inviteSecret,
      erasureCodec: this.portKind === "udp-native" ? nativeErasureCodec() : undefined,
      stream: { keepAliveMs: KEEP_ALIVE_MS, idleTimeoutMs: IDLE_TIMEOUT_MS },
      onSession: (session) => this.#accept(session),
      onFault: (error) => this.#log.error("a session failed", { error }),
      onHandshakeFailed: (error) => {
        this.metrics.handshake("server", error.code, 0);
        handshakes.warn("handshake refused", { error });
      },
    });
    this.pool = new SessionPool(this.driver);
    this.pool.onSession = (session) => this.#adopt(session);
    this.membership.onChain = () => {
      this.driver.endpoint.setChain(this.membership.chain, this.membership.roots);
      this.#renewAtS = renewalTimeS(this.membership.mic!);
    };
  }

  async #becomeMember(invite: Invite | undefined): Promise<void> {
    const { membership } = this;
    const claims = this.local.claims();
    if (!membership.isMember && invite !== undefined) {
      this.driver.endpoint.setChain(
        newcomerChain(
          membership.identity,
          invite.vni,
          Math.floor(systemClock.unixMs() / 1000),
          nodeEngine,
        ),
        [invite.caFingerprint],
      );
      const chain = await join({
        driver: this.driver,
        identity: membership.identity,
        invite,
        engine: nodeEngine,
        claims,
        role: "node",
        name: this.loaded.config.node.name,
        onTry: (address) => this.#log.info("joining the mesh", { via: address }),
      });
      membership.joined(chain, invite.caFingerprint);
      this.#log.info("joined the mesh", { ca: invite.caFingerprint });
    } else if (!membership.isMember) {
      if (this.loaded.config.mesh.seeds.length > 0) {
        throw new NexusError(
          "NO_CERTIFICATE",
          "cannot join: mesh.seeds is set, but this node has no certificate and no invite token",
          { hint: "get a token on a node of the mesh (`nexus up` prints one) and set mesh.join" },
        );
      }
      membership.createMesh(this.vni, claims);
      this.#log.info("made a mesh", { ca: membership.ca!.fingerprint });
    }
    membership.onChain?.();
    if (!membership.claimsCover(claims)) membership.reissueHere(claims);
  }

  #openMesh(): void {
    const { config } = this.loaded;
    const { membership } = this;
    const log = nodeLog("mesh");
    this.#store = new AdvertStore({
      nodeId: membership.identity.nodeId,
      verifier: advertVerifier({
        roots: membership.roots,
        vni: this.vni,
        engine: nodeEngine,
      }),
      signer: membership.identity,
      get chain() {
        return encodeChain(membership.chain); // It changes when the certificate is renewed.
      },
      policy: { claimedCapabilitiesOnly: config.trust.require_certified_capabilities },
    });
    this.mesh = new Mesh({
      store: this.#store,
      table: this.table,
      clock: systemClock,
      health: (withModels) => this.local.health(withModels),
      onChange: (event) => {
        if (event.type === "updated") {
          const { nodeId, endpoints, models, chain } = event.advert;
          const mic = decodeMic(decodeChain(chain)[0], nodeEngine);
          this.acquaintances.met(mic, endpoints, false);
          log.info("node advertises", {
            node: formatNodeId(nodeId),
            name: this.nameOf(formatNodeId(nodeId)),
            models: models.map((model) => model.name),
          });
        } else {
          log.info("node is gone", { node: event.nodeId, why: event.why });
        }
        // Not now: this is called while the store hands out its events.
        if (this.local.standIn !== undefined) queueMicrotask(() => this.#advertise());
      },
      onRefused: (node, error) => log.warn("advertisement refused", { from: node, error }),
    });
    this.router = new InferenceRouter({
      table: this.table,
      clock: systemClock,
      pool: this.pool,
      local: {
        nodeId: this.nodeId,
        answer: (request, signal) => this.service.answerHere(request, signal),
      },
      resolve: {
        weights: config.routing.weights,
        mode: config.routing.mode,
        topK: config.routing.top_k,
      },
      deadlineMs: config.limits.deadline_ms,
    });
    this.#advertise();
  }

  #startServers(): void {
    const { config, secrets } = this.loaded;
    const token = ensureAdminToken(this.stateDir, randomFill);
    if (config.admin.enabled) {
      this.admin = AdminServer.start({
        listen: config.admin.listen,
        backend: new NodeBackend(this),
        token,
        hosts: config.admin.hosts,
        requestBytesMax: config.limits.request_bytes_max,
        onFault: (error) => nodeLog("admin").error("request failed", { error }),
      });
    }
    if (config.bridge.enabled) {
      const { host, port } = config.bridge.listen;
      this.bridge = serveBridge({
        createdS: Math.floor(this.startedMs / 1000),
        host,
        port,
        service: this.service,
        apiKeys: secrets.bridgeKeys,
        hosts: config.bridge.hosts,
        aliases: new Map(Object.entries(config.bridge.aliases)),
        bodyBytesMax: config.limits.request_bytes_max,
        deadlineMs: config.limits.deadline_ms,
        onDone: (record) => nodeLog("bridge").debug("request", { ...record }),
      });
    }
  }

  /** Seeds of the config and of the invite, else nodes met before. */
  #seedTargets(invite: Invite | undefined): SeedTarget[] {
    const targets: SeedTarget[] = [
      ...this.loaded.config.mesh.seeds,
      ...(invite?.seeds ?? []).map(({ nodeId, address }) => ({
        nodeId,
        address: parseSocketAddress(address),
      })),
    ];
    if (targets.length > 0) return targets;
    return this.#state.peers().slice(0, REMEMBERED_SEEDS_MAX)
      .filter(({ addresses }) => addresses.length > 0)
      .map(({ nodeId, addresses }) => ({ address: addresses[0], nodeId, remembered: true }));
  }

  // ── while it runs ─────────────────────────────────────────────────────────────────────

  #lookAfter(): void {
    this.#watchProviders();
    const nowMs = systemClock.unixMs();
    this.seeds?.lookAfter(nowMs);
    if (this.state === "running") this.#advertise();
    if (nowMs / 1000 >= this.#renewAtS) this.#renew();
  }

  /** Says when a provider comes or goes: a wrong URL must not be silent. */
  #watchProviders(): void {
    for (const provider of this.local.providers) {
      const { state, detail } = provider.health();
      const said = `${state} ${detail ?? ""}`;
      if (said === this.#providerStates.get(provider.name)) continue;
      this.#providerStates.set(provider.name, said);
      const facts = { provider: provider.name, models: provider.models.length, detail };
      if (state === "down") this.#log.warn("provider is down", facts);
      else if (state === "ready") this.#log.info("provider is ready", facts);
    }
  }

  /** A connection that another end opened. */
  #accept(session: Session): void {
    if (session.peerRole === "node") this.pool.add(session);
    else this.#adopt(session); // Newcomers and clients are not nodes: nothing is asked of them.
  }

  /** A session that just came up, whoever opened it. */
  #adopt(session: Session): void {
    const { handshake, initiator, peerNodeId, peerRole } = session;
    const durationS = handshake.durationUs / 1e6;
    this.metrics.handshake(initiator ? "client" : "server", "ok", durationS);
    nodeLog("mesh").debug("connected", {
      peer: peerNodeId,
      role: peerRole ?? "newcomer",
      address: formatSocketAddress(session.address),
    });
    if (handshake.invited) return serve(session, this.membership.handlers);
    serve(session, {
      ...this.mesh.handlers,
      ...this.membership.handlers,
      ...inferenceHandlers({
        clock: systemClock,
        nodeId: this.membership.identity.nodeId,
        answer: (request, signal) => this.service.answerPeer(request, signal),
      }),
    });
    if (peerRole === "node") {
      this.mesh.joinNode(session);
      const address = formatSocketAddress(session.address);
      this.acquaintances.met(handshake.peerMic.leaf, [address], true);
    }
  }

  /** Brings table, certificate and advertisement up to date with what the providers offer. */
  #advertise(): void {
    const { local, table } = this;
    local.alone = table.nodeCount === (table.snapshot().node(this.nodeId) === undefined ? 0 : 1);
    const entries = this.local.draining ? [] : this.local.entries();
    const key = JSON.stringify([entries, this.advertised]);
    if (key === this.#advertised) return;
    const claims = this.local.claims();
    if (!this.membership.claimsCover(claims) && !this.membership.reissueHere(claims)) {
      this.#renew(); // The CA is elsewhere: advertise once it has certified the new models.
      return;
    }
    this.#advertised = key;
    if (entries.length > 0) {
      this.table.setNode(this.nodeId, entries, Infinity, this.advertised);
    } else {
      this.table.removeNode(this.nodeId);
    }
    this.#store.setOwn(
      {
        endpoints: this.advertised,
        region: this.local.region,
        models: entries.map(({ nodeId: _node, region: _region, publisher: _publisher, ...model }) =>
          model
        ),
      },
      systemClock.nowUs(),
      systemClock.unixMs(),
    );
    this.mesh.update();
  }

  /** Gets a new certificate from the CA, wherever it is; tried again by a later upkeep. */
  async #renew(): Promise<void> {
    if (this.#renewing || systemClock.unixMs() < this.#renewAgainMs) return;
    const claims = this.local.claims();
    if (this.membership.reissueHere(claims)) return;
    this.#renewing = true;
    const log = nodeLog("trust");
    try {
      for (const session of this.pool.sessions.values()) {
        try {
          const csr = this.membership.csr(claims);
          this.membership.renewed(await requestCertificate(session, csr, ""));
          log.info("certificate renewed", { notAfterS: this.membership.mic?.notAfter });
          this.#renewFailures = 0;
          return;
        } catch (error) {
          if (!(error instanceof NexusError)) throw error; // Not the CA, or gone: ask the next.
        }
      }
      const pauseMs = Math.min(RENEW_RETRY_MS_MAX, 1_000 * 2 ** this.#renewFailures++);
      this.#renewAgainMs = systemClock.unixMs() + pauseMs;
      log.warn("no connected node renews the certificate; new models wait for it", {
        retryMs: pauseMs,
      });
    } finally {
      this.#renewing = false;
    }
  }

  // ── stop ──────────────────────────────────────────────────────────────────────────────

  async #stop(deadlineMs: number): Promise<void> {
    this.drain();
    await this.service.idle(deadlineMs);
    await this.#teardown();
    this.#log.info("node has stopped", { node: this.nodeId });
    this.#resolveStopped();
  }

  async #teardown(): Promise<void> {
    clearInterval(this.#upkeep);
    // Whoever is still there after the drain deadline is cut off.
    await this.bridge?.close(
      this.service.active > 0 ? AbortSignal.abort() : AbortSignal.timeout(BRIDGE_CLOSE_MS),
    );
    await this.admin?.close();
    this.router?.close();
    this.mesh?.close();
    if (this.driver !== undefined) await this.driver.close();
    else await this.port?.close();
    for (const provider of this.local.providers) await provider.stop();
    this.acquaintances.write();
    this.#state.close();
  }
}

/** A sign of life on quiet connections between nodes: NAT bindings last 30 s and more (RFC 4787). */
const KEEP_ALIVE_MS = 15_000;
/** A node that was silent for so long is gone. */
const IDLE_TIMEOUT_MS = 60_000;
/** The last bytes of finished answers have this long to reach HTTP clients. */
const BRIDGE_CLOSE_MS = 2_000;
/** Nodes of the last run that are dialled when no seed is configured. */
const REMEMBERED_SEEDS_MAX = 8;
