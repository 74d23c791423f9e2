import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, NEVER, SeededRandom } from "../../lib/base/mod.ts";
import {
  CloseReason,
  MODE_RELIABLE_ORDERED,
  PTO_COUNT_MAX,
  ReceiveResult,
  STREAM_CONFIG_DEFAULT,
} from "../../lib/l3_stream/mod.ts";
import { NullProtection } from "../sim/null_protection.ts";
import vectors from "../vectors/stream.json" with { type: "json" };
import {
  drain,
  establishedPair,
  eventTypes,
  give,
  makeConnection,
  Pair,
  pattern,
  pollAll,
  readAll,
  ScriptedPeer,
  WIDE,
  wire,
} from "./harness.ts";

const RO = MODE_RELIABLE_ORDERED;

Deno.test("NS-C-001: INIT until the peer's parameters, then ESTABLISHED on both ends", () => {
  const pair = new Pair();
  assert.deepEqual([pair.client.state, pair.server.state], ["init", "init"]);
  pair.pump();
  assert.deepEqual([pair.client.state, pair.server.state], ["established", "established"]);
  assert.deepEqual(eventTypes(pair.client), ["established"]);
  assert.deepEqual(eventTypes(pair.server), ["established"]);
});

Deno.test("NS-C-001: the first packet of each end carries its parameters, data rides behind", () => {
  for (const [side, type] of [["client", 0x01], ["server", 0x02]] as const) {
    const peer = new ScriptedPeer(side);
    peer.connection.write(peer.connection.openStream(RO), pattern(3));
    const [first] = peer.receivedPackets();
    assert.deepEqual(first.map((frame) => frame.type), [type, 0x10, 0x50]);
    assert.equal(first[0].parameters.maxStreams, 1_024);
    assert.equal(first[0].parameters.maxData, 2 ** 21);
  }
});

Deno.test("NS-C-001: lost parameters are sent again", () => {
  const pair = new Pair();
  pair.drop = (_, n) => n < 2;
  pair.advance(4_000_000);
  assert.deepEqual([pair.client.state, pair.server.state], ["established", "established"]);
});

Deno.test("NS-C-002: a peer without parameters is given up after the connect timeout", () => {
  const pair = new Pair({ connectTimeoutMs: 5_000 });
  pair.drop = () => true;
  pair.advance(4_999_000);
  assert.deepEqual(eventTypes(pair.client), []);
  pair.advance(2_000);
  const [closed] = drain(pair.client);
  assert.equal(closed.type === "closed" && closed.error?.code, "CONNECT_TIMEOUT");
  assert.equal(pair.client.state, "closed");
});

for (
  const [what, parameters] of [
    ["another version", { version: 2 }],
    ["another node id", { nodeId: new Uint8Array(16).fill(9) }],
    ["too few streams", { maxStreams: 15 }],
    ["too little data", { maxData: 65_535 }],
    ["too small a stream window", { streamWindow: 65_535 }],
    ["too few messages", { streamMessages: 63 }],
    ["too small messages", { maxMessage: 65_535 }],
    ["an endless ack delay", { maxAckDelayUs: 1_000_001 }],
  ] as const
) {
  Deno.test(`NS-C-001: parameters with ${what} are a PROTOCOL_VIOLATION`, () => {
    const peer = new ScriptedPeer();
    peer.send(peer.parameters(parameters));
    assert.equal(peer.closeReason(), CloseReason.PROTOCOL_VIOLATION);
  });
}

Deno.test("NS-C-001: CONN_ACCEPT from a client is a PROTOCOL_VIOLATION", () => {
  const peer = new ScriptedPeer("server");
  const accept = peer.parameters();
  accept[0] = 0x02;
  peer.send(accept);
  assert.equal(peer.closeReason(), CloseReason.PROTOCOL_VIOLATION);
});

Deno.test("NS-RO-002: the second ack-eliciting packet is acknowledged at once, one alone in time", () => {
  const peer = new ScriptedPeer().establish();
  const acks = () => peer.receivedPackets().flat().filter(({ type }) => type === 0x20);
  peer.send(wire.ping(1));
  peer.received(); // takes the PONG, which carries the acknowledgement
  peer.send(wire.data(1, 0, pattern(1)));
  assert.deepEqual(acks(), []);
  assert.equal(peer.connection.nextTimeoutUs(), peer.nowUs + 25_000);
  peer.nowUs += 25_000;
  assert.equal(acks().length, 1);
  peer.send(wire.data(1, 1, pattern(1)));
  assert.deepEqual(acks(), []);
  peer.send(wire.data(1, 2, pattern(1)));
  const [ack] = acks();
  assert.equal(ack.ranges[0], peer.packetNumber - 1);
});

