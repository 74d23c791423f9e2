/** DATA_NACK and CONGESTION (docs/protocol.md §5.4). */
import assert from "node:assert/strict";
import { ByteWriter } from "../../lib/base/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { give, pattern, ScriptedPeer, wire } from "./harness.ts";

const DATA_NACK = 0x21;
const CONGESTION = 0x40;

const nack = (low: number, packets: number) =>
  new ByteWriter().u8(DATA_NACK).u8(1).u64(low).u8(packets - 1).finish();

/** Frames of a type that the connection sends at a time. */
function sentAt(peer: ScriptedPeer, nowUs: number, type: number) {
  peer.nowUs = nowUs;
  peer.connection.handleTimeout(nowUs);
  return peer.receivedPackets().flat().filter((frame) => frame.type === type);
}

Deno.test("NS-LD-001: a gap that stays is named once, after max_ack_delay, beside an acknowledgement", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.ping(1));
  const [low, high] = [peer.packetNumber, peer.packetNumber + 1];
  peer.packetNumber += 2;
  peer.send(wire.ping(2));
  assert.deepEqual(sentAt(peer, 0, DATA_NACK), []);
  assert.deepEqual(sentAt(peer, 24_000, DATA_NACK), []);
  const [frame, ...others] = sentAt(peer, 25_000, DATA_NACK);
  assert.deepEqual([frame.ranges, others], [[high, low], []]);
  assert.deepEqual(sentAt(peer, 60_000, DATA_NACK), []);
  assert.deepEqual(sentAt(peer, 200_000, DATA_NACK), []);
});

Deno.test("NS-LD-001: a packet that was only overtaken is not named", () => {
  const peer = new ScriptedPeer().establish();
  const late = peer.seal(wire.ping(1));
  peer.send(wire.ping(2));
  peer.received();
  give(peer.connection, late, 20_000);
  for (const nowUs of [25_000, 50_000, 100_000]) {
    assert.deepEqual(sentAt(peer, nowUs, DATA_NACK), []);
  }
});

/** A connection that has three packets of RO data in flight, the last of them acknowledged. */
function withGap() {
  const peer = new ScriptedPeer("client").establish();
  const { connection } = peer;
  const stream = connection.openStream(MODE_RELIABLE_ORDERED);
  const packets: number[] = [];
  for (let i = 0; i < 3; i++) {
    connection.write(stream, pattern(500, i));
    peer.nowUs += 100;
    assert.equal(peer.receivedPackets().length, 1);
    packets.push(connection.stats().packetsSent - 1);
  }
  peer.nowUs += 50_000; // the round-trip time: nothing is overdue yet
  peer.send(wire.ack(packets[2], packets[2]));
  peer.received();
  return { peer, connection, packets };
}

Deno.test("NS-LD-004: DATA_NACK brings data again, once, and is no sign of congestion", () => {
  const { peer, connection, packets } = withGap();
  const before = connection.stats();
  peer.send(nack(packets[0], 2));
  const data = peer.received().filter(({ type }) => type === 0x50);
  assert.deepEqual(data.map(({ offset, dataLength }) => [offset, dataLength]), [[0, 1_000]]);
  const after = connection.stats();
  assert.equal(after.packetsLost, before.packetsLost);
  assert.equal(after.windowBytes, before.windowBytes);
  assert.ok(after.bytesInFlight > before.bytesInFlight);
  peer.send(nack(packets[0], 2));
  assert.deepEqual(peer.received().filter(({ type }) => type === 0x50), []);
});

Deno.test("NS-LD-004: DATA_NACK says nothing about packets above what was acknowledged", () => {
  const peer = new ScriptedPeer("client").establish();
  const stream = peer.connection.openStream(MODE_RELIABLE_ORDERED);
  peer.connection.write(stream, pattern(500));
  peer.received();
  for (const low of [0, 5, 2 ** 53 - 40]) peer.send(nack(low, 32));
  assert.deepEqual(peer.received().filter(({ type }) => type === 0x50), []);
  assert.equal(peer.connection.state, "established");
});

Deno.test("NS-CC-005: CE marks are told of in CONGESTION, at most once a round trip", () => {
  const peer = new ScriptedPeer().establish();
  const mark = () => give(peer.connection, peer.seal(wire.ping(1)), peer.nowUs, 3);
  const frames = () => peer.receivedPackets().flat().filter(({ type }) => type === CONGESTION);
  mark();
  const [first] = frames();
  assert.equal(first.ce, 1);
  mark();
  mark();
  assert.deepEqual(frames(), []);
  peer.nowUs += 1_000_000;
  mark();
  assert.deepEqual(frames().map(({ ce }) => ce), [4]);
});

Deno.test("NS-CC-005: what CONGESTION says is shown and moves no window", () => {
  const peer = new ScriptedPeer().establish();
  const { windowBytes } = peer.connection.stats();
  const frame = new ByteWriter().u8(CONGESTION).u64(7).u64(12_345).finish();
  peer.send(frame);
  const stats = peer.connection.stats();
  assert.deepEqual([stats.peerCe, stats.peerBytesInFlight], [7, 12_345]);
  assert.equal(stats.windowBytes, windowBytes);
});
