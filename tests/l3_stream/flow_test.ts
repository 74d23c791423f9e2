import assert from "node:assert/strict";
import fc from "fast-check";
import { MODE_RELIABLE_ORDERED, MODE_RELIABLE_UNORDERED } from "../../lib/l3_stream/mod.ts";
import { ReceiveCredit, SendBudget, usefulBufferBytes } from "../../lib/l3_stream/flow.ts";
import { drain, establishedPair, pattern, readAll, ScriptedPeer, wire } from "./harness.ts";

const KIB = 1_024;
const MIB = 1_048_576;

/**
 * A sender with more than enough to send over a path of `bytesPerMs` and `rttMs`, to an application
 * that takes everything at once or, from `stopsAtMs` on, nothing. Bytes that arrived by
 * millisecond.
 */
function transfer(
  credit: ReceiveCredit,
  { bytesPerMs, rttMs, forMs, stopsAtMs = Infinity }: {
    bytesPerMs: number;
    rttMs: number;
    forMs: number;
    stopsAtMs?: number;
  },
): number[] {
  const arrived: number[] = [];
  const limits: number[] = [];
  let sent = 0;
  for (let ms = 0; ms < forMs; ms++) {
    // What is sent at the limit that was announced a round trip ago arrives now.
    const limit = ms < rttMs ? limits[0] ?? credit.limit : limits[ms - rttMs];
    const bytes = Math.max(0, Math.min(bytesPerMs, limit - sent));
    sent += bytes;
    arrived.push(bytes);
    assert.ok(credit.receive(bytes));
    if (ms < stopsAtMs) credit.consume(bytes, ms * 1_000);
    if (credit.shouldUpdate) credit.update(ms * 1_000, rttMs * 1_000);
    limits.push(credit.limit);
  }
  return arrived;
}

const sum = (numbers: number[]) => numbers.reduce((all, one) => all + one, 0);

Deno.test("NS-RO-004: windows grow until they do not limit a transfer, and not much more", () => {
  for (const [bytesPerMs, rttMs] of [[125_000, 100], [1_250, 100], [125_000, 10], [12_500, 600]]) {
    const credit = new ReceiveCredit(128 * KIB, 1_024 * MIB);
    const arrived = transfer(credit, { bytesPerMs, rttMs, forMs: 30 * rttMs });
    const last = sum(arrived.slice(-rttMs));
    assert.equal(last, bytesPerMs * rttMs, `${bytesPerMs} B/ms × ${rttMs} ms is limited`);
    const product = bytesPerMs * rttMs;
    const { window } = credit;
    assert.ok(window <= Math.max(128 * KIB, 4 * product), `${window} for ${product}`);
  }
});

Deno.test("NS-RO-004: a gigabit over 100 ms fits into the windows of the default", () => {
  const credit = new ReceiveCredit(128 * KIB, 16 * MIB);
  const arrived = transfer(credit, { bytesPerMs: 125_000, rttMs: 100, forMs: 2_000 });
  assert.equal(sum(arrived.slice(-100)), 12_500_000);
  assert.equal(credit.window, 16 * MIB);
});

Deno.test("NS-RO-004: an application that does not read stops the growth of its window", () => {
  const credit = new ReceiveCredit(128 * KIB, 16 * MIB);
  const options = { bytesPerMs: 125_000, rttMs: 100, forMs: 5_000, stopsAtMs: 300 };
  transfer(credit, options);
  const unread = credit.received - credit.consumed;
  assert.equal(unread, credit.limit - credit.consumed, "the sender used all credit");
  const asLongAsItRead = new ReceiveCredit(128 * KIB, 16 * MIB);
  transfer(asLongAsItRead, { ...options, forMs: 300 });
  assert.equal(credit.window, asLongAsItRead.window);
});

Deno.test("NS-RO-004: a slow reader keeps a small window whatever the sender would like", () => {
  const credit = new ReceiveCredit(128 * KIB, 16 * MIB);
  const perTick = 1_000; // 1 MB/s over 20 ms: 20 kB are needed
  let sent = 0;
  for (let ms = 0; ms < 5_000; ms++) {
    credit.receive(credit.limit - sent);
    sent = credit.limit;
    credit.consume(perTick, ms * 1_000);
    if (credit.shouldUpdate) credit.update(ms * 1_000, 20_000);
  }
  assert.equal(credit.window, 128 * KIB);
});

Deno.test("NS-RO-004: without a measured round trip a window does not grow", () => {
  const credit = new ReceiveCredit(128 * KIB, 16 * MIB);
  for (let i = 0; i < 100; i++) {
    credit.receive(64 * KIB);
    credit.consume(64 * KIB, i);
    if (credit.shouldUpdate) credit.update(i, 0);
  }
  assert.equal(credit.window, 128 * KIB);
});

