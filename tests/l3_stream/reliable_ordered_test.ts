import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, SeededRandom } from "../../lib/base/mod.ts";
import { BlockPool, CloseReason, MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { ByteReceiver, GAPS_MAX } from "../../lib/l3_stream/streams/byte_receiver.ts";
import { ByteSender } from "../../lib/l3_stream/streams/byte_sender.ts";
import { SendBudget, SendCredit } from "../../lib/l3_stream/flow.ts";
import {
  drain,
  establishedPair,
  eventTypes,
  type Pair,
  pattern,
  readAll,
  ScriptedPeer,
  WIDE,
  wire,
} from "./harness.ts";

const RO = MODE_RELIABLE_ORDERED;
const BUFFERS = {
  initialSendBufferBytes: 1_000,
  sendBufferBytes: 1_000,
  sendBufferTotalBytes: 4_000,
};

/** Writes all bytes on a stream of the client while the server reads; what the server got. */
function transfer(pair: Pair, bytes: Uint8Array): Uint8Array {
  const stream = pair.client.openStream(RO);
  const pieces: Uint8Array[] = [];
  let written = 0;
  let isFinished = false;
  for (let i = 0; i < 5_000 && !isFinished; i++) {
    if (written < bytes.length) written += pair.client.write(stream, bytes.subarray(written));
    if (written === bytes.length) pair.client.finish(stream);
    pair.pump();
    for (const event of drain(pair.server)) {
      if (event.type === "readable") pieces.push(readAll(pair.server, stream));
      if (event.type === "peerFinished") isFinished = true;
    }
    drain(pair.client);
    pair.advance(10_000);
  }
  assert.ok(isFinished, "the stream never ended");
  return concat(...pieces);
}

Deno.test("NS-RO-001: bytes arrive once and in order", () => {
  const pair = establishedPair();
  const bytes = pattern(600_000);
  assert.deepEqual(transfer(pair, bytes), bytes);
  assert.equal(pair.client.stats().bytesRetransmitted, 0);
});

Deno.test("NS-RO-002: bytes arrive once and in order when a third of the frames is lost", () => {
  const pair = establishedPair();
  const random = new SeededRandom(3);
  pair.drop = () => random.chance(0.33);
  const bytes = pattern(60_000);
  assert.deepEqual(transfer(pair, bytes), bytes);
  assert.ok(pair.client.stats().bytesRetransmitted > 0);
});

Deno.test("NS-RO-001: reading gives bytes in order whatever order and cuts they arrive in", () => {
  const plan = fc.record({
    total: fc.integer({ min: 1, max: 40_000 }),
    parts: fc.array(fc.tuple(fc.nat(40_000), fc.integer({ min: 0, max: 3_000 })), {
      maxLength: 60,
    }),
    seed: fc.nat(1_000),
  });
  fc.assert(fc.property(plan, ({ total, parts, seed }) => {
    const bytes = pattern(total, seed);
    const receiver = new ByteReceiver();
    const cover = Array.from({ length: Math.ceil(total / 1_000) }, (_, i) => [i * 1_000, 1_000]);
    const got: number[] = [];
    for (const [from, wanted] of [...parts, ...cover.reverse()]) {
      const offset = Math.min(from, total);
      const length = Math.min(wanted, total - offset);
      receiver.take(offset, bytes, offset, length);
      if (seed % 2 === 0) {
        for (let p = receiver.read(); p; p = receiver.read()) got.push(...p);
      }
    }
    for (let p = receiver.read(); p; p = receiver.read()) got.push(...p);
    assert.deepEqual(new Uint8Array(got), bytes);
    assert.equal(receiver.bytesHeld, 0);
  }));
});

Deno.test("NS-RO-001: bytes that arrived first stay when a copy says something else", () => {
  const receiver = new ByteReceiver();
  receiver.take(2, new Uint8Array([3, 4]), 0, 2);
  receiver.take(0, new Uint8Array([1, 2, 9, 9, 5]), 0, 5);
  assert.deepEqual(receiver.read(), new Uint8Array([1, 2, 3, 4, 5]));
});

Deno.test("NS-RO-002: a sender sends again exactly what was lost and not acknowledged", () => {
  const credit = new SendCredit(1_000);
  const connection = new SendCredit(1_000);
  const sender = new ByteSender(new SendBudget(BUFFERS), new BlockPool());
  assert.equal(sender.write(pattern(300)), 300);
  for (let i = 0; i < 3; i++) assert.ok(sender.pick(credit, connection, 100));
  sender.onAcked(100, 50);
  sender.onLost(0, 100);
  sender.onLost(100, 100);
  const repeats = [];
  while (sender.pick(credit, connection, 60)) repeats.push([sender.offset, sender.length]);
  assert.deepEqual(repeats, [[0, 60], [60, 40], [150, 50]]);
  assert.equal(connection.used, 300, "repeats cost no credit");
  const copy = new Uint8Array(50);
  sender.copyTo(150, 50, copy, 0);
  assert.deepEqual(copy, pattern(300).slice(150, 200));
  sender.onAcked(0, 100);
  sender.onAcked(150, 150);
  assert.ok(sender.allAcked);
  assert.equal(sender.bufferedBytes, 0);
});

Deno.test("NS-RO-002: a lost range that was acknowledged meanwhile is not sent again", () => {
  const sender = new ByteSender(new SendBudget(BUFFERS), new BlockPool());
  const credit = new SendCredit(1_000);
  sender.write(pattern(100));
  sender.pick(credit, credit, 100);
  sender.onLost(0, 100);
  sender.onAcked(0, 100);
  assert.equal(sender.hasLost, false);
});

Deno.test("NS-RO-004: a stream's window stops the sender until the application reads", () => {
  const window = 65_536;
  const pair = establishedPair({ ...WIDE, streamWindowBytes: window });
  const stream = pair.client.openStream(RO);
  const bytes = pattern(2 * window);
  assert.equal(pair.client.write(stream, bytes), bytes.length);
  pair.advance(500_000);
  let got = readAll(pair.server, stream).length;
  assert.equal(got, window);
  pair.advance(500_000);
  got += readAll(pair.server, stream).length;
  assert.equal(got, 2 * window);
});

Deno.test("NS-RO-004: the connection's window stops all streams until the application reads", () => {
  const config = { maxDataBytes: 65_536, maxMessageBytes: 65_536 };
  const pair = establishedPair(config);
  const streams = [pair.client.openStream(RO), pair.client.openStream(RO)];
  for (const stream of streams) pair.client.write(stream, pattern(50_000, stream));
  pair.advance(500_000);
  const first = streams.map((stream) => readAll(pair.server, stream));
  assert.equal(first[0].length + first[1].length, 65_536);
  pair.advance(500_000);
  for (const [i, stream] of streams.entries()) {
    const rest = readAll(pair.server, stream);
    assert.deepEqual(new Uint8Array([...first[i], ...rest]), pattern(50_000, stream));
  }
});

Deno.test("NS-RO-004: before the parameters a sender keeps to 65,536 bytes", () => {
  const peer = new ScriptedPeer("client", WIDE);
  const stream = peer.connection.openStream(RO);
  peer.connection.write(stream, pattern(100_000));
  let sent = 0;
  let acked = -1;
  for (let i = 0; i < 40; i++) {
    peer.nowUs += 50_000;
    const packets = peer.receivedPackets();
    for (const frame of packets.flat()) if (frame.type === 0x50) sent += frame.dataLength;
    acked += packets.length;
    if (packets.length > 0) peer.send(wire.ack(acked));
  }
  assert.equal(sent, 65_536);
  peer.send(peer.parameters());
  for (let i = 0; i < 20; i++) {
    peer.nowUs += 50_000;
    const packets = peer.receivedPackets();
    for (const frame of packets.flat()) if (frame.type === 0x50) sent += frame.dataLength;
    acked += packets.length;
    if (packets.length > 0) peer.send(wire.ack(acked));
  }
  assert.equal(sent, 100_000);
});

Deno.test("NS-RO-004: write takes what the send buffer holds and tells when there is room", () => {
  const pair = establishedPair({ sendBufferBytes: 10_000 });
  const stream = pair.client.openStream(RO);
  assert.equal(pair.client.write(stream, pattern(12_000)), 10_000);
  assert.equal(pair.client.write(stream, pattern(10)), 0);
  pair.advance(100_000);
  assert.ok(eventTypes(pair.client).includes("writable"));
  assert.equal(pair.client.write(stream, pattern(2_000)), 2_000);
});

Deno.test("NS-RO-005: a gap in one stream does not hold up another", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.data(1, 10, pattern(5)));
  peer.send(wire.data(3, 0, pattern(5)));
  const { connection } = peer;
  assert.equal(connection.read(1), undefined);
  assert.deepEqual(connection.read(3), pattern(5));
});

