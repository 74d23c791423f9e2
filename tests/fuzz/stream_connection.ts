/**
 * Fuzzing of a live Connection under a null protection: it begins, has streams of all four modes
 * and further paths, or is closing, while a peer that holds the keys sends payloads of made-up and
 * mutated frames, singly and at the end of trains, and its own application does this and that. Whatever comes, receiveFrame returns a
 * code, what it sends parses, memory stays under its bound, and in the end the connection is closed
 * with a reason or still works: it answers a PING once its packets are acknowledged. What trains carry
 * of a stream is read as it was sent.
 */
import { NEVER, NexusError, type SeededRandom } from "../../lib/base/mod.ts";
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
  OVERLAY_BYTES,
  putEncryptionTag,
  SEALED_OVERHEAD,
  SEALED_PAYLOAD_OFFSET,
} from "../../lib/l1_link/mod.ts";
import * as f from "../../lib/l3_stream/frames/mod.ts";
import {
  BLOCK_BYTES,
  closeReasonName,
  CONGESTION_NAMES,
  Connection,
  type ConnectionEvent,
  FRAME_BYTES_DEFAULT,
  Landing,
  type Mode,
  ReceiveResult,
  RunResult,
} from "../../lib/l3_stream/mod.ts";
import { RangeSet } from "../../lib/l3_stream/ranges.ts";
import { PR_HELD_BYTES_MIN } from "../../lib/l3_stream/core.ts";
import { QUEUED_UNRELIABLE_BYTES_MAX } from "../../lib/l3_stream/receive_stream.ts";
import { NullProtection } from "../sim/null_protection.ts";
import { require } from "./fuzzer.ts";
import { mutate } from "./mutate.ts";
import { TrainProtection } from "./null_runs.ts";
import { FrameComposer, type Hints } from "./stream_frames.ts";

const PAYLOAD_BYTES_MAX = 1_800;
/** Room that a composed frame may need. */
const FRAME_ROOM = 900;
/** Inputs that a connection gets at most. */
const LIFE_INPUTS_MAX = 400;
const CONFIG = {
  maxStreams: 16,
  maxDataBytes: 262_144,
  streamWindowBytes: 65_536,
  streamMessages: 64,
  maxMessageBytes: 65_536,
  sendBufferBytes: 16_384,
};
/**
 * What the peer can make us hold. A byte can cost a block, but bytes of RO count up to the highest
 * offset: a stream wastes less than two blocks.
 */
const RECEIVE_BYTES_MAX = CONFIG.maxDataBytes + 2 * BLOCK_BYTES * 2 * CONFIG.maxStreams +
  Math.max(CONFIG.maxDataBytes, PR_HELD_BYTES_MIN) + QUEUED_UNRELIABLE_BYTES_MAX +
  CONFIG.maxMessageBytes;
/** Frames that one input may cause; a window of full ones and answers is far below. */
const POLLS_MAX = 2_000;
/** Deadlines in a row without time passing; more would be a busy loop. */
const DEADLINES_MAX = 64;
/** Deadlines after which a connection that works has answered. */
const ANSWER_DEADLINES_MAX = 100;
/** Later than any timeout of a connection that closes. */
const LONG_US = 60_000_000;
const MODES: readonly Mode[] = [1, 2, 3, 4];
const LOCAL_ID = 22;
const PEER_ID = 11;
/** Connection ids of further paths: this plus the path id. */
const PATH_IDS = 900;
/** PINGs of the composer are below. */
const PROOF_PING = 2 ** 40;
/** Frames of a train at most, and of those that it may begin with. */
const TRAIN_FRAMES_MAX = 9;
const TRAIN_BYTES = TRAIN_FRAMES_MAX * (SEALED_OVERHEAD + PAYLOAD_BYTES_MAX + OVERLAY_BYTES);
/** So that it fills. */
const LANDING_BYTES = 40_000;

