/** How the streams of one connection share what the path lets out. */
import assert from "node:assert/strict";
import { CRC_BYTES, SEALED_PAYLOAD_OFFSET } from "../../lib/l1_link/mod.ts";
import {
  BlockPool,
  type Connection,
  MODE_BEST_EFFORT as BE,
  MODE_PROBABILISTIC as PR,
  MODE_RELIABLE_ORDERED as RO,
  MODE_RELIABLE_UNORDERED as RU,
  portableErasureCodec,
  PRIORITY_DEFAULT,
  STREAM_CONFIG_DEFAULT,
  type StreamConfig,
  WEIGHT_MAX,
  WEIGHT_MIN,
} from "../../lib/l3_stream/mod.ts";
import { SendBudget } from "../../lib/l3_stream/flow.ts";
import { MESSAGE_HEAD_BYTES } from "../../lib/l3_stream/frames/mod.ts";
import { PrShared } from "../../lib/l3_stream/streams/pr_shared.ts";
import { Scheduler, TURN_BYTES } from "../../lib/l3_stream/streams/scheduler.ts";
import { Stream } from "../../lib/l3_stream/streams/stream.ts";
import {
  establishedPair,
  FRAME_BYTES,
  give,
  type Pair,
  parsePayload,
  pattern,
  pollAll,
} from "./harness.ts";

const MIB = 1 << 20;
/** Nothing but congestion holds the streams back. */
const ROOMY: Partial<StreamConfig> = {
  initialDataBytes: 24 * MIB,
  initialStreamWindowBytes: 16 * MIB,
  initialSendBufferBytes: 16 * MIB,
  streamMessages: 65_536,
  searchMtu: false,
};
const STEP_PACKETS = 8;
const STEPS_MAX = 10_000;
/** DATA, MESSAGE, FEC. */
const STREAM_DATA_TYPES = [0x50, 0x51, 0x52];

/** A piece of data that the client sent. */
interface Piece {
  stream: number;
  bytes: number;
  packet: number;
}

const buffer = new Uint8Array(65_535);
const view = new DataView(buffer.buffer);

/** A pair on a path that takes a few packets of the client a millisecond; notes what they carry. */
class Narrow {
  readonly pair: Pair;
  readonly pieces: Piece[] = [];
  #packet = 0;

  constructor(server: Partial<StreamConfig> = {}) {
    this.pair = establishedPair(ROOMY, { ...ROOMY, ...server });
  }

  get client(): Connection {
    return this.pair.client;
  }
  get total(): number {
    return this.pieces.reduce((bytes, piece) => bytes + piece.bytes, 0);
  }

  /** Lets time pass until `isDone`; the server reads what came every so many steps. */
  runUntil(streams: number[], isDone: () => boolean, readSteps = 1): this {
    const { client, server } = this.pair;
    for (let i = 0; i < STEPS_MAX; i++) {
      if (isDone()) return this;
      const nowUs = this.pair.nowUs += 1_000;
      for (let n = 0; n < STEP_PACKETS; n++) {
        const length = client.pollFrame(buffer, view, 0, buffer.length, nowUs, 0, 0);
        if (length === 0) break;
        const frame = buffer.slice(0, length);
        this.#note(frame.subarray(SEALED_PAYLOAD_OFFSET, length - CRC_BYTES));
        give(server, frame, nowUs);
      }
      for (const stream of i % readSteps === readSteps - 1 ? streams : []) {
        while (server.read(stream) ?? server.readMessage(stream));
      }
      for (const frame of pollAll(server, nowUs)) give(client, frame, nowUs);
      client.handleTimeout(nowUs);
      server.handleTimeout(nowUs);
    }
    throw new Error("it never is done");
  }

