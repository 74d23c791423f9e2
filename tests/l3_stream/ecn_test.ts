/** ECN: whether packets are marked follows from what the peer's counts say. */
import assert from "node:assert/strict";
import { ECN_CE, ECN_ECT0, ECN_ECT1 } from "../../lib/l3_stream/acks.ts";
import { ECN_TEST_PACKETS, EcnValidation } from "../../lib/l3_stream/ecn.ts";
import { Frame } from "../../lib/l3_stream/frames/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { drain, Pair, pattern, readAll, WIDE } from "./harness.ts";

/** A DATA_ACK with counts; without: none are reported. */
function ack(counts?: { ect0?: number; ect1?: number; ce?: number }): Frame {
  const { ect0 = 0, ect1 = 0, ce = 0 } = counts ?? {};
  return Object.assign(new Frame(), { hasEcn: counts !== undefined, ect0, ect1, ce });
}

Deno.test("NS-CC-006: counts that agree keep packets marked", () => {
  const ecn = new EcnValidation(true);
  assert.equal(ecn.codepoint, ECN_ECT0);
  ecn.onSent(12);
  ecn.onPacketsAcked(2);
  ecn.onAck(ack({ ect0: 1, ce: 1 }), true);
  assert(ecn.isCapable);
  assert.equal(ecn.codepoint, ECN_ECT0);
});

for (
  const [what, counts] of [
    ["counts that are missing", undefined],
    ["counts that are too low", { ect0: 1 }],
    ["counts above what was sent", { ect0: 13 }],
    ["ECT(1), which was never sent", { ect0: 2, ect1: 1 }],
  ] as const
) {
  Deno.test(`NS-CC-006: ${what} end the marking`, () => {
    const ecn = new EcnValidation(true);
    ecn.onSent(12);
    ecn.onPacketsAcked(2);
    ecn.onAck(ack(counts), true);
    assert(ecn.hasFailed);
    assert.equal(ecn.codepoint, 0);
  });
}

Deno.test("NS-CC-006: an acknowledgement that came late is not judged", () => {
  const ecn = new EcnValidation(true);
  ecn.onSent(5);
  ecn.onPacketsAcked(1);
  ecn.onAck(ack({ ect0: 5 }), true);
  ecn.onPacketsAcked(1);
  ecn.onAck(ack({ ect0: 1 }), false);
  assert(ecn.isCapable);
});

Deno.test("NS-CC-006: when all marked packets are lost, the next go without marks for good", () => {
  const ecn = new EcnValidation(true);
  ecn.onSent(20);
  for (let packet = 0; packet < ECN_TEST_PACKETS; packet++) {
    assert.equal(ecn.hasFailed, false);
    ecn.onPacketLost(packet);
  }
  assert(ecn.hasFailed);
});

Deno.test("NS-CC-006: another network path is tested anew, old counts go on", () => {
  const ecn = new EcnValidation(true);
  ecn.onSent(3);
  ecn.onPacketsAcked(1);
  ecn.onAck(ack(), true);
  assert(ecn.hasFailed);
  ecn.reset(true, 3);
  ecn.onSent(2);
  for (let packet = 0; packet < 3; packet++) ecn.onPacketLost(packet); // of before
  ecn.onPacketsAcked(1);
  ecn.onAck(ack({ ect0: 1 }), true);
  assert(ecn.isCapable);
});

// ---- connections --------------------------------------------------------------------------

/** 200 kB from the client over a path that treats marks so. */
function bulkOver(mark: Pair["mark"]): Pair {
  const pair = new Pair(WIDE);
  pair.mark = mark;
  pair.advance(100_000);
  drain(pair.client);
  const bytes = pattern(200_000);
  const stream = pair.client.openStream(MODE_RELIABLE_ORDERED);
  pair.client.write(stream, bytes);
  pair.advance(1_000_000);
  assert.deepEqual(readAll(pair.server, stream), bytes);
  return pair;
}

Deno.test("NS-CC-006: a path that keeps marks is used with ECN in both directions", () => {
  const seen = new Set<number>();
  const pair = bulkOver((ecn) => (seen.add(ecn), ecn));
  assert(pair.client.stats().isEcnCapable);
  assert(pair.server.stats().isEcnCapable);
  assert.deepEqual([...seen], [ECN_ECT0]);
});

Deno.test("NS-CC-006: a path that clears or changes marks goes on without ECN", () => {
  for (const makes of [0, ECN_ECT1]) {
    let last = -1;
    const pair = bulkOver((ecn, from) => (from === "client" && (last = ecn), makes));
    assert.equal(pair.client.stats().isEcnCapable, false);
    assert.equal(last, 0, "no mark on the last packet");
    assert.equal(pair.client.state, "established");
  }
});

Deno.test("NS-CC-006: CE makes the window smaller, and is no loss", () => {
  const plain = bulkOver((ecn) => ecn).client.stats();
  let packets = 0;
  const pair = bulkOver((ecn, from) => from === "client" && ++packets === 60 ? ECN_CE : ecn);
  const marked = pair.client.stats();
  assert(marked.windowBytes < plain.windowBytes, `${marked.windowBytes} ${plain.windowBytes}`);
  assert.equal(marked.packetsLost, 0);
  assert(marked.isEcnCapable);
});

Deno.test("NS-CC-006: marking may be switched off", () => {
  const pair = new Pair({ ecn: false });
  const seen = new Set<number>();
  pair.mark = (ecn) => (seen.add(ecn), ecn);
  pair.advance(100_000);
  assert.deepEqual([...seen], [0]);
});