export class ConnectionFuzz {
  readonly #random: SeededRandom;
  readonly #composer: FrameComposer;
  /** Shared by the connections, as in an endpoint. */
  readonly #landing = new Landing();
  readonly #reached = new Map<string, number>();
  #victim: Victim | undefined;
  #payload = new Uint8Array(PAYLOAD_BYTES_MAX);
  readonly #view = new DataView(this.#payload.buffer);
  #length = 0;
  #connections = 0;
  #proofs = 0;
  #bytesHeldMax = 0;
  #trainBytes = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#composer = new FrameComposer(random);
    this.#landing.words[5] = LANDING_BYTES;
  }

  summary(): string {
    const ends = [...this.#reached].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${n}`);
    return `${this.#connections} connections held at most ${this.#bytesHeldMax} bytes, ` +
      `${this.#proofs} times proved to work, read ${this.#trainBytes} bytes of trains, ended by ${
        ends.join(", ")
      }`;
  }

  lastInput(): Uint8Array {
    return this.#payload.slice(0, this.#length);
  }

  one(): void {
    const random = this.#random;
    if (this.#victim === undefined) {
      this.#victim = new Victim(random, this.#landing);
      this.#connections++;
    }
    const victim = this.#victim;
    this.#compose(victim);
    victim.receive(this.#payload, this.#length);
    victim.act();
    this.#trainBytes += victim.readBulk();
    victim.drive();
    const held = victim.checkMemory();
    if (held > this.#bytesHeldMax) this.#bytesHeldMax = held;
    if (victim.end !== "") {
      if (random.chance(0.7)) return; // closing connections get input as well
      victim.checkEnds();
      this.#retire(victim.end);
    } else if (++victim.inputs % 64 === 0) {
      if (victim.proveWorks()) this.#proofs++;
      if (victim.end === "" && victim.inputs >= LIFE_INPUTS_MAX) this.#retire("nothing");
    }
  }

  #retire(end: string): void {
    this.#victim = undefined;
    this.#reached.set(end, (this.#reached.get(end) ?? 0) + 1);
  }

  #compose({ hints, wild }: Victim): void {
    const random = this.#random;
    let at = 0;
    for (let count = 1 + random.below(4); count > 0; count--) {
      if (at + FRAME_ROOM > PAYLOAD_BYTES_MAX) break;
      at = this.#composer.append(this.#payload, this.#view, at, hints, wild);
    }
    this.#length = random.chance(wild)
      ? mutate(this.#payload, at, PAYLOAD_BYTES_MAX, random, this.#payload.slice(0, at))
      : at;
  }
}

/** The connection under test, with its peer and its application. */
class Victim {
  readonly hints: Hints;
  /** How often the peer does what it should not. */
  readonly wild: number;
  /** Why the connection is over; "" while it is not. */
  end = "";
  inputs = 0;
  readonly #random: SeededRandom;
  readonly #connection: Connection;
  readonly #isClient: boolean;
  /** Seldom reads. */
  readonly #isLazy: boolean;
  #nowUs = 0;
  readonly #buffer = new Uint8Array(2_048);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #frame = new f.Frame();
  readonly #info = new FrameInfo();
  readonly #header = new HeaderFields();
  /** The peer's side of each path: seals, and the next packet number. */
  readonly #sealers = new Map<number, { protection: NullProtection; next: number }>();
  readonly #landing: Landing;
  readonly #train = new Uint8Array(TRAIN_BYTES);
  readonly #trainView = new DataView(this.#train.buffer);
  /** A stream of the peer that only trains carry: the byte at each offset is known. */
  #bulk = 0;
  #bulkSent = 0;
  #bulkRead = 0;
  #bulkLimit = CONFIG.streamWindowBytes;
  /** Packets that came on the first path. */
  readonly #sent = new RangeSet();
  #wasPonged = false;

  constructor(random: SeededRandom, landing: Landing) {
    this.#random = random;
    this.#landing = landing;
    this.wild = [0, 0.02, 0.3][random.below(3)];
    this.#isLazy = random.chance(0.5);
    this.#isClient = random.chance(0.5);
    const [own, peers] = [new Uint8Array(16).fill(2), new Uint8Array(16).fill(1)];
    const [client, server] = [1, f.SERVER_STREAM_ID_MIN].map((first) =>
      MODES.map((mode) => first + 2 * (mode - 1))
    );
    this.hints = {
      own: this.#isClient ? server : client,
      others: this.#isClient ? client : server,
      sent: [],
      parametersType: this.#isClient ? f.CONN_ACCEPT : f.CONN_INIT,
      nodeId: peers,
      token: [0, 0],
      symbol: 0,
    };
    this.#connection = new Connection({
      side: this.#isClient ? "client" : "server",
      localNodeId: own,
      peerNodeId: peers,
      localConnectionId: LOCAL_ID,
      peerConnectionId: PEER_ID,
      protection: new TrainProtection(),
      random: random.fill,
      nowUs: 0,
      frameBytesMax: FRAME_BYTES_DEFAULT + random.below(2) * 300,
      config: { ...CONFIG, congestion: CONGESTION_NAMES[random.below(CONGESTION_NAMES.length)] },
    });
    Object.assign(this.#header, {
      type: FrameType.DATA,
      flags: Flag.ENCRYPTED,
      keyPhase: 1,
      optionsLength: SEALED_PAYLOAD_OFFSET - HEADER_BYTES,
    });
    this.#sealers.set(0, { protection: new NullProtection(), next: 0 });
    this.drive();
    const state = random.below(8);
    if (state === 0) return; // waits for parameters
    this.#establish();
    if (state < 4) this.#openPaths();
    if (state === 4) {
      if (random.chance(0.5)) this.#connection.close(10, "enough", this.#nowUs);
      else this.#sayClose();
      this.drive();
    }
  }

  #establish(): void {
    const { hints } = this;
    const parameters = Object.assign(new f.Parameters(), {
      version: 1,
      nodeId: hints.nodeId,
      maxStreams: 64,
      maxData: 2 ** 20,
      streamWindow: 2 ** 17,
      streamMessages: 128,
      maxMessage: 65_536,
      maxAckDelayUs: 25_000,
      idleTimeoutMs: 60_000,
      maxPaths: 3,
    });
    this.#say((bytes, view) =>
      f.appendParameters(bytes, view, 0, hints.parametersType, parameters)
    );
    this.drive();
    require(this.#connection.state === "established", () => "not established by parameters");
    for (const mode of MODES) {
      const stream = this.#connection.openStream(mode);
      require(stream === hints.others[mode - 1], () => `stream ${stream} of mode ${mode}`);
      const window = mode === 4 ? 900_000 : 65_536;
      this.#say((_, view) => f.appendStreamOpen(view, 0, hints.own[mode - 1], mode, 3, window));
      this.#send(stream, 3_000);
      this.#send(hints.own[mode - 1], 3_000);
    }
    this.#bulk = hints.own[0] + 2 * MODES.length;
    this.#say((_, view) => f.appendStreamOpen(view, 0, this.#bulk, 1, 3, CONFIG.streamWindowBytes));
    this.drive();
  }

  #openPaths(): void {
    const id = this.#connection.openPath(1, PATH_IDS + (this.#isClient ? 1 : 2));
    const theirs = this.#isClient ? 2 : 1;
    this.#say((_, view) => f.appendPathOpen(view, 0, f.PATH_ACCEPT, id, 701));
    this.#say((_, view) => f.appendPathOpen(view, 0, f.PATH_OPEN, theirs, 702));
    this.#sealers.set(id, { protection: new NullProtection(2 ** 23, id), next: 0 });
    this.drive();
  }

  #sayClose(): void {
    this.#say((bytes, view) => f.appendClose(bytes, view, 0, 10, new Uint8Array(3)));
  }

  /** A packet of one frame on the first path. */
  #say(append: (bytes: Uint8Array, view: DataView) => number): void {
    const payload = new Uint8Array(PAYLOAD_BYTES_MAX);
    this.#deliver(payload, append(payload, new DataView(payload.buffer)), 0, 0);
  }

  /** The payload as a packet, on some path and from some address. */
  receive(payload: Uint8Array, length: number): void {
    const random = this.#random;
    this.#nowUs += random.chance(0.05) ? random.below(100_000) : random.below(2_000);
    if (random.chance(0.3)) return this.#deliverTrain(payload, length);
    const paths = [...this.#sealers.keys()];
    const path = this.wild === 0 || random.chance(0.75) ? 0 : paths[random.below(paths.length)];
    this.#deliver(
      payload,
      length,
      path,
      random.chance(0.03) ? random.below(3) : path === 0 ? 0 : 1,
    );
  }

  #deliver(payload: Uint8Array, length: number, path: number, peer: number): void {
    const random = this.#random;
    if (random.chance(this.wild / 4)) this.#sealers.get(path)!.next += random.below(6_000);
    const [bytes, view] = [this.#buffer, this.#view];
    const frameBytes = this.#seal(bytes, view, 0, payload, length, path);
    const result = this.#receiveFrame(bytes, view, 0, frameBytes, this.#takeEcn(), peer);
    const isExpected = result === ReceiveResult.OK || result === ReceiveResult.CLOSED ||
      path !== 0 && result === ReceiveResult.UNKNOWN_PATH;
    require(isExpected, () => `receiveFrame returned ${result} on path ${path}`);
  }

  #takeEcn(): number {
    return this.#random.chance(0.1) ? this.#random.below(4) : 0;
  }

  /** The payload as the peer's next frame on the path, at `at`; returns its length. */
  #seal(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    payload: Uint8Array,
    length: number,
    path: number,
  ): number {
    const sealer = this.#sealers.get(path)!;
    const header = this.#header;
    header.length = SEALED_OVERHEAD + length;
    header.streamId = path === 0 ? LOCAL_ID : PATH_IDS + path;
    header.sequence = sealer.next >>> 0;
    encodeHeader(bytes, view, at, header);
    putEncryptionTag(bytes, at + HEADER_BYTES);
    const payloadAt = at + SEALED_PAYLOAD_OFFSET;
    bytes.set(payload.subarray(0, length), payloadAt);
    sealer.protection.seal(bytes, view, at, payloadAt, length, sealer.next++);
    finishFrame(bytes, view, at, header.length);
    return header.length;
  }

  #receiveFrame(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    length: number,
    ecn: number,
    peer: number,
  ): ReceiveResult {
    const code = decodeFrame(bytes, view, at, length, this.#info);
    require(code === FrameError.OK, () => `the frame is refused as ${FrameError[code]}`);
    return this.#connection.receiveFrame(bytes, view, at, this.#info, this.#nowUs, ecn, peer);
  }

  /** Frames of the bulk stream, some of them damaged or repeated, and the payload behind them. */
  #deliverTrain(payload: Uint8Array, length: number): void {
    const random = this.#random;
    const [bytes, view] = [this.#train, this.#trainView];
    const most = Math.max(length, f.DATA_HEAD_BYTES + 1 + random.below(1_200));
    const step = SEALED_OVERHEAD + most + OVERLAY_BYTES;
    const data = most - f.DATA_HEAD_BYTES;
    if (random.chance(0.3)) this.#bulkSent = Math.max(0, this.#bulkSent - random.below(20_000));
    if (random.chance(0.1)) this.#bulkSent = this.#bulkRead;
    let at = 0;
    for (let count = random.below(TRAIN_FRAMES_MAX); count > 0 && this.#bulk !== 0; count--) {
      if (this.#bulkSent + data > this.#bulkLimit) break;
      this.#seal(bytes, view, at, this.#bulkPayload(data), most, 0);
      if (random.chance(0.02)) view.setUint8(at + SEALED_PAYLOAD_OFFSET + random.below(most), 1);
      if (random.chance(0.5)) finishFrame(bytes, view, at, step - OVERLAY_BYTES);
      if (random.chance(0.02) && at > 0) bytes.copyWithin(at, at - step, at);
      this.#bulkSent += data;
      at += step;
    }
    const last = this.#seal(bytes, view, at, payload, length, 0);
    this.#receiveTrain(at + last, at === 0 ? 0 : step);
  }

  /** A packet of the next bytes of the bulk stream. */
  #bulkPayload(length: number): Uint8Array {
    const payload = new Uint8Array(f.DATA_HEAD_BYTES + length);
    const view = new DataView(payload.buffer);
    const from = f.appendDataHead(view, 0, this.#bulk, this.#bulkSent, length);
    for (let i = 0; i < length; i++) payload[from + i] = bulkByte(this.#bulkSent + i);
    return payload;
  }

  /** Takes in the train as an endpoint does (Endpoint.receiveBurst). */
  #receiveTrain(length: number, segment: number): void {
    const bytes = this.#train;
    const connection = this.#connection;
    const landing = this.#landing;
    const ecn = this.#takeEcn();
    const peer = this.#random.chance(0.03) ? this.#random.below(3) : 0;
    const step = segment || length + OVERLAY_BYTES;
    const frames = Math.ceil(length / step);
    landing.begin(0, length, segment);
    while (landing.next < frames) {
      const next = landing.next;
      const results = connection.openTrain(bytes, landing);
      if (results < 0) return this.#receiveSingly(next, length, step, ecn, peer);
      if (results === 0) {
        landing.clear();
        const again = connection.openTrain(bytes, landing);
        require(again > 0, () => "a landing that was cleared has no room");
        this.#takeResults(again, ecn, peer);
      } else this.#takeResults(results, ecn, peer);
    }
  }

  #takeResults(results: number, ecn: number, peer: number): void {
    const landing = this.#landing;
    for (let k = 0; k < results; k++) {
      const kind = landing.kind(k);
      if (kind === RunResult.FRAME) continue; // a damaged one, that its CRC gives away
      const result = this.#connection.receiveResult(landing, k, this.#nowUs, ecn, peer);
      const isExpected = kind === RunResult.FORGED
        ? result === ReceiveResult.UNAUTHENTIC
        : kind === RunResult.REPLAYED
        ? result === ReceiveResult.REPLAYED
        : result === ReceiveResult.OK || result === ReceiveResult.CLOSED;
      require(isExpected, () => `receiveResult returned ${result} for a result of kind ${kind}`);
    }
  }

  /** A connection that is not established takes frames only. */
  #receiveSingly(next: number, length: number, step: number, ecn: number, peer: number): void {
    for (let at = next * step; at < length; at += step) {
      const frameBytes = Math.min(step - OVERLAY_BYTES, length - at);
      const code = decodeFrame(this.#train, this.#trainView, at, frameBytes, this.#info);
      if (code !== FrameError.OK) continue; // damaged
      this.#receiveFrame(this.#train, this.#trainView, at, frameBytes, ecn, peer);
    }
  }

  /** Reads the bulk stream, now or later; how many bytes. */
  readBulk(): number {
    const connection = this.#connection;
    let count = 0;
    if (this.#bulk === 0 || this.#random.chance(this.#isLazy ? 0.9 : 0.3)) return 0;
    for (let part = connection.read(this.#bulk); part; part = connection.read(this.#bulk)) {
      // A wild peer may have sent other bytes of it, or reset it.
      for (let i = 0; i < part.length && this.wild === 0; i++) {
        const expected = bulkByte(this.#bulkRead + i);
        require(part[i] === expected, () => `byte ${this.#bulkRead + i} is ${part[i]}`);
      }
      this.#bulkRead += part.length;
      count += part.length;
    }
    return count;
  }

  /** The application of the connection under test. */
  act(): void {
    const random = this.#random;
    const connection = this.#connection;
    const { hints } = this;
    const stream = (random.chance(0.5) ? hints.own : hints.others)[random.below(4)];
    if (!random.chance(this.#isLazy ? 0.02 : 0.5)) return;
    unlessRefused(() => {
      switch (random.below(this.wild > 0 ? 14 : 8)) {
        case 8:
          return connection.finish(stream);
        case 9:
          return connection.reset(stream, 1);
        case 10:
          return connection.stop(stream, 2);
        case 11:
          return random.chance(0.1) ? connection.close(0, "bye", this.#nowUs) : undefined;
        case 12:
          return connection.openStream(MODES[random.below(4)]);
        case 13:
          return connection.migrate(random.below(3), this.#nowUs);
        case 0:
          return this.#send(stream, random.below(5_000));
        case 1:
          return connection.ping();
        default:
          for (const id of [...hints.own, ...hints.others]) {
            while (connection.read(id) !== undefined);
            while (connection.readMessage(id) !== undefined);
          }
      }
    });
  }

  #send(stream: number, length: number): void {
    const connection = this.#connection;
    const mode = 1 + (stream & 0xff) % 8 >> 1;
    unlessRefused(() => {
      if ((stream % 8) >> 1 === 0) connection.write(stream, new Uint8Array(length));
      else connection.sendMessage(stream, new Uint8Array(mode === 2 ? 700 : length));
    });
  }

  /** Serves deadlines, takes frames and events, as a driver does. */
  drive(): void {
    for (let i = 0;; i++) {
      this.#poll();
      this.#takeEvents();
      if (this.#connection.nextTimeoutUs() > this.#nowUs) return;
      require(i < DEADLINES_MAX, () => "deadlines never end");
      this.#connection.handleTimeout(this.#nowUs);
    }
  }

  #poll(): void {
    const [bytes, view] = [this.#buffer, this.#view];
    const connection = this.#connection;
    for (let i = 0;; i++) {
      const length = connection.pollFrame(bytes, view, 0, bytes.length, this.#nowUs, 0, 0);
      if (length === 0) return;
      require(i < POLLS_MAX, () => "it never stops sending");
      const code = decodeFrame(bytes, view, 0, length, this.#info);
      require(code === FrameError.OK, () => `it sent a frame that is ${FrameError[code]}`);
      const { streamId, sequence, payloadOffset, payloadLength } = this.#info;
      if (streamId === PEER_ID) {
        this.#sent.insert(sequence);
        this.hints.sent.push(sequence);
        if (this.hints.sent.length > 64) this.hints.sent.splice(0, 32);
      }
      this.#look(payloadOffset, payloadOffset + payloadLength);
    }
  }

  /** What the peer sees of a payload. */
  #look(at: number, end: number): void {
    const frame = this.#frame;
    while (at < end) {
      const next = f.parseFrame(this.#buffer, this.#view, at, end, frame);
      require(next !== f.MALFORMED, () => `it sent a malformed frame of type ${frame.type}`);
      at = next;
      if (frame.type === f.PATH_CHALLENGE) {
        Object.assign(this.hints, { token: [frame.tokenHigh, frame.tokenLow] });
      }
      if (frame.type === f.WINDOW_UPDATE && frame.stream === this.#bulk) {
        this.#bulkLimit = Math.max(this.#bulkLimit, frame.limit);
      }
      if (frame.type === f.PONG && frame.id === PROOF_PING) this.#wasPonged = true;
    }
  }

  #takeEvents(): void {
    const connection = this.#connection;
    for (let event = connection.pollEvent(); event; event = connection.pollEvent()) {
      require(this.end === "", () => `event ${event?.type} after the last one`);
      this.#onEvent(event);
    }
    const { state } = connection;
    const isOver = state === "closing" || state === "closed";
    require(isOver === (this.end !== ""), () => `state ${state} with the end "${this.end}"`);
  }

  #onEvent(event: ConnectionEvent): void {
    if (event.type === "pathRequested") {
      const { path } = event;
      this.#connection.acceptPath(path, PATH_IDS + path);
      this.#sealers.set(path, { protection: new NullProtection(2 ** 23, path), next: 0 });
    } else if (event.type === "pathClosed") {
      this.#sealers.delete(event.path);
    } else if (event.type === "closed") {
      const name = event.error?.code ?? closeReasonName(event.reason);
      const isNamed = event.byPeer || !name.startsWith("REASON_") && name !== "INTERNAL";
      require(isNamed, () => `closed with ${name}: ${event.phrase}`);
      this.end = event.byPeer ? "peer" : name;
    }
  }

  /** Bytes held, under their bounds. */
  checkMemory(): number {
    const { sendBytes, receiveBytes } = this.#connection.memory();
    require(receiveBytes <= RECEIVE_BYTES_MAX, () => `${receiveBytes} received bytes are held`);
    const sendMax = this.#connection.openStreamCount * (CONFIG.sendBufferBytes + BLOCK_BYTES);
    require(sendBytes <= sendMax, () => `${sendBytes} bytes to send are held`);
    return receiveBytes;
  }

  /** A connection that closes is closed after a while and wants nothing more. */
  checkEnds(): void {
    this.#nowUs += LONG_US;
    this.drive();
    const { state } = this.#connection;
    require(state === "closed", () => `state is ${state} long after the end`);
    require(this.#connection.nextTimeoutUs() === NEVER, () => "a closed connection has a deadline");
  }

  /** Acknowledges everything and gets a PING answered; false: the connection ended over it. */
  proveWorks(): boolean {
    const connection = this.#connection;
    if (connection.state !== "established") return false;
    this.#wasPonged = false;
    this.#say((_, view) => f.appendPing(view, 0, f.PING, PROOF_PING));
    for (let i = 0; i < ANSWER_DEADLINES_MAX && this.end === ""; i++) {
      this.drive();
      if (this.#wasPonged) return true;
      this.#say((bytes, view) => f.appendAck(view, 0, bytes.length, ackOf(this.#sent), 0));
      this.drive();
      this.#nowUs = Math.min(connection.nextTimeoutUs(), this.#nowUs + LONG_US);
    }
    // Whoever was told of 2^53 bytes of CE or the like may be right to end it.
    require(this.#wasPonged || this.end !== "", () => "a PING was not answered");
    return this.#wasPonged;
  }
}

/** Byte of the bulk stream at an offset. */
function bulkByte(offset: number): number {
  return (offset ^ offset >> 8) & 0xff;
}

function ackOf(sent: RangeSet): f.AckSource {
  const { count, lows, highs } = sent;
  return {
    count,
    highAt: (i) => highs[count - 1 - i],
    lowAt: (i) => lows[count - 1 - i],
    ect0: 0,
    ect1: 0,
    ce: 0,
  };
}

/** What the application does may be refused, with a typed error. */
function unlessRefused(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof NexusError)) throw error;
  }
}
