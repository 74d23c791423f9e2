/**
 * Two Connections with a null protection on a simulated network, and an application on each end
 * that sends what can be checked: every byte of a stream and every message is a function of its
 * place, so a receiver knows at once what is wrong, missing or there twice.
 */
import assert from "node:assert/strict";
import { decodeFrame, finishFrame, FrameError, FrameInfo } from "../../lib/l1_link/mod.ts";
import {
  Connection,
  type ConnectionEvent,
  type Mode,
  MODE_BEST_EFFORT,
  MODE_RELIABLE_ORDERED,
  type StreamConfig,
} from "../../lib/l3_stream/mod.ts";
import type { LinkOptions, SimDatagram, SimHost, SimNetwork } from "./network.ts";
import { NullProtection } from "./null_protection.ts";

const FRAME_BYTES = 1_200;
const WRITE_BYTES = 10_000;
/** Application errors on STREAM_RESET and STREAM_STOP. */
const RESET_ERROR = 41;
const STOP_ERROR = 42;

/** Something to send on a stream of its own. */
export interface Task {
  mode: Mode;
  /** Bytes on RO, messages on message streams. */
  total: number;
  /** Largest message; sizes run from 4 to this. Default 3,000. */
  messageBytesMax?: number;
  /** The sender gives up once it handed over so much; in units of total. */
  resetAt?: number;
}

/** A task on its way. */
export interface OutgoingTask extends Task {
  stream: number;
  sent: number;
  finished: boolean;
  /** The peer asked to stop, or we gave up: not everything arrives. */
  broken: boolean;
}

/** What arrived on one stream. */
export interface Incoming {
  mode: Mode;
  bytes: number;
  messages: Set<number>;
  finished: boolean;
  /** This end refused it. */
  stopped: boolean;
}

/** A connection as a host of the network, with its application. */
export class ConnectionHost implements SimHost {
  readonly connection: Connection;
  readonly protection = new NullProtection();
  readonly incoming = new Map<number, Incoming>();
  readonly closed: ConnectionEvent[] = [];
  streamsClosed = 0;
  framesDamaged = 0;
  /** Frames that the connection refused, by result. */
  readonly refused = new Map<number, number>();
  /** What this end sends, by stream. */
  readonly outgoing = new Map<number, OutgoingTask>();
  /** Whether to stop a stream of the peer when it is opened. */
  refuses: (stream: number) => boolean = () => false;
  /** Called after every event, e.g. to answer. */
  onEvent: (event: ConnectionEvent) => void = () => {};
  #nowUs = 0;
  readonly #waiting: Task[] = [];
  readonly #info = new FrameInfo();
  readonly #buffer = new Uint8Array(2_048);
  readonly #view = new DataView(this.#buffer.buffer);

  constructor(
    network: SimNetwork,
    readonly name: string,
    readonly peer: string,
    side: "client" | "server",
    config: Partial<StreamConfig> = {},
  ) {
    const isClient = side === "client";
    this.connection = new Connection({
      side,
      localNodeId: new Uint8Array(16).fill(isClient ? 1 : 2),
      peerNodeId: new Uint8Array(16).fill(isClient ? 2 : 1),
      localConnectionId: isClient ? 101 : 202,
      peerConnectionId: isClient ? 202 : 101,
      protection: this.protection,
      random: network.random(`${name} random`).fill,
      nowUs: network.nowUs,
      frameBytesMax: FRAME_BYTES,
      config,
    });
  }

  get nowUs(): number {
    return this.#nowUs;
  }
  /** Whether everything this end was told to send went into the connection and was finished. */
  get allSent(): boolean {
    return this.#waiting.length === 0 &&
      [...this.outgoing.values()].every(({ finished }) => finished);
  }

  /** Sends something on a new stream, as soon as one may be opened. */
  add(...tasks: Task[]): void {
    this.#waiting.push(...tasks);
  }

  // ---- host -------------------------------------------------------------------------------

