import assert from "node:assert/strict";
import {
  CloseReason,
  MODE_BEST_EFFORT,
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
} from "../../lib/l3_stream/mod.ts";
import {
  drain,
  establishedPair,
  eventTypes,
  type Pair,
  pattern,
  readAll,
  ScriptedPeer,
  wire,
} from "./harness.ts";

const RO = MODE_RELIABLE_ORDERED;
const RU = MODE_RELIABLE_UNORDERED;
const BE = MODE_BEST_EFFORT;

/** Lets the acceptor finish its side and read whatever comes, until nothing happens. */
function settle(pair: Pair): void {
  for (let i = 0; i < 20; i++) {
    pair.advance(100_000);
    const events = drain(pair.server);
    for (const event of events) {
      if (event.type === "streamOpened") pair.server.finish(event.stream);
      if (event.type === "readable") {
        readAll(pair.server, event.stream);
        while (pair.server.readMessage(event.stream) !== undefined);
      }
    }
    drain(pair.client);
    if (events.length === 0 && i > 3) return;
  }
}

Deno.test("stream ids: each side has its own kind, ascending", () => {
  const pair = establishedPair();
  assert.deepEqual([1, 2, 3].map(() => pair.client.openStream(RO)), [1, 3, 5]);
  const servers = [1, 2, 3].map(() => pair.server.openStream(RO));
  assert.deepEqual(servers, [0x80000000, 0x80000002, 0x80000004]);
});

Deno.test("streams: STREAM_OPEN tells mode and priority", () => {
  const pair = establishedPair();
  const streams = [pair.client.openStream(RO, 3), pair.client.openStream(BE, 15)];
  pair.pump();
  assert.deepEqual(drain(pair.server), [
    { type: "streamOpened", stream: streams[0], mode: RO, priority: 3 },
    { type: "streamOpened", stream: streams[1], mode: BE, priority: 15 },
  ]);
});

Deno.test("streams: both directions carry data and end on their own", () => {
  const pair = establishedPair();
  const stream = pair.client.openStream(RO);
  pair.client.write(stream, pattern(10));
  pair.client.finish(stream);
  pair.pump();
  assert.deepEqual(eventTypes(pair.server), ["streamOpened", "readable", "peerFinished"]);
  assert.deepEqual(readAll(pair.server, stream), pattern(10));
  pair.server.write(stream, pattern(20));
  pair.advance(100_000);
  assert.deepEqual(readAll(pair.client, stream), pattern(20));
  pair.server.finish(stream);
  pair.advance(100_000);
  assert.deepEqual(eventTypes(pair.server), ["streamClosed"]);
  assert.deepEqual(eventTypes(pair.client), ["readable", "peerFinished", "streamClosed"]);
  assert.equal(pair.client.openStreamCount + pair.server.openStreamCount, 0);
});

Deno.test("streams: a closed stream can be read to its end before it is forgotten", () => {
  const pair = establishedPair();
  const stream = pair.client.openStream(RO);
  pair.client.write(stream, pattern(10));
  pair.client.finish(stream);
  pair.pump();
  pair.server.finish(stream);
  pair.advance(200_000);
  assert.equal(pair.client.openStreamCount, 1, "the acceptor has not taken everything");
  assert.deepEqual(readAll(pair.server, stream), pattern(10));
  pair.advance(200_000);
  assert.equal(pair.client.openStreamCount + pair.server.openStreamCount, 0);
});

Deno.test("NS-C-005: a stream beyond the peer's limit is refused until one is closed", () => {
  const pair = establishedPair({ maxStreams: 16 });
  const streams = Array.from({ length: 16 }, () => pair.client.openStream(RO));
  assert.throws(() => pair.client.openStream(RO), {
    code: "STREAM_LIMIT",
    message: /16 streams are open .* close one first/,
  });
  pair.client.finish(streams[0]);
  settle(pair);
  assert.equal(pair.client.openStream(RO), 33);
  assert.throws(() => pair.client.openStream(RO), { code: "STREAM_LIMIT" });
});

Deno.test("NS-C-005: before the parameters 16 streams may be open", () => {
  const { connection } = new ScriptedPeer("client");
  for (let i = 0; i < 16; i++) connection.openStream(RO);
  assert.throws(() => connection.openStream(RO), { code: "STREAM_LIMIT" });
});

Deno.test("NS-C-005: a peer that opens too many closes the connection with STREAM_LIMIT", () => {
  const peer = new ScriptedPeer("server", { maxStreams: 16 }).establish();
  peer.send(wire.data(31, 0, pattern(1)));
  assert.equal(peer.closeReason(), undefined, "15 reserved and one open");
  peer.send(wire.data(33, 0, pattern(1)));
  assert.equal(peer.closeReason(), CloseReason.STREAM_LIMIT);
});

Deno.test("streams: a skipped id is reserved and may appear later", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.data(5, 0, pattern(1)));
  assert.deepEqual(eventTypes(peer.connection), ["streamOpened", "readable"]);
  peer.send(wire.data(1, 0, pattern(1)), wire.message(3, 0, pattern(1)));
  assert.deepEqual(eventTypes(peer.connection), [
    "streamOpened",
    "readable",
    "streamOpened",
    "readable",
  ]);
});

