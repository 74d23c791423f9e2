/** Two Connections with a null protection on a simulated network, a TaskRunner on each. */
import assert from "node:assert/strict";
import { NexusError } from "../../lib/base/mod.ts";
import { decodeFrame, finishFrame, FrameError, FrameInfo } from "../../lib/l1_link/mod.ts";
import { Connection, type ConnectionEvent, type StreamConfig } from "../../lib/l3_stream/mod.ts";
import type { LinkOptions, SimDatagram, SimHost, SimNetwork } from "./network.ts";
import { NullProtection } from "./null_protection.ts";
import { type Task, TaskRunner } from "./tasks.ts";

const FRAME_BYTES = 1_200;

/** A connection as a host of the network, with its application. */
export class ConnectionHost implements SimHost {
  readonly connection: Connection;
  readonly tasks: TaskRunner;
  readonly protection = new NullProtection();
  framesDamaged = 0;
  /** Frames that the connection refused, by result. */
  readonly refused = new Map<number, number>();
  /** Called after every event, e.g. to answer. */
  onEvent: (event: ConnectionEvent) => void = () => {};
  /** Called with every frame that goes out. */
  onSend: (frame: Uint8Array) => void = () => {};
  readonly #network: SimNetwork;
  readonly #frameBytes: number;
  /** Addresses by peer number; 0 is where the peer was at first. */
  readonly #names: string[];
  /** Connection ids for paths beside the first. */
  #nextPathId = 1_000;
  readonly #info = new FrameInfo();
  readonly #buffer: Uint8Array;
  readonly #view: DataView;

  constructor(
    network: SimNetwork,
    readonly name: string,
    peer: string,
    side: "client" | "server",
    config: Partial<StreamConfig> = {},
    frameBytes = FRAME_BYTES,
  ) {
    const isClient = side === "client";
    this.#network = network;
    this.#names = [peer];
    this.#frameBytes = frameBytes;
    this.#buffer = new Uint8Array(frameBytes);
    this.#view = new DataView(this.#buffer.buffer);
    this.connection = new Connection({
      side,
      localNodeId: new Uint8Array(16).fill(isClient ? 1 : 2),
      peerNodeId: new Uint8Array(16).fill(isClient ? 2 : 1),
      localConnectionId: isClient ? 101 : 202,
      peerConnectionId: isClient ? 202 : 101,
      protection: this.protection,
      random: network.random(`${name} random`).fill,
      nowUs: network.nowUs,
      frameBytesMax: frameBytes,
      config,
    });
    this.tasks = new TaskRunner(this.connection);
  }

  /** Sends something on a new stream, as soon as one may be opened. */
  add(...tasks: Task[]): void {
    this.tasks.add(...tasks);
  }
  get incoming(): TaskRunner["incoming"] {
    return this.tasks.incoming;
  }
  get closed(): TaskRunner["closed"] {
    return this.tasks.closed;
  }
  get streamsClosed(): number {
    return this.tasks.streamsClosed;
  }

  /** Where frames go. */
  get peerName(): string {
    return this.#names[this.connection.peer];
  }

  /** Opens another path to where the peer is (or to another of its names), if it accepts one. */
  openPath(name?: string): void {
    const peer = name === undefined ? this.connection.peer : this.#number(name);
    unlessRefused(() => this.connection.openPath(peer, this.#nextPathId++));
  }

  #number(name: string): number {
    if (!this.#names.includes(name)) this.#names.push(name);
    return this.#names.indexOf(name);
  }

  // ---- host -------------------------------------------------------------------------------

  receive(bytes: Uint8Array, from: string, nowUs: number, ecn: number): void {
    const peer = this.#number(from);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let error = decodeFrame(bytes, view, 0, bytes.length, this.#info);
    if (error === FrameError.FRAME_CRC) {
      // A flipped bit never gets past the CRC. A forger's would: let the tag deal with it as well.
      this.framesDamaged++;
      finishFrame(bytes, view, 0, bytes.length);
      error = decodeFrame(bytes, view, 0, bytes.length, this.#info);
    }
    if (error !== FrameError.OK || this.#info.tagOffset < 0) return;
    const result = this.connection.receiveFrame(bytes, view, 0, this.#info, nowUs, ecn, peer);
    if (result !== 0) this.refused.set(result, (this.refused.get(result) ?? 0) + 1);
  }

  poll(nowUs: number): SimDatagram[] {
    const { connection } = this;
    if (connection.nextTimeoutUs() <= nowUs) connection.handleTimeout(nowUs);
    for (let event = connection.pollEvent(); event; event = connection.pollEvent()) {
      this.#network.note(this.name, event.type);
      if (event.type === "pathRequested") connection.acceptPath(event.path, this.#nextPathId++);
      this.tasks.onEvent(event);
      this.onEvent(event);
    }
    this.tasks.turn();
    const out: SimDatagram[] = [];
    for (;;) {
      const length = connection.pollFrame(
        this.#buffer,
        this.#view,
        0,
        this.#frameBytes,
        nowUs,
        0,
        0,
      );
      if (length === 0) break;
      assert.ok(length <= this.#frameBytes);
      const bytes = this.#buffer.slice(0, length);
      this.onSend(bytes);
      out.push({
        to: this.#names[connection.polledPeer],
        bytes,
        ecn: connection.polledEcn,
      });
    }
    return out;
  }

  nextTimeoutUs(): number {
    return this.connection.nextTimeoutUs();
  }
}

/** Opens a path; that the peer accepts no more, or the connection is over, is no failure. */
export function unlessRefused(open: () => void): void {
  try {
    open();
  } catch (error) {
    const code = error instanceof NexusError ? error.code : "";
    if (code !== "PATH_LIMIT" && code !== "CLOSED") throw error;
  }
}

/** Both ends of a connection. */
export interface Ends {
  client: ConnectionHost;
  server: ConnectionHost;
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
): Ends {
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
  { client, server }: Ends,
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
