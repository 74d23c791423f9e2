/**
 * The application of the scenario matrix: a client that asks for files of some sizes, one stream
 * each, and a server that sends them. Every byte is checked where it arrives.
 *
 * request: size u32, end of stream   answer: so many bytes, end of stream
 */
import assert from "node:assert/strict";
import { NexusError } from "../../lib/base/mod.ts";
import type { ConnectionId, EndpointEvent } from "../../lib/endpoint/mod.ts";
import { type Connection, MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { checkPattern, patternOf } from "./tasks.ts";
import type { Application, EndpointHost } from "./endpoint_host.ts";

const REQUEST_BYTES = 4;
const WRITE_BYTES = 16_384;

/** Answers requests on every connection. */
export class FileServer implements Application {
  /** Connections so far. */
  readonly ids: ConnectionId[] = [];
  /** Proven moves of a connection to another address. */
  migrations = 0;
  /** Bytes left to send, by connection and stream. */
  readonly #sending = new Map<string, { size: number; sent: number }>();

  get connected(): number {
    return this.ids.length;
  }

  onEvent(event: EndpointEvent, host: EndpointHost): void {
    if (event.type === "connected") this.ids.push(event.connection);
    if (event.type !== "connection") return;
    const { connection: id, event: inner } = event;
    if (inner.type === "migrated") this.migrations++;
    if (inner.type === "readable") {
      const request = host.use(id).read(inner.stream);
      if (request === undefined) return;
      assert.equal(request.length, REQUEST_BYTES);
      const size = new DataView(request.buffer, request.byteOffset).getUint32(0);
      this.#sending.set(`${id} ${inner.stream}`, { size, sent: 0 });
      this.#send(host, id, inner.stream);
    } else if (inner.type === "writable") {
      this.#send(host, id, inner.stream);
    } else if (inner.type === "peerFinished") {
      host.use(id).read(inner.stream);
    }
  }

  #send(host: EndpointHost, id: ConnectionId, stream: number): void {
    const file = this.#sending.get(`${id} ${stream}`)!;
    const connection = host.use(id);
    while (file.sent < file.size) {
      const length = Math.min(WRITE_BYTES, file.size - file.sent);
      const taken = connection.write(stream, patternOf(file.size, file.sent, length));
      file.sent += taken;
      if (taken < length) return;
    }
    this.#sending.delete(`${id} ${stream}`);
    connection.finish(stream);
  }
}

interface Download {
  size: number;
  got: number;
}

/** Asks for files on one connection after another. */
export class FileClient implements Application {
  /** Connections so far. */
  readonly ids: ConnectionId[] = [];
  migrations = 0;
  failed = 0;
  filesDone = 0;
  bytesDone = 0;
  closed = 0;
  /** Called when everything asked for on a connection is here. */
  onDone: (id: ConnectionId) => void = () => {};
  get connected(): number {
    return this.ids.length;
  }
  readonly #wanted = new Map<ConnectionId, number[]>();
  readonly #downloads = new Map<ConnectionId, Map<number, Download>>();

  /** Connects and asks for files of these sizes, all at once or as the stream limit allows. */
  download(host: EndpointHost, server: string, sizes: readonly number[]): ConnectionId {
    const id = host.connect(server);
    this.#wanted.set(id, [...sizes]);
    this.#downloads.set(id, new Map());
    return id;
  }

  onEvent(event: EndpointEvent, host: EndpointHost): void {
    const { connection: id } = event;
    if (event.type === "connected") {
      this.ids.push(id);
      this.#askMore(host, id);
    } else if (event.type === "failed") {
      this.failed++;
    } else if (event.type === "closed") {
      this.closed++;
    } else {
      this.#onConnectionEvent(event, host);
    }
  }

  #onConnectionEvent(
    { connection: id, event }: Extract<EndpointEvent, { type: "connection" }>,
    host: EndpointHost,
  ): void {
    switch (event.type) {
      case "established":
      case "streamClosed":
        this.#askMore(host, id);
        break;
      case "readable":
        this.#read(host, id, event.stream);
        break;
      case "peerFinished": {
        this.#read(host, id, event.stream);
        const { size, got } = this.#downloads.get(id)!.get(event.stream)!;
        assert.equal(got, size, `length of the file on stream ${event.stream}`);
        this.#downloads.get(id)!.delete(event.stream);
        this.filesDone++;
        if (this.#downloads.get(id)!.size === 0 && this.#wanted.get(id)!.length === 0) {
          this.onDone(id);
        }
        break;
      }
      case "migrated":
        this.migrations++;
        break;
      case "closed":
        if (event.error !== undefined) throw host.network.failure(event.error.message, event.error);
    }
  }

  #askMore(host: EndpointHost, id: ConnectionId): void {
    if (host.endpoint.connection(id) === undefined) return;
    const connection = host.use(id);
    const wanted = this.#wanted.get(id)!;
    while (wanted.length > 0) {
      const stream = tryOpen(connection);
      if (stream === undefined) return;
      const size = wanted.shift()!;
      const request = new Uint8Array(REQUEST_BYTES);
      new DataView(request.buffer).setUint32(0, size);
      connection.write(stream, request);
      connection.finish(stream);
      this.#downloads.get(id)!.set(stream, { size, got: 0 });
    }
  }

  #read(host: EndpointHost, id: ConnectionId, stream: number): void {
    const connection = host.use(id);
    const file = this.#downloads.get(id)!.get(stream)!;
    for (let piece = connection.read(stream); piece; piece = connection.read(stream)) {
      checkPattern(piece, file.size, file.got);
      file.got += piece.length;
      this.bytesDone += piece.length;
    }
  }
}

/** A new stream; undefined while the peer allows no more. */
function tryOpen(connection: Connection): number | undefined {
  try {
    return connection.openStream(MODE_RELIABLE_ORDERED);
  } catch (error) {
    if (error instanceof NexusError && error.code === "STREAM_LIMIT") return undefined;
    throw error;
  }
}