Deno.test("streams: data before STREAM_OPEN opens, STREAM_OPEN adds window and priority", () => {
  const peer = new ScriptedPeer().establish();
  const { connection } = peer;
  peer.send(wire.data(1, 0, pattern(3)));
  assert.equal(drain(connection)[0].type, "streamOpened");
  peer.send(wire.open(1, RO, 9, 2 ** 21));
  assert.deepEqual(eventTypes(connection), [], "opened once");
  assert.ok(peer.received().some(({ type, stream }) => type === 0x11 && stream === 1));
});

Deno.test("streams: the opener puts STREAM_OPEN before control frames until it is acknowledged", () => {
  const pair = establishedPair();
  const stream = pair.client.openStream(RU);
  pair.drop = (from) => from === "client";
  pair.pump();
  pair.drop = () => false;
  pair.client.reset(stream, 4);
  pair.pump();
  assert.deepEqual(eventTypes(pair.server), ["streamOpened", "reset"]);
});

for (
  const [what, frame] of [
    ["STREAM_CLOSE of a stream that is not open", wire.close(1, 0)],
    ["STREAM_STOP of our stream that never was", wire.stop(0x80000000, 0)],
    ["data on our stream that never was", wire.data(0x80000000, 0, pattern(1))],
    ["data on stream 0", wire.data(0, 0, pattern(1))],
    ["data on the reserved id", wire.data(0xffffffff, 0, pattern(1))],
    ["an even id of the client", wire.data(2, 0, pattern(1))],
    ["STREAM_OPEN of our stream", wire.open(0x80000000, 1)],
    [
      "STREAM_ACK of the peer's own stream",
      new Uint8Array([...wire.open(1, 1), ...wire.openAck(1, 9)]),
    ],
    [
      "STREAM_CLOSE_ACK from the opener",
      new Uint8Array([...wire.open(1, 1), ...wire.closeAck(1)]),
    ],
    [
      "a mode that differs from STREAM_OPEN",
      new Uint8Array([...wire.open(1, 2), ...wire.data(1, 0, pattern(1))]),
    ],
  ] as const
) {
  Deno.test(`streams: ${what} closes the connection with STREAM_STATE`, () => {
    const peer = new ScriptedPeer().establish();
    peer.send(frame);
    assert.equal(peer.closeReason(), CloseReason.STREAM_STATE);
  });
}

Deno.test("streams: STREAM_CLOSE_ACK before both ends are over is a STREAM_STATE error", () => {
  const peer = new ScriptedPeer().establish();
  const stream = peer.connection.openStream(RO);
  peer.connection.finish(stream);
  peer.received();
  peer.send(wire.closeAck(stream));
  assert.equal(peer.closeReason(), CloseReason.STREAM_STATE);
});

Deno.test("streams: STREAM_OPEN with a mode of the future closes with FRAME_ENCODING", () => {
  for (const mode of [0, 5, 255]) {
    const peer = new ScriptedPeer().establish();
    peer.send(wire.open(1, mode));
    assert.equal(peer.closeReason(), CloseReason.FRAME_ENCODING);
  }
});

Deno.test("streams: late frames for a forgotten stream are ignored but acknowledged", () => {
  const peer = new ScriptedPeer().establish();
  const { connection } = peer;
  peer.send(wire.open(1, RO), wire.close(1, 0));
  connection.finish(1);
  const packets = peer.receivedPackets().length;
  peer.send(wire.ack(packets)); // 0 carried the parameters
  assert.ok(eventTypes(connection).includes("streamClosed"));
  assert.ok(peer.received().some(({ type }) => type === 0x14), "STREAM_CLOSE_ACK is sent");
  peer.send(
    wire.open(1, RO),
    wire.data(1, 0, pattern(3)),
    wire.close(1, 3),
    wire.reset(1, 1, 9),
    wire.stop(1, 2),
    wire.window(1, 2 ** 40),
  );
  assert.deepEqual(eventTypes(connection), []);
  const ack = peer.receivedPackets().flat().find(({ type }) => type === 0x20);
  peer.nowUs += 25_000;
  const late = peer.receivedPackets().flat().find(({ type }) => type === 0x20);
  assert.equal((ack ?? late)?.ranges[0], peer.packetNumber - 1);
  assert.equal(connection.state, "established");
});

Deno.test("streams: STREAM_CLOSE_ACK is sent again until it is acknowledged", () => {
  const peer = new ScriptedPeer().establish();
  const { connection } = peer;
  peer.send(wire.open(1, RO), wire.close(1, 0));
  connection.finish(1);
  let sent = peer.receivedPackets().length;
  peer.send(wire.ack(sent));
  const closeAcks = () => {
    const packets = peer.receivedPackets();
    sent += packets.length;
    return packets.flat().filter(({ type }) => type === 0x14).length;
  };
  assert.equal(closeAcks(), 1);
  peer.nowUs = connection.nextTimeoutUs();
  while (closeAcks() === 0) {
    connection.handleTimeout(peer.nowUs = connection.nextTimeoutUs());
  }
  peer.send(wire.ack(sent));
  for (let i = 0; i < 20; i++) {
    peer.nowUs += 1_000_000;
    connection.handleTimeout(peer.nowUs);
    assert.equal(closeAcks(), 0);
  }
});

