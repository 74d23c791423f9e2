import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteWriter, concat } from "../../lib/base/mod.ts";
import {
  CloseReason,
  closeReasonName,
  type Connection,
  MODE_PROBABILISTIC,
  portableErasureCodec,
} from "../../lib/l3_stream/mod.ts";
import { PARTIALS_MAX, PrReceiver } from "../../lib/l3_stream/streams/pr_receiver.ts";
import { PrShared } from "../../lib/l3_stream/streams/pr_shared.ts";
import { Frame } from "../../lib/l3_stream/frames/mod.ts";
import {
  drain,
  establishedPair,
  eventTypes,
  parsePayload,
  pattern,
  pollAll,
  ScriptedPeer,
  wire,
} from "./harness.ts";

const OPEN = wire.open(1, MODE_PROBABILISTIC, 0, 990_000);

function record(message: number, bytes: Uint8Array, { total = bytes.length, offset = 0 } = {}) {
  return new ByteWriter().u64(message).u32(total).u32(offset).bytes16(bytes).finish();
}

function symbolFrame(symbol: number, ...records: Uint8Array[]): Uint8Array {
  return new ByteWriter().u8(0x51).u8(4).u32(1).u64(symbol).bytes16(concat(...records)).finish();
}

function fecFrame(first: number, sources: number, repair: number, bytes: Uint8Array): Uint8Array {
  return new ByteWriter().u8(0x52).u32(1).u64(first).u8(sources).u8(repair).bytes16(bytes).finish();
}

/** FEC frames over source symbols, as a sender makes them. */
function repairs(first: number, symbols: Uint8Array[], count: number): Uint8Array[] {
  const length = Math.max(...symbols.map((s) => s.length)) + 2;
  const bytes = new Uint8Array((symbols.length + count) * length);
  const offsets = Uint32Array.from({ length: symbols.length + count }, (_, i) => i * length);
  symbols.forEach((symbol, i) => bytes.set(new ByteWriter().bytes16(symbol).finish(), i * length));
  portableErasureCodec.encode(bytes, offsets, symbols.length, count, length);
  return Array.from({ length: count }, (_, i) => {
    const at = (symbols.length + i) * length;
    return fecFrame(first, symbols.length, i, bytes.slice(at, at + length));
  });
}

function messages(connection: Connection, stream: number): Uint8Array[] {
  const all = [];
  for (let m = connection.readMessage(stream); m; m = connection.readMessage(stream)) all.push(m);
  return all;
}

/** What the connection sends now, one list of frames a packet, without acknowledgements. */
function packets(connection: Connection, nowUs: number) {
  return pollAll(connection, nowUs)
    .map((frame) => parsePayload(frame.subarray(82, frame.length - 4)))
    .map((frames) => frames.filter(({ type }) => type !== 0x20));
}

Deno.test("NS-PR-001: STREAM_OPEN carries the asked probability in millionths", () => {
  const { client } = establishedPair();
  client.openStream(MODE_PROBABILISTIC, 3, 0.95);
  const [open] = packets(client, 60_000).flat();
  assert.deepEqual([open.type, open.mode, open.priority, open.limit], [0x10, 4, 3, 950_000]);
});

Deno.test("NS-PR-001: a probability outside of 0…1 is refused, on the wire too", () => {
  const { client } = establishedPair();
  for (const probability of [0, 1, -1, 2, NaN]) {
    assert.throws(() => client.openStream(MODE_PROBABILISTIC, 3, probability), {
      code: "INVALID_PROBABILITY",
    });
  }
  for (const ppm of [0, 1_000_000, 2 ** 53 - 1]) {
    const peer = new ScriptedPeer().establish();
    peer.send(wire.open(1, MODE_PROBABILISTIC, 0, ppm));
    assert.equal(peer.closeReason(), CloseReason.FRAME_ENCODING);
  }
});

