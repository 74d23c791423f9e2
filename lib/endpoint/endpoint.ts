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
import { equalBytesAt, NEVER, NexusError, type SocketAddress } from "../base/mod.ts";
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
  SOURCE_NODE_ID_AT,
  STREAM_ID_AT,
} from "../l1_link/mod.ts";
import { type Connection, ReceiveResult, RunBuffers, RunResult } from "../l3_stream/mod.ts";
import { ClientHandshake } from "../l4_trust/mod.ts";
import { BurstWriter } from "./burst_writer.ts";
import { Counters, dropReasons, type EndpointCounters } from "./counters.ts";
import { type Entry, EntryTable } from "./entry_table.ts";
import type { ConnectionId, EndpointEvent, Stray } from "./events.ts";
import { Handshakes } from "./handshakes.ts";
import type { ConnectOptions, EndpointOptions } from "./options.ts";

export class Endpoint {
  readonly nodeId: Uint8Array;
  readonly counters: EndpointCounters = new Counters();
  readonly #options: EndpointOptions;
  readonly #table: EntryTable;
  readonly #handshakes: Handshakes;
  readonly #events: EndpointEvent[] = [];
  readonly #info = new FrameInfo();
  readonly #runBuffers: RunBuffers | undefined;
  readonly #writer: BurstWriter;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.nodeId = options.identity.nodeId;
    this.#writer = new BurstWriter(this.counters, options.trains ?? false);
    this.#runBuffers = options.engine.records === undefined ? undefined : new RunBuffers();
    this.#table = new EntryTable(options);
    this.#handshakes = new Handshakes(
      options,
      this.#table,
      this.counters,
      this.#events,
      this.#runBuffers,
    );
  }

  /** Changes what later handshakes present, after a certificate was issued or renewed. */
  setChain(chain: Uint8Array[], roots: Uint8Array[]): void {
    this.#options.chain = chain;
    this.#options.roots = roots;
  }

  /** From now on HELLOs are dropped and counted. */
  drain(): void {
    this.#handshakes.isDraining = true;
  }

  /**
   * Starts a handshake. Ends in a `connected` or `failed` event with the returned id.
   * @throws NexusError TOO_MANY_CONNECTIONS
   */
  connect(options: ConnectOptions, nowUs: number, unixS: number): ConnectionId {
    const entry = this.#table.add(true, this.#options.peers.peer(options.address), options.address);
    if (entry === undefined) {
      throw new NexusError(
        "TOO_MANY_CONNECTIONS",
        `cannot connect: ${this.#table.size} connections are open, expected fewer`,
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
    this.#table.enqueue(entry);
    return entry.id;
  }

  /** The connection behind a handle; undefined before it is connected and after it closed. */
  connection(id: ConnectionId): Connection | undefined {
    return this.#table.get(id)?.connection;
  }

  /** Where the connection's frames go. */
  addressOf(id: ConnectionId): SocketAddress | undefined {
    return this.#table.get(id)?.address;
  }

  get connectionCount(): number {
    return this.#table.size;
  }

  /** Connection ids that frames may come under: one for each connection and further path. */
  get connectionIdCount(): number {
    return this.#table.idCount;
  }

  get halfOpenCount(): number {
    return this.#table.halfOpenCount;
  }

  /** Handshakes of others that may still become connections. */
  get handshakeCount(): number {
    return this.#table.handshakeCount;
  }

  /** Gives a connect attempt up; nothing is sent, no event follows. */
  abandon(id: ConnectionId): void {
    const entry = this.#table.get(id);
    if (entry !== undefined && entry.connection === undefined) this.#table.remove(entry);
  }

  /**
   * Moves a connection to another address of its peer, or, with the present one, says that our own
   * may have changed. Ends in a `migrated` or `migrationFailed` event of the connection.
   */
  migrate(id: ConnectionId, address: SocketAddress, nowUs: number): void {
    const entry = this.#table.get(id);
    if (entry?.connection === undefined) return;
    entry.connection.migrate(this.#options.peers.peer(address), nowUs);
    this.#table.enqueue(entry);
  }

  /**
   * Opens another path of a connection, for PR data and failover; its path id. Ends in a
   * `pathUsable` or `pathClosed` event of the connection.
   * @throws NexusError PATH_LIMIT when the peer accepts no more, CLOSED
   */
  openPath(id: ConnectionId, address: SocketAddress): number {
    const entry = this.#table.get(id);
    if (entry?.connection === undefined) {
      throw new NexusError("CLOSED", `cannot open path: connection ${id} is not open`);
    }
    const connectionId = this.#table.newId();
    const path = entry.connection.openPath(this.#options.peers.peer(address), connectionId);
    this.#table.addPathId(entry, connectionId);
    this.#table.enqueue(entry);
    return path;
  }

  /** Says that the connection was called from outside and may have work. */
  touch(id: ConnectionId): void {
    const entry = this.#table.get(id);
    if (entry !== undefined) this.#table.enqueue(entry);
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
    const entry = this.#table.get(view.getUint32(at + STREAM_ID_AT));
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
    this.#table.enqueue(entry);
    this.#drainEvents(entry); // so that an answer can leave with what is sent next
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
      return this.#handshakes.receive(info, bytes, offset, length, peer, nowUs, unixS);
    }
    if ((info.flags & Flag.ENCRYPTED) === 0) return this.counters.drop("clear_text");
    const entry = this.#table.ofPath(info.streamId);
    if (entry === undefined) return this.counters.drop("unknown_connection");
    if (entry.connection === undefined) return this.counters.drop("early_data");
    if (
      !equalBytesAt(bytes, offset + DEST_NODE_ID_AT, this.nodeId) ||
      !equalBytesAt(bytes, offset + SOURCE_NODE_ID_AT, entry.peerNodeId!)
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
    this.#table.enqueue(entry);
  }

  /** Whether what was received should be read before more is. */
  get isFull(): boolean {
    return this.#runBuffers?.landing.isHalfFull ?? false;
  }

  /** Runs every timer whose time has come. */
  handleTimeouts(nowUs: number): void {
    this.#handshakes.reassembler.expire(nowUs);
    for (;;) {
      const entry = this.#table.deadlines.takeDue(nowUs);
      if (entry === undefined) return;
      entry.connection?.handleTimeout(nowUs);
      this.#table.enqueue(entry);
    }
  }

  /** When `handleTimeouts` must be called next, µs; NEVER when nothing is pending. */
  nextTimeoutUs(): number {
    return Math.min(this.#table.deadlines.nextUs(), this.#handshakes.reassembler.nextTimeoutUs());
  }

  pollEvent(): EndpointEvent | undefined {
    return this.#events.shift();
  }

  /** What came here but is for another endpoint of the group. */
  pollStray(): Stray | undefined {
    return this.#handshakes.strays.shift();
  }

  /** Takes in a stray of another endpoint of the group. */
  receiveStray(stray: Stray, nowUs: number, unixS: number): void {
    this.#handshakes.receiveStray(stray, nowUs, unixS);
  }

  /**
   * Fills the burst with frames that may go now, written into slots of the pool.
   * @returns how many were added; 0 = nothing left to send (or the pool is empty)
   */
  pollFrames(pool: Pool, burst: Burst, nowUs: number, unixMs: number): number {
    const before = burst.count;
    this.#writer.begin();
    let rounds = this.#table.ready.length;
    while (rounds-- > 0 && !this.#writer.isFull(burst)) {
      const entry = this.#table.ready.shift()!;
      entry.queued = false;
      const more = this.#pollEntry(entry, pool, burst, nowUs, unixMs);
      if (more) this.#table.enqueue(entry);
    }
    return burst.count - before;
  }

  // ── out ───────────────────────────────────────────────────────────────────────────────

  /** @returns true when the entry may have more to send than the burst had room for */
  #pollEntry(entry: Entry, pool: Pool, burst: Burst, nowUs: number, unixMs: number): boolean {
    this.#refreshPeer(entry);
    const handshake = entry.client ?? entry.server;
    if (handshake !== undefined) this.#handshakes.pollMessages(entry, nowUs, unixMs);
    while (entry.frames.length > 0) {
      if (!this.#writer.addFrame(entry.frames[0], pool, burst, entry.peer)) return true;
      entry.frames.shift();
    }
    let isPoolEmpty = false;
    if (entry.connection !== undefined) {
      isPoolEmpty = !this.#writer.addConnection(entry.connection, pool, burst, nowUs, unixMs);
      this.#drainEvents(entry);
      if (entry.connection.state === "closed") {
        this.#table.remove(entry);
        this.#events.push({ type: "closed", connection: entry.id });
        return false;
      }
    } else if (entry.failed) {
      // A server repeats its ALERT when the refused FINISH comes again, until the deadline.
      const untilUs = entry.server?.deadlineUs ?? 0;
      if (nowUs >= untilUs) this.#table.remove(entry);
      else this.#table.deadlines.set(entry, untilUs);
      return false;
    }
    this.#table.deadlines.set(
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
          this.#table.deletePathId(entry, event.connectionId);
          break;
      }
      this.#events.push({ type: "connection", connection: entry.id, event });
    }
  }

  #acceptPath(entry: Entry, path: number): void {
    const connectionId = this.#table.newId();
    if (!entry.connection!.acceptPath(path, connectionId)) return; // closed again already
    this.#table.addPathId(entry, connectionId);
    this.#table.enqueue(entry);
  }
}

const RECORD_DROP_REASONS = dropReasons("record", ReceiveResult);