Deno.test("NS-RO-002: a packet out of order is acknowledged at once, with the gap", () => {
  const peer = new ScriptedPeer().establish();
  const last = peer.packetNumber - 1;
  peer.packetNumber += 2;
  peer.send(wire.data(1, 0, pattern(1)));
  const [ack] = peer.receivedPackets().flat().filter(({ type }) => type === 0x20);
  assert.deepEqual(ack.ranges, [last + 3, last + 3, last, 0]);
});

Deno.test("NS-RO-002: an acknowledgement tells how long it was held back", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.data(1, 0, pattern(1)));
  peer.nowUs += 25_000;
  const ack = peer.receivedPackets().flat().find(({ type }) => type === 0x20);
  assert.equal(ack?.ackDelayUs, 25_000);
});

Deno.test("NS-RO-002: after a gap the acknowledgement is repeated twice, then there is peace", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.ack(0));
  peer.packetNumber++;
  peer.send(wire.data(1, 0, pattern(1)));
  let acks = 0;
  for (let i = 0; i < 10; i++) {
    acks += peer.receivedPackets().flat().filter(({ type }) => type === 0x20).length;
    peer.nowUs += 25_000;
  }
  assert.equal(acks, 3);
  assert.ok(peer.connection.nextTimeoutUs() > peer.nowUs + 1_000_000);
});

Deno.test("NS-RO-002: acknowledgements alone are not acknowledged", () => {
  const pair = establishedPair();
  pair.client.ping();
  pair.advance(10_000_000);
  const before = pair.sent.client + pair.sent.server;
  pair.advance(10_000_000);
  assert.equal(pair.sent.client + pair.sent.server, before);
});

Deno.test("NS-LD: acknowledging a packet that was never sent is a PROTOCOL_VIOLATION", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.ack(1_000));
  assert.equal(peer.closeReason(), CloseReason.PROTOCOL_VIOLATION);
});

Deno.test("NS-LD: a packet number left out on purpose catches an optimistic acknowledgement", () => {
  const protection = new NullProtection();
  const connection = makeConnection("server", {}, protection);
  const numbers: number[] = [];
  const seal = protection.seal.bind(protection);
  protection.seal = (...args) => {
    numbers.push(args[5]);
    seal(...args);
  };
  const peer = new ScriptedPeer();
  Object.assign(peer, { connection });
  peer.send(peer.parameters());
  let nowUs = 0;
  for (let i = 0; i < 140_000 && numbers.length === (numbers.at(-1) ?? -1) + 1 || i === 0; i++) {
    connection.ping();
    pollAll(connection, nowUs);
    const [from, to] = [Math.max(0, numbers.length - 4), numbers.length - 1];
    if (numbers.at(-1) !== to) break;
    if (i % 2 === 0) give(connection, peer.seal(wire.ack(to, from)), nowUs);
    nowUs += 1_000;
    drain(connection);
  }
  const last = numbers.at(-1)!;
  assert.equal(last, numbers.length, "exactly one number was left out");
  assert.ok(!numbers.includes(last - 1));
  give(connection, peer.seal(wire.ack(last, last - 1)), nowUs);
  const [closed] = drain(connection).filter(({ type }) => type === "closed");
  assert.equal(closed.type === "closed" && closed.reason, CloseReason.PROTOCOL_VIOLATION);
});

Deno.test("PING is answered by PONG, PATH_CHALLENGE by PATH_RESPONSE with the same bytes", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.ping(77), wire.challenge(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 255])));
  const seen = peer.received();
  assert.equal(seen.find(({ type }) => type === 0x31)?.id, 77);
  const response = seen.find(({ type }) => type === 0x06);
  assert.deepEqual([response?.tokenHigh, response?.tokenLow], [0x01020304, 0x050607ff]);
});

Deno.test("a flood of PINGs is answered by a bounded number of PONGs", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(...Array.from({ length: 100 }, (_, i) => wire.ping(i)));
  assert.equal(peer.received().filter(({ type }) => type === 0x31).length, 8);
});

