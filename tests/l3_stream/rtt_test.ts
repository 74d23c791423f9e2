import assert from "node:assert/strict";
import { RttEstimator } from "../../lib/l3_stream/rtt.ts";

const MAX_DELAY_US = 25_000;

Deno.test("NS-LD-003: before a sample the RTT is 333 ms and the PTO 999 ms and the ack delay", () => {
  const rtt = new RttEstimator();
  assert.equal(rtt.hasSample, false);
  assert.equal(rtt.smoothedUs, 333_000);
  assert.equal(rtt.varianceUs, 166_500);
  assert.equal(rtt.ptoUs(MAX_DELAY_US), 999_000 + MAX_DELAY_US);
});

Deno.test("NS-LD-003: the first sample replaces the assumption, ack delay unseen", () => {
  const rtt = new RttEstimator();
  rtt.update(100_000, 20_000, MAX_DELAY_US, 5);
  assert.deepEqual(
    [rtt.latestUs, rtt.smoothedUs, rtt.varianceUs, rtt.minUs, rtt.firstSampleAtUs],
    [100_000, 100_000, 50_000, 100_000, 5],
  );
});

Deno.test("NS-LD-003: later samples are smoothed by 7/8 and 3/4, ack delay taken off", () => {
  const rtt = new RttEstimator();
  rtt.update(100_000, 0, MAX_DELAY_US, 0);
  rtt.update(140_000, 20_000, MAX_DELAY_US, 1);
  assert.equal(rtt.varianceUs, 0.75 * 50_000 + 0.25 * 20_000);
  assert.equal(rtt.smoothedUs, 0.875 * 100_000 + 0.125 * 120_000);
});

Deno.test("NS-LD-003: the reported ack delay counts up to what the peer promised", () => {
  const rtt = new RttEstimator();
  rtt.update(100_000, 0, MAX_DELAY_US, 0);
  rtt.update(200_000, 90_000, MAX_DELAY_US, 1);
  assert.equal(rtt.smoothedUs, 0.875 * 100_000 + 0.125 * 175_000);
});

Deno.test("NS-LD-003: the ack delay never brings a sample below the minimum", () => {
  const rtt = new RttEstimator();
  rtt.update(100_000, 0, MAX_DELAY_US, 0);
  rtt.update(110_000, 20_000, MAX_DELAY_US, 1);
  assert.equal(rtt.smoothedUs, 0.875 * 100_000 + 0.125 * 110_000);
});

Deno.test("NS-LD-003: the minimum ignores ack delay and starts anew after resetMin", () => {
  const rtt = new RttEstimator();
  rtt.update(100_000, 0, MAX_DELAY_US, 0);
  rtt.update(90_000, 50_000, MAX_DELAY_US, 1);
  rtt.update(150_000, 0, MAX_DELAY_US, 2);
  assert.equal(rtt.minUs, 90_000);
  rtt.resetMin();
  assert.equal(rtt.minUs, 150_000);
});

Deno.test("NS-LD-003: negative and NaN samples change nothing", () => {
  const rtt = new RttEstimator();
  rtt.update(-1, 0, MAX_DELAY_US, 0);
  rtt.update(NaN, 0, MAX_DELAY_US, 0);
  assert.equal(rtt.hasSample, false);
});

Deno.test("NS-LD-002: the loss delay is 9/8 of the larger RTT and at least 1 ms", () => {
  const rtt = new RttEstimator(1);
  assert.equal(rtt.lossDelayUs(), 1_000);
  rtt.update(80_000, 0, MAX_DELAY_US, 0);
  rtt.update(160_000, 0, MAX_DELAY_US, 1);
  assert.equal(rtt.lossDelayUs(), 180_000);
});
