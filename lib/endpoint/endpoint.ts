/**
 * The five layers joined, still without I/O: frames in, frames and events out.
 *
 *   frame ─ decode ─┬─ trust_handshake ─ reassemble ─ handshake ──► Connection is made
 *                   └─ sealed ─ stream_id → Connection ─ events ──► messages (sdk)
 *
 * Call order of a driver turn: `receiveFrame` for every frame that came, `handleTimeouts`,
 * `pollEvent` until empty, `pollFrames` until it returns 0, then wait until `nextTimeoutUs`.
 * After calling into a Connection from outside, call `touch` for it.
 */
import {
  formatSocketAddress,
  NEVER,
  NexusError,
  type RandomFill,
  type SocketAddress,
} from "../base/mod.ts";
import {
  type Burst,
  decodeFrame,
  DESCRIPTOR_ECN_MASK,
  DEST_NODE_ID_AT,
  Flag,
  FrameError,
  FrameInfo,
  FrameType,
  OVERLAY_BYTES,
  type Pool,
  Reassembler,
  SOURCE_NODE_ID_AT,
  STREAM_ID_AT,
} from "../l1_link/mod.ts";
import {
  BlockPool,
  type BlockSource,
  CloseReason,
  Connection,
  type ConnectionEvent,
  type ErasureCodec,
  FRAME_BYTES_DEFAULT,
  ReceiveResult,
  RunBuffers,
  RunResult,
  type StreamConfig,
} from "../l3_stream/mod.ts";
import {
  ClientHandshake,
  HANDSHAKE_MESSAGE,
  type HandshakeConfig,
  type HandshakeResult,
  HELLO_DROP,
  helloKeyOf,
  type MicRequirements,
  readMessage,
  ServerHandshake,
} from "../l4_trust/mod.ts";
import { BurstWriter } from "./burst_writer.ts";
import { Deadlines } from "./deadlines.ts";
import { Counters, type EndpointCounters } from "./counters.ts";
import { frameHandshakeMessage, receiverConnectionId } from "./handshake_frames.ts";

/** Half-open handshakes a server keeps in all (docs/protocol.md §4.1). */
export const HALF_OPEN_MAX = 1024;
/** Half-open handshakes of one IP address, whatever its ports. */
export const HALF_OPEN_PER_SOURCE_MAX = 64;
/** Handshakes, open and half-open, and connections in all, unless the options say less. */
export const CONNECTIONS_MAX = 65_536;

/** What the endpoint needs of a port's peer table. */
export interface PeerNumbers {
  peer(address: SocketAddress): number;
  /** Whether peerAddress has an answer, for tables where making one takes time. */
  knowsPeer?(peer: number): boolean;
  peerAddress(peer: number): SocketAddress | undefined;
}

/** RFC 9002 §6.2.2: the initial round trip when nothing is known. */
const INITIAL_RTT_US_MAX = 333_000;

/** Connection ids are 32 bits. */
const CONNECTION_ID_MAX = 0xffff_ffff;

/** A handle for one connection: the connection id that we chose for it. */
export type ConnectionId = number;

export interface ConnectOptions {
  /** Where the node is: a numeric address. */
  address: SocketAddress;
  /** The node that must answer; any node at that address when left out. */
  nodeId?: Uint8Array;
  /** What the answering node's certificate must certify. */
  requirements?: MicRequirements;
  /** Joining a mesh: proves knowledge of an invite secret. */
  invite?: { id: Uint8Array; secret: Uint8Array };
  /** Whole SAD, sent sealed in FINISH. */
  sad?: Uint8Array;
}

export type EndpointEvent =
  | { type: "connected"; connection: ConnectionId; handshake: HandshakeResult; initiator: boolean }
  | { type: "failed"; connection: ConnectionId; error: NexusError; initiator: boolean }
  | { type: "connection"; connection: ConnectionId; event: ConnectionEvent }
  | { type: "closed"; connection: ConnectionId };

