/**
 * The way from a first message to a connection: handshake frames in, and what handshakes have to say
 * out. A handshake belongs to an entry of the table; when it is done, the entry has its Connection.
 */
import {
  equalBytesAt,
  formatSocketAddress,
  type NexusError,
  type SocketAddress,
} from "../base/mod.ts";
import { DEST_NODE_ID_AT, Flag, type FrameInfo, Reassembler } from "../l1_link/mod.ts";
import {
  BlockPool,
  type BlockSource,
  CloseReason,
  Connection,
  FRAME_BYTES_DEFAULT,
  type RunBuffers,
} from "../l3_stream/mod.ts";
import {
  HANDSHAKE_MESSAGE,
  type HandshakeResult,
  HELLO_DROP,
  helloKeyOf,
  readMessage,
  ServerHandshake,
} from "../l4_trust/mod.ts";
import { dropReasons, type EndpointCounters } from "./counters.ts";
import type { Entry, EntryTable } from "./entry_table.ts";
import type { ConnectionId, EndpointEvent, Stray } from "./events.ts";
import { frameHandshakeMessage, receiverConnectionId } from "./handshake_frames.ts";
import type { EndpointOptions } from "./options.ts";

/** RFC 9002 §6.2.2: the initial round trip when nothing is known. */
const INITIAL_RTT_US_MAX = 333_000;

/**
 * Finished handshakes whose HELLO is known again (docs/protocol.md §4.2), the last ones: more than
 * finish while a datagram is under way, and some hundred kilobytes.
 */
const HELLOS_DONE_MAX = 4_096;

const HELLO_DROP_REASONS = dropReasons("hello", HELLO_DROP);

const ZERO_ID = new Uint8Array(16);

export class Handshakes {
  readonly reassembler = new Reassembler();
  /** What came here but is for another endpoint of the group. */
  readonly strays: Stray[] = [];
  /** HELLOs are dropped and counted. */
  isDraining = false;
  /** HELLOs whose handshake is done, by helloKeyOf, oldest first. */
  readonly #hellosDone = new Set<string>();
  readonly #options: EndpointOptions;
  readonly #table: EntryTable;
  readonly #counters: EndpointCounters;
  readonly #events: EndpointEvent[];
  readonly #runBuffers: RunBuffers | undefined;
  readonly #blocks: BlockSource;
  readonly #nodeId: Uint8Array;

  /** `events`: where to tell what became of a handshake. `runBuffers`: of all connections. */
  constructor(
    options: EndpointOptions,
    table: EntryTable,
    counters: EndpointCounters,
    events: EndpointEvent[],
    runBuffers: RunBuffers | undefined,
  ) {
    this.#options = options;
    this.#table = table;
    this.#counters = counters;
    this.#events = events;
    this.#runBuffers = runBuffers;
    this.#blocks = options.blocks ?? new BlockPool();
    this.#nodeId = options.identity.nodeId;
  }

