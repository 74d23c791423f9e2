import assert from "node:assert/strict";
import { Cubic, CUBIC_ALPHA } from "../../lib/l3_stream/congestion/cubic.ts";
import { RttEstimator } from "../../lib/l3_stream/rtt.ts";

const MSS = 1_200;

function rttOf(us: number): RttEstimator {
  const rtt = new RttEstimator(us);
  rtt.update(us, 0, 0, 0);
  return rtt;
}

/** A Cubic of `segments` that has just had its first congestion event, at time 0. */
function afterLoss(segments: number): Cubic {
  const cubic = new Cubic({ datagramBytes: MSS, hystart: false });
  const rtt = rttOf(100_000);
  const bytes = segments * MSS - cubic.windowBytes;
  if (bytes > 0) cubic.onAck(bytes, -2, true, rtt, -1);
  assert.equal(cubic.windowBytes, segments * MSS);
  assert.equal(cubic.onLoss(MSS, -1, 0, false), true);
  return cubic;
}

/** Acknowledges a window per round trip until `untilUs`; returns the time reached. */
function runUntil(cubic: Cubic, fromUs: number, untilUs: number, rtt: RttEstimator): number {
  let nowUs = fromUs;
  while (nowUs < untilUs) {
    const perAckUs = rtt.smoothedUs * MSS / cubic.windowBytes;
    nowUs += perAckUs;
    cubic.onAck(MSS, nowUs, true, rtt, nowUs);
  }
  return nowUs;
}

function near(actual: number, expected: number, ratio: number, what: string): void {
  assert.ok(
    Math.abs(actual - expected) <= ratio * expected,
    `${what} is ${actual}, expected ${expected} ± ${100 * ratio} %`,
  );
}

Deno.test("NS-CC-001: slow start grows by what was acknowledged", () => {
  const cubic = new Cubic({ datagramBytes: MSS });
  const before = cubic.windowBytes;
  cubic.onAck(5 * MSS, 0, true, rttOf(50_000), 1);
  assert.equal(cubic.windowBytes, before + 5 * MSS);
});

Deno.test("NS-CC-001: a loss multiplies the window by 0.7 and remembers W_max (RFC 9438 §4.6)", () => {
  const cubic = afterLoss(1_000);
  near(cubic.windowBytes, 700 * MSS, 1e-9, "window");
  near(cubic.slowStartThresholdBytes, 700 * MSS, 1e-9, "threshold");
  assert.equal(cubic.windowMaxBytes, 1_000 * MSS);
});

Deno.test("NS-CC-001: one congestion event per round trip", () => {
  const cubic = afterLoss(1_000);
  const window = cubic.windowBytes;
  assert.equal(cubic.onLoss(MSS, 0, 5, false), false);
  assert.equal(cubic.onEcnCe(0, 5), false);
  assert.equal(cubic.windowBytes, window);
  assert.equal(cubic.onLoss(MSS, 1, 5, false), true);
});

Deno.test("NS-CC-001: K is the cube root of (W_max - cwnd_epoch) / C (RFC 9438 §4.2)", () => {
  const cubic = afterLoss(1_000);
  cubic.onAck(MSS, 1, true, rttOf(10), 1);
  near(cubic.k, Math.cbrt(1_000 * 0.3 / 0.4), 1e-9, "K");
});

Deno.test("NS-CC-001: the window follows W_cubic(t) through concave, plateau and convex", () => {
  const cubic = afterLoss(10_000);
  const rtt = rttOf(200_000);
  let nowUs = 1;
  cubic.onAck(MSS, nowUs, true, rtt, nowUs);
  const k = Math.cbrt(3_000 / 0.4);
  for (const t of [2, 5, 10, 15, k, 22, 25]) {
    nowUs = runUntil(cubic, nowUs, t * 1e6, rtt);
    const expected = 0.4 * (t - k) ** 3 + 10_000;
    near(cubic.windowBytes / MSS, expected, 0.01, `window at ${t} s`);
  }
});

Deno.test("NS-CC-001: growth per round trip is at most half the window (RFC 9438 §4.2)", () => {
  const cubic = afterLoss(20);
  const rtt = rttOf(20_000_000); // target is far ahead
  let nowUs = 1;
  cubic.onAck(MSS, nowUs, true, rtt, nowUs);
  nowUs += 20_000_000;
  const before = cubic.windowBytes;
  for (let acked = 0; acked < before; acked += MSS) cubic.onAck(MSS, nowUs, true, rtt, nowUs);
  assert.ok(cubic.windowBytes > before);
  assert.ok(cubic.windowBytes <= before * Math.exp(0.5) + MSS);
});

Deno.test("NS-CC-001: on short paths the window grows like Reno with alpha 0.53, then 1 (§4.3)", () => {
  const cubic = afterLoss(100);
  const rtt = rttOf(1_000);
  near(CUBIC_ALPHA, 3 * 0.3 / 1.7, 1e-12, "alpha");
  let nowUs = runUntil(cubic, 1, 1_000, rtt);
  const start = cubic.windowBytes / MSS;
  nowUs = runUntil(cubic, nowUs, nowUs + 40_000, rtt);
  near(cubic.windowBytes / MSS - start, 40 * CUBIC_ALPHA, 0.05, "growth in 40 round trips");
  while (cubic.windowBytes < 101 * MSS) nowUs = runUntil(cubic, nowUs, nowUs + 1_000, rtt);
  const past = cubic.windowBytes / MSS;
  runUntil(cubic, nowUs, nowUs + 40_000, rtt);
  near(cubic.windowBytes / MSS - past, 40, 0.05, "growth in 40 round trips past W_max");
});

