/** What the admin API shows of a node. */
import { formatNodeId, formatSocketAddress, toBase64Url, toHex } from "../base/mod.ts";
import {
  ADMIN_API_VERSION,
  type ConnectionInfo,
  type DrainResponse,
  type InferEvent,
  type InferRequest,
  type Invite,
  type InviteRequest,
  type NodeInfo,
  type NodeSummary,
  type PeerInfo,
  type ResolveResponse,
  type RouteEntry,
  type RouteTable,
  type TrustMic,
  type VersionInfo,
} from "../admin_api/mod.ts";
import { systemClock } from "../io/clock.ts";
import { nodeEngine } from "../io/crypto.ts";
import {
  effectiveLatencyMs,
  encodeSad,
  endpointKey,
  formatArchitecture,
  type ModelEntry,
  type NodeRoute,
  sadFromModelField,
} from "../l2_route/mod.ts";
import { inferenceRequest } from "../l5_api/mod.ts";
import { decodeMic } from "../l4_trust/mod.ts";
import { InferenceError, type RoutedEvent, type Session, type TraceEvent } from "../sdk/mod.ts";
import type { AdminBackend } from "./admin/mod.ts";
import {
  capabilityWords,
  describeMic,
  describeResolution,
  describeSession,
  describeTrace,
  regionText,
} from "./describe.ts";
import type { Node } from "./node.ts";
import { PROTOCOL_VERSION, VERSION } from "./version.ts";

export class NodeBackend implements AdminBackend {
  readonly #node: Node;

  constructor(node: Node) {
    this.#node = node;
  }

  readonly #nameOf = (nodeId: string) => this.#node.nameOf(nodeId);

  ready(): boolean {
    return this.#node.notReady().length === 0;
  }

  version(): VersionInfo {
    return {
      version: VERSION,
      protocol: PROTOCOL_VERSION,
      api: ADMIN_API_VERSION,
      runtime: `deno ${Deno.version.deno}`,
      platform: Deno.build.target,
    };
  }

  node(): NodeInfo {
    const node = this.#node;
    const { config } = node.loaded;
    const { mic, ca, roots } = node.membership;
    return {
      id: node.nodeId,
      name: config.node.name,
      state: node.state,
      notReady: node.notReady(),
      version: VERSION,
      region: regionText(node.local.region),
      vni: node.vni,
      pid: Deno.pid,
      startedAtMs: node.startedMs,
      uptimeS: (systemClock.unixMs() - node.startedMs) / 1000,
      stateDir: node.stateDir,
      addresses: {
        link: [formatSocketAddress(node.port.localAddress)],
        advertised: node.advertised,
        admin: node.admin && formatSocketAddress(node.admin.address),
        bridge: node.bridge && formatSocketAddress(node.bridge.address),
      },
      port: { kind: node.portKind, reason: node.portReason },
      crypto: nodeEngine.name,
      certificate: mic && describeMic(mic),
      ca: roots.length === 0 ? undefined : { fingerprint: toHex(roots[0]), here: ca !== undefined },
      models: node.local.entries().map((entry) => entry.name),
      providers: node.local.providers.map((provider) => {
        const { state, detail, active, queueDepth } = provider.health();
        const models = provider.models.length;
        return { name: provider.name, state, detail, models, active, queueDepth };
      }),
      connections: node.driver.endpoint.connectionCount,
      activeRequests: node.service.active,
    };
  }

