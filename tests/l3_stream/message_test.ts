import assert from "node:assert/strict";
import fc from "fast-check";
import { SeededRandom } from "../../lib/base/mod.ts";
import {
  CloseReason,
  Connection,
  type ConnectionEvent,
  MODE_BEST_EFFORT,
  MODE_RELIABLE_UNORDERED,
} from "../../lib/l3_stream/mod.ts";
import { MessageReceiver } from "../../lib/l3_stream/streams/message_receiver.ts";
import { drain, establishedPair, pattern, ScriptedPeer, WIDE, wire } from "./harness.ts";

const RU = MODE_RELIABLE_UNORDERED;
const BE = MODE_BEST_EFFORT;

/** Every message of the streams that are told to be readable. */
function messages(connection: Connection, events: ConnectionEvent[]): Uint8Array[] {
  return events.flatMap((event) => {
    if (event.type !== "readable") return [];
    const read: Uint8Array[] = [];
    for (
      let m = connection.readMessage(event.stream);
      m;
      m = connection.readMessage(event.stream)
    ) {
      read.push(m);
    }
    return read;
  });
}

function take(connection: Connection): Uint8Array[] {
  return messages(connection, drain(connection));
}

Deno.test("NS-RU-001: message boundaries survive, the empty message too", () => {
  const pair = establishedPair(WIDE);
  const stream = pair.client.openStream(RU);
  const sent = [0, 1, 1_000, 0, 5_000, 100_000].map((length) => pattern(length, length));
  for (const bytes of sent) assert.ok(pair.client.sendMessage(stream, bytes));
  pair.advance(300_000);
  const got = take(pair.server).sort((a, b) => a.length - b.length);
  assert.deepEqual(got, sent.sort((a, b) => a.length - b.length));
});

Deno.test("NS-RU-002: every message arrives exactly once when frames are lost", () => {
  const pair = establishedPair(WIDE);
  const random = new SeededRandom(5);
  pair.drop = () => random.chance(0.3);
  const stream = pair.client.openStream(RU);
  const sent = Array.from({ length: 100 }, (_, i) => pattern(i * 37 % 3_000, i));
  for (const bytes of sent) assert.ok(pair.client.sendMessage(stream, bytes));
  pair.client.finish(stream);
  const got: Uint8Array[] = [];
  for (let i = 0; i < 2_000 && got.length < sent.length; i++) {
    pair.advance(50_000);
    got.push(...take(pair.server));
  }
  pair.advance(5_000_000);
  got.push(...take(pair.server));
  const key = (bytes: Uint8Array) => bytes.join();
  assert.deepEqual(got.map(key).sort(), sent.map(key).sort());
});

Deno.test("NS-RU-003: a complete message is delivered while an earlier one has a gap", () => {
  const peer = new ScriptedPeer().establish();
  peer.send(wire.message(1, 0, pattern(5), { total: 10 }));
  peer.send(wire.message(1, 1, pattern(3)));
  assert.deepEqual(take(peer.connection), [pattern(3)]);
  peer.send(wire.message(1, 0, pattern(10).slice(5), { total: 10, offset: 5 }));
  assert.deepEqual(take(peer.connection), [pattern(10)]);
});

Deno.test("NS-RU-002: copies and overlaps of parts deliver a message once", () => {
  const plan = fc.array(fc.tuple(fc.nat(99), fc.integer({ min: 1, max: 60 })), { maxLength: 20 });
  fc.assert(fc.property(plan, (parts) => {
    const bytes = pattern(100);
    const receiver = new MessageReceiver();
    let delivered = 0;
    const cover = [[0, 50], [50, 50], [0, 50], [50, 50]];
    for (const [offset, wanted] of [...parts, ...cover]) {
      const length = Math.min(wanted, 100 - offset);
      if (receiver.take(7, 100, offset, bytes, offset, length) === 1) {
        delivered++;
        assert.deepEqual(receiver.takeCompleted(), bytes);
      }
    }
    assert.equal(delivered, 1);
    assert.equal(receiver.partialCount, 0);
  }));
});

