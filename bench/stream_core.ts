/**
 * What a connection costs without sockets (started by stream.ts): two of them joined through memory,
 * sealed as a node seals them, on virtual time. Prints one figure:
 *
 *     packet_cpu_ns         of one end for one packet, sent or received, in a bulk RO transfer
 *     idle_stream_bytes     of one end for an open RO stream that has carried a request and an answer
 *     active_stream_bytes   of one end for an RO stream that is full of data in both directions
 */
import process from "node:process";
import { randomFill } from "../lib/io/clock.ts";
import { chooseEngine } from "../lib/io/native_records.ts";
import {
  decodeFrame,
  FrameError,
  FrameInfo,
  OVERLAY_BYTES,
  Pool,
  SLOT_BYTES,
} from "../lib/l1_link/mod.ts";
import {
  Connection,
  MODE_RELIABLE_ORDERED,
  RunBuffers,
  RunResult,
  type StreamConfig,
} from "../lib/l3_stream/mod.ts";
import {
  KEY_BYTES,
  NONCE_BYTES,
  RecordProtection,
  SUITE_AES_256_GCM,
} from "../lib/l4_trust/mod.ts";
import { median } from "./row.ts";

/** Frames of a path of MTU 1,500, IPv6 and overlay counted. */
const FRAME_BYTES = 1_422;
const BURST_FRAMES = 64;
/** One way, virtual; a burst on the way is a flight. */
const DELAY_US = 500;
const SAMPLES = 21;
const SAMPLE_BYTES = 4_194_304;
const WARM_UP_SAMPLES = 10;
const IDLE_STREAMS = 16_384;
const ACTIVE_STREAMS = 64;
/** Flights after which windows have grown as far as they do. */
const TURNS = 1_000;
const WRITE_BYTES = 262_144;
const REQUEST_BYTES = 64;
const VNI = 7;

declare const gc: () => void;

const { engine, blocks } = chooseEngine();
/** As an endpoint has them. */
const runBuffers = engine.records === undefined ? undefined : new RunBuffers();

class End {
  readonly connection: Connection;
  readonly #info = new FrameInfo();

  constructor(side: "client" | "server", config: Partial<StreamConfig>) {
    const [own, peer] = side === "client" ? [1, 2] : [2, 1];
    this.connection = new Connection({
      side,
      localNodeId: new Uint8Array(16).fill(own),
      peerNodeId: new Uint8Array(16).fill(peer),
      localConnectionId: own,
      peerConnectionId: peer,
      protection: new RecordProtection({
        engine,
        suite: SUITE_AES_256_GCM,
        vni: VNI,
        sealKey: new Uint8Array(KEY_BYTES).fill(own),
        sealIv: new Uint8Array(NONCE_BYTES).fill(own),
        openKey: new Uint8Array(KEY_BYTES).fill(peer),
        openIv: new Uint8Array(NONCE_BYTES).fill(peer),
      }),
      random: randomFill,
      nowUs: 0,
      frameBytesMax: FRAME_BYTES,
      config,
      blocks,
      runBuffers,
    });
  }

  /** A frame, or a train with `segment` bytes from one frame to the next. */
  receive(pool: Pool, offset: number, length: number, segment: number, nowUs: number): void {
    if (runBuffers !== undefined) return this.#receiveRun(pool, offset, length, segment, nowUs);
    for (let at = 0; at < length; at += segment || length) {
      const frameBytes = Math.min(length - at, segment === 0 ? length : segment - OVERLAY_BYTES);
      this.#receiveFrame(pool, offset + at, frameBytes, nowUs);
    }
  }

  #receiveRun(pool: Pool, offset: number, length: number, segment: number, nowUs: number): void {
    const { landing } = runBuffers!;
    const frames = segment === 0 ? 1 : Math.ceil((length + OVERLAY_BYTES) / segment);
    landing.begin(offset, length, segment);
    while (landing.next < frames) {
      const results = this.connection.openTrain(pool.bytes, landing);
      if (results === 0) landing.clear();
      if (results < 0) return this.#receiveFrame(pool, offset, length, nowUs);
      for (let i = 0; i < results; i++) {
        if (landing.kind(i) !== RunResult.FRAME) {
          this.connection.receiveResult(landing, i, nowUs, 0, 0);
        } else this.#receiveFrame(pool, landing.at(i), landing.length(i), nowUs);
      }
    }
  }

  #receiveFrame({ bytes, view }: Pool, offset: number, length: number, nowUs: number): void {
    if (decodeFrame(bytes, view, offset, length, this.#info) !== FrameError.OK) {
      throw new Error("a frame was damaged in memory");
    }
    this.connection.receiveFrame(bytes, view, offset, this.#info, nowUs, 0, 0);
  }
}

/** Both ends and the memory between them; frames of a flight lie in the slots of a pool. */
class Pair {
  readonly client: End;
  readonly server: End;
  readonly #pool = new Pool({ slotBytes: SLOT_BYTES.large, slots: BURST_FRAMES });
  nowUs = 0;

  constructor(config: Partial<StreamConfig> = {}) {
    this.client = new End("client", config);
    this.server = new End("server", config);
    this.settle();
  }

  /** What `app` does with both, then one flight each way; false when nobody had anything to send. */
  turn(app: () => void): boolean {
    app();
    return this.#flight(this.client, this.server) + this.#flight(this.server, this.client) > 0;
  }