  nodes(): NodeSummary[] {
    const node = this.#node;
    const routes = new Map(
      [...node.table.snapshot().nodes()].map((route) => [route.nodeId, route]),
    );
    const ids = new Set([node.nodeId, ...routes.keys(), ...node.pool.sessions.keys()]);
    const lastSeen = new Map(
      node.acquaintances.all().map((peer) => [formatNodeId(peer.nodeId), peer.lastSeenMs]),
    );
    return [...ids].map((id): NodeSummary => {
      const self = id === node.nodeId;
      const route = routes.get(id);
      const session = node.pool.sessions.get(id);
      const entries = self ? node.local.entries() : route?.entries ?? [];
      return {
        id,
        name: node.nameOf(id),
        self,
        addresses: self
          ? node.advertised
          : [...route?.endpoints ?? (session ? [formatSocketAddress(session.address)] : [])],
        connected: self || session?.isOpen === true,
        rttMs: session?.rttMs,
        load: self ? node.local.health().load : route?.metrics.load,
        queueDepth: self ? node.local.health().queueDepth : route?.metrics.queueDepth,
        draining: self ? node.local.draining : route?.metrics.draining,
        models: entries.map((entry) => entry.name),
        capabilities: capabilityWords(
          entries.reduce((bits, entry) => (bits | entry.capabilities) >>> 0, 0),
        ),
        region: entries[0] && regionText(entries[0].region),
        lastSeenMs: self ? systemClock.unixMs() : lastSeen.get(id),
      };
    });
  }

  peers(): PeerInfo[] {
    const node = this.#node;
    const seeds = node.seeds?.all ?? [];
    const known = node.acquaintances.all().map((peer): PeerInfo => {
      const id = formatNodeId(peer.nodeId);
      const addresses = peer.addresses.map(formatSocketAddress);
      const session = node.pool.sessions.get(id);
      const seed = seeds.find((each) => addresses.includes(formatSocketAddress(each.address)));
      return {
        id,
        addresses,
        source: seed ? "seed" : session?.initiator === false ? "inbound" : "gossip",
        connected: session?.isOpen === true,
        fingerprint: peer.fingerprint && toHex(peer.fingerprint),
        lastSeenMs: peer.lastSeenMs,
        lastError: seed?.lastError,
      };
    });
    const listed = new Set(known.flatMap((peer) => peer.addresses));
    const unreached = seeds.filter((seed) => !listed.has(formatSocketAddress(seed.address)));
    return [
      ...known,
      ...unreached.map((seed): PeerInfo => ({
        id: seed.nodeId && formatNodeId(seed.nodeId),
        addresses: [formatSocketAddress(seed.address)],
        source: "seed",
        connected: seed.session?.isOpen === true,
        lastError: seed.lastError,
      })),
    ];
  }

