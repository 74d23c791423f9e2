/** A live connection to one peer, as programs and the node use it. */
import { formatNodeId, NexusError, type SocketAddress } from "../base/mod.ts";
import type { ConnectionId } from "../endpoint/mod.ts";
import {
  CloseReason,
  type Connection,
  type ConnectionEvent,
  type ConnectionStats,
  type Mode,
} from "../l3_stream/mod.ts";
import type { HandshakeResult, NodeRole } from "../l4_trust/mod.ts";
import { Channel } from "./channel.ts";
import type { Driver } from "./driver.ts";

/** While an answer is awaited, a silent peer is asked for a sign of life this often. */
const LIVENESS_PING_MS = 400;
/** A peer that owes an answer and was silent for so long is given up: 5 lost pings and their repeats. */
export const LIVENESS_TIMEOUT_MS = 2_500;

export interface SessionClosed {
  /** True when the peer closed it. */
  readonly byPeer: boolean;
  readonly reason: number;
  readonly phrase: string;
  /** What operations on the session fail with from now on. */
  readonly error: NexusError;
}

export class Session {
  /** Hexadecimal. */
  readonly peerNodeId: string;
  readonly closed: Promise<SessionClosed>;
  /** Who takes the chunk stream of a request that was sent on this session, by request id. */
  readonly chunkTakers = new Map<number, (channel: Channel, first: Uint8Array) => Promise<void>>();
  /** Ids of the peer's requests that are being answered. */
  readonly answering = new Set<number>();
  closedError?: NexusError;
  readonly openedUs: number;
  /** Counters of the transport when the session ended. */
  finalStats?: ConnectionStats;

  readonly #driver: Driver;
  #address: SocketAddress;
  readonly #connection: Connection;
  readonly #channels = new Map<number, Channel>();
  #onChannel?: (channel: Channel) => void;
  /** Streams that nobody serves yet; the transport's stream limit bounds them. */
  readonly #early: Channel[] = [];
  #resolveClosed!: (closed: SessionClosed) => void;
  #guards = 0;
  #guardTimer?: ReturnType<typeof setInterval>;
  #guardSinceUs = 0;

