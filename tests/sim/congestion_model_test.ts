/** Every controller on the cheap path: CUBIC's window against RFC 9438, fairness, false losses. */
import assert from "node:assert/strict";
import { SeededRandom } from "../../lib/base/mod.ts";
import {
  CONGESTION_NAMES,
  type CongestionName,
  createCongestion,
  Cubic,
} from "../../lib/l3_stream/congestion/mod.ts";
import { RttEstimator } from "../../lib/l3_stream/rtt.ts";
import { Bottleneck, type BottleneckOptions, jain } from "./congestion_path.ts";

const DATAGRAM = 1_200;
const SECOND = 1e6;

// ---- RFC 9438 §5.1 ------------------------------------------------------------------------------

/** Average window in packets by RFC 9438 Tables 1 and 2: one packet in 1/p is lost. */
const AVERAGE_WINDOWS: [rttMs: number, p: number, packets: number][] = [
  [100, 1e-3, 38],
  [100, 1e-4, 187],
  [100, 1e-5, 1_054],
  [10, 1e-4, 120],
  [10, 1e-6, 1_200],
];

/** Keeps the first slow start, which loses nothing for 1/p packets, near the sawtooth. */
const cubicBelow = (packets: number) =>
  new Cubic({ datagramBytes: DATAGRAM, windowBytesMax: 1.5 * packets * DATAGRAM });

/**
 * The controller alone under RFC 9438's model: a window per round trip, acknowledged evenly in
 * fiftieths. The average window over `epochs` losses, after as many to settle.
 */
function averageWindow(cubic: Cubic, rttUs: number, p: number, epochs: number): number {
  const rtt = new RttEstimator();
  rtt.update(rttUs, 0, 0, 0);
  let nowUs = 0;
  let packets = 0;
  let lossAt = 1 / p;
  let lost = 0;
  let since = { nowUs, packets };
  while (lost < 2 * epochs) {
    const window = cubic.windowBytes / DATAGRAM;
    const step = Math.max(1, window / 50);
    nowUs += step * rttUs / window;
    packets += step;
    cubic.onAck(step * DATAGRAM, nowUs - rttUs, true, rtt, nowUs);
    if (packets < lossAt) continue;
    cubic.onLoss(DATAGRAM, nowUs - rttUs, nowUs, false);
    lossAt += 1 / p;
    if (++lost === epochs) since = { nowUs, packets };
  }
  return (packets - since.packets) * rttUs / (nowUs - since.nowUs);
}

for (const [rttMs, p, expected] of AVERAGE_WINDOWS) {
  Deno.test(`NS-CC-001: CUBIC's window at ${rttMs} ms and p = ${p} is RFC 9438's ${expected}`, () => {
    const average = averageWindow(cubicBelow(expected), rttMs * 1_000, p, 12);
    assert.ok(Math.abs(average / expected - 1) <= 0.15, `${average} packets`);
  });
}

for (const [rttMs, p, expected] of AVERAGE_WINDOWS.filter(([, p]) => p >= 1e-4)) {
  Deno.test(`NS-CC-001: the same with packets and loss recovery, ${rttMs} ms, p = ${p}`, () => {
    const delayUs = 500 * rttMs;
    const path = new Bottleneck({ rateBps: 10e9, delayUs, queueBytes: Infinity, dropEvery: 1 / p });
    const flow = path.add(cubicBelow(expected));
    let windowSum = 0;
    const settled = 8 / p;
    path.run(1e12, () => path.carried >= settled);
    const sinceUs = path.nowUs;
    let lastUs = sinceUs;
    path.run(1e12, () => {
      windowSum += flow.congestion.windowBytes / DATAGRAM * (path.nowUs - lastUs);
      lastUs = path.nowUs;
      return path.carried >= 2 * settled;
    });
    const average = windowSum / (lastUs - sinceUs);
    assert.ok(Math.abs(average / expected - 1) <= 0.15, `${average} packets`);
  });
}

// ---- fairness -----------------------------------------------------------------------------------

const SHARED = { rateBps: 20e6, delayUs: 20_000, queueBytes: 60 * DATAGRAM };

/** Two flows, the second one later; Jain's index over two minutes, from 20 s after its start. */
function fairness(name: CongestionName, lateUs: number, queueBytes: number, seed: number) {
  const path = new Bottleneck({ ...SHARED, queueBytes }, seed);
  const source = new SeededRandom(seed);
  const random = (bytes: Uint8Array) => source.fill(bytes);
  const flows = [0, 1].map((i) =>
    path.add(createCongestion(name, { datagramBytes: DATAGRAM, random }), i * lateUs)
  );
  path.run(lateUs + 20 * SECOND);
  const before = flows.map(({ arrivedBytes }) => arrivedBytes);
  path.run(path.nowUs + 120 * SECOND);
  const shares = flows.map(({ arrivedBytes }, i) => arrivedBytes - before[i]);
  const used = (shares[0] + shares[1]) * 8 / (SHARED.rateBps * 120);
  return { index: jain(shares), used, shares };
}