  /** Turns until both are quiet and nothing is owed. */
  settle(app: () => void = () => this.dropEvents()): void {
    for (;;) {
      while (this.turn(app));
      if (!this.#waitShort()) return;
    }
  }

  /** Moves the clock to the next deadline; false when it is only a matter of silence. */
  #waitShort(): boolean {
    const ends = [this.client.connection, this.server.connection];
    const nextUs = Math.min(...ends.map((end) => end.nextTimeoutUs()));
    if (nextUs > this.nowUs + 1_000_000) return false;
    this.nowUs = Math.max(this.nowUs, nextUs);
    for (const end of ends) end.handleTimeout(this.nowUs);
    return true;
  }

  /** As #waitShort, for a transfer that never rests. */
  advance(): void {
    if (!this.#waitShort()) throw new Error("the transfer has stopped");
  }

  #flight(from: End, to: End): number {
    const pool = this.#pool;
    const lengths: number[] = [];
    const segments: number[] = [];
    let packets = 0;
    while (packets < BURST_FRAMES) {
      const length = from.connection.pollTrain(
        pool.bytes,
        pool.view,
        pool.frameOffsetOf(lengths.length),
        pool.frameBytesMax,
        BURST_FRAMES - packets,
        this.nowUs,
        0,
        0,
      );
      if (length === 0) break;
      lengths.push(length);
      segments.push(from.connection.polledSegment);
      packets += from.connection.polledPackets;
    }
    if (packets === 0) return 0;
    this.nowUs += DELAY_US;
    lengths.forEach((length, slot) =>
      to.receive(pool, pool.frameOffsetOf(slot), length, segments[slot], this.nowUs)
    );
    return packets;
  }

  dropEvents(): void {
    for (const { connection } of [this.client, this.server]) {
      while (connection.pollEvent() !== undefined);
    }
  }

  get packets(): number {
    return [this.client, this.server].map(({ connection }) => connection.stats())
      .reduce((sum, { packetsSent, packetsReceived }) => sum + packetsSent + packetsReceived, 0);
  }
}

function packetCpuNs(): number {
  const pair = new Pair();
  const client = pair.client.connection;
  const server = pair.server.connection;
  const stream = client.openStream(MODE_RELIABLE_ORDERED);
  const chunk = new Uint8Array(WRITE_BYTES);
  let received = 0;
  const app = () => {
    client.write(stream, chunk);
    for (let got = server.read(stream); got; got = server.read(stream)) received += got.length;
    pair.dropEvents();
  };
  const sample = () => {
    const packets = pair.packets;
    const begun = process.cpuUsage();
    for (const until = received + SAMPLE_BYTES; received < until;) {
      if (!pair.turn(app)) pair.advance();
    }
    // Time on the processor: other programs do not count, this one's collector does.
    const { user, system } = process.cpuUsage(begun);
    return (user + system) * 1_000 / (pair.packets - packets);
  };
  const samples = Array.from({ length: WARM_UP_SAMPLES + SAMPLES }, sample);
  return median(samples.slice(WARM_UP_SAMPLES));
}

/** How many bytes there are to read. */
function readAll(connection: Connection, stream: number): number {
  let bytes = 0;
  for (let got = connection.read(stream); got; got = connection.read(stream)) bytes += got.length;
  return bytes;
}

function idleStreamBytes(): number {
  const pair = new Pair({ maxStreams: IDLE_STREAMS });
  const { connection: client } = pair.client;
  const { connection: server } = pair.server;
  const request = new Uint8Array(REQUEST_BYTES);
  const streams: number[] = [];
  /** Opens so many streams, each with a request and an answer. */
  const open = (count: number) => {
    for (let i = 0; i < count; i++) {
      const stream = client.openStream(MODE_RELIABLE_ORDERED);
      client.write(stream, request);
      streams.push(stream);
    }
    pair.settle();
    for (const stream of streams.slice(-count)) {
      if (readAll(server, stream) !== REQUEST_BYTES) throw new Error("no request came");
      server.write(stream, request);
    }
    pair.settle();
    for (const stream of streams.slice(-count)) {
      if (readAll(client, stream) !== REQUEST_BYTES) throw new Error("no answer came");
    }
    pair.settle();
  };
  open(IDLE_STREAMS / 16); // Code and tables have their size.
  const before = heldBytes();
  const count = IDLE_STREAMS - streams.length;
  open(count);
  return (heldBytes() - before) / count / 2;
}

function activeStreamBytes(): number {
  const pair = new Pair();
  const ends = [pair.client.connection, pair.server.connection];
  const chunk = new Uint8Array(WRITE_BYTES);
  const streams: number[] = [];
  const app = () => {
    for (const end of ends) {
      for (const stream of streams) {
        end.write(stream, chunk);
        while (end.read(stream) !== undefined);
      }
    }
    pair.dropEvents();
  };
  const transfer = (turns: number) => {
    for (let i = 0; i < turns; i++) if (!pair.turn(app)) pair.advance();
  };
  const open = (count: number) => {
    for (let i = 0; i < count; i++) {
      streams.push(pair.client.connection.openStream(MODE_RELIABLE_ORDERED));
    }
    pair.settle(); // The other end knows them.
    transfer(TURNS);
  };
  open(1); // Code and tables have their size.
  const before = heldBytes();
  open(ACTIVE_STREAMS);
  return (heldBytes() - before) / ACTIVE_STREAMS / 2;
}

/** What JavaScript holds now: its heap and the memory of its arrays. */
function heldBytes(): number {
  gc();
  gc(); // The first one runs what was waiting to be finalized.
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

const figures: Record<string, () => number> = {
  packet_cpu_ns: packetCpuNs,
  idle_stream_bytes: idleStreamBytes,
  active_stream_bytes: activeStreamBytes,
};
console.log(figures[Deno.args[0]]());