  connections(): ConnectionInfo[] {
    return [...this.#node.driver.sessions].flatMap((session) => {
      const info = describeSession(session);
      return info === undefined ? [] : [{ ...info, name: this.#node.nameOf(info.nodeId) }];
    });
  }

  routes(): RouteTable {
    const snapshot = this.#node.table.snapshot();
    return {
      version: snapshot.version,
      routes: [...snapshot.nodes()].flatMap((route) =>
        route.entries.map((entry) => this.#routeEntry(route, entry))
      ),
    };
  }

  resolve(text: string): ResolveResponse {
    const startedUs = systemClock.nowUs();
    const sad = sadFromModelField(text);
    const resolution = this.#node.router.resolve(sad);
    return describeResolution(
      sad,
      resolution,
      systemClock.nowUs() - startedUs,
      this.#nameOf,
    );
  }

  async *infer(request: InferRequest, signal: AbortSignal): AsyncGenerator<InferEvent> {
    const traces: InferEvent[] = [];
    let session: Session | undefined;
    let before: ReturnType<typeof trafficOf>;
    const events = this.#node.service.route(messageOf(request), signal, (event: TraceEvent) => {
      if (event.type === "session") {
        session = event.session;
        before = trafficOf(session);
      }
      traces.push(describeTrace(event, this.#nameOf));
    });
    try {
      for await (const event of events) {
        yield* traces.splice(0);
        yield this.#inferEvent(event, difference(before, session && trafficOf(session)));
      }
    } catch (thrown) {
      yield* traces.splice(0);
      const { code, message, hint, retryable } = InferenceError.from(thrown);
      yield { type: "error", code, message, hint, retryable };
    }
  }

  createInvite({ uses, lifeS }: InviteRequest): Invite {
    return this.#node.membership.invite(this.#node.advertised, { uses, lifeS });
  }

  mic(): TrustMic {
    const { chain, roots } = this.#node.membership;
    return {
      chain: chain.map((mic) => describeMic(decodeMic(mic, nodeEngine))),
      encoded: chain.map(toBase64Url),
      roots: roots.map(toHex),
    };
  }

  drain(): DrainResponse {
    this.#node.drain();
    return { state: this.#node.state, activeRequests: this.#node.service.active };
  }

  shutdown(deadlineMs?: number): DrainResponse {
    this.#node.stop(deadlineMs);
    return { state: this.#node.state, activeRequests: this.#node.service.active };
  }

  metrics(): Promise<string> {
    return this.#node.metrics.text();
  }

  #routeEntry(route: NodeRoute, entry: ModelEntry): RouteEntry {
    const nowUs = systemClock.nowUs();
    const { metrics, nodeId, expiresUs } = route;
    return {
      nodeId,
      nodeName: this.#node.nameOf(nodeId),
      model: entry.name,
      arch: entry.arch === 0 ? undefined : formatArchitecture(entry.arch),
      capabilities: capabilityWords(entry.capabilities),
      context: entry.context,
      latencyMs: entry.latencyMs,
      effectiveLatencyMs: effectiveLatencyMs(entry, metrics),
      costMicros: entry.cost,
      costPer1k: entry.per1k,
      trust: entry.trust,
      benchmark: entry.benchmark === 0 ? undefined : entry.benchmark / 1000,
      publisher: entry.publisher,
      region: regionText(entry.region),
      load: metrics.load,
      queueDepth: metrics.queueDepth,
      maxConcurrency: entry.maxConcurrency,
      local: nodeId === this.#node.nodeId,
      breaker: this.#node.router.breakers.state(endpointKey(nodeId, entry.name), nowUs),
      expiresInS: expiresUs === Infinity ? undefined : (expiresUs - nowUs) / 1e6,
    };
  }

  #inferEvent(event: RoutedEvent, network: Traffic | undefined): InferEvent {
    switch (event.type) {
      case "start":
        return { type: "start", nodeId: event.nodeId, model: event.model };
      case "chunk":
        return { type: "chunk", sequence: event.sequence, index: event.index, text: event.text };
      case "end":
        return {
          type: "end",
          finishReason: event.finishReason,
          nodeId: event.nodeId,
          model: event.model,
          usage: {
            promptTokens: event.usage.prompt,
            completionTokens: event.usage.completion,
            cachedTokens: event.usage.cached,
          },
          chunks: event.chunks,
          latencyMs: event.latencyMs,
          ttftMs: event.ttftMs,
          costMicros: event.costMicros,
          network,
        };
    }
  }
}

interface Traffic {
  bytesSent: number;
  bytesReceived: number;
  retransmissions: number;
}

function trafficOf(session: Session): Traffic | undefined {
  const stats = session.connection?.stats();
  return stats && {
    bytesSent: stats.bytesSent,
    bytesReceived: stats.bytesReceived,
    retransmissions: stats.packetsLost,
  };
}

function difference(from: Traffic | undefined, to: Traffic | undefined): Traffic | undefined {
  return from && to && {
    bytesSent: to.bytesSent - from.bytesSent,
    bytesReceived: to.bytesReceived - from.bytesReceived,
    retransmissions: to.retransmissions - from.retransmissions,
  };
}

function messageOf(request: InferRequest) {
  const messages = request.messages ?? [{ role: "user" as const, content: request.prompt ?? "" }];
  return inferenceRequest({
    model: encodeSad(sadFromModelField(request.sad)),
    messages: messages.map(({ role, content }) => ({
      role,
      parts: [{ type: "text", text: content }],
    })),
    system: request.system,
    maxTokens: request.maxTokens,
    temperature: request.temperature,
    seed: request.seed,
    deadlineMs: request.deadlineMs ?? 0,
    stream: true,
  });
}