for (const name of CONGESTION_NAMES) {
  for (const [what, lateUs] of [["together", 50_000], ["five seconds apart", 5e6]] as const) {
    Deno.test(`NS-CC-004: two ${name} flows that start ${what} share fairly`, () => {
      for (const packets of [60, 160]) {
        const { index, used, shares } = fairness(name, lateUs, packets * DATAGRAM, 1);
        assert.ok(index >= 0.95, `Jain ${index}, queue ${packets}: ${shares}`);
        assert.ok(used > 0.95, `${used} of the path`);
      }
    });
  }
}

// ---- what is no congestion, and what is -----------------------------------------------------------

for (const name of CONGESTION_NAMES) {
  const setUp = (options: Partial<BottleneckOptions>) => {
    const path = new Bottleneck({ ...SHARED, queueBytes: 1e6, ...options });
    const windowBytesMax = 150 * DATAGRAM;
    const flow = path.add(createCongestion(name, { datagramBytes: DATAGRAM, windowBytesMax }));
    return { path, flow, stats: flow.recovery.stats };
  };

  Deno.test(`NS-LD-004: ${name} takes back what was only reordering`, () => {
    const { path, flow, stats } = setUp({ reorderRate: 0.002, reorderDelayUs: 6_000 });
    path.run(15 * SECOND);
    assert.ok(stats.spurious > 20, `${stats.spurious}`);
    assert.equal(stats.lost, stats.spurious);
    assert.equal(stats.undone, stats.congestionEvents);
    const share = flow.arrivedBytes * 8 / (SHARED.rateBps * 15);
    assert.ok(share > 0.95, `${share} of the path`);
  });

  Deno.test(`NS-LD-004: ${name} falls to its least window in persistent congestion`, () => {
    const { path, flow, stats } = setUp({});
    path.run(3 * SECOND);
    path.options.lossRate = 1;
    path.run(5 * SECOND);
    path.options.lossRate = 0;
    assert.equal(stats.persistentCongestions, 0, "nothing is known before an ACK");
    assert.ok(path.run(15 * SECOND, () => stats.persistentCongestions > 0));
    assert.ok(flow.congestion.windowBytes <= 4 * DATAGRAM, `${flow.congestion.windowBytes}`);
    const arrived = flow.arrivedBytes;
    path.run(path.nowUs + 5 * SECOND);
    const share = (flow.arrivedBytes - arrived) * 8 / (SHARED.rateBps * 5);
    assert.ok(share > 0.8, `${share} of the path afterwards`);
    assert.equal(stats.persistentCongestions, 1);
  });
}

// ---- HyStart++ ------------------------------------------------------------------------------------

for (const [rateMbps, rttMs] of [[10, 100], [50, 80], [100, 50]]) {
  const bdp = rateMbps * 1e6 / 8 * rttMs / 1e3;
  /** Slow start with a queue of some BDPs; what was lost and what the window was in the end. */
  const slowStart = (queueBdps: number, hystart: boolean) => {
    const options = { rateBps: rateMbps * 1e6, delayUs: 500 * rttMs, queueBytes: queueBdps * bdp };
    const path = new Bottleneck(options);
    const { congestion } = path.add(new Cubic({ datagramBytes: DATAGRAM, hystart }));
    assert.ok(path.run(10 * SECOND, () => !congestion.inSlowStart));
    path.run(path.nowUs + 2_000 * rttMs);
    return { lost: path.dropped, window: congestion.slowStartThresholdBytes };
  };

  // Five rounds of a quarter more each (RFC 9406 §4.3) triple the window after the queue began to
  // grow: shallower queues still overflow, but by far less.
  Deno.test(`NS-CC-002: HyStart++ leaves slow start unlost at ${rateMbps} Mbit/s, ${rttMs} ms`, () => {
    const { lost, window } = slowStart(10, true);
    assert.equal(lost, 0);
    assert.ok(window >= bdp, "and not before the path is full");
    assert.ok(slowStart(10, false).lost > 0, "without it the queue overflows");
  });

  Deno.test(`NS-CC-002: HyStart++ loses less than half at ${rateMbps} Mbit/s, ${rttMs} ms`, () => {
    const lost = [true, false].map((hystart) => slowStart(2, hystart).lost);
    assert.ok(lost[0] < lost[1] / 2, `with and without: ${lost}`);
  });
}
