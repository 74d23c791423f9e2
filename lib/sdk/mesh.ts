/**
 * What a process knows of the mesh: keeps the routing table true by gossip with the peers it is
 * connected to, and measures them (docs/protocol.md §8.1, Gossip and Health).
 */
import { type Clock, NexusError } from "../base/mod.ts";
import {
  type AdvertEvent,
  type AdvertStore,
  followAdverts,
  type RoutingTable,
} from "../l2_route/mod.ts";
import { MODE_BEST_EFFORT, MODE_RELIABLE_ORDERED } from "../l3_stream/mod.ts";
import { decodeMessage, encodeMessage, type HealthStatus, MessageType } from "../l5_api/mod.ts";
import type { Channel } from "./channel.ts";
import type { Handlers } from "./serve.ts";
import type { Session } from "./session.ts";

/** How often connected nodes are asked for their load. */
export const HEALTH_INTERVAL_MS = 2_000;

export interface MeshOptions {
  store: AdvertStore;
  table: RoutingTable;
  clock: Clock;
  /** Answers HEALTH_CHECK; a client has none. */
  health?: (withModels: boolean) => HealthStatus;
  onChange?: (event: AdvertEvent) => void;
  onRefused?: (fromNode: string, error: NexusError) => void;
}

interface Peer {
  session: Session;
  /** Where our advertisements go: our own gossip stream, or the stream of the peer's pull. */
  out?: Channel;
  sending: boolean;
  health?: Channel;
}

export class Mesh {
  readonly #options: MeshOptions;
  /** By connection id: two sessions to one node are two peers. */
  readonly #peers = new Map<string, Peer>();
  readonly #healthTimer: ReturnType<typeof setInterval>;
  #timer?: ReturnType<typeof setTimeout>;
  #healthRequest = 0;
  #closed = false;
  readonly #changed = new Set<() => void>();

  constructor(options: MeshOptions) {
    this.#options = options;
    this.#healthTimer = setInterval(() => this.#checkHealth(), HEALTH_INTERVAL_MS);
  }

  /** For `serve`: what peers send about the mesh. */
  readonly handlers: Handlers = {
    [MessageType.ADVERTISEMENTS]: (message, channel) => this.#receive(message, channel),
    [MessageType.ADVERTISEMENT_PULL]: (_message, channel) => {
      const key = keyOf(channel.session);
      if (this.#peers.has(key)) return channel.finish(); // One subscription is enough for anybody.
      this.#peers.set(key, { session: channel.session, out: channel, sending: false });
      this.#options.store.connect(key);
      channel.session.closed.then(() => this.#forget(key));
      this.#flush();
    },
    [MessageType.HEALTH_CHECK]: async (message, channel) => {
      const check = decodeMessage(message);
      if (check.kind !== "healthCheck") return;
      const status = this.#options.health?.(check.body.models);
      if (status === undefined) return;
      const bytesMax = channel.session.connection?.bestEffortBytesMax ?? 0;
      let answer = encodeMessage("healthStatus", check.requestId, status);
      while (answer.length > bytesMax && status.models.length > 0) {
        status.models.length >>= 1; // As many as fit the packet.
        answer = encodeMessage("healthStatus", check.requestId, status);
      }
      await channel.send(answer);
    },
  };

  /** Gossips with a node that just connected, in both directions. */
  joinNode(session: Session): void {
    const key = keyOf(session);
    const out = session.open(MODE_RELIABLE_ORDERED);
    const peer: Peer = { session, out, sending: false };
    this.#peers.set(key, peer);
    this.#options.store.connect(key);
    session.closed.then(() => this.#forget(key));
    this.#flush();
    this.#askHealth(peer);
  }

  /** Follows the mesh through a node without taking part: what a client does. */
  async follow(session: Session): Promise<void> {
    const pull = session.open(MODE_RELIABLE_ORDERED);
    const peer: Peer = { session, sending: false };
    this.#peers.set(keyOf(session), peer);
    session.closed.then(() => this.#forget(keyOf(session)));
    this.#askHealth(peer);
    await pull.send(encodeMessage("advertisementPull", 0, {}));
    for (;;) {
      const message = await pull.receive();
      if (message === undefined) return;
      this.#receive(message, pull);
    }
  }

  /** Call when the store was changed from outside (own advertisement set). */
  update(): void {
    this.#follow();
    this.#flush();
    this.#schedule();
  }

  /** Resolves when the condition holds; looked at whenever the table changes. */
  async until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    while (!condition()) {
      if (signal.aborted) throw new NexusError("TIMEOUT", "cannot wait for the mesh: time is up");
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#changed.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#changed.add(wake);
        signal.addEventListener("abort", wake, { once: true });
      });
    }
  }

  /** Stops the timers; what is to be sent must have been. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#healthTimer);
    clearTimeout(this.#timer);
  }

  #receive(message: Uint8Array, channel: Channel): void {
    const decoded = decodeMessage(message);
    if (decoded.kind !== "advertisements") return;
    const { clock, store } = this.#options;
    for (const bytes of decoded.body.adverts) {
      const result = store.receive(
        bytes,
        keyOf(channel.session),
        clock.nowUs(),
        clock.unixMs(),
      );
      if (result.error !== undefined) {
        this.#options.onRefused?.(channel.session.peerNodeId, result.error);
      }
    }
    this.update();
  }

  #follow(): void {
    const { clock, store, table } = this.#options;
    const followed = followAdverts(store, table);
    const expired = table.expire(clock.nowUs());
    for (const event of followed) this.#options.onChange?.(event);
    if (followed.length + expired.length > 0) { for (const wake of [...this.#changed]) wake(); }
  }

  #flush(): void {
    for (const key of this.#options.store.pendingPeers()) {
      const peer = this.#peers.get(key);
      if (peer?.out !== undefined && !peer.sending) this.#send(key, peer, peer.out);
    }
  }

  /** One sender per peer: the stream's own flow control paces it. */
  async #send(key: string, peer: Peer, out: Channel): Promise<void> {
    peer.sending = true;
    try {
      for (;;) {
        const adverts = this.#options.store.take(key);
        if (adverts.length === 0) break;
        await out.send(encodeMessage("advertisements", 0, { adverts }));
      }
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
      this.#forget(key); // The stream or the session ended.
    } finally {
      peer.sending = false;
    }
  }