Deno.test("NS-RU-005: the message limit stops the sender until messages are taken", () => {
  const pair = establishedPair({ streamMessages: 64 });
  const stream = pair.client.openStream(RU);
  for (let i = 0; i < 100; i++) assert.ok(pair.client.sendMessage(stream, pattern(10, i)));
  pair.advance(500_000);
  assert.equal(take(pair.server).length, 64);
  pair.advance(500_000);
  assert.equal(take(pair.server).length, 36);
});

Deno.test("NS-RU-005: the connection's bytes stop messages until they are taken", () => {
  const pair = establishedPair({ ...WIDE, maxDataBytes: 65_536, maxMessageBytes: 65_536 });
  const stream = pair.client.openStream(RU);
  for (let i = 0; i < 4; i++) pair.client.sendMessage(stream, pattern(30_000, i));
  pair.advance(500_000);
  assert.equal(take(pair.server).length, 2);
  pair.advance(500_000);
  assert.equal(take(pair.server).length, 2);
});

Deno.test("NS-RU: a full send buffer refuses a message and tells when there is room", () => {
  const pair = establishedPair({ sendBufferBytes: 10_000 });
  const stream = pair.client.openStream(RU);
  assert.equal(pair.client.sendMessage(stream, pattern(20_000)), true, "an empty one takes any");
  assert.equal(pair.client.sendMessage(stream, pattern(10)), false);
  pair.advance(200_000);
  assert.ok(drain(pair.client).some(({ type }) => type === "writable"));
  assert.equal(pair.client.sendMessage(stream, pattern(10)), true);
});

Deno.test("NS-RU: a message that the peer never takes is an error", () => {
  const pair = establishedPair({ maxMessageBytes: 70_000 });
  const stream = pair.client.openStream(RU);
  assert.throws(() => pair.client.sendMessage(stream, pattern(70_001)), {
    code: "MESSAGE_TOO_LARGE",
  });
  assert.equal(pair.client.sendMessage(stream, pattern(70_000)), true);
});

Deno.test("NS-RU: before the parameters a message above 65,536 bytes waits for them", () => {
  const peer = new ScriptedPeer("client");
  const stream = peer.connection.openStream(RU);
  assert.equal(peer.connection.sendMessage(stream, pattern(65_537)), false);
  peer.send(peer.parameters());
  assert.ok(drain(peer.connection).some(({ type }) => type === "writable"));
  assert.equal(peer.connection.sendMessage(stream, pattern(65_537)), true);
});

for (
  const [what, reason, frame] of [
    ["a message number at the limit", "FLOW_CONTROL", wire.message(1, 64, pattern(1))],
    [
      "a message above max_message",
      "PROTOCOL_VIOLATION",
      wire.message(1, 0, pattern(1), { total: 65_537 }),
    ],
    [
      "a total that changes",
      "PROTOCOL_VIOLATION",
      new Uint8Array([
        ...wire.message(1, 0, pattern(1), { total: 5 }),
        ...wire.message(1, 0, pattern(1), { total: 6 }),
      ]),
    ],
    [
      "a message past the final count",
      "FINAL_SIZE",
      new Uint8Array([
        ...wire.message(1, 0, pattern(1)),
        ...wire.close(1, 2),
        ...wire.message(1, 2, pattern(1)),
      ]),
    ],
    [
      "messages past the connection's bytes",
      "FLOW_CONTROL",
      new Uint8Array([
        ...wire.message(1, 0, pattern(1), { total: 65_000 }),
        ...wire.message(1, 1, pattern(1), { total: 537 }),
      ]),
    ],
    [
      "a cut best-effort message",
      "PROTOCOL_VIOLATION",
      wire.message(1, 0, pattern(1), {
        mode: 3,
        total: 2,
      }),
    ],
    ["a reserved mode", "FRAME_ENCODING", wire.message(1, 0, pattern(1), { mode: 5 })],
    [
      "a mode that changes",
      "STREAM_STATE",
      new Uint8Array([...wire.message(1, 0, pattern(1)), ...wire.data(1, 0, pattern(1))]),
    ],
  ] as const
) {
  Deno.test(`NS-RU: ${what} closes the connection with ${reason}`, () => {
    const config = { streamMessages: 64, maxMessageBytes: 65_536, maxDataBytes: 65_536 };
    const peer = new ScriptedPeer("server", config).establish();
    peer.send(frame);
    assert.equal(peer.closeReason(), CloseReason[reason]);
  });
}