  /** Takes in a frame of a handshake, as decoded to `info`. */
  receive(
    info: FrameInfo,
    bytes: Uint8Array,
    offset: number,
    length: number,
    peer: number,
    nowUs: number,
    unixS: number,
  ): void {
    if ((info.flags & Flag.ENCRYPTED) !== 0) return this.#counters.drop("sealed_handshake");
    const destAt = offset + DEST_NODE_ID_AT;
    if (!equalBytesAt(bytes, destAt, this.#nodeId) && !equalBytesAt(bytes, destAt, ZERO_ID)) {
      return this.#counters.drop("wrong_node_id");
    }
    const address = this.#options.peers.peerAddress(peer);
    if (address === undefined) return this.#counters.drop("peer_forgotten");
    const source = formatSocketAddress(address);
    let payload: Uint8Array | undefined;
    if (info.fragmentTotal > 0) {
      payload = this.reassembler.add(source, info, bytes, nowUs);
      if (payload === undefined) return;
    } else {
      payload = bytes.subarray(info.payloadOffset, info.payloadOffset + info.payloadLength);
    }
    const incoming = readMessage(payload);
    if (incoming === undefined) return this.#counters.drop("handshake_malformed");
    // A copy: it becomes part of a transcript, while the frame's slot goes back to the port.
    const message = incoming.message.slice();
    if (incoming.type === HANDSHAKE_MESSAGE.hello) {
      if (info.fragmentTotal > 0) return this.#counters.drop("hello_fragmented");
      return this.#receiveHello(message, length, peer, address, nowUs, unixS);
    }
    const id = receiverConnectionId(incoming.type, message);
    const owner = id % this.#table.group.size;
    if (owner !== this.#table.group.index && id !== 0) {
      // Fragments are not steered by the id, which only the first of them shows.
      this.strays.push({ owner, message, address });
      return;
    }
    this.#continueHandshake(id, message, source, nowUs, unixS);
  }

  /** Takes in a stray of another endpoint of the group. */
  receiveStray({ message, address }: Stray, nowUs: number, unixS: number): void {
    const incoming = readMessage(message);
    if (incoming === undefined) return this.#counters.drop("handshake_malformed");
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
    const entry = this.#table.get(id);
    const handshake = entry?.client ?? entry?.server;
    if (entry === undefined || handshake === undefined) {
      return this.#counters.drop("handshake_unknown");
    }
    // A client may be moved by its NAT on the way: what it sends proves itself. Frames still go to
    // where its HELLO came from, until the connection has validated the new address (§5.7).
    if (entry.initiator && entry.source !== source) {
      return this.#counters.drop("handshake_other_source");
    }
    handshake.receive(message, nowUs, unixS);
    this.#settle(entry, nowUs);
    this.#table.enqueue(entry);
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
    if (this.isDraining || this.#options.acceptConnections === false) {
      return this.#counters.drop("hello_not_accepted");
    }
    const helloKey = helloKeyOf(hello);
    if (helloKey === undefined) return this.#counters.drop("handshake_malformed");
    if (this.#hellosDone.has(helloKey)) return this.#counters.drop("hello_repeated");
    const key = `${source} ${helloKey}`;
    const known = this.#table.halfOpen(key);
    if (known !== undefined) {
      known.server!.repeatAccept(frameBytes);
      return this.#table.enqueue(known);
    }
    if (!this.#table.mayHalfOpen(address)) return this.#counters.drop("half_open_limit");
    const entry = this.#table.add(false, peer, address);
    if (entry === undefined) return this.#counters.drop("connection_limit");
    const server = ServerHandshake.tryAccept(
      this.#options,
      hello,
      frameBytes,
      entry.id,
      nowUs,
      unixS,
    );
    if (typeof server === "number") {
      this.#table.remove(entry);
      return this.#counters.drop(HELLO_DROP_REASONS[server]);
    }
    entry.server = server;
    this.#table.addHalfOpen(entry, key);
    this.#table.enqueue(entry);
  }

  /** Makes the frames that are due of the entry's handshake, if it is in one. */
  pollMessages(entry: Entry, nowUs: number, unixMs: number): void {
    const handshake = entry.client ?? entry.server;
    if (handshake === undefined) return;
    for (;;) {
      const out = handshake.pollMessage(nowUs);
      if (out === undefined) break;
      entry.frames.push(
        ...frameHandshakeMessage(
          out,
          entry.id,
          this.#nodeId,
          entry.initiator ? entry.client!.destId : entry.server!.clientId,
          Math.min(this.#options.frameBytesMax ?? FRAME_BYTES_DEFAULT, FRAME_BYTES_DEFAULT),
          unixMs,
        ),
      );
    }
    this.#settle(entry, nowUs);
  }

  /** Looks at what the handshake has become: a connection, a failure, or still under way. */
  #settle(entry: Entry, nowUs: number): void {
    const handshake = entry.client ?? entry.server;
    if (handshake === undefined || entry.failed) return;
    if (handshake.error !== undefined) {
      this.#fail(entry, handshake.error);
      return;
    }
    const result = handshake.result;
    if (result === undefined || entry.connection !== undefined) return;
    entry.peerNodeId = result.peerNodeId;
    entry.connection = this.#makeConnection(entry, result, nowUs);
    this.#counters.handshakesDone++;
    if (entry.server !== undefined) {
      this.#rememberHello(entry.server.helloKey);
      this.#table.forgetHalfOpen(entry);
      entry.server = undefined;
    }
    this.#events.push({
      type: "connected",
      connection: entry.id,
      handshake: result,
      initiator: entry.initiator,
    });
  }

  /** The client has its ACCEPT: whatever repeats this HELLO was delayed or is replayed. */
  #rememberHello(helloKey: string): void {
    this.#hellosDone.add(helloKey);
    if (this.#hellosDone.size <= HELLOS_DONE_MAX) return;
    for (const oldest of this.#hellosDone) {
      this.#hellosDone.delete(oldest);
      break;
    }
  }

  #fail(entry: Entry, error: NexusError): void {
    // The entry stays half-open until its deadline, so that a repeated HELLO starts nothing new.
    entry.failed = true;
    this.#counters.handshakesFailed++;
    if (entry.connection !== undefined) {
      // The server refused our FINISH after we had begun to send.
      this.#events.push({
        type: "connection",
        connection: entry.id,
        event: {
          type: "closed",
          reason: CloseReason.NO_ERROR,
          phrase: error.message,
          byPeer: true,
          error,
        },
      }, { type: "closed", connection: entry.id });
      this.#table.remove(entry);
    } else {
      this.#events.push({
        type: "failed",
        connection: entry.id,
        error,
        initiator: entry.initiator,
      });
    }
  }

  #makeConnection(entry: Entry, result: HandshakeResult, nowUs: number): Connection {
    return new Connection({
      side: entry.initiator ? "client" : "server",
      localNodeId: this.#nodeId,
      peerNodeId: result.peerNodeId,
      localConnectionId: entry.id,
      peerConnectionId: result.peerConnectionId,
      protection: result.protection(),
      random: this.#options.random,
      nowUs,
      peer: entry.peer,
      isSameHost: this.#isSameHost,
      frameBytesMax: this.#options.frameBytesMax,
      blocks: this.#blocks,
      runBuffers: this.#runBuffers,
      erasureCodec: this.#options.erasureCodec,
      config: {
        ...this.#options.stream,
        // What the handshake took is a better guess than RFC 9002's 333 ms, unless it had losses.
        initialRttUs: Math.min(Math.max(result.durationUs, 1), INITIAL_RTT_US_MAX),
      },
    });
  }

  readonly #isSameHost = (a: number, b: number): boolean => {
    const { peers } = this.#options;
    const host = peers.peerAddress(a)?.host;
    return host !== undefined && host === peers.peerAddress(b)?.host;
  };
}