Deno.test("NS-C-003: silence ends the connection after the smaller idle timeout", () => {
  const pair = establishedPair({ idleTimeoutMs: 60_000 }, { idleTimeoutMs: 10_000 });
  pair.advance(9_900_000);
  assert.deepEqual(eventTypes(pair.client), []);
  pair.advance(200_000);
  const [closed] = drain(pair.client);
  assert.equal(closed.type === "closed" && closed.error?.code, "IDLE_TIMEOUT");
  assert.equal(pair.client.nextTimeoutUs(), NEVER);
  assert.equal(pair.server.state, "closed");
});

Deno.test("NS-C-003: an idle timeout of 0 on both ends means none", () => {
  const pair = establishedPair({ idleTimeoutMs: 0 });
  pair.advance(3_600_000_000);
  assert.equal(pair.client.state, "established");
  assert.equal(pair.client.nextTimeoutUs(), NEVER);
});

Deno.test("NS-C-003: keep-alive keeps an idle connection", () => {
  const pair = establishedPair({ idleTimeoutMs: 10_000, keepAliveMs: 3_000 }, {
    idleTimeoutMs: 10_000,
  });
  pair.advance(60_000_000);
  assert.deepEqual([pair.client.state, pair.server.state], ["established", "established"]);
});

Deno.test("NS-RO: ten probe timeouts in a row without an answer are an error", () => {
  const pair = establishedPair({ idleTimeoutMs: 0 });
  pair.client.write(pair.client.openStream(RO), pattern(100));
  let dropped = 0;
  pair.drop = () => ++dropped > 0;
  pair.advance(3_600_000_000);
  const closed = drain(pair.client).at(-1);
  assert.equal(closed?.type === "closed" && closed.error?.code, "PEER_UNREACHABLE");
  assert.equal(pair.client.stats().ptoCount, PTO_COUNT_MAX);
  assert.ok(dropped >= PTO_COUNT_MAX && dropped <= 2 * PTO_COUNT_MAX + 2);
});

Deno.test("NS-LD-002: a probe goes out although the congestion window is full", () => {
  const pair = establishedPair(WIDE);
  const stream = pair.client.openStream(RO);
  pair.client.write(stream, pattern(200_000));
  pair.drop = (from) => from === "client";
  pair.pump();
  const { bytesInFlight, windowBytes } = pair.client.stats();
  assert.ok(bytesInFlight + 1_200 > windowBytes);
  const before = pair.sent.client;
  pair.nowUs = pair.client.nextTimeoutUs();
  pair.client.handleTimeout(pair.nowUs);
  pair.pump();
  assert.equal(pair.sent.client, before + 2);
  pair.drop = () => false;
  let got = 0;
  for (let i = 0; i < 100; i++) {
    pair.advance(100_000);
    got += readAll(pair.server, stream).length;
  }
  assert.equal(got, 200_000);
});

Deno.test("NS-C-001: close is told, answered and forgotten by both ends", () => {
  const pair = establishedPair();
  pair.client.close(CloseReason.GOING_AWAY, "so long", pair.nowUs);
  assert.equal(pair.client.state, "closing");
  pair.pump();
  assert.equal(pair.client.state, "closed");
  const [mine] = drain(pair.client);
  const [theirs] = drain(pair.server);
  assert.deepEqual(mine, {
    type: "closed",
    reason: 10,
    phrase: "so long",
    byPeer: false,
    error: undefined,
  });
  assert.equal(theirs.type === "closed" && theirs.byPeer && theirs.phrase, "so long");
  assert.equal(theirs.type === "closed" && theirs.error?.code, "GOING_AWAY");
  assert.equal(pair.server.state, "closing", "it may have to answer again");
  pair.advance(5_000_000);
  assert.equal(pair.server.state, "closed");
  assert.throws(() => pair.client.openStream(RO), { code: "CLOSED" });
});

Deno.test("NS-C-001: what arrived before a close can still be read", () => {
  const pair = establishedPair();
  const stream = pair.client.openStream(RO);
  pair.client.write(stream, pattern(500));
  pair.client.finish(stream);
  pair.pump();
  pair.client.close(0, "", pair.nowUs);
  pair.advance(5_000_000);
  assert.deepEqual(readAll(pair.server, stream), pattern(500));
  assert.equal(eventTypes(pair.server).at(-1), "closed");
});