Deno.test("reset: the peer learns the error, unread data is gone, credit comes back", () => {
  const pair = establishedPair({ maxDataBytes: 65_536, maxMessageBytes: 65_536 });
  const stream = pair.client.openStream(RO);
  pair.client.write(stream, pattern(60_000));
  pair.advance(500_000);
  pair.client.reset(stream, 77);
  pair.advance(100_000);
  const events = drain(pair.server);
  assert.deepEqual(events.at(-1), { type: "reset", stream, error: 77 });
  assert.equal(pair.server.read(stream), undefined);
  const other = pair.client.openStream(RO);
  pair.client.write(other, pattern(60_000));
  pair.advance(500_000);
  assert.equal(readAll(pair.server, other).length, 60_000);
});

Deno.test("reset: after everything has arrived it takes nothing back", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.data(1, 0, pattern(5)), wire.close(1, 5));
  peer.send(wire.reset(1, 1, 5));
  assert.deepEqual(readAll(peer.connection, 1), pattern(5));
  assert.ok(!eventTypes(peer.connection).includes("reset"));
});

Deno.test("stop: the peer resets its direction in answer and tells its application", () => {
  const pair = establishedPair();
  const stream = pair.client.openStream(RO);
  pair.client.write(stream, pattern(100_000));
  pair.pump();
  pair.server.stop(stream, 5);
  pair.advance(200_000);
  assert.deepEqual(drain(pair.client).filter(({ type }) => type === "stopped"), [
    { type: "stopped", stream, error: 5 },
  ]);
  assert.throws(() => pair.client.write(stream, pattern(1)), { code: "STREAM_CLOSED" });
  assert.equal(pair.server.read(stream), undefined);
  pair.server.finish(stream);
  pair.advance(200_000);
  assert.equal(pair.client.openStreamCount + pair.server.openStreamCount, 0);
});

Deno.test("stop: what still comes is thrown away and its credit comes back", () => {
  const config = { maxDataBytes: 65_536, maxMessageBytes: 65_536 };
  const peer = new ScriptedPeer("server", config).establish();
  peer.send(wire.data(1, 0, pattern(1_000)));
  peer.connection.stop(1, 0);
  for (let i = 1; i < 64; i++) peer.send(wire.data(1, 1_000 * i, pattern(1_000)));
  const limits = peer.received().filter(({ type, stream }) => type === 0x22 && stream === 0);
  assert.equal(limits.at(-1)?.limit, 64_000 + 65_536);
});

Deno.test("streams: wrong calls are typed errors", () => {
  const pair = establishedPair();
  const bytes = pair.client.openStream(RO);
  const messages = pair.client.openStream(RU);
  assert.throws(() => pair.client.sendMessage(bytes, pattern(1)), { code: "WRONG_MODE" });
  assert.throws(() => pair.client.write(messages, pattern(1)), { code: "WRONG_MODE" });
  assert.throws(() => pair.client.write(999, pattern(1)), { code: "STREAM_CLOSED" });
  assert.throws(() => pair.client.openStream(RO, 16), { code: "INVALID_PRIORITY" });
  pair.client.finish(bytes);
  assert.throws(() => pair.client.write(bytes, pattern(1)), { code: "STREAM_CLOSED" });
});

Deno.test("NS-CC-004: an urgent stream goes before others", () => {
  const peer = new ScriptedPeer().establish();
  const { connection } = peer;
  const [low, a, b] = [2, 9, 9].map((priority) => connection.openStream(RO, priority));
  for (const stream of [low, a, b]) connection.write(stream, pattern(4_000));
  const order = peer.received().filter(({ type }) => type === 0x50).map(({ stream }) => stream);
  assert.ok(order.indexOf(low) > Math.max(order.lastIndexOf(a), order.lastIndexOf(b)));
  assert.deepEqual([...new Set(order)], [a, b, low]);
});

Deno.test("NS-C-005: 2,000 streams opened and closed leave nothing behind", () => {
  const pair = establishedPair();
  for (let i = 0; i < 2_000; i++) {
    const stream = pair.client.openStream(i % 2 === 0 ? RO : RU);
    if (i % 2 === 0) pair.client.write(stream, pattern(100));
    else pair.client.sendMessage(stream, pattern(100));
    pair.client.finish(stream);
    if (i % 50 === 49) settle(pair);
  }
  settle(pair);
  pair.advance(1_000_000);
  for (const connection of [pair.client, pair.server]) {
    assert.equal(connection.openStreamCount, 0);
    assert.equal(connection.stats().bytesInFlight, 0);
    assert.equal(connection.pollEvent(), undefined);
    // Nothing is left to send or to wait for but the idle timeout.
    assert.ok(connection.nextTimeoutUs() - pair.nowUs > 50_000_000);
  }
});