Deno.test("NS-PR-001: messages arrive whole, in both directions, and the stream ends", () => {
  const pair = establishedPair();
  const stream = pair.client.openStream(MODE_PROBABILISTIC);
  const sizes = [0, 1, 100, 1_000, 1_500, 20_000, 65_536];
  for (const size of sizes) assert.equal(pair.client.sendMessage(stream, pattern(size)), true);
  pair.client.finish(stream);
  pair.advance(500_000);
  assert.deepEqual(messages(pair.server, stream), sizes.map((size) => pattern(size)));
  pair.server.sendMessage(stream, pattern(77));
  pair.server.finish(stream);
  pair.advance(500_000);
  assert.deepEqual(messages(pair.client, stream), [pattern(77)]);
  pair.advance(500_000);
  assert.equal(pair.client.openStreamCount + pair.server.openStreamCount, 0);
  assert.ok(eventTypes(pair.server).includes("peerFinished"));
});

Deno.test("NS-PR-002: small messages share a symbol, repairs follow when the block's time is up", () => {
  const { client } = establishedPair();
  const stream = client.openStream(MODE_PROBABILISTIC, 7, 0.999);
  for (let i = 0; i < 5; i++) client.sendMessage(stream, pattern(50, i));
  const sent = packets(client, 60_000).flat().filter(({ type }) => type === 0x51);
  assert.deepEqual(sent.map(({ symbol, dataLength }) => [symbol, dataLength]), [[0, 5 * 68]]);
  client.handleTimeout(79_000);
  assert.deepEqual(packets(client, 79_000), []);
  client.handleTimeout(80_000);
  const fec = packets(client, 80_000);
  assert.ok(fec.length >= 1);
  fec.forEach((frames, i) => {
    const [{ type, symbol, sourceCount, repair, dataLength }] = frames;
    assert.equal(frames.length, 1);
    assert.deepEqual([type, symbol, sourceCount, repair, dataLength], [0x52, 0, 1, i, 342]);
  });
});

Deno.test("NS-PR-002: small messages share the symbol of a large one's last part", () => {
  const { client } = establishedPair();
  const stream = client.openStream(MODE_PROBABILISTIC, 7, 0.999);
  client.sendMessage(stream, pattern(1_500));
  for (let i = 0; i < 3; i++) client.sendMessage(stream, pattern(50, i));
  const sent = packets(client, 60_000).flat().filter(({ type }) => type === 0x51);
  assert.deepEqual(sent.map(({ symbol }) => symbol), [0, 1]);
  const [whole, last] = sent.map(({ dataLength }) => dataLength);
  assert.equal(whole + last, 2 * 18 + 1_500 + 3 * 68); // a head of 18 bytes for each record
});

Deno.test("NS-PR-002: one packet never holds two symbols of a stream", () => {
  const { client } = establishedPair();
  const stream = client.openStream(MODE_PROBABILISTIC, 7, 0.999);
  client.sendMessage(stream, pattern(700));
  client.sendMessage(stream, pattern(700));
  client.finish(stream);
  const symbols = packets(client, 60_000).map((frames) =>
    frames.filter(({ type }) => type === 0x51 || type === 0x52).length
  );
  assert.ok(symbols.length >= 3); // two sources, one repair at least
  assert.deepEqual(symbols.filter((count) => count > 1), []);
});

Deno.test("NS-PR-002: a lost packet is rebuilt from the others of its block", () => {
  const pair = establishedPair();
  const stream = pair.client.openStream(MODE_PROBABILISTIC, 7, 0.99);
  for (let i = 0; i < 8; i++) pair.client.sendMessage(stream, pattern(1_000, i));
  const first = pair.sent.client;
  pair.drop = (from, n) => from === "client" && n === first + 3;
  pair.pump();
  assert.equal(messages(pair.server, stream).length, 7);
  pair.advance(21_000);
  assert.deepEqual(messages(pair.server, stream), [pattern(1_000, 3)]);
});