Deno.test("NS-C-001: a lost CONN_CLOSE is sent again, a lost CONN_CLOSE_ACK too", () => {
  for (const lost of ["client", "server"] as const) {
    const pair = establishedPair();
    let drops = 1;
    pair.drop = (from) => from === lost && drops-- > 0;
    pair.client.close(0, "bye", pair.nowUs);
    pair.pump();
    assert.equal(pair.client.state, "closing");
    pair.advance(400_000);
    assert.equal(pair.client.state, "closed", `first frame of the ${lost} lost`);
    assert.equal(eventTypes(pair.server).at(-1), "closed");
  }
});

Deno.test("NS-C-001: a close that nobody answers is forgotten after three probe timeouts", () => {
  const pair = establishedPair();
  pair.drop = () => true;
  pair.client.close(0, "bye", pair.nowUs);
  pair.advance(5_000_000);
  assert.equal(pair.client.state, "closed");
  assert.equal(pair.client.nextTimeoutUs(), NEVER);
});

Deno.test("NS-C-001: both ends closing at once both end", () => {
  const pair = establishedPair();
  pair.client.close(0, "a", pair.nowUs);
  pair.server.close(0, "b", pair.nowUs);
  pair.advance(5_000_000);
  assert.deepEqual([pair.client.state, pair.server.state], ["closed", "closed"]);
  assert.deepEqual(eventTypes(pair.client), ["closed"]);
});

Deno.test("a long or broken phrase does no harm", () => {
  const pair = establishedPair();
  pair.client.close(0, "é".repeat(300), pair.nowUs);
  pair.pump();
  const [closed] = drain(pair.server);
  assert.equal(closed.type === "closed" && closed.phrase, "é".repeat(127));
  const peer = new ScriptedPeer().establish();
  peer.send(wire.connClose(7, new Uint8Array([0xff, 0xfe])));
  const [broken] = drain(peer.connection);
  assert.equal(broken.type === "closed" && broken.phrase, "");
});

Deno.test("CONN_CLOSE_ACK without CONN_CLOSE is a PROTOCOL_VIOLATION", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.connCloseAck());
  assert.equal(peer.closeReason(), CloseReason.PROTOCOL_VIOLATION);
});

Deno.test("NT-ENC: a connection closes before its key has sealed too many frames", () => {
  const protection = new NullProtection(100);
  const connection = makeConnection("client", {}, protection);
  const peer = new ScriptedPeer("client");
  Object.assign(peer, { connection });
  peer.send(peer.parameters());
  for (let i = 0; i < 200 && connection.state === "established"; i++) {
    connection.ping();
    peer.nowUs += 1_000;
    const sent = peer.receivedPackets().length;
    if (sent > 0) peer.send(wire.ack(i));
  }
  const closed = drain(connection).at(-1);
  assert.equal(closed?.type === "closed" && closed.reason, CloseReason.AEAD_LIMIT);
  assert.ok(protection.sealsLeft > 0);
  for (let i = 0; i < 100; i++) {
    peer.nowUs += 1_000_000;
    connection.handleTimeout(peer.nowUs);
    pollAll(connection, peer.nowUs);
  }
  assert.ok(protection.sealsLeft >= 0);
  assert.ok(protection.isWiped);
});

Deno.test("an empty packet is a PROTOCOL_VIOLATION, a malformed frame FRAME_ENCODING", () => {
  const empty = new ScriptedPeer().establish();
  empty.send();
  assert.equal(empty.closeReason(), CloseReason.PROTOCOL_VIOLATION);
  for (const { name, hex } of vectors.malformed) {
    const peer = new ScriptedPeer().establish();
    peer.send(fromHex(hex));
    assert.equal(peer.closeReason(), CloseReason.FRAME_ENCODING, name);
  }
});

Deno.test("frames that do not open are counted and change nothing", () => {
  const peer = new ScriptedPeer().establish();
  const frame = peer.seal(wire.data(1, 0, pattern(4)));
  assert.equal(give(peer.connection, frame, 0), ReceiveResult.OK);
  assert.equal(give(peer.connection, frame, 0), ReceiveResult.REPLAYED);
  assert.deepEqual(eventTypes(peer.connection), ["streamOpened", "readable"]);
  const clear = peer.seal(wire.ping(1));
  peer.connection.close(0, "", 0);
  pollAll(peer.connection, 0);
  peer.send(wire.connCloseAck());
  assert.equal(give(peer.connection, clear, 0), ReceiveResult.CLOSED);
  assert.equal(peer.connection.stats().framesDropped, 2);
});