  #note(payload: Uint8Array): void {
    this.#packet++;
    for (const { type, stream, data } of parsePayload(payload)) {
      if (STREAM_DATA_TYPES.includes(type)) {
        this.pieces.push({ stream, bytes: data.length, packet: this.#packet });
      }
    }
  }
}

function sum(pieces: Piece[], stream: number): number {
  return pieces.reduce((bytes, piece) => bytes + (piece.stream === stream ? piece.bytes : 0), 0);
}

/** An RO stream with `bytes` to send. */
function bulk(client: Connection, bytes: number, weight?: number, priority?: number): number {
  const stream = client.openStream(RO, priority);
  if (weight !== undefined) client.setWeight(stream, weight);
  assert.equal(client.write(stream, pattern(bytes)), bytes);
  return stream;
}

/** Fails unless the bytes relate as the weights do, each within 5 % of its due. */
function assertShares(pieces: Piece[], streams: number[], weights: number[]): void {
  const bytes = streams.map((stream) => sum(pieces, stream));
  const total = bytes.reduce((a, b) => a + b);
  const weightTotal = weights.reduce((a, b) => a + b);
  for (let i = 0; i < streams.length; i++) {
    const due = total * weights[i] / weightTotal;
    assert.ok(Math.abs(bytes[i] - due) <= 0.05 * due, `${bytes} bytes for weights ${weights}`);
  }
}

Deno.test("NS-CC-004: bulk streams share by weight", () => {
  const narrow = new Narrow();
  const { client, pieces } = narrow;
  const weights = [4, 16, 64];
  const streams = weights.map((weight) => bulk(client, 4 * MIB, weight));
  narrow.runUntil(streams, () => sum(pieces, streams[2]) === 4 * MIB);
  const last = pieces.findLastIndex(({ stream }) => stream === streams[2]);
  assertShares(pieces.slice(0, last + 1), streams, weights);
});

Deno.test("NS-CC-004: the shares hold when the connection's credit is less than a turn", () => {
  const narrow = new Narrow({
    initialDataBytes: 64 << 10,
    maxDataBytes: 64 << 10,
    maxMessageBytes: 64 << 10,
  });
  const { client, pieces } = narrow;
  const weights = [16, 64];
  const streams = weights.map((weight) => bulk(client, 3 * MIB, weight));
  // Read when all credit is used up, so that every stream is held back by it each time.
  const readSteps = 12;
  narrow.runUntil(streams, () => sum(pieces, streams[1]) === 3 * MIB, readSteps);
  const last = pieces.findLastIndex(({ stream }) => stream === streams[1]);
  assertShares(pieces.slice(0, last + 1), streams, weights);
});

Deno.test("NS-CC-004: all modes share by bytes, whatever the size of their messages", () => {
  const narrow = new Narrow();
  const { client, pieces } = narrow;
  const ordered = bulk(client, 2 * MIB);
  const messages = [[RU, 10_000], [BE, 1_000], [PR, 5_000]].map(([mode, length]) => {
    const stream = client.openStream(mode as 1);
    for (let sent = 0; sent < 2 * MIB; sent += length) {
      assert.ok(client.sendMessage(stream, pattern(length)));
    }
    return stream;
  });
  const streams = [ordered, ...messages];
  const rounds = 20;
  narrow.runUntil(streams, () => narrow.total >= rounds * streams.length * TURN_BYTES);
  assertShares(pieces, streams, [1, 1, 1, 1]);
});

Deno.test("NS-CC-004: a stream that becomes active has its share within one round", () => {
  const narrow = new Narrow();
  const { client, pieces } = narrow;
  const old = [bulk(client, 4 * MIB), bulk(client, 4 * MIB)];
  narrow.runUntil(old, () => sum(pieces, old[1]) > MIB);
  const start = pieces.length;
  const late = bulk(client, MIB);
  narrow.runUntil([...old, late], () => sum(pieces, late) === MIB);
  const after = pieces.slice(start);
  const before = after.slice(0, after.findIndex(({ stream }) => stream === late));
  const round = old.length * (TURN_BYTES + FRAME_BYTES);
  assert.ok(before.reduce((bytes, piece) => bytes + piece.bytes, 0) <= round);
  const turn = after.slice(before.length);
  const turnEnd = turn.findIndex(({ stream }) => stream !== late);
  assert.ok(turnEnd > 0);
  assert.ok(sum(turn.slice(0, turnEnd), late) >= TURN_BYTES);
});

Deno.test("NS-CC-004: weights count for nothing between priority classes", () => {
  const narrow = new Narrow();
  const { client, pieces } = narrow;
  const low = bulk(client, 4 * MIB, WEIGHT_MAX, 3);
  narrow.runUntil([low], () => sum(pieces, low) > MIB / 2);
  const start = pieces.length;
  const high = bulk(client, MIB / 2, WEIGHT_MIN, 4);
  narrow.runUntil([low, high], () => sum(pieces, high) === MIB / 2);
  const last = pieces.findLastIndex(({ stream }) => stream === high);
  assert.ok(sum(pieces, low) < 4 * MIB);
  assert.equal(sum(pieces.slice(start, last), low), 0);
});

/** Who sends how many bytes when each packet or train of the turn has `bytes`. */
function serve(scheduler: Scheduler, turns: number, bytes: number): number[] {
  return Array.from({ length: turns }, () => {
    const stream = scheduler.pop()!;
    stream.turnBytes -= bytes;
    scheduler.putBack(stream);
    return stream.id;
  });
}

function schedulerWith(count: number): [Scheduler, Stream[]] {
  const scheduler = new Scheduler();
  const streams = Array.from({ length: count }, (_, i) => {
    const stream = new Stream(i + 1, BE, PRIORITY_DEFAULT, true, {
      sendBufferBytes: 0,
      budget: new SendBudget(STREAM_CONFIG_DEFAULT),
      blocks: new BlockPool(),
      receiveBytes: 0,
      receiveBytesMax: 0,
      receiveMessages: 0,
      receiveMessagesMax: 0,
      sendBytes: 0,
      sendMessages: 0,
      probabilistic: new PrShared(portableErasureCodec, 0, 0),
    });
    stream.weight = WEIGHT_MIN;
    return stream;
  });
  return [scheduler, streams];
}

Deno.test("NS-CC-004: a train that a stream sent while it was alone is not held against it", () => {
  const [scheduler, [first, second]] = schedulerWith(2);
  scheduler.push(first);
  assert.equal(scheduler.turnBytes(scheduler.peek()!), Infinity);
  serve(scheduler, 1, TURN_BYTES);
  scheduler.push(second);
  assert.deepEqual(serve(scheduler, 4, 4_096), [1, 2, 1, 2]);
});

Deno.test("NS-CC-004: a packet longer than a turn is paid for with the next turns", () => {
  const [scheduler, streams] = schedulerWith(2);
  for (const stream of streams) scheduler.push(stream);
  assert.deepEqual(serve(scheduler, 1, 9_000), [1]);
  assert.deepEqual(serve(scheduler, 5, 4_096), [2, 2, 1, 2, 1]);
});

Deno.test("NS-CC-004: a stream that has nothing left keeps nothing of its turn", () => {
  const [scheduler, [stream, other]] = schedulerWith(2);
  scheduler.push(stream);
  scheduler.push(other);
  scheduler.endTurn(scheduler.pop()!);
  assert.equal(stream.turnBytes, 0);
});

Deno.test("NS-CC-004: small streams share packets", () => {
  const narrow = new Narrow();
  const { client, pieces } = narrow;
  const streams = Array.from({ length: 200 }, () => bulk(client, 32));
  narrow.runUntil(streams, () => narrow.total === 32 * streams.length);
  const packets = new Set(pieces.map(({ packet }) => packet)).size;
  // 62 bytes each with STREAM_OPEN and frame heads: 18 to a packet.
  assert.ok(packets <= 12, `${packets} packets for 200 × 32 bytes`);
});

Deno.test("NS-CC-004: the rest of a packet with a symbol goes to other streams", () => {
  const narrow = new Narrow();
  const { client, pieces } = narrow;
  const short = client.openStream(PR); // a source symbol, then repairs that keep the turn
  assert.ok(client.sendMessage(short, pattern(100)));
  client.finish(short);
  const ordered = bulk(client, 20_000);
  narrow.runUntil([short, ordered], () => sum(pieces, ordered) === 20_000);
  const packets = (stream: number) =>
    pieces.filter((piece) => piece.stream === stream).map(({ packet }) => packet);
  const symbolPackets = packets(short);
  assert.ok(symbolPackets.length > 1);
  assert.deepEqual(symbolPackets.filter((packet) => !packets(ordered).includes(packet)), []);
});

Deno.test("NS-CC-004: empty messages use a turn up as well", () => {
  const narrow = new Narrow();
  const { client, pieces } = narrow;
  const empty = client.openStream(RU);
  for (let i = 0; i < 5_000; i++) assert.ok(client.sendMessage(empty, new Uint8Array()));
  const ordered = bulk(client, 1_000);
  narrow.runUntil([empty, ordered], () => sum(pieces, ordered) === 1_000);
  const before = pieces.findIndex(({ stream }) => stream === ordered);
  assert.equal(before, Math.ceil(TURN_BYTES / MESSAGE_HEAD_BYTES));
});

for (const weight of [0, 257, 1.5, -1, NaN]) {
  Deno.test(`NS-CC-004: weight ${weight} is refused`, () => {
    const { client } = establishedPair();
    const stream = client.openStream(RO);
    assert.throws(() => client.setWeight(stream, weight), { code: "INVALID_WEIGHT" });
  });
}

Deno.test("NS-CC-004: a stream that is not open has no weight", () => {
  const { client } = establishedPair();
  assert.throws(() => client.setWeight(999, 16), { code: "STREAM_CLOSED" });
});