Deno.test("NS-RO: bytes past a stream's window close the connection with FLOW_CONTROL", () => {
  const peer = new ScriptedPeer("server", { streamWindowBytes: 65_536 }).establish();
  peer.send(wire.data(1, 65_535, new Uint8Array(1)));
  assert.equal(peer.closeReason(), undefined);
  peer.send(wire.data(1, 65_536, new Uint8Array(1)));
  assert.equal(peer.closeReason(), CloseReason.FLOW_CONTROL);
});

Deno.test("NS-RO: bytes past the connection's window close it with FLOW_CONTROL", () => {
  const config = { maxDataBytes: 65_536, maxMessageBytes: 65_536 };
  const peer = new ScriptedPeer("server", config).establish();
  peer.send(wire.data(1, 40_000 - 1, new Uint8Array(1)));
  peer.send(wire.data(3, 25_536 - 1, new Uint8Array(1)));
  assert.equal(peer.closeReason(), undefined);
  peer.send(wire.data(5, 0, new Uint8Array(1)));
  assert.equal(peer.closeReason(), CloseReason.FLOW_CONTROL);
});

for (
  const [what, frames] of [
    ["data past the final size", [wire.close(1, 5), wire.data(1, 4, new Uint8Array(2))]],
    ["a final size below the data", [wire.close(1, 4)]],
    ["a second final size", [wire.close(1, 9), wire.close(1, 8)]],
    ["a reset below the data", [wire.reset(1, 0, 4)]],
    ["a reset that differs from the close", [wire.close(1, 9), wire.reset(1, 0, 8)]],
  ] as const
) {
  Deno.test(`NS-RO: ${what} closes the connection with FINAL_SIZE`, () => {
    const peer = new ScriptedPeer().establish();
    peer.send(wire.data(1, 0, pattern(5)));
    peer.send(...frames);
    assert.equal(peer.closeReason(), CloseReason.FINAL_SIZE);
  });
}