Deno.test("NS-C-002, NS-C-003, NS-C-005: 5 s to connect, 60 s idle and 1,024 streams unless said otherwise", () => {
  const { connectTimeoutMs, idleTimeoutMs, maxStreams } = STREAM_CONFIG_DEFAULT;
  assert.deepEqual([connectTimeoutMs, idleTimeoutMs, maxStreams], [5_000, 60_000, 1_024]);
});

Deno.test("settings outside of the protocol's bounds are refused", () => {
  for (
    const config of [
      { maxStreams: 15 },
      { maxDataBytes: 65_535 },
      { streamWindowBytes: 1 },
      { maxMessageBytes: 2 ** 25 },
      { maxAckDelayUs: -1 },
    ]
  ) {
    assert.throws(() => makeConnection("client", config), { code: "INVALID_CONFIG" });
  }
});

Deno.test("pollFrame writes at its offset, inside its bound, and nothing else", () => {
  const connection = makeConnection("client");
  connection.write(connection.openStream(RO), pattern(5_000));
  const bytes = new Uint8Array(4_096).fill(0xee);
  const view = new DataView(bytes.buffer);
  for (let length = 1; length > 0;) {
    length = connection.pollFrame(bytes, view, 1_000, 900, 0, 1, 2);
    assert.ok(length <= 900);
    if (length > 0) assert.equal(view.getUint32(1_000 + 4), length);
    assert.ok(bytes.subarray(0, 1_000).every((byte) => byte === 0xee));
    assert.ok(bytes.subarray(1_900).every((byte) => byte === 0xee));
  }
});

Deno.test("fuzz: no sequence of frames from an authenticated peer makes anything throw", () => {
  const seeds = vectors.frames.map(({ hex }) => fromHex(hex));
  const ids = [1, 3, 5, 0x80000000, 0x80000002, 0, 2, 0xffffffff];
  const small = fc.nat(70_000);
  const frame = fc.oneof(
    fc.constantFrom(...seeds),
    fc.tuple(fc.constantFrom(...ids), small, fc.uint8Array({ maxLength: 40 }), fc.nat(6)).map(
      ([id, n, bytes, kind]) =>
        [
          wire.data(id, n, bytes),
          wire.message(id, n % 2_000, bytes, { total: Math.max(bytes.length, n) }),
          wire.close(id, n),
          wire.reset(id, 1, n),
          wire.stop(id, n),
          wire.open(id, 1 + n % 3),
          wire.window(id, n),
        ][kind],
    ),
    fc.tuple(fc.constantFrom(...seeds), fc.nat(60), fc.nat(255)).map(([seed, at, value]) => {
      const bytes = seed.slice();
      bytes[at % bytes.length] = value;
      return bytes;
    }),
    fc.uint8Array({ minLength: 1, maxLength: 30 }),
  );
  const packets = fc.array(fc.array(frame, { minLength: 1, maxLength: 6 }), { maxLength: 20 });
  fc.assert(
    fc.property(packets, fc.constantFrom("client" as const, "server" as const), (script, side) => {
      const peer = new ScriptedPeer(side);
      const { connection } = peer;
      connection.write(connection.openStream(RO), pattern(3_000));
      connection.sendMessage(connection.openStream(2), pattern(3_000));
      peer.send(peer.parameters());
      for (const [i, frames] of script.entries()) {
        peer.nowUs += 10_000;
        peer.send(...frames);
        for (const event of drain(connection)) {
          if (event.type === "readable") readAll(connection, event.stream);
          if (event.type === "streamOpened" && i % 2 === 0) connection.finish(event.stream);
        }
        peer.receivedPackets();
        connection.handleTimeout(peer.nowUs);
        assert.ok(!Number.isNaN(connection.nextTimeoutUs()));
      }
    }),
    { numRuns: 1_500 },
  );
});

Deno.test("NS-NF-008: the same calls give the same bytes", () => {
  const run = () => {
    const pair = new Pair();
    const random = new SeededRandom(11);
    pair.drop = () => random.chance(0.2);
    const sent: string[] = [];
    const stream = pair.client.openStream(RO);
    pair.client.write(stream, pattern(20_000));
    for (let i = 0; i < 20; i++) {
      for (const frame of pollAll(pair.client, pair.nowUs)) {
        sent.push(frame.join());
        give(pair.server, frame, pair.nowUs);
      }
      pair.advance(20_000);
    }
    return sent;
  };
  assert.deepEqual(run(), run());
});