Deno.test("NS-RO-004: a window never exceeds its maximum and a limit never shrinks", () => {
  const steps = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(50_000)));
  fc.assert(fc.property(steps, fc.integer({ min: 64, max: 4_096 }), (all, maxKib) => {
    const credit = new ReceiveCredit(64 * KIB, maxKib * KIB);
    let nowUs = 0;
    for (const [share, us] of all) {
      const before = credit.limit;
      nowUs += us;
      credit.receive(credit.limit - credit.received);
      credit.consume(Math.floor(share * (credit.received - credit.consumed)), nowUs);
      credit.ensureWindow(share * 8_192 * KIB);
      if (credit.shouldUpdate) credit.update(nowUs, 20_000);
      assert.ok(credit.limit >= before);
      assert.ok(credit.limit - credit.consumed <= maxKib * KIB);
    }
  }));
});

/** Sends on stream 1 as credit allows, `burst` bytes per round trip of 20 ms, read at once. */
function sendBursts(rounds: number, burst: number) {
  const peer = new ScriptedPeer().establish();
  const limits = { connection: 2 * MIB, stream: 512 * KIB };
  let offset = 0;
  for (let round = 0; round < rounds; round++) {
    const stop = Math.min(limits.stream, limits.connection, offset + burst);
    while (offset < stop) {
      const length = Math.min(1_000, stop - offset);
      peer.send(wire.data(1, offset, pattern(length)));
      offset += length;
      readAll(peer.connection, 1);
    }
    for (const frame of peer.received()) {
      if (frame.type === 0x22) limits[frame.stream === 0 ? "connection" : "stream"] = frame.limit;
    }
    peer.nowUs += 20_000;
    peer.send(wire.ack(peer.connection.stats().packetsSent - 1));
  }
  return { connection: limits.connection - offset, stream: limits.stream - offset };
}

Deno.test("NS-RO-004: the connection's window stays ahead of its largest stream", () => {
  const left = sendBursts(14, 4 * MIB);
  assert.ok(left.stream > MIB, `stream has ${left.stream}`);
  assert.ok(left.connection >= 1.25 * left.stream, `connection has ${left.connection}`);
});

Deno.test("NS-RO-004: traffic of token size keeps the first windows", () => {
  const left = sendBursts(4_000, 64);
  assert.ok(left.stream <= 512 * KIB, `stream has ${left.stream}`);
  assert.ok(left.connection <= 2 * MIB, `connection has ${left.connection}`);
});

// ---- send buffers -------------------------------------------------------------------------

const BUFFERS = {
  initialSendBufferBytes: 64 * KIB,
  sendBufferBytes: 4 * MIB,
  sendBufferTotalBytes: 12 * MIB,
};

Deno.test("NS-RO-004: a send buffer holds three times what may be in flight", () => {
  assert.equal(usefulBufferBytes(MIB, 50_000), 3 * MIB);
  assert.equal(usefulBufferBytes(100 * MIB, 50_000), 300 * MIB);
  assert.equal(usefulBufferBytes(100 * MIB, Infinity), 300 * MIB, "no round trip was measured yet");
});

Deno.test("NS-RO-004: on a short path a send buffer follows what it can hold, not the window", () => {
  const loopback = usefulBufferBytes(100 * MIB, 30);
  assert.ok(loopback < 3 * MIB, `${loopback}`);
  assert.equal(usefulBufferBytes(MIB / 4, 30), 3 * MIB / 4, "a small window is the lesser bound");
  // 25 Gbit/s over 1 ms, 40 Gbit/s over 0.5 ms: three times what is on the way.
  assert.ok(usefulBufferBytes(100 * MIB, 1_000) > 3 * 25e9 / 8 * 1e-3);
  assert.ok(usefulBufferBytes(100 * MIB, 500) > 3 * 40e9 / 8 * 0.5e-3);
});

Deno.test("NS-RO-004: a send buffer stays within its bounds", () => {
  const budget = new SendBudget(BUFFERS);
  assert.equal(budget.streamLimit, 64 * KIB);
  budget.usefulBytes = 3 * MIB;
  assert.equal(budget.streamLimit, 3 * MIB);
  budget.usefulBytes = 300 * MIB;
  assert.equal(budget.streamLimit, 4 * MIB);
  budget.usefulBytes = 3 * MIB + 2.1;
  assert.equal(budget.streamLimit, 3 * MIB + 2, "whole bytes");
});

Deno.test("NS-RO-005: streams whose peer does not read leave send buffer to others", () => {
  const budget = new SendBudget(BUFFERS);
  budget.usefulBytes = 100 * MIB;
  for (let streams = 1; streams <= 10; streams++) {
    // One more stream fills its buffer and stays full.
    for (let held = 0; budget.room(held) > 0;) {
      const more = Math.min(streams * 10_000, budget.room(held));
      held += more;
      budget.used += more;
    }
    assert.ok(budget.left >= 8 * MIB / 2 ** (streams - 1), `${budget.left} after ${streams}`);
  }
});