Deno.test("NS-PR-002: a stream whose first packet is lost is opened by its repair", () => {
  const peer = new ScriptedPeer().establish();
  const symbol = record(0, pattern(30));
  peer.send(...repairs(0, [symbol], 1));
  assert.deepEqual(eventTypes(peer.connection), ["streamOpened", "readable"]);
  assert.deepEqual(messages(peer.connection, 1), [pattern(30)]);
  peer.send(symbolFrame(0, symbol)); // late: it was rebuilt already
  assert.deepEqual(messages(peer.connection, 1), []);
});

Deno.test("NS-PR-004: no symbol is sent twice, by probe, loss or DATA_NACK", () => {
  const peer = new ScriptedPeer("client").establish();
  const { connection } = peer;
  const stream = connection.openStream(MODE_PROBABILISTIC, 7, 0.9);
  for (let i = 0; i < 6; i++) connection.sendMessage(stream, pattern(1_000, i));
  const names: string[] = [];
  const look = () => {
    for (const { type, symbol, repair } of packets(connection, peer.nowUs).flat()) {
      if (type === 0x51) names.push(`${symbol}`);
      if (type === 0x52) names.push(`${symbol}+${repair}`);
    }
  };
  look();
  for (let i = 0; i < 6; i++) { // nothing is acknowledged: block ends, probes go out
    peer.nowUs = connection.nextTimeoutUs();
    connection.handleTimeout(peer.nowUs);
    look();
  }
  const { packetsSent } = connection.stats();
  peer.send(
    new ByteWriter().u8(0x21).u8(1).u64(0).u8(9).finish(),
    wire.ack(packetsSent - 1, packetsSent - 1),
  );
  look();
  peer.nowUs += 10_000_000;
  connection.handleTimeout(peer.nowUs);
  look();
  assert.ok(connection.stats().packetsLost >= 6);
  assert.ok(names.length > 6);
  assert.deepEqual(names, [...new Set(names)]);
  assert.equal(connection.stats().bytesRetransmitted, 0);
  connection.sendMessage(stream, pattern(10)); // nothing waits for the lost ones
  assert.equal(packets(connection, peer.nowUs).flat().at(-1)?.symbol, 6);
});

Deno.test("NS-PR-005: the receiver reports what arrived, was rebuilt and was lost", () => {
  const peer = new ScriptedPeer().establish();
  const symbols = Array.from({ length: 40 }, (_, i) => record(i, pattern(20, i)));
  peer.send(OPEN);
  for (let i = 0; i < 40; i++) {
    if (i !== 5 && i !== 6 && i !== 20) peer.send(symbolFrame(i, symbols[i]));
    if (i === 15) {
      peer.send(repairs(0, symbols.slice(0, 16), 2)[0], repairs(0, symbols.slice(0, 16), 2)[1]);
    }
  }
  peer.nowUs += 200_000; // a report is due by time as well
  peer.send(symbolFrame(40, record(40, pattern(5))));
  const reports = peer.received().filter(({ type }) => type === 0x23);
  assert.deepEqual(reports.map(({ stream, counts }) => ({ stream, ...counts })), [
    { stream: 1, received: 30, recovered: 2, lost: 1, gaps: 2 },
  ]);
});

Deno.test("NS-PR-005: reports decide how many repairs a block gets", () => {
  const repairsAfter = (lost: number) => {
    const peer = new ScriptedPeer("client").establish();
    const { connection } = peer;
    const stream = connection.openStream(MODE_PROBABILISTIC, 7, 0.99);
    let sources = 0;
    let repairs = 0;
    for (let round = 0; round < 200; round++) {
      const packetsBefore = peer.packetNumber;
      for (let i = 0; i < 8; i++) connection.sendMessage(stream, pattern(1_000, i));
      peer.nowUs += 25_000;
      connection.handleTimeout(peer.nowUs);
      const seen = pollAll(connection, peer.nowUs).map((frame) =>
        parsePayload(frame.subarray(82, frame.length - 4))
      );
      const frames = seen.flat();
      sources += frames.filter(({ type }) => type === 0x51).length;
      if (round >= 150) repairs += frames.filter(({ type }) => type === 0x52).length;
      const missing = Math.round(sources * lost);
      const report = new ByteWriter().u8(0x23).u32(stream).u64(sources - missing).u64(missing)
        .u64(0).u64(missing).finish();
      peer.send(report, wire.ack(connection.stats().packetsSent - 1));
      assert.ok(peer.packetNumber > packetsBefore);
      drain(connection);
    }
    return repairs / 50;
  };
  const [none, some, many] = [repairsAfter(0), repairsAfter(0.05), repairsAfter(0.2)];
  assert.ok(none < 0.3 && some > 1 && many > some + 1, `${none}, ${some}, ${many}`);
});