  receive(bytes: Uint8Array, _from: string, nowUs: number, ecn: number): void {
    this.#nowUs = nowUs;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let error = decodeFrame(bytes, view, 0, bytes.length, this.#info);
    if (error === FrameError.FRAME_CRC) {
      // A flipped bit never gets past the CRC. A forger's would: let the tag deal with it as well.
      this.framesDamaged++;
      finishFrame(bytes, view, 0, bytes.length);
      error = decodeFrame(bytes, view, 0, bytes.length, this.#info);
    }
    if (error !== FrameError.OK || this.#info.tagOffset < 0) return;
    const result = this.connection.receiveFrame(bytes, view, 0, this.#info, nowUs, ecn, 0);
    if (result !== 0) this.refused.set(result, (this.refused.get(result) ?? 0) + 1);
  }

  poll(nowUs: number): SimDatagram[] {
    this.#nowUs = nowUs;
    if (this.connection.nextTimeoutUs() <= nowUs) this.connection.handleTimeout(nowUs);
    this.#turnApplication();
    const out: SimDatagram[] = [];
    for (;;) {
      const length = this.connection.pollFrame(
        this.#buffer,
        this.#view,
        0,
        FRAME_BYTES,
        nowUs,
        0,
        0,
      );
      if (length === 0) break;
      assert.ok(length <= FRAME_BYTES);
      const bytes = this.#buffer.slice(0, length);
      out.push({ to: this.peer, bytes, ecn: this.connection.polledEcn });
    }
    return out;
  }

  nextTimeoutUs(): number {
    return this.connection.nextTimeoutUs();
  }

  // ---- application ------------------------------------------------------------------------

  #turnApplication(): void {
    for (let event = this.connection.pollEvent(); event; event = this.connection.pollEvent()) {
      this.#onEvent(event);
      this.onEvent(event);
    }
    while (this.#waiting.length > 0 && this.#openNext());
  }

  #onEvent(event: ConnectionEvent): void {
    switch (event.type) {
      case "streamOpened":
        assert.ok(!this.incoming.has(event.stream), `stream ${event.stream} opened twice`);
        this.incoming.set(event.stream, {
          mode: event.mode,
          bytes: 0,
          messages: new Set(),
          finished: false,
          stopped: this.refuses(event.stream),
        });
        this.connection.finish(event.stream);
        if (this.incoming.get(event.stream)!.stopped) {
          this.connection.stop(event.stream, STOP_ERROR);
        }
        break;
      case "readable":
        this.#read(event.stream);
        break;
      case "peerFinished":
        this.#onPeerFinished(event.stream);
        break;
      case "writable":
        this.#pump(this.outgoing.get(event.stream));
        break;
      case "reset":
        assert.ok(event.error === RESET_ERROR || event.error === STOP_ERROR, `${event.error}`);
        break;
      case "stopped": {
        assert.equal(event.error, STOP_ERROR);
        const task = this.outgoing.get(event.stream);
        if (task !== undefined) task.finished = task.broken = true;
        break;
      }
      case "streamClosed":
        this.streamsClosed++;
        break;
      case "closed":
        this.closed.push(event);
        break;
    }
  }

  #read(stream: number): void {
    const incoming = this.incoming.get(stream)!;
    for (let piece = this.connection.read(stream); piece; piece = this.connection.read(stream)) {
      for (let i = 0; i < piece.length; i++) {
        if (piece[i] !== streamByte(stream, incoming.bytes + i)) {
          assert.fail(`stream ${stream}: byte ${incoming.bytes + i} is wrong`);
        }
      }
      incoming.bytes += piece.length;
    }
    const { connection } = this;
    for (let m = connection.readMessage(stream); m; m = connection.readMessage(stream)) {
      this.#onMessage(stream, m);
    }
  }

  #onMessage(stream: number, bytes: Uint8Array): void {
    assert.ok(bytes.length >= 4, `stream ${stream}: message of ${bytes.length} bytes`);
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    const incoming = this.incoming.get(stream)!;
    assert.ok(!incoming.messages.has(number), `stream ${stream}: message ${number} came twice`);
    incoming.messages.add(number);
    for (let i = 4; i < bytes.length; i++) {
      if (bytes[i] !== streamByte(stream + number, i)) {
        assert.fail(`stream ${stream}: byte ${i} of message ${number} is wrong`);
      }
    }
    incoming.bytes += bytes.length;
  }