Deno.test("NS-RO: a final size past the window closes the connection with FLOW_CONTROL", () => {
  for (const frame of [wire.close(1, 2 ** 21), wire.reset(1, 0, 2 ** 21)]) {
    const peer = new ScriptedPeer().establish();
    peer.send(wire.data(1, 0, pattern(1)), frame);
    assert.equal(peer.closeReason(), CloseReason.FLOW_CONTROL);
  }
});

Deno.test("NS-RO: more gaps than a window of packets can have are not acknowledged", () => {
  const peer = new ScriptedPeer().establish();
  const byte = new Uint8Array(1);
  for (let i = 1; i <= GAPS_MAX; i++) peer.send(wire.data(1, 2 * i, byte));
  peer.received();
  const refused = peer.packetNumber;
  peer.send(wire.data(1, 2 * GAPS_MAX + 2, byte));
  peer.send(wire.ping(1));
  const acks = peer.receivedPackets().flat().filter(({ type }) => type === 0x20);
  assert.deepEqual(acks.map(({ ranges }) => ranges.slice(0, 3)), [
    [refused + 1, refused + 1, refused - 1],
  ]);
  assert.equal(peer.connection.state, "established");
});

Deno.test("NS-NF-007: single bytes hold no more memory than their offsets", () => {
  const receiver = new ByteReceiver();
  for (let i = 0; i < 4_000; i++) receiver.take(2 * i + 1, new Uint8Array(1), 0, 1);
  assert.ok(receiver.bytesHeld <= 16_384);
});