const violations: [string, keyof typeof CloseReason, ...Uint8Array[][]][] = [
  ["a symbol without a record", "FRAME_ENCODING", [symbolFrame(0)]],
  ["a message that is too long", "PROTOCOL_VIOLATION", [
    symbolFrame(0, record(0, pattern(10), { total: 2 ** 31 })),
  ]],
  ["parts that change the length", "PROTOCOL_VIOLATION", [
    symbolFrame(0, record(0, pattern(10), { total: 100 })),
    symbolFrame(1, record(0, pattern(10), { total: 200, offset: 10 })),
  ]],
  ["repairs that change the block", "PROTOCOL_VIOLATION", [
    fecFrame(0, 5, 0, pattern(30)),
    fecFrame(0, 6, 1, pattern(30)),
  ]],
  ["repairs shorter than a source", "PROTOCOL_VIOLATION", [
    symbolFrame(0, record(0, pattern(50))),
    fecFrame(0, 2, 0, pattern(30)),
  ]],
  ["repairs that rebuild nonsense", "PROTOCOL_VIOLATION", [fecFrame(0, 1, 0, pattern(30))]],
  ["a message behind the final size", "FINAL_SIZE", [
    wire.close(1, 3),
    symbolFrame(0, record(3, pattern(5))),
  ]],
  ["a final size below a message", "FINAL_SIZE", [
    symbolFrame(0, record(3, pattern(5))),
    wire.close(1, 3),
  ]],
  ["FEC for a stream of another mode", "STREAM_STATE", [
    wire.open(5, 1),
    new ByteWriter().u8(0x52).u32(5).u64(0).u8(1).u8(0).bytes16(pattern(20)).finish(),
  ]],
  ["a report on symbols never sent", "PROTOCOL_VIOLATION", [
    new ByteWriter().u8(0x23).u32(1).u64(1).u64(0).u64(0).u64(0).finish(),
  ]],
  ["a report on an RO stream", "STREAM_STATE", [
    wire.open(5, 1),
    new ByteWriter().u8(0x23).u32(5).u64(0).u64(0).u64(0).u64(0).finish(),
  ]],
];
for (const [name, reason, frames] of violations) {
  Deno.test(`NS-PR-002: ${name} closes with ${reason}`, () => {
    const peer = new ScriptedPeer().establish();
    peer.send(OPEN);
    peer.received();
    for (const frame of frames) peer.send(frame);
    assert.equal(closeReasonName(peer.closeReason()!), reason);
  });
}

Deno.test("NS-PR-002: what nobody reads is dropped, never refused", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(OPEN);
  for (let i = 0; i < 1_100; i++) peer.send(symbolFrame(i, record(i, pattern(4))));
  assert.equal(peer.connection.stats().messagesDropped, 76);
  assert.equal(messages(peer.connection, 1).length, 1_024);
});

Deno.test("NS-PR-002: messages in tiny parts are held up to a number, and counted as memory", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(OPEN);
  const part = new Uint8Array(1);
  const each = 40; // parts of a symbol
  for (let symbol = 0; symbol * each < 2 * PARTIALS_MAX; symbol++) {
    const parts = Array.from(
      { length: each },
      (_, i) => record(symbol * each + i, part, { total: 2 }),
    );
    peer.send(symbolFrame(symbol, ...parts));
  }
  const before = peer.connection.memory().receiveBytes;
  assert.ok(before > PARTIALS_MAX * 200, `${before} bytes`);
  // The first ones are held and can be completed, the last ones were given up.
  const last = 2 * PARTIALS_MAX - 1;
  for (const [n, message] of [0, last].entries()) {
    peer.send(symbolFrame(500 + n, record(message, part, { total: 2, offset: 1 })));
  }
  assert.equal(messages(peer.connection, 1).length, 1);
});