Deno.test("NS-CC-001: fast convergence releases W_max when the flow stopped short (§4.7)", () => {
  const cubic = afterLoss(1_000);
  assert.equal(cubic.onLoss(MSS, 1, 2, false), true);
  near(cubic.windowMaxBytes, 700 * MSS * 1.7 / 2, 1e-9, "W_max");
  near(cubic.windowBytes, 490 * MSS, 1e-9, "window");
});

Deno.test("NS-CC-001: persistent congestion restarts from two packets with K = 0 (§4.8)", () => {
  const cubic = afterLoss(100);
  const rtt = rttOf(10_000);
  cubic.onLoss(MSS, 10, 20, true);
  assert.equal(cubic.windowBytes, 2 * MSS);
  near(cubic.slowStartThresholdBytes, 49 * MSS, 1e-9, "threshold");
  cubic.onAck(MSS, 20, true, rtt, 30);
  assert.equal(cubic.windowBytes, 2 * MSS, "packets of before the event do not count");
  while (cubic.inSlowStart) cubic.onAck(MSS, 21, true, rtt, 31);
  cubic.onAck(MSS, 32, true, rtt, 33);
  assert.equal(cubic.k, 0);
  near(cubic.windowMaxBytes, 49 * MSS, 0.03, "W_max");
});

Deno.test("NS-LD-004: undo brings back window, threshold, W_max and the curve (§4.9)", () => {
  const cubic = afterLoss(1_000);
  const rtt = rttOf(100_000);
  const nowUs = runUntil(cubic, 1, 3e6, rtt);
  const { windowBytes, slowStartThresholdBytes, windowMaxBytes, k } = cubic;
  cubic.onLoss(MSS, nowUs, nowUs, false);
  cubic.onSpuriousLoss();
  assert.deepEqual(
    [cubic.windowBytes, cubic.slowStartThresholdBytes, cubic.windowMaxBytes, cubic.k],
    [windowBytes, slowStartThresholdBytes, windowMaxBytes, k],
  );
  cubic.onSpuriousLoss();
  assert.equal(cubic.windowBytes, windowBytes, "only once");
});

Deno.test("NS-LD-004: a CE mark is never undone", () => {
  const cubic = afterLoss(1_000);
  cubic.onEcnCe(10, 20);
  const { windowBytes } = cubic;
  cubic.onSpuriousLoss();
  assert.equal(cubic.windowBytes, windowBytes);
});

Deno.test("NS-CC-004: without a full window it does not grow and the curve's clock stands (§5.8)", () => {
  const busy = afterLoss(1_000);
  const paused = afterLoss(1_000);
  const rtt = rttOf(100_000);
  const until = runUntil(busy, 1, 4e6, rtt);
  const half = runUntil(paused, 1, 2e6, rtt);
  const before = paused.windowBytes;
  for (let i = 1; i <= 100; i++) {
    paused.onAck(MSS, half + i * 1e5, false, rtt, half + i * 1e5);
  }
  assert.equal(paused.windowBytes, before);
  // Ten seconds later it goes on as if they had not been, here after a further idle gap.
  paused.onSent(MSS, 0, half + 20e6);
  runUntil(paused, half + 20e6, until + 20e6, rtt);
  near(paused.windowBytes, busy.windowBytes, 0.01, "window after the pause");
});

/** Average window in packets when exactly every 1/p-th packet is lost (RFC 9438 §5.1's model). */
function averageWindow(rttUs: number, lossRate: number, losses: number): number {
  const cubic = new Cubic({ datagramBytes: MSS, hystart: false });
  const rtt = rttOf(rttUs);
  const between = Math.round(1 / lossRate);
  let nowUs = 0;
  let packets = 0;
  let area = 0;
  let time = 0;
  for (let loss = 0; loss < losses; loss++) {
    for (let i = 0; i < between; i++) {
      const gapUs = rttUs * MSS / cubic.windowBytes;
      nowUs += gapUs;
      packets++;
      if (loss >= losses / 4) { // once settled
        area += cubic.windowBytes / MSS * gapUs;
        time += gapUs;
      }
      cubic.onAck(MSS, nowUs, true, rtt, nowUs);
    }
    cubic.onLoss(MSS, nowUs, nowUs, false);
  }
  assert.equal(packets, losses * between);
  return area / time;
}

Deno.test("NS-CC-001: the average window under periodic loss is that of RFC 9438 Tables 1 and 2", () => {
  for (
    const [rttUs, lossRate, expected] of [
      [100_000, 1e-3, 38],
      [100_000, 1e-4, 187],
      [100_000, 1e-5, 1054],
      [10_000, 1e-4, 120],
    ]
  ) {
    near(averageWindow(rttUs, lossRate, 80), expected, 0.15, `RTT ${rttUs} µs, p ${lossRate}`);
  }
});