  #forget(key: string): void {
    this.#peers.delete(key);
    this.#options.store.disconnect(key);
  }

  #checkHealth(): void {
    for (const peer of this.#peers.values()) this.#askHealth(peer);
    this.#follow();
  }

  #askHealth(peer: Peer): void {
    const { session } = peer;
    if (!session.isOpen || session.peerRole !== "node") return;
    try {
      if (peer.health === undefined) {
        peer.health = session.open(MODE_BEST_EFFORT);
        this.#readHealth(peer.health).finally(() => peer.health = undefined);
      }
      this.#healthRequest = (this.#healthRequest % 0xffffffff) + 1;
      peer.health.send(encodeMessage("healthCheck", this.#healthRequest, { models: false })).catch(
        () => {},
      );
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
    }
    const { rttMs } = session;
    if (rttMs !== undefined) this.#options.table.updateMetrics(session.peerNodeId, { rttMs });
  }

  async #readHealth(channel: Channel): Promise<void> {
    try {
      for (;;) {
        const message = await channel.receive();
        if (message === undefined) return;
        const decoded = decodeMessage(message);
        if (decoded.kind !== "healthStatus") continue;
        const { load, queueDepth, draining } = decoded.body;
        const { rttMs } = channel.session;
        this.#options.table.updateMetrics(channel.session.peerNodeId, {
          load,
          queueDepth,
          draining,
          ...(rttMs === undefined ? {} : { rttMs }),
        });
      }
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
    }
  }

  /** Renewal of our own advertisement and expiry of the others'. */
  #schedule(): void {
    clearTimeout(this.#timer);
    const { clock, store } = this.#options;
    const waitMs = (store.nextTimeoutUs() - clock.nowUs()) / 1000;
    if (waitMs === Infinity || this.#closed) return;
    this.#timer = setTimeout(() => {
      store.handleTimeout(clock.nowUs(), clock.unixMs());
      this.update();
    }, Math.max(10, Math.min(waitMs, 0x7fffffff)));
  }
}

function keyOf(session: Session): string {
  return String(session.id);
}