/** A handshake message for endpoint `owner` of the group: its `receiveStray` takes it. */
export interface Stray {
  readonly owner: number;
  readonly message: Uint8Array;
  /** Where it came from. */
  readonly address: SocketAddress;
}

/**
 * One of `size` endpoints that share an address: the connection ids that it chooses leave `index`
 * when divided by `size`, and frames are steered by that (ffi/native/steer.c).
 */
export interface EndpointGroup {
  readonly index: number;
  readonly size: number;
}

const ALONE: EndpointGroup = { index: 0, size: 1 };

export interface EndpointOptions extends HandshakeConfig {
  random: RandomFill;
  /** The port's peer table: peers are small numbers here. */
  peers: PeerNumbers;
  /**
   * Largest frame that the port and its pool take, bytes: what path MTU discovery may find on a
   * connection. Default 1,200. Handshake frames never exceed 1,200.
   */
  frameBytesMax?: number;
  stream?: Partial<StreamConfig>;
  /**
   * Whether the port takes trains as one descriptor (Port.trains). Otherwise each frame has its own.
   */
  trains?: boolean;
  /** Memory of the send buffers of all connections. Default: ordinary memory. */
  blocks?: BlockSource;
  /** Who computes the repair symbols of PR streams. Default: the portable codec. */
  erasureCodec?: ErasureCodec;
  /** Connections and handshakes at once; default CONNECTIONS_MAX. */
  connectionsMax?: number;
  /** Refuse new connections from others: false for a pure client. */
  acceptConnections?: boolean;
  group?: EndpointGroup;
}

interface Entry {
  readonly id: ConnectionId;
  readonly initiator: boolean;
  /** Number of `address` in the port's table; looked up again when the port forgot it. */
  peer: number;
  /** Where the peer is; follows it when it moves. */
  address: SocketAddress;
  /** Where its handshake comes from. */
  readonly source: string;
  client?: ClientHandshake;
  server?: ServerHandshake;
  /** Half-open server handshakes only: identifies a repeated HELLO. */
  helloKey?: string;
  connection?: Connection;
  peerNodeId?: Uint8Array;
  /** Handshake frames ready to go, whole frames. */
  frames: Uint8Array[];
  /** Connection ids of paths beside the first. */
  readonly pathIds: Set<ConnectionId>;
  queued: boolean;
  failed: boolean;
}