  #onPeerFinished(stream: number): void {
    const incoming = this.incoming.get(stream);
    // Our own stream: the peer's direction of it is empty.
    if (incoming !== undefined) incoming.finished = true;
  }

  #openNext(): boolean {
    let stream;
    try {
      stream = this.connection.openStream(this.#waiting[0].mode);
    } catch (error) {
      if ((error as { code?: string }).code === "STREAM_LIMIT") return false;
      throw error;
    }
    const given = this.#waiting.shift()!;
    const task = { ...given, stream, sent: 0, finished: false, broken: false };
    this.outgoing.set(stream, task);
    this.#pump(task);
    return true;
  }

  #pump(task: OutgoingTask | undefined): void {
    if (task === undefined || task.finished) return;
    while (task.sent < task.total) {
      if (task.sent >= (task.resetAt ?? Infinity)) {
        task.finished = task.broken = true;
        this.connection.reset(task.stream, RESET_ERROR);
        return;
      }
      if (!(task.mode === MODE_RELIABLE_ORDERED ? this.#write(task) : this.#sendMessage(task))) {
        return;
      }
    }
    task.finished = true;
    this.connection.finish(task.stream);
  }

  #write(task: OutgoingTask): boolean {
    const bytes = new Uint8Array(Math.min(WRITE_BYTES, task.total - task.sent));
    for (let i = 0; i < bytes.length; i++) bytes[i] = streamByte(task.stream, task.sent + i);
    const taken = this.connection.write(task.stream, bytes);
    task.sent += taken;
    return taken === bytes.length;
  }

  #sendMessage(task: OutgoingTask): boolean {
    const bytesMax = task.messageBytesMax ?? (task.mode === MODE_BEST_EFFORT ? 1_000 : 3_000);
    const bytes = new Uint8Array(Math.max(4, streamByte(task.stream, task.sent) * bytesMax >> 8));
    for (let i = 4; i < bytes.length; i++) bytes[i] = streamByte(task.stream + task.sent, i);
    new DataView(bytes.buffer).setUint32(0, task.sent);
    if (!this.connection.sendMessage(task.stream, bytes)) return false;
    task.sent++;
    return true;
  }
}

/** The byte at an offset of a stream: cheap, and no two streams or distances look alike. */
export function streamByte(stream: number, offset: number): number {
  return (Math.imul(offset ^ Math.imul(stream, 0x85ebca6b), 0x9e3779b1) >>> 21) & 0xff;
}

/** Client and server joined by a link; a different `back` for the way to the client. */
export function connect(
  network: SimNetwork,
  link: LinkOptions,
  options: {
    back?: LinkOptions;
    client?: Partial<StreamConfig>;
    server?: Partial<StreamConfig>;
  } = {},
): { client: ConnectionHost; server: ConnectionHost } {
  const client = new ConnectionHost(network, "client", "server", "client", options.client);
  const server = new ConnectionHost(network, "server", "client", "server", options.server);
  network.link("client", "server", link, options.back ?? link);
  network.addHost("client", client);
  network.addHost("server", server);
  return { client, server };
}

/** Runs until both ends delivered and closed `streams` streams in all; nobody gave up. */
export function runToEnd(
  network: SimNetwork,
  { client, server }: { client: ConnectionHost; server: ConnectionHost },
  streams: number,
  untilUs = 600e6,
): number {
  network.run(
    () => {
      if (client.closed.length > 0 || server.closed.length > 0) {
        const [closed] = [...client.closed, ...server.closed];
        throw network.failure(`a connection closed: ${JSON.stringify(closed)}`);
      }
      return client.streamsClosed >= streams && server.streamsClosed >= streams;
    },
    { untilUs },
  );
  return network.nowUs;
}

/** All that `sender` sent whole is at `receiver`, and nothing else. */
export function checkArrived(sender: ConnectionHost, receiver: ConnectionHost): void {
  for (const { stream, mode, total, broken } of sender.outgoing.values()) {
    const incoming = receiver.incoming.get(stream);
    if (broken || incoming?.stopped) continue;
    const amount = mode === MODE_RELIABLE_ORDERED ? incoming?.bytes : incoming?.messages.size;
    assert.equal(amount, total, `amount on stream ${stream} of mode ${mode}`);
    assert.equal(incoming!.finished, true, `end of stream ${stream}`);
  }
  for (const stream of receiver.incoming.keys()) {
    assert.ok(sender.outgoing.has(stream), `stream ${stream} was never opened`);
  }
}