  /** @internal made by a Driver */
  constructor(
    driver: Driver,
    readonly id: ConnectionId,
    address: SocketAddress,
    readonly handshake: HandshakeResult,
    readonly initiator: boolean,
  ) {
    this.#driver = driver;
    this.#address = address;
    this.#connection = driver.endpoint.connection(id)!;
    this.peerNodeId = formatNodeId(handshake.peerNodeId);
    this.openedUs = driver.clock.nowUs();
    this.closed = new Promise((resolve) => this.#resolveClosed = resolve);
  }

  /** Called for each stream that the peer opens, also for those that it opened before this was set. */
  set onChannel(take: (channel: Channel) => void) {
    this.#onChannel = take;
    for (const channel of this.#early.splice(0)) take(channel);
  }

  /** The connection underneath; undefined once closed. */
  get connection(): Connection | undefined {
    return this.closedError === undefined ? this.#connection : undefined;
  }

  /** Where the peer is, or was last; follows it when it moves. */
  get address(): SocketAddress {
    return this.#address;
  }

  /**
   * Moves the session to another address of its peer, once somebody answers there; with the present
   * address: says that our own may have changed. Streams go on either way.
   * @throws NexusError CLOSED
   */
  migrate(address: SocketAddress): void {
    this.requireConnection();
    this.#driver.endpoint.migrate(this.id, address, this.#driver.clock.nowUs());
    this.touch();
  }

  /** For reading: what arrived before the end can still be taken after it. */
  get received(): Connection {
    return this.#connection;
  }

  get isOpen(): boolean {
    return this.closedError === undefined;
  }

  /** Whether a request of either end is under way. */
  get isAnswering(): boolean {
    return this.#guards > 0 || this.chunkTakers.size > 0 || this.answering.size > 0;
  }

  /**
   * Opens a stream. `probability` (0 … 1) is for MODE_PROBABILISTIC: what each message is to arrive
   * with, both ways.
   * @throws NexusError CLOSED, STREAM_LIMIT, INVALID_PROBABILITY
   */
  open(mode: Mode, priority?: number, probability?: number): Channel {
    const id = this.requireConnection().openStream(mode, priority, probability);
    const channel = new Channel(this, id, mode);
    this.#channels.set(channel.id, channel);
    return channel;
  }

  /** The connection underneath; throws what ended the session. */
  requireConnection(): Connection {
    const { connection } = this;
    if (connection !== undefined) return connection;
    throw this.closedError ?? new NexusError("CLOSED", "cannot use session: it is closed");
  }

  /** Role in the peer's certificate; undefined for a newcomer without one. */
  get peerRole(): NodeRole | undefined {
    return this.handshake.invited ? undefined : this.handshake.peerMic.role;
  }

  /** Round trip time as the transport measures it; undefined before the first sample. */
  get rttMs(): number | undefined {
    const rttUs = this.connection?.stats().srttUs ?? 0;
    return rttUs > 0 ? rttUs / 1000 : undefined;
  }

  /** Says goodbye; `closed` resolves when the peer has heard it or does not answer. */
  close(reason = 0, phrase = ""): void {
    this.#driver.flush(); // what was sent before the goodbye goes before it
    this.connection?.close(reason, phrase, this.#driver.clock.nowUs());
    this.touch();
  }

  /** Ends the session now, locally, because the peer is held to be gone. */
  abort(error: NexusError): void {
    this.connection?.close(CloseReason.NO_ERROR, "", this.#driver.clock.nowUs());
    this.#end({ byPeer: false, reason: 0, phrase: error.message, error });
    this.touch();
  }

  /**
   * Watches that the peer lives until the returned function is called. Meant for the time
   * in which an answer is awaited; an unwatched session is left to its idle timeout.
   */
  guard(): () => void {
    if (this.#guards++ === 0) {
      this.#guardSinceUs = this.#driver.clock.nowUs();
      this.#guardTimer = setInterval(() => this.#checkAlive(), LIVENESS_PING_MS);
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      if (--this.#guards === 0) clearInterval(this.#guardTimer);
    };
  }

  /** @internal something that had arrived was taken: that may let the peer send more */
  noteRead(): void {
    this.#driver.noteRead();
    if (this.#connection.hasControl) this.touch();
  }

  /** @internal work was put into the connection */
  touch(): void {
    this.#driver.touch(this.id);
  }

  /** @internal */
  handle(event: ConnectionEvent): void {
    switch (event.type) {
      case "streamOpened": {
        const channel = new Channel(this, event.stream, event.mode);
        this.#channels.set(event.stream, channel);
        // Before anybody serves this session its streams wait: frames come faster than promises.
        if (this.#onChannel === undefined) this.#early.push(channel);
        else this.#onChannel(channel);
        return;
      }
      case "readable":
        return this.#channels.get(event.stream)?.readable();
      case "writable":
        return this.#channels.get(event.stream)?.writable();
      case "peerFinished":
        return this.#channels.get(event.stream)?.peerFinished();
      case "reset":
      case "stopped":
        return this.#channels.get(event.stream)?.fail(
          new NexusError("RESET", `cannot use stream: the peer gave it up, code ${event.error}`),
        );
      case "migrated":
        this.#address = this.#driver.endpoint.addressOf(this.id) ?? this.#address;
        return;
      case "streamClosed":
        this.#channels.delete(event.stream);
        return;
      case "closed":
        return this.#end({
          byPeer: event.byPeer,
          reason: event.reason,
          phrase: event.phrase,
          error: event.error ?? new NexusError(
            "CLOSED",
            event.byPeer
              ? `connection closed by peer: reason ${event.reason}${
                event.phrase && `, ${event.phrase}`
              }`
              : "connection closed",
          ),
        });
    }
  }

  #checkAlive(): void {
    const connection = this.connection;
    if (connection === undefined) return;
    const nowUs = this.#driver.clock.nowUs();
    const silentMs = (nowUs - Math.max(connection.lastReceivedUs, this.#guardSinceUs)) / 1000;
    if (silentMs > LIVENESS_TIMEOUT_MS) {
      return this.abort(
        new NexusError(
          "PEER_UNRESPONSIVE",
          `connection lost: node ${this.peerNodeId} was silent for ${Math.round(silentMs)} ms`,
        ),
      );
    }
    if (silentMs > LIVENESS_PING_MS / 2) {
      connection.ping();
      this.touch();
    }
  }

  #end(closed: SessionClosed): void {
    if (this.closedError !== undefined) return;
    this.finalStats = this.connection?.stats();
    this.closedError = closed.error;
    clearInterval(this.#guardTimer);
    for (const channel of this.#channels.values()) channel.fail(closed.error);
    this.#channels.clear();
    this.#resolveClosed(closed);
  }
}