export class Endpoint {
  readonly nodeId: Uint8Array;
  readonly counters: EndpointCounters = new Counters();
  readonly #options: EndpointOptions;
  readonly #blocks: BlockSource;
  readonly #entries = new Map<ConnectionId, Entry>();
  /** By the connection ids of paths beside the first. */
  readonly #pathEntries = new Map<ConnectionId, Entry>();
  readonly #halfOpen = new Map<string, Entry>();
  readonly #halfOpenBySource = new Map<string, number>();
  readonly #reassembler: Reassembler;
  readonly #deadlines = new Deadlines<Entry>();
  /** Entries that may have something to send or to tell. */
  readonly #ready: Entry[] = [];
  readonly #events: EndpointEvent[] = [];
  readonly #strays: Stray[] = [];
  readonly #info = new FrameInfo();
  readonly #frameBytesMax: number;
  readonly #runBuffers: RunBuffers | undefined;
  readonly #writer: BurstWriter;
  readonly #connectionsMax: number;
  readonly #group: EndpointGroup;
  #draining = false;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#blocks = options.blocks ?? new BlockPool();
    this.nodeId = options.identity.nodeId;
    this.#frameBytesMax = options.frameBytesMax ?? FRAME_BYTES_DEFAULT;
    this.#connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
    this.#group = options.group ?? ALONE;
    this.#writer = new BurstWriter(this.counters, options.trains ?? false);
    this.#runBuffers = options.engine.records === undefined ? undefined : new RunBuffers();
    this.#reassembler = new Reassembler();
  }

  /** Changes what later handshakes present, after a certificate was issued or renewed. */
  setChain(chain: Uint8Array[], roots: Uint8Array[]): void {
    this.#options.chain = chain;
    this.#options.roots = roots;
  }

  /** From now on HELLOs are dropped and counted. */
  drain(): void {
    this.#draining = true;
  }

  /**
   * Starts a handshake. Ends in a `connected` or `failed` event with the returned id.
   * @throws NexusError TOO_MANY_CONNECTIONS
   */
  connect(options: ConnectOptions, nowUs: number, unixS: number): ConnectionId {
    const entry = this.#newEntry(true, this.#options.peers.peer(options.address), options.address);
    if (entry === undefined) {
      throw new NexusError(
        "TOO_MANY_CONNECTIONS",
        `cannot connect: ${this.#entries.size} connections are open, expected fewer`,
      );
    }
    entry.client = new ClientHandshake({
      ...this.#options,
      destId: options.nodeId,
      requirements: options.requirements,
      invite: options.invite,
      sad: options.sad,
      connectionId: entry.id,
      nowUs,
      unixS,
    });
    this.#enqueue(entry);
    return entry.id;
  }

  /** The connection behind a handle; undefined before it is connected and after it closed. */
  connection(id: ConnectionId): Connection | undefined {
    return this.#entries.get(id)?.connection;
  }

  /** Where the connection's frames go. */
  addressOf(id: ConnectionId): SocketAddress | undefined {
    return this.#entries.get(id)?.address;
  }

  get connectionCount(): number {
    return this.#entries.size;
  }

  /** Connection ids that frames may come under: one for each connection and further path. */
  get connectionIdCount(): number {
    return this.#entries.size + this.#pathEntries.size;
  }

  get halfOpenCount(): number {
    return this.#halfOpen.size;
  }

  /** Handshakes of others that may still become connections. */
  get handshakeCount(): number {
    let count = 0;
    for (const { failed } of this.#halfOpen.values()) if (!failed) count++;
    return count;
  }

  /** Gives a connect attempt up; nothing is sent, no event follows. */
  abandon(id: ConnectionId): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined && entry.connection === undefined) this.#remove(entry);
  }

  /**
   * Moves a connection to another address of its peer, or, with the present one, says that our own
   * may have changed. Ends in a `migrated` or `migrationFailed` event of the connection.
   */
  migrate(id: ConnectionId, address: SocketAddress, nowUs: number): void {
    const entry = this.#entries.get(id);
    if (entry?.connection === undefined) return;
    entry.connection.migrate(this.#options.peers.peer(address), nowUs);
    this.#enqueue(entry);
  }

  /**
   * Opens another path of a connection, for PR data; its path id. Ends in a `pathUsable` or
   * `pathClosed` event of the connection.
   * @throws NexusError PATH_LIMIT when the peer accepts no more, CLOSED
   */
  openPath(id: ConnectionId, address: SocketAddress): number {
    const entry = this.#entries.get(id);
    if (entry?.connection === undefined) {
      throw new NexusError("CLOSED", `cannot open path: connection ${id} is not open`);
    }
    const connectionId = this.#newConnectionId();
    const path = entry.connection.openPath(this.#options.peers.peer(address), connectionId);
    this.#addPathId(entry, connectionId);
    this.#enqueue(entry);
    return path;
  }

  /** Says that the connection was called from outside and may have work. */
  touch(id: ConnectionId): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#enqueue(entry);
  }

  /** Takes in what the port received. The bytes are not kept; the slots stay the caller's. */
  receiveBurst(pool: Pool, burst: Burst, nowUs: number, unixS: number): void {
    for (let i = 0; i < burst.count; i++) {
      if (!this.#receiveRuns(pool, burst, i, nowUs, unixS)) {
        this.#receiveSingly(pool, burst, i, 0, nowUs, unixS);
      }
    }
  }

  /** Opens descriptor `i` in runs, when it is of a connection that has them. */
  #receiveRuns(pool: Pool, burst: Burst, i: number, nowUs: number, unixS: number): boolean {
    if (this.#runBuffers === undefined) return false;
    const { bytes, view } = pool;
    const at = burst.offset[i];
    const entry = this.#entries.get(view.getUint32(at + STREAM_ID_AT));
    // What confirms a handshake goes the way of single frames.
    const connection = entry?.client === undefined ? entry?.connection : undefined;
    if (entry === undefined || connection === undefined) return false;
    const { landing } = this.#runBuffers;
    const peer = burst.peer[i];
    const ecn = burst.flags[i] & DESCRIPTOR_ECN_MASK;
    const frames = burst.framesAt(i);
    if (peer !== entry.peer) this.#refreshPeer(entry); // the port may know the address anew
    landing.begin(at, burst.length[i], burst.segment[i]);
    for (let isCleared = false;;) {
      const results = connection.openTrain(bytes, landing);
      if (results < 0) {
        this.#receiveSingly(pool, burst, i, landing.next, nowUs, unixS);
        return true;
      }
      if (results === 0 && !isCleared) landing.clear();
      else if (results === 0) return true; // nothing can be opened any more
      isCleared = results === 0;
      for (let k = 0; k < results; k++) {
        if (landing.kind(k) === RunResult.FRAME) {
          const place = landing.at(k);
          this.receiveFrame(bytes, view, place, landing.length(k), peer, ecn, nowUs, unixS);
          continue;
        }
        this.counters.framesIn += landing.kind(k) === RunResult.DATA ? landing.packets(k) : 1;
        this.counters.bytesIn += landing.frameBytes(k);
        const result = connection.receiveResult(landing, k, nowUs, ecn, peer);
        if (result !== 0) this.counters.drop(RECORD_DROP_REASONS[result]);
      }
      if (landing.next >= frames) break;
    }
    this.#enqueue(entry);
    return true;
  }

  /** The frames of descriptor `i` from `first` on, one by one. */
  #receiveSingly(
    { bytes, view }: Pool,
    burst: Burst,
    i: number,
    first: number,
    nowUs: number,
    unixS: number,
  ): void {
    const end = burst.offset[i] + burst.length[i];
    const step = burst.segment[i] || burst.length[i] + OVERLAY_BYTES;
    for (let at = burst.offset[i] + first * step; at < end; at += step) {
      const frameBytes = Math.min(step - OVERLAY_BYTES, end - at);
      const { peer, flags } = burst;
      this.receiveFrame(bytes, view, at, frameBytes, peer[i], flags[i], nowUs, unixS);
    }
  }

  /** Takes in one frame. The bytes are decrypted in place and not kept. */
  receiveFrame(
    bytes: Uint8Array,
    view: DataView,
    offset: number,
    length: number,
    peer: number,
    descriptorFlags: number,
    nowUs: number,
    unixS: number,
  ): void {
    const info = this.#info;
    const code = decodeFrame(bytes, view, offset, length, info);
    this.counters.framesIn++;
    this.counters.bytesIn += length;
    if (code !== FrameError.OK) {
      return this.counters.drop(`frame_${FrameError[code].toLowerCase()}`);
    }
    if (info.type === FrameType.TRUST_HANDSHAKE) {
      return this.#receiveHandshake(bytes, offset, length, peer, nowUs, unixS);
    }
    if ((info.flags & Flag.ENCRYPTED) === 0) return this.counters.drop("clear_text");
    const entry = this.#entries.get(info.streamId) ?? this.#pathEntries.get(info.streamId);
    if (entry === undefined) return this.counters.drop("unknown_connection");
    if (entry.connection === undefined) return this.counters.drop("early_data");
    if (
      !idAt(bytes, offset + DEST_NODE_ID_AT, this.nodeId) ||
      !idAt(bytes, offset + SOURCE_NODE_ID_AT, entry.peerNodeId!)
    ) return this.counters.drop("wrong_node_id");
    if (peer !== entry.peer) this.#refreshPeer(entry); // the port may know the address anew
    const result = entry.connection.receiveFrame(
      bytes,
      view,
      offset,
      info,
      nowUs,
      descriptorFlags & DESCRIPTOR_ECN_MASK,
      peer,
    );
    if (result !== 0) {
      this.counters.drop(RECORD_DROP_REASONS[result]);
    } else if (entry.client !== undefined) {
      entry.client.confirm(nowUs);
      entry.client = undefined;
    }
    this.#enqueue(entry);
  }

  /** Whether what was received should be read before more is. */
  get isFull(): boolean {
    return this.#runBuffers?.landing.isHalfFull ?? false;
  }

  /** Runs every timer whose time has come. */
  handleTimeouts(nowUs: number): void {
    this.#reassembler.expire(nowUs);
    for (;;) {
      const entry = this.#deadlines.takeDue(nowUs);
      if (entry === undefined) return;
      entry.connection?.handleTimeout(nowUs);
      this.#enqueue(entry);
    }
  }

  /** When `handleTimeouts` must be called next, µs; NEVER when nothing is pending. */
  nextTimeoutUs(): number {
    return Math.min(this.#deadlines.nextUs(), this.#reassembler.nextTimeoutUs());
  }

  pollEvent(): EndpointEvent | undefined {
    return this.#events.shift();
  }

  /** What came here but is for another endpoint of the group. */
  pollStray(): Stray | undefined {
    return this.#strays.shift();
  }

  /**
   * Fills the burst with frames that may go now, written into slots of the pool.
   * @returns how many were added; 0 = nothing left to send (or the pool is empty)
   */
  pollFrames(pool: Pool, burst: Burst, nowUs: number, unixMs: number): number {
    const before = burst.count;
    this.#writer.begin();
    let rounds = this.#ready.length;
    while (rounds-- > 0 && !this.#writer.isFull(burst)) {
      const entry = this.#ready.shift()!;
      entry.queued = false;
      const more = this.#pollEntry(entry, pool, burst, nowUs, unixMs);
      if (more) this.#enqueue(entry);
    }
    return burst.count - before;
  }

  // ── handshake in ──────────────────────────────────────────────────────────────────────

  #receiveHandshake(
    bytes: Uint8Array,
    offset: number,
    length: number,
    peer: number,
    nowUs: number,
    unixS: number,
  ): void {
    const info = this.#info;
    if ((info.flags & Flag.ENCRYPTED) !== 0) return this.counters.drop("sealed_handshake");
    const destAt = offset + DEST_NODE_ID_AT;
    if (!idAt(bytes, destAt, this.nodeId) && !idAt(bytes, destAt, ZERO_ID)) {
      return this.counters.drop("wrong_node_id");
    }
    const address = this.#options.peers.peerAddress(peer);
    if (address === undefined) return this.counters.drop("peer_forgotten");
    const source = formatSocketAddress(address);
    let payload: Uint8Array | undefined;
    if (info.fragmentTotal > 0) {
      payload = this.#reassembler.add(source, info, bytes, nowUs);
      if (payload === undefined) return;
    } else {
      payload = bytes.subarray(info.payloadOffset, info.payloadOffset + info.payloadLength);
    }
    const incoming = readMessage(payload);
    if (incoming === undefined) return this.counters.drop("handshake_malformed");
    // A copy: it becomes part of a transcript, while the frame's slot goes back to the port.
    const message = incoming.message.slice();
    if (incoming.type === HANDSHAKE_MESSAGE.hello) {
      if (info.fragmentTotal > 0) return this.counters.drop("hello_fragmented");
      return this.#receiveHello(message, length, peer, address, nowUs, unixS);
    }
    const id = receiverConnectionId(incoming.type, message);
    const owner = id % this.#group.size;
    if (owner !== this.#group.index && id !== 0) {
      // Fragments are not steered by the id, which only the first of them shows.
      this.#strays.push({ owner, message, address });
      return;
    }
    this.#continueHandshake(id, message, source, nowUs, unixS);
  }

  /** Takes in a stray of another endpoint of the group. */
  receiveStray({ message, address }: Stray, nowUs: number, unixS: number): void {
    const incoming = readMessage(message);
    if (incoming === undefined) return this.counters.drop("handshake_malformed");
    const id = receiverConnectionId(incoming.type, message);
    this.#continueHandshake(id, message, formatSocketAddress(address), nowUs, unixS);
  }

  #continueHandshake(
    id: ConnectionId,
    message: Uint8Array,
    source: string,
    nowUs: number,
    unixS: number,
  ): void {
    const entry = this.#entries.get(id);
    const handshake = entry?.client ?? entry?.server;
    if (entry === undefined || handshake === undefined) {
      return this.counters.drop("handshake_unknown");
    }
    if (entry.source !== source) return this.counters.drop("handshake_other_source");
    handshake.receive(message, nowUs, unixS);
    this.#afterHandshake(entry, nowUs);
    this.#enqueue(entry);
  }

  #receiveHello(
    hello: Uint8Array,
    frameBytes: number,
    peer: number,
    address: SocketAddress,
    nowUs: number,
    unixS: number,
  ): void {
    const source = formatSocketAddress(address);
    if (this.#draining || this.#options.acceptConnections === false) {
      return this.counters.drop("hello_not_accepted");
    }
    const helloKey = helloKeyOf(hello);
    if (helloKey === undefined) return this.counters.drop("handshake_malformed");
    const key = `${source} ${helloKey}`;
    const known = this.#halfOpen.get(key);
    if (known !== undefined) {
      known.server!.repeatAccept(frameBytes);
      return this.#enqueue(known);
    }
    const ofSource = this.#halfOpenBySource.get(address.host) ?? 0;
    if (this.#halfOpen.size >= HALF_OPEN_MAX || ofSource >= HALF_OPEN_PER_SOURCE_MAX) {
      return this.counters.drop("half_open_limit");
    }
    const entry = this.#newEntry(false, peer, address);
    if (entry === undefined) return this.counters.drop("connection_limit");
    const server = ServerHandshake.tryAccept(
      this.#options,
      hello,
      frameBytes,
      entry.id,
      nowUs,
      unixS,
    );
    if (typeof server === "number") {
      this.#entries.delete(entry.id);
      return this.counters.drop(HELLO_DROP_REASONS[server]);
    }
    entry.server = server;
    entry.helloKey = key;
    this.#halfOpen.set(key, entry);
    this.#halfOpenBySource.set(address.host, ofSource + 1);
    this.#enqueue(entry);
  }

  /** Looks at what the handshake has become: a connection, a failure, or still under way. */
  #afterHandshake(entry: Entry, nowUs: number): void {
    const handshake = entry.client ?? entry.server;
    if (handshake === undefined || entry.failed) return;
    if (handshake.error !== undefined) {
      // The entry stays half-open until its deadline, so that a repeated HELLO starts nothing new.
      entry.failed = true;
      this.counters.handshakesFailed++;
      if (entry.connection !== undefined) {
        // The server refused our FINISH after we had begun to send.
        this.#events.push({
          type: "connection",
          connection: entry.id,
          event: {
            type: "closed",
            reason: CloseReason.NO_ERROR,
            phrase: handshake.error.message,
            byPeer: true,
            error: handshake.error,
          },
        }, { type: "closed", connection: entry.id });
        this.#remove(entry);
      } else {
        this.#events.push({
          type: "failed",
          connection: entry.id,
          error: handshake.error,
          initiator: entry.initiator,
        });
      }
      return;
    }
    const result = handshake.result;
    if (result === undefined || entry.connection !== undefined) return;
    entry.peerNodeId = result.peerNodeId;
    entry.connection = new Connection({
      side: entry.initiator ? "client" : "server",
      localNodeId: this.nodeId,
      peerNodeId: result.peerNodeId,
      localConnectionId: entry.id,
      peerConnectionId: result.peerConnectionId,
      protection: result.protection(),
      random: this.#options.random,
      nowUs,
      peer: entry.peer,
      isSameHost: this.#isSameHost,
      frameBytesMax: this.#frameBytesMax,
      blocks: this.#blocks,
      runBuffers: this.#runBuffers,
      erasureCodec: this.#options.erasureCodec,
      config: {
        ...this.#options.stream,
        // What the handshake took is a better guess than RFC 9002's 333 ms, unless it had losses.
        initialRttUs: Math.min(Math.max(result.durationUs, 1), INITIAL_RTT_US_MAX),
      },
    });
    this.counters.handshakesDone++;
    if (!entry.initiator) {
      this.#forgetHalfOpen(entry);
      entry.server = undefined;
    }
    this.#events.push({
      type: "connected",
      connection: entry.id,
      handshake: result,
      initiator: entry.initiator,
    });
  }

  // ── out ───────────────────────────────────────────────────────────────────────────────

  /** @returns true when the entry may have more to send than the burst had room for */
  #pollEntry(entry: Entry, pool: Pool, burst: Burst, nowUs: number, unixMs: number): boolean {
    this.#refreshPeer(entry);
    const handshake = entry.client ?? entry.server;
    if (handshake !== undefined) {
      for (;;) {
        const out = handshake.pollMessage(nowUs);
        if (out === undefined) break;
        entry.frames.push(
          ...frameHandshakeMessage(
            out,
            entry.id,
            this.nodeId,
            entry.initiator ? entry.client!.destId : entry.server!.clientId,
            Math.min(this.#frameBytesMax, FRAME_BYTES_DEFAULT),
            unixMs,
          ),
        );
      }
      this.#afterHandshake(entry, nowUs);
    }
    while (entry.frames.length > 0) {
      if (!this.#writer.addFrame(entry.frames[0], pool, burst, entry.peer)) return true;
      entry.frames.shift();
    }
    let isPoolEmpty = false;
    if (entry.connection !== undefined) {
      isPoolEmpty = !this.#writer.addConnection(entry.connection, pool, burst, nowUs, unixMs);
      this.#drainEvents(entry);
      if (entry.connection.state === "closed") {
        this.#remove(entry);
        this.#events.push({ type: "closed", connection: entry.id });
        return false;
      }
    } else if (entry.failed) {
      // A server repeats its ALERT when the refused FINISH comes again, until the deadline.
      const untilUs = entry.server?.deadlineUs ?? 0;
      if (nowUs >= untilUs) this.#remove(entry);
      else this.#deadlines.set(entry, untilUs);
      return false;
    }
    this.#deadlines.set(
      entry,
      Math.min(entry.connection?.nextTimeoutUs() ?? NEVER, handshake?.nextTimeoutUs() ?? NEVER),
    );
    return isPoolEmpty || this.#writer.isFull(burst);
  }

  /** Looks the peer's number up again when the port forgot it. */
  #refreshPeer(entry: Entry): void {
    const { peers } = this.#options;
    if (peers.knowsPeer?.(entry.peer) ?? peers.peerAddress(entry.peer) !== undefined) return;
    const peer = peers.peer(entry.address);
    entry.connection?.renumberPeer(entry.peer, peer);
    entry.peer = peer;
  }

  /** The validated path leads to another address now. */
  #followPeer(entry: Entry, peer: number): void {
    const address = this.#options.peers.peerAddress(peer);
    if (address === undefined) return;
    entry.peer = peer;
    entry.address = address;
  }

  readonly #isSameHost = (a: number, b: number): boolean => {
    const { peers } = this.#options;
    const host = peers.peerAddress(a)?.host;
    return host !== undefined && host === peers.peerAddress(b)?.host;
  };

  #drainEvents(entry: Entry): void {
    for (;;) {
      const event = entry.connection!.pollEvent();
      if (event === undefined) return;
      switch (event.type) {
        case "migrated":
          this.#followPeer(entry, event.peer);
          break;
        case "pathRequested":
          this.#acceptPath(entry, event.path);
          continue; // a matter of ids, which only the endpoint hands out
        case "pathClosed":
          entry.pathIds.delete(event.connectionId);
          this.#pathEntries.delete(event.connectionId);
          break;
      }
      this.#events.push({ type: "connection", connection: entry.id, event });
    }
  }

  // ── table ─────────────────────────────────────────────────────────────────────────────

  #newEntry(initiator: boolean, peer: number, address: SocketAddress): Entry | undefined {
    if (this.#entries.size >= this.#connectionsMax) return undefined;
    const id = this.#newConnectionId();
    const entry: Entry = {
      id,
      initiator,
      peer,
      address,
      source: formatSocketAddress(address),
      frames: [],
      pathIds: new Set(),
      queued: false,
      failed: false,
    };
    this.#entries.set(id, entry);
    return entry;
  }

  /** A random id that is free, not 0 and ours within the group. */
  #newConnectionId(): ConnectionId {
    const { index, size } = this.#group;
    const word = new Uint8Array(4);
    for (;;) {
      this.#options.random(word);
      const random = new DataView(word.buffer).getUint32(0);
      const id = random - random % size + index;
      const isFree = !this.#entries.has(id) && !this.#pathEntries.has(id);
      if (id !== 0 && id <= CONNECTION_ID_MAX && isFree) return id;
    }
  }

  #addPathId(entry: Entry, connectionId: ConnectionId): void {
    entry.pathIds.add(connectionId);
    this.#pathEntries.set(connectionId, entry);
  }

  #acceptPath(entry: Entry, path: number): void {
    const connectionId = this.#newConnectionId();
    if (!entry.connection!.acceptPath(path, connectionId)) return; // closed again already
    this.#addPathId(entry, connectionId);
    this.#enqueue(entry);
  }

  #enqueue(entry: Entry): void {
    if (entry.queued || this.#entries.get(entry.id) !== entry) return;
    entry.queued = true;
    this.#ready.push(entry);
  }

  #forgetHalfOpen(entry: Entry): void {
    if (entry.helloKey === undefined) return;
    this.#halfOpen.delete(entry.helloKey);
    entry.helloKey = undefined;
    const { host } = entry.address;
    const left = (this.#halfOpenBySource.get(host) ?? 1) - 1;
    if (left > 0) this.#halfOpenBySource.set(host, left);
    else this.#halfOpenBySource.delete(host);
  }

  #remove(entry: Entry): void {
    // Keys are not left to the garbage collector; a finished handshake has none any more.
    entry.client?.wipe();
    entry.server?.wipe();
    this.#forgetHalfOpen(entry);
    this.#deadlines.delete(entry);
    for (const connectionId of entry.pathIds) this.#pathEntries.delete(connectionId);
    this.#entries.delete(entry.id);
  }
}

/** Counter names by value, made from the words of an enum. */
function dropReasons(prefix: string, values: Readonly<Record<string, number>>): readonly string[] {
  const names: string[] = [];
  for (const [word, value] of Object.entries(values)) {
    const snake = word.replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();
    names[value] = `${prefix}_${snake}`;
  }
  return names;
}
const HELLO_DROP_REASONS = dropReasons("hello", HELLO_DROP);
const RECORD_DROP_REASONS = dropReasons("record", ReceiveResult);

const ZERO_ID = new Uint8Array(16);

/** Compares a node id in a frame without making a view. */
function idAt(bytes: Uint8Array, at: number, id: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) if (bytes[at + i] !== id[i]) return false;
  return true;
}