/** What each of so many streams holds once all are as full as they may be. */
function fillAll(budget: SendBudget, streams: number): number[] {
  const held: number[] = new Array(streams).fill(0);
  for (let grown = true; grown;) {
    grown = false;
    for (let i = 0; i < streams; i++) {
      const more = Math.min(10_000, budget.room(held[i]));
      held[i] += more;
      budget.used += more;
      grown ||= more > 0;
    }
  }
  return held;
}

Deno.test("NS-RO-005: busy streams share what the path needs, not all memory", () => {
  const budget = new SendBudget({ ...BUFFERS, sendBufferTotalBytes: 1_024 * MIB });
  budget.usefulBytes = 1_500 * KIB;
  const held = fillAll(budget, 60);
  const total = sum(held);
  assert.equal(total, budget.used);
  // What eight streams would hold that are alone.
  assert.ok(total > 6.7 * budget.usefulBytes && total <= 8 * budget.usefulBytes, `${total}`);
  const [least, most] = [Math.min(...held), Math.max(...held)];
  assert.ok(least > 0.9 * most, `${least} and ${most}`);
});

Deno.test("NS-RO-005: a writer hears of a quarter of its share, however many share", () => {
  for (const streams of [1, 8, 60]) {
    const budget = new SendBudget({ ...BUFFERS, sendBufferTotalBytes: 1_024 * MIB });
    budget.usefulBytes = 1_500 * KIB;
    const [held] = fillAll(budget, streams);
    const refill = budget.refill(held);
    assert.equal(refill, Math.ceil(held / 4));
    // What the stream itself gets rid of makes that much room before half of it is gone.
    budget.used -= held / 2;
    assert.ok(budget.room(held / 2) >= refill, `${streams} streams`);
  }
});

Deno.test("NS-RO-005: a fresh stream gets its first buffer whatever the path has become", () => {
  const budget = new SendBudget(BUFFERS);
  budget.usefulBytes = 900 * KIB;
  fillAll(budget, 60);
  budget.usefulBytes = 30 * KIB;
  assert.ok(budget.used > 8 * budget.streamLimit, "shared memory is overdrawn");
  assert.equal(budget.room(0), 64 * KIB);
  assert.equal(budget.room(60 * KIB), 4 * KIB);
  assert.equal(budget.isShort(0), false);
});

Deno.test("NS-RO-005: a stream works on beside hundreds that wait for their readers", () => {
  const pair = establishedPair({
    initialStreamWindowBytes: 64 * KIB,
    initialDataBytes: 1_024 * MIB,
    maxDataBytes: 1_024 * MIB,
    sendBufferTotalBytes: 2 * MIB,
  });
  const { client, server } = pair;
  for (let i = 0; i < 300; i++) client.write(client.openStream(MODE_RELIABLE_ORDERED), pattern(1));
  // All who hear of room fill it, until the peer's windows and then the memory are used up.
  const chunk = pattern(256 * KIB);
  for (let i = 1; i <= 599; i += 2) client.write(i, chunk);
  for (let round = 0; round < 10; round++) {
    pair.advance(100_000);
    for (const event of drain(client)) {
      if (event.type === "writable") client.write(event.stream, chunk);
    }
  }
  const stream = client.openStream(MODE_RELIABLE_ORDERED);
  let left = 100 * KIB;
  let received = 0;
  left -= client.write(stream, pattern(left));
  assert.ok(left > 0, "there is little room");
  for (let round = 0; round < 100; round++) {
    pair.advance(100_000);
    for (const event of drain(client)) {
      if (event.type !== "writable") continue;
      if (event.stream === stream) left -= client.write(stream, pattern(left));
      else client.write(event.stream, chunk);
    }
    received += readAll(server, stream).length;
  }
  assert.equal(received, 100 * KIB);
});

Deno.test("NS-RO-005: a writer that found the memory of the connection used up is told later", () => {
  const pair = establishedPair({
    initialSendBufferBytes: 64 * KIB,
    sendBufferTotalBytes: 128 * KIB,
  });
  const { client } = pair;
  const streams = Array.from({ length: 8 }, () => client.openStream(MODE_RELIABLE_ORDERED));
  const taken = streams.map((stream) => client.write(stream, pattern(64 * KIB)));
  assert.deepEqual(taken.slice(0, 3), [64 * KIB, 32 * KIB, 16 * KIB]);
  const last = client.openStream(MODE_RELIABLE_UNORDERED);
  assert.equal(client.sendMessage(last, pattern(40_000)), false);
  pair.advance(300_000);
  const told = drain(client).filter(({ type }) => type === "writable");
  assert.equal(told.length, 7 + 1, "all but the first");
  assert.equal(client.sendMessage(last, pattern(40_000)), true);
});
