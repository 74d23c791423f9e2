/**
 * Connections driven by hand: two of them joined without a network (Pair), or one against a peer
 * that says exactly what a test wants (ScriptedPeer). Time stands still unless a test moves it.
 */
import assert from "node:assert/strict";
import { ByteWriter, SeededRandom } from "../../lib/base/mod.ts";
import {
  decodeFrame,
  encodeHeader,
  finishFrame,
  Flag,
  FrameError,
  FrameInfo,
  FrameType,
  HEADER_BYTES,
  HeaderFields,
  putEncryptionTag,
  SEALED_OVERHEAD,
  SEALED_PAYLOAD_OFFSET,
} from "../../lib/l1_link/mod.ts";
import {
  appendParameters,
  CONN_ACCEPT,
  CONN_INIT,
  Frame,
  MALFORMED,
  Parameters,
  PARAMETERS_BYTES,
  parseFrame,
} from "../../lib/l3_stream/frames/mod.ts";
import {
  Connection,
  type ConnectionEvent,
  type ConnectionOptions,
  type StreamConfig,
} from "../../lib/l3_stream/mod.ts";
import { NullProtection } from "../sim/null_protection.ts";

export const FRAME_BYTES = 1_200;
const CLIENT_ID = new Uint8Array(16).fill(1);
const SERVER_ID = new Uint8Array(16).fill(2);

export type Side = "client" | "server";

export function makeConnection(
  side: Side,
  config: Partial<StreamConfig> = {},
  protection = new NullProtection(),
  options: Partial<ConnectionOptions> = {},
): Connection {
  return new Connection({
    side,
    localNodeId: side === "client" ? CLIENT_ID : SERVER_ID,
    peerNodeId: side === "client" ? SERVER_ID : CLIENT_ID,
    localConnectionId: side === "client" ? 11 : 22,
    peerConnectionId: side === "client" ? 22 : 11,
    protection,
    random: new SeededRandom(7).fill,
    nowUs: 0,
    config,
    ...options,
  });
}

/** Windows and send buffers of a megabyte from the start, for tests of something else. */
export const WIDE: Partial<StreamConfig> = {
  initialDataBytes: 1 << 24,
  initialStreamWindowBytes: 1 << 20,
  initialSendBufferBytes: 1 << 20,
};

/** Deterministic bytes. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = Math.imul(i + seed, 0x9e3779b1) >>> 24;
  return bytes;
}

/** All events so far. */
export function drain(connection: Connection): ConnectionEvent[] {
  const events = [];
  for (let event = connection.pollEvent(); event; event = connection.pollEvent()) {
    events.push(event);
  }
  return events;
}

/** Names of the events so far. */
export function eventTypes(connection: Connection): string[] {
  return drain(connection).map(({ type }) => type);
}

