/** Delivery-rate samples (draft-ietf-ccwg-bbr §4.1) and the windowed maximum, by hand. */
import assert from "node:assert/strict";
import { DeliveryRate } from "../../lib/l3_stream/congestion/delivery_rate.ts";
import { WindowedMax } from "../../lib/l3_stream/congestion/bbr/windowed_max.ts";

/** Sends packets of 1,000 bytes, one entry each, and acknowledges them. */
function setUp() {
  const rate = new DeliveryRate();
  const sentUs: number[] = [];
  let inFlight = 0;
  const send = (nowUs: number) => {
    rate.onSent(sentUs.length, 0, 1_000, inFlight, nowUs);
    sentUs.push(nowUs);
    inFlight += 1_000;
  };
  const ack = (nowUs: number, ...packets: number[]) => {
    rate.begin();
    for (const n of packets) {
      rate.onAcked(n, n, 1_000, sentUs[n], nowUs);
      inFlight -= 1_000;
    }
    rate.finish(0);
    return rate.sample;
  };
  const lose = (n: number) => {
    inFlight -= 1_000;
    return rate.onLost(n, n, 1_000, sentUs[n]);
  };
  return { rate, send, ack, lose, inFlight: () => inFlight };
}

Deno.test("NS-CC-003: the delivery rate is what was delivered by the time that took", () => {
  const { send, ack } = setUp();
  for (let n = 0; n < 10; n++) send(n * 1_000);
  const first = ack(50_000, 0, 1);
  assert.deepEqual([first.delivered, first.newlyAcked, first.priorDelivered], [2_000, 2_000, 0]);
  assert.equal(first.deliveryRate, 2_000 / 0.05);
  assert.equal(first.rttUs, 49_000, "of the newest packet");
  // Sent when two packets had been delivered, at 50 ms; acknowledged 20 ms later with eight more.
  send(52_000);
  const later = ack(70_000, 2, 3, 4, 5, 6, 7, 8, 9, 10);
  assert.equal(later.delivered, 9_000);
  assert.equal(later.deliveryRate, 9_000 / Math.max(0.02, 0.051));
});

Deno.test("NS-CC-003: acknowledgements that come at once do not beat the rate of sending", () => {
  const { send, ack } = setUp();
  send(0);
  ack(10_000, 0);
  for (let n = 1; n <= 10; n++) send(10_000 * n);
  // All within a moment: the ACK rate alone would be a hundred times too high.
  for (let n = 1; n < 10; n++) ack(110_000 + n, n);
  const { deliveryRate } = ack(110_010, 10);
  assert.ok(deliveryRate <= 1_000 / 0.009, `${deliveryRate}`);
});

Deno.test("NS-CC-003: samples are application-limited until the gap has left the pipe", () => {
  const { rate, send, ack, inFlight } = setUp();
  send(0);
  send(1_000);
  rate.markAppLimited(inFlight());
  send(5_000);
  assert.equal(ack(10_000, 0, 1).isAppLimited, false, "sent before");
  assert.equal(ack(15_000, 2).isAppLimited, true, "sent after");
  assert.equal(rate.appLimited, 0);
  send(16_000);
  assert.equal(ack(26_000, 3).isAppLimited, false);
});

Deno.test("NS-CC-003: a lost packet knows what was in flight and lost since it left", () => {
  const { send, ack, lose } = setUp();
  for (let n = 0; n < 8; n++) send(n);
  lose(0);
  const { txInFlight, lost } = lose(2);
  assert.deepEqual([txInFlight, lost], [3_000, 2_000]);
  send(20_000); // after both losses
  assert.equal(ack(30_000, 3).lost, 2_000);
  assert.equal(ack(40_000, 8).lost, 0);
});

Deno.test("NS-CC-003: a sample shorter than the shortest round trip tells nothing", () => {
  const { rate, send } = setUp();
  send(0);
  rate.begin();
  rate.onAcked(0, 0, 1_000, 0, 5_000);
  rate.finish(6_000);
  assert.equal(rate.sample.deliveryRate, 0);
  assert.equal(rate.sample.hasData, true);
});

Deno.test("NS-CC-003: packets of before a path changed are no part of its samples", () => {
  const rate = new DeliveryRate();
  rate.onSent(1_000, 0, 1_000, 0, 0); // entry 1,000: the ring was long in use
  rate.begin();
  rate.onAcked(1_000, 1_000, 1_000, 0, 10_000);
  rate.finish(0);
  assert.equal(rate.sample.deliveryRate, 100_000);
});

Deno.test("NS-CC-003: the windowed maximum forgets what is older than its window", () => {
  const max = new WindowedMax();
  assert.equal(max.update(100, 0, 10), 100);
  assert.equal(max.update(50, 3, 10), 100);
  assert.equal(max.update(40, 9, 10), 100);
  assert.equal(max.update(10, 10, 10), 100);
  assert.equal(max.update(10, 11, 10), 50);
  assert.equal(max.update(10, 14, 10), 40);
  assert.equal(max.update(10, 20, 10), 10);
  assert.equal(max.update(70, 21, 10), 70);
});

Deno.test("NS-CC-003: the windowed maximum is never below the last quarter of its window", () => {
  let seed = 1;
  const next = () => (seed = seed * 48_271 % 2_147_483_647) % 1_000;
  const max = new WindowedMax();
  const seen: number[] = [];
  for (let time = 0; time < 2_000; time++) {
    seen.push(next());
    const value = max.update(seen[time], time, 20);
    assert.ok(value >= Math.max(...seen.slice(-6)));
    assert.ok(value <= Math.max(...seen.slice(-22)));
  }
});