Deno.test("NS-PR-002: a message of which every other byte came costs no more than its bytes", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(OPEN);
  const part = new Uint8Array(1);
  const [total, each] = [8_000, 40];
  // Every second byte from the front, then the rest: the gaps past the limit are not kept.
  for (const odd of [0, 1]) {
    for (let symbol = 0; symbol < 100; symbol++) {
      const parts = Array.from(
        { length: each },
        (_, i) => record(0, part, { total, offset: 2 * (symbol * each + i) + odd }),
      );
      peer.send(symbolFrame(odd * 100 + symbol, ...parts));
    }
  }
  assert.equal(messages(peer.connection, 1).length, 0);
  peer.send(symbolFrame(200, record(1, pattern(8))));
  assert.deepEqual(messages(peer.connection, 1), [pattern(8)]);
});

Deno.test("NS-PR-002: reset and stop end a stream with messages under way", () => {
  const pair = establishedPair();
  const a = pair.client.openStream(MODE_PROBABILISTIC);
  const b = pair.client.openStream(MODE_PROBABILISTIC);
  for (const stream of [a, b]) pair.client.sendMessage(stream, pattern(5_000));
  pair.pump();
  pair.client.reset(a, 1);
  pair.server.stop(b, 1);
  pair.pump();
  messages(pair.server, a);
  pair.server.reset(a, 1);
  pair.server.finish(b);
  pair.advance(1_000_000);
  assert.equal(pair.client.openStreamCount + pair.server.openStreamCount, 0);
});

/** Any frames of PR, made to collide: few numbers, few sizes. */
const hostile = fc.oneof(
  fc.record({
    symbol: fc.oneof(fc.nat(20), fc.nat(300), fc.constant(2 ** 53 - 2)),
    message: fc.nat(10),
    total: fc.constantFrom(0, 5, 40, 40, 1_000, 70_000),
    offset: fc.constantFrom(0, 0, 5, 20),
    length: fc.constantFrom(1, 5, 20, 40),
  }),
  fc.record({
    first: fc.oneof(fc.nat(20), fc.nat(300), fc.constant(2 ** 53 - 70)),
    sources: fc.integer({ min: 1, max: 64 }),
    repair: fc.nat(63),
    length: fc.constantFrom(3, 25, 60, 2_050),
  }),
);

Deno.test("NS-PR-002: a hostile sender makes a receiver neither throw nor hold more than its limit", () => {
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 200 }), (steps) => {
      const shared = new PrShared(portableErasureCodec, 100_000, 20_000);
      const receiver = new PrReceiver(shared);
      const bytes = pattern(4_096);
      const view = new DataView(bytes.buffer);
      for (const step of steps) {
        if ("symbol" in step) {
          const length = step.total === 0 ? 0 : Math.min(step.length, step.total);
          const offset = Math.min(step.offset, step.total - length);
          const part = record(step.message, bytes.slice(0, length), { total: step.total, offset });
          bytes.set(part, 100);
          receiver.onSource(step.symbol, bytes, view, 100, part.length, 65_536);
        } else {
          const frame = Object.assign(new Frame(), {
            symbol: step.first,
            sourceCount: step.sources,
            repair: step.repair,
            dataAt: 50,
            dataLength: step.length,
          });
          receiver.onRepair(frame, bytes, 65_536);
        }
        assert.ok(shared.heldBytes <= 100_000 && shared.heldBytes === receiver.bytesHeld);
      }
      receiver.clear();
      assert.equal(shared.heldBytes, 0);
    }),
    { numRuns: 300 },
  );
});