/** Everything that can be read of a stream now. */
export function readAll(connection: Connection, stream: number): Uint8Array {
  const pieces = [];
  for (let piece = connection.read(stream); piece; piece = connection.read(stream)) {
    pieces.push(piece.slice()); // a view until the next read
  }
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

const buffer = new Uint8Array(65_535);

/** A frame on its way: where to, and the ECN field of its datagram. */
export interface Sent {
  frame: Uint8Array;
  peer: number;
  ecn: number;
}

/** All frames that a connection wants to send now. */
export function pollAll(connection: Connection, nowUs: number): Uint8Array[] {
  return pollSent(connection, nowUs).map(({ frame }) => frame);
}

/** The same with what goes into the IP header. */
export function pollSent(connection: Connection, nowUs: number): Sent[] {
  const frames = [];
  const view = new DataView(buffer.buffer);
  for (;;) {
    const length = connection.pollFrame(buffer, view, 0, buffer.length, nowUs, 0, 0);
    if (length === 0) return frames;
    const { polledPeer: peer, polledEcn: ecn } = connection;
    frames.push({ frame: buffer.slice(0, length), peer, ecn });
  }
}

/** Hands a frame to a connection; its ReceiveResult. */
export function give(
  connection: Connection,
  frame: Uint8Array,
  nowUs: number,
  ecn = 0,
  peer = 0,
): number {
  const bytes = frame.slice();
  const view = new DataView(bytes.buffer);
  const info = new FrameInfo();
  assert.equal(decodeFrame(bytes, view, 0, bytes.length, info), FrameError.OK);
  return connection.receiveFrame(bytes, view, 0, info, nowUs, ecn, peer);
}

/** What happens to the n-th frame (from 0) of a side: true drops it. */
export type Drop = (from: Side, n: number, frame: Uint8Array, peer: number) => boolean;

export class Pair {
  readonly client: Connection;
  readonly server: Connection;
  readonly sent = { client: 0, server: 0 };
  nowUs = 0;
  drop: Drop = () => false;
  /** What the path makes of ECN fields. */
  mark: (ecn: number, from: Side) => number = (ecn) => ecn;
  /** The number that the other end's port has for the address that a side sends from. */
  readonly address = { client: 0, server: 0 };
  /** The same for frames that go to one of the other end's addresses. */
  seenAs: (from: Side, peer: number) => number = (from) => this.address[from];
  /** Numbers under which a side can be reached; only where it sends from when left out. */
  readonly reachable: { client?: number[]; server?: number[] } = {};

  constructor(
    client: Partial<StreamConfig> = {},
    server: Partial<StreamConfig> = client,
    options: Partial<ConnectionOptions> = {},
  ) {
    this.client = makeConnection("client", client, new NullProtection(), options);
    this.server = makeConnection("server", server, new NullProtection(), options);
  }

  /** Exchanges frames at this instant until both are quiet. */
  pump(): this {
    for (let i = 0; i < 10_000; i++) {
      if (!this.#carry("client") && !this.#carry("server")) return this;
    }
    throw new Error("the connections never become quiet");
  }

  /** Lets time pass: every deadline on the way is served. */
  advance(us: number): this {
    const untilUs = this.nowUs + us;
    for (let i = 0; i < 100_000; i++) {
      this.pump();
      const nextUs = Math.min(this.client.nextTimeoutUs(), this.server.nextTimeoutUs());
      if (nextUs > untilUs) {
        this.nowUs = untilUs;
        return this.pump();
      }
      this.nowUs = Math.max(this.nowUs, nextUs);
      this.client.handleTimeout(this.nowUs);
      this.server.handleTimeout(this.nowUs);
    }
    throw new Error("too many deadlines");
  }

  #carry(from: Side): boolean {
    const to = from === "client" ? "server" : "client";
    const frames = pollSent(this[from], this.nowUs);
    for (const { frame, peer, ecn } of frames) {
      const isThere = this.reachable[to]?.includes(peer) ?? peer === this.address[to];
      if (this.drop(from, this.sent[from]++, frame, peer) || !isThere) continue;
      give(this[to], frame, this.nowUs, this.mark(ecn, from), this.seenAs(from, peer));
    }
    return frames.length > 0;
  }
}

/** A pair whose parameters have arrived and whose events are taken. */
export function establishedPair(
  client: Partial<StreamConfig> = {},
  server: Partial<StreamConfig> = client,
  options: Partial<ConnectionOptions> = {},
): Pair {
  const pair = new Pair(client, server, options).pump();
  pair.advance(50_000);
  drain(pair.client);
  drain(pair.server);
  return pair;
}

/** The other end as a test writes it: sends any payload, sees every frame. */
export class ScriptedPeer {
  readonly connection: Connection;
  readonly protection = new NullProtection();
  nowUs = 0;
  packetNumber = 0;
  readonly #sealer = new NullProtection();
  readonly #side: Side;

  /** `side` is that of the connection under test. */
  constructor(side: Side = "server", config: Partial<StreamConfig> = {}) {
    this.#side = side;
    this.connection = makeConnection(side, config, this.protection);
  }

  /** Sends the parameters that the connection waits for and takes what it answers. */
  establish(parameters: Partial<Parameters> = {}): this {
    this.send(this.parameters(parameters));
    this.received();
    drain(this.connection);
    return this;
  }

  parameters(given: Partial<Parameters> = {}): Uint8Array {
    const all = Object.assign(new Parameters(), {
      version: 1,
      nodeId: this.#side === "server" ? CLIENT_ID : SERVER_ID,
      maxStreams: 1_024,
      maxData: 2 ** 24,
      streamWindow: 2 ** 20,
      streamMessages: 1_024,
      maxMessage: 2 ** 20,
      maxAckDelayUs: 25_000,
      idleTimeoutMs: 60_000,
    }, given);
    const bytes = new Uint8Array(PARAMETERS_BYTES);
    const type = this.#side === "server" ? CONN_INIT : CONN_ACCEPT;
    appendParameters(bytes, new DataView(bytes.buffer), 0, type, all);
    return bytes;
  }

  /** Seals the frames as the next packet and hands it over. */
  send(...frames: Uint8Array[]): number {
    return give(this.connection, this.seal(...frames), this.nowUs);
  }

  seal(...frames: Uint8Array[]): Uint8Array {
    const payload = frames.reduce((all, one) => new Uint8Array([...all, ...one]), new Uint8Array());
    const header = new HeaderFields();
    header.type = FrameType.DATA;
    header.flags = Flag.ENCRYPTED;
    header.length = SEALED_OVERHEAD + payload.length;
    header.streamId = this.connection.localConnectionId;
    header.sequence = this.packetNumber >>> 0;
    header.keyPhase = 1;
    header.optionsLength = SEALED_PAYLOAD_OFFSET - HEADER_BYTES;
    const bytes = new Uint8Array(header.length);
    const view = new DataView(bytes.buffer);
    encodeHeader(bytes, view, 0, header);
    putEncryptionTag(bytes, HEADER_BYTES);
    bytes.set(payload, SEALED_PAYLOAD_OFFSET);
    this.#sealer.seal(bytes, view, 0, SEALED_PAYLOAD_OFFSET, payload.length, this.packetNumber++);
    finishFrame(bytes, view, 0, bytes.length);
    return bytes;
  }

  /** The packets that the connection sends now, each as its parsed frames. */
  receivedPackets(): SeenFrame[][] {
    return pollAll(this.connection, this.nowUs).map((frame) => {
      const from = SEALED_PAYLOAD_OFFSET;
      return parsePayload(frame.subarray(from, frame.length - 4));
    });
  }

  /** The frames that the connection sends now, without DATA_ACK. */
  received(): SeenFrame[] {
    return this.receivedPackets().flat().filter(({ type }) => type !== 0x20);
  }

  /** Reason of the CONN_CLOSE that the connection sends now; undefined: it does not close. */
  closeReason(): number | undefined {
    return this.received().find(({ type }) => type === 0x03)?.error;
  }
}

/** A frame with its carried bytes. */
export interface SeenFrame extends Frame {
  data: Uint8Array;
}

/** All frames of a payload; fails when it is malformed. */
export function parsePayload(payload: Uint8Array): SeenFrame[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const frames: SeenFrame[] = [];
  for (let at = 0; at < payload.length;) {
    const frame = new Frame();
    at = parseFrame(payload, view, at, payload.length, frame);
    assert.notEqual(at, MALFORMED);
    const data = payload.slice(frame.dataAt, frame.dataAt + frame.dataLength);
    frames.push(Object.assign(frame, { data }));
  }
  return frames;
}

/** Frames by field, for scripts. */
export const wire = {
  open: (stream: number, mode: number, priority = 0, window = 65_536) =>
    new ByteWriter().u8(0x10).u32(stream).u8(mode).u8(priority).u64(window).finish(),
  openAck: (stream: number, window: number) =>
    new ByteWriter().u8(0x11).u32(stream).u64(window).finish(),
  close: (stream: number, finalSize: number) =>
    new ByteWriter().u8(0x12).u32(stream).u64(finalSize).finish(),
  reset: (stream: number, error: number, finalSize: number) =>
    new ByteWriter().u8(0x13).u32(stream).u32(error).u64(finalSize).finish(),
  closeAck: (stream: number) => new ByteWriter().u8(0x14).u32(stream).finish(),
  stop: (stream: number, error: number) =>
    new ByteWriter().u8(0x15).u32(stream).u32(error).finish(),
  window: (stream: number, limit: number) =>
    new ByteWriter().u8(0x22).u32(stream).u64(limit).finish(),
  ping: (id: number) => new ByteWriter().u8(0x30).u64(id).finish(),
  challenge: (token: Uint8Array) => new ByteWriter().u8(0x05).put(token).finish(),
  data: (stream: number, offset: number, bytes: Uint8Array) =>
    new ByteWriter().u8(0x50).u32(stream).u64(offset).bytes16(bytes).finish(),
  message: (
    stream: number,
    message: number,
    bytes: Uint8Array,
    { mode = 2, total = bytes.length, offset = 0 } = {},
  ) =>
    new ByteWriter().u8(0x51).u8(mode).u32(stream).u64(message).u32(total).u32(offset)
      .bytes16(bytes).finish(),
  /** Acknowledges first…largest. */
  ack: (largest: number, first = 0) =>
    new ByteWriter().u8(0x20).u8(0).u64(largest).u32(0).u8(0).u32(largest - first).finish(),
  connClose: (reason: number, phrase = new Uint8Array()) =>
    new ByteWriter().u8(0x03).u32(reason).bytes8(phrase).finish(),
  connCloseAck: () => new Uint8Array([0x04]),
};