Deno.test("NS-RU: a reset gives the credit of begun and unseen messages back", () => {
  const config = { maxDataBytes: 65_536, maxMessageBytes: 65_536 };
  const pair = establishedPair(config);
  const lost = pair.client.openStream(RU);
  pair.client.sendMessage(lost, pattern(60_000));
  pair.drop = (from) => from === "client";
  pair.pump(); // the message has begun, nothing of it arrives
  pair.drop = () => false;
  pair.client.reset(lost, 9);
  pair.advance(3_000_000);
  const stream = pair.client.openStream(RU);
  pair.client.sendMessage(stream, pattern(60_000, 2));
  pair.advance(3_000_000);
  assert.deepEqual(take(pair.server), [pattern(60_000, 2)]);
});

Deno.test("NS-BE-001: a best-effort message is never sent again", () => {
  const pair = establishedPair(WIDE);
  const stream = pair.client.openStream(BE);
  pair.client.sendMessage(stream, pattern(10));
  pair.drop = (from) => from === "client";
  pair.pump();
  pair.drop = () => false;
  pair.advance(5_000_000);
  assert.deepEqual(take(pair.server), []);
  pair.client.sendMessage(stream, pattern(20));
  pair.advance(100_000);
  assert.deepEqual(take(pair.server), [pattern(20)]);
});

Deno.test("NS-BE-002: best-effort messages need no credit", () => {
  const pair = establishedPair({ ...WIDE, maxDataBytes: 65_536, maxMessageBytes: 65_536 });
  const blocked = pair.client.openStream(1);
  pair.client.write(blocked, pattern(200_000));
  pair.advance(200_000);
  const stream = pair.client.openStream(BE);
  for (let i = 0; i < 200; i++) pair.client.sendMessage(stream, pattern(1_000, i));
  pair.advance(200_000);
  assert.equal(take(pair.server).length, 200);
});

Deno.test("NS-BE-003: the longest best-effort message fits although acknowledgements are owed", () => {
  const pair = establishedPair(WIDE);
  const { bestEffortBytesMax } = pair.client;
  const mine = pair.client.openStream(BE);
  const theirs = pair.server.openStream(BE);
  pair.server.sendMessage(theirs, pattern(10));
  pair.client.sendMessage(mine, pattern(bestEffortBytesMax));
  pair.pump();
  pair.server.sendMessage(theirs, pattern(10));
  pair.client.sendMessage(mine, pattern(bestEffortBytesMax, 2));
  pair.advance(100_000);
  assert.deepEqual(take(pair.server), [
    pattern(bestEffortBytesMax),
    pattern(bestEffortBytesMax, 2),
  ]);
  assert.throws(() => pair.client.sendMessage(mine, pattern(bestEffortBytesMax + 1)), {
    code: "MESSAGE_TOO_LARGE",
  });
});

Deno.test("NS-BE-004: best-effort messages that nobody takes are dropped beyond a bound", () => {
  const peer = new ScriptedPeer().establish();
  for (let i = 0; i < 1_100; i++) peer.send(wire.message(1, i, pattern(1), { mode: 3 }));
  assert.equal(peer.connection.stats().messagesDropped, 76);
  assert.equal(take(peer.connection).length, 1_024);
  peer.send(wire.message(1, 1_100, pattern(2), { mode: 3 }));
  assert.deepEqual(take(peer.connection), [pattern(2)]);
});
