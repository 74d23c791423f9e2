/**
 * BBR on simulated paths: the test cases of draft-ietf-ccwg-bbr App. A under the names that they
 * have there, then what is asked of it here.
 */
import assert from "node:assert/strict";
import { Bbr } from "../../lib/l3_stream/congestion/mod.ts";
import type { BbrPhase } from "../../lib/l3_stream/congestion/bbr/state.ts";
import { Bottleneck, type BottleneckOptions } from "./congestion_path.ts";

const DATAGRAM = 1_200;
const SECOND = 1e6;
/** 30 ms; the BDP is 31 packets. */
const PATH = { rateBps: 10e6, delayUs: 15_000, queueBytes: 200 * DATAGRAM };
const RATE = PATH.rateBps / 8;
const BDP = RATE * 0.03;

function setUp(options: Partial<BottleneckOptions> = {}, seed = 1) {
  const path = new Bottleneck({ ...PATH, ...options }, seed);
  const bbr = new Bbr({ datagramBytes: DATAGRAM });
  const flow = path.add(bbr);
  const { state } = bbr;
  const phases: BbrPhase[] = [state.phase];
  flow.onAck = () => {
    if (phases.at(-1) !== state.phase) phases.push(state.phase);
  };
  /** Runs until BBR is in a state; fails when it does not come to that. */
  const reach = (phase: BbrPhase, seconds = 10) => {
    const isThere = path.run(path.nowUs + seconds * SECOND, () => state.phase === phase);
    assert.ok(isThere, `${phase} not reached, but ${phases.join(", ")}`);
  };
  const run = (seconds: number) => path.run(path.nowUs + seconds * SECOND);
  return { path, bbr, flow, state, phases, reach, run };
}

function about(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual / expected - 1) <= tolerance, `${what}: ${actual}, not ${expected}`);
}

function test(name: string, body: () => void): void {
  Deno.test(`NS-CC-003: bbr, ${name}`, body);
}

test("exiting STARTUP on bandwidth plateau", () => {
  const { path, state, reach } = setUp();
  let rounds = 0;
  path.run(SECOND, () => {
    if (state.fullBwCount > 0 && state.roundStart) rounds = Math.max(rounds, state.fullBwCount);
    return state.phase !== "Startup";
  });
  reach("Drain");
  assert.equal(rounds, 3);
  assert.deepEqual([state.fullBwNow, state.fullBwReached], [true, true]);
  about(state.maxBw, RATE, 0.02, "max_bw");
});

test("exiting STARTUP on loss when application-limited", () => {
  const { path, flow, state, run } = setUp({ rateBps: 100e6, delayUs: 50_000 });
  flow.setAppRate(1e6, 0);
  run(2);
  assert.equal(state.phase, "Startup");
  assert.equal(state.rate.sample.isAppLimited, true);
  path.options.lossRate = 0.2;
  assert.ok(path.run(path.nowUs + SECOND, () => state.phase !== "Startup"));
  // With so little in flight DRAIN is over with the same acknowledgement.
  assert.ok(state.isProbeBw && state.drainStartRound === state.roundCount);
  assert.equal(state.rate.sample.isAppLimited, true);
  assert.deepEqual([state.fullBwNow, state.fullBwReached], [true, true]);
  assert.ok(state.inflightLongterm < Infinity);
});

test("exiting STARTUP takes six separate losses, not one burst of them", () => {
  const { path, flow, state, run } = setUp({ rateBps: 100e6, delayUs: 50_000 });
  flow.setAppRate(1e6, 0);
  run(2);
  path.options.lossRate = 1;
  run(0.02); // 16 of 83 packets in a row
  path.options.lossRate = 0;
  run(2);
  assert.ok(flow.recovery.stats.lost >= 10);
  assert.equal(state.phase, "Startup");
});

test("exiting DRAIN based on inflight", () => {
  const { path, state, reach } = setUp();
  reach("Drain");
  assert.equal(state.pacingGain, 0.5);
  assert.ok(state.inFlight > state.inflight(state.bw, 1));
  assert.ok(path.run(path.nowUs + SECOND, () => state.phase !== "Drain"));
  assert.ok(state.isProbeBw);
  assert.ok(state.inFlight <= state.inflight(state.bw, 1));
  assert.ok(state.roundCount <= state.drainStartRound + 3);
});

test("exiting DRAIN based on time", () => {
  const { path, flow, state, reach } = setUp();
  reach("Drain");
  // Less than what DRAIN still sends (half), or the queue would empty all the same.
  path.options.rateBps *= 0.4;
  assert.ok(path.run(path.nowUs + SECOND, () => state.phase !== "Drain"));
  assert.ok(flow.recovery.bytesInFlight > state.inflight(state.bw, 1));
  assert.equal(state.roundCount, state.drainStartRound + 4);
  assert.equal(state.phase, "ProbeBW_DOWN");
});

test("exiting PROBE_UP on bandwidth plateau", () => {
  const { path, flow, state, reach } = setUp();
  reach("ProbeBW_UP");
  assert.deepEqual([state.pacingGain, state.cwndGain], [1.25, 2.25]);
  const round = state.roundCount;
  path.run(path.nowUs + SECOND, () => state.fullBwNow);
  assert.equal(state.phase, "ProbeBW_DOWN");
  assert.equal(state.fullBwCount, 3);
  assert.ok(state.roundCount - round >= 3);
  assert.equal(flow.recovery.stats.lost, 0);
});

test("exiting PROBE_UP on loss when application-limited", () => {
  const { path, flow, state, reach, run } = setUp();
  reach("ProbeBW_REFILL");
  flow.setAppRate(0.6 * RATE, path.nowUs);
  reach("ProbeBW_UP");
  run(0.5);
  assert.equal(state.phase, "ProbeBW_UP");
  assert.equal(state.rate.sample.isAppLimited, true);
  path.options.lossRate = 0.2;
  reach("ProbeBW_DOWN", 0.5);
  assert.equal(state.prevProbeTooHigh, true);
  assert.equal(state.inflightLongterm, Infinity, "how little was in flight says nothing");
});

test("never exiting PROBE_UP or STARTUP when application-limited with no loss", () => {
  const startup = setUp();
  startup.flow.setAppRate(0.3 * RATE, 0);
  startup.run(9);
  assert.deepEqual(startup.phases, ["Startup"]);

  const { path, flow, phases, reach, run } = setUp();
  reach("ProbeBW_REFILL");
  flow.setAppRate(0.3 * RATE, path.nowUs);
  reach("ProbeBW_UP");
  const { length } = phases;
  run(7);
  assert.deepEqual(phases.slice(length), []);
});

test("exiting PROBE_DOWN on inflight", () => {
  const { path, flow, state, reach } = setUp({ queueBytes: 25 * DATAGRAM });
  reach("ProbeBW_UP");
  reach("ProbeBW_DOWN");
  assert.equal(state.pacingGain, 0.9);
  assert.ok(state.inflightLongterm < Infinity);
  assert.ok(path.run(path.nowUs + SECOND, () => state.phase !== "ProbeBW_DOWN"));
  assert.equal(state.phase, "ProbeBW_CRUISE");
  assert.ok(flow.recovery.bytesInFlight <= state.inflightWithHeadroom());
  assert.ok(flow.recovery.bytesInFlight <= state.inflight(state.maxBw, 1));
  about(state.cwnd, 0.85 * state.inflightLongterm, 0.001, "the window leaves others 15 %");
});

test("exiting PROBE_DOWN after max time", () => {
  const { path, state, phases, reach } = setUp({ rateBps: 50e6, queueBytes: 10_000 * DATAGRAM });
  reach("ProbeBW_UP");
  reach("ProbeBW_DOWN");
  path.options.rateBps *= 0.8; // less than the 0.9 that DOWN sends
  const sinceUs = state.cycleStampUs;
  assert.ok(path.run(path.nowUs + 4 * SECOND, () => state.phase !== "ProbeBW_DOWN"));
  assert.equal(phases.at(-1), "ProbeBW_REFILL");
  assert.ok(path.nowUs - sinceUs >= state.bwProbeWaitUs || state.roundsSinceProbeUp >= 63);
});

test("entering and exiting PROBE_RTT", () => {
  const { path, flow, state, reach, run } = setUp();
  reach("ProbeBW_CRUISE");
  const before = state.minRttUs;
  path.options.delayUs += 10_000; // every sample is longer from now on
  reach("ProbeRTT", 11);
  assert.equal(state.cwndGain, 0.5);
  const target = state.probeRttCwnd;
  about(target, 0.5 * RATE * before / 1e6, 0.05, "probe_rtt_cwnd by the min_rtt of before");
  assert.ok(state.minRttUs >= before + 15_000, "the sample that replaced it is longer");
  const sinceUs = path.nowUs;
  let bytesLeast = Infinity;
  path.run(path.nowUs + SECOND, () => {
    if (state.phase === "ProbeRTT") assert.equal(state.probeRttCwnd, target);
    bytesLeast = Math.min(bytesLeast, flow.recovery.bytesInFlight);
    return state.phase !== "ProbeRTT";
  });
  assert.ok(bytesLeast <= target);
  assert.ok(path.nowUs - sinceUs >= 200_000 && path.nowUs - sinceUs < 400_000);
  assert.equal(state.phase, "ProbeBW_CRUISE");
  const arrived = flow.arrivedBytes;
  run(2);
  assert.ok(flow.arrivedBytes - arrived > 0.9 * RATE * 2);
});

test("skipping PROBE_RTT due to application-limited sending", () => {
  const { path, flow, state, phases, reach, run } = setUp();
  reach("ProbeBW_CRUISE");
  flow.setAppRate(0, path.nowUs);
  run(11);
  assert.equal(flow.recovery.bytesInFlight, 0);
  flow.setAppRate(Infinity, path.nowUs);
  path.run(path.nowUs + 1);
  assert.equal(state.idleRestart, true);
  about(state.pacingRate, 0.99 * state.bw, 1e-9, "pacing restarts at bw");
  run(2);
  assert.ok(!phases.includes("ProbeRTT"));
  assert.equal(state.idleRestart, false);
});

test("achieving expected STARTUP bandwidth on a link with aggregation", () => {
  const { state, reach } = setUp({ bunchUs: 25_000 });
  let largest = 0;
  reach("Drain");
  largest = state.cwnd;
  assert.ok(state.extraAcked > 0.3 * BDP, `${state.extraAcked}`);
  assert.ok(largest > 2 * BDP, `${largest}`);
  about(state.maxBw, RATE, 0.1, "max_bw");
});

test("achieving expected CRUISE bandwidth on a link with aggregation", () => {
  const { flow, path, state, reach, run } = setUp();
  reach("ProbeBW_CRUISE");
  path.options.bunchUs = 60_000;
  run(5); // several cycles
  assert.ok(state.extraAcked >= 0.5 * RATE * 0.06, `${state.extraAcked}`);
  const arrived = flow.arrivedBytes;
  run(4);
  about(flow.arrivedBytes - arrived, 4 * RATE, 0.07, "bytes in four seconds");
});

test("correctly managing sub-packet BDPs", () => {
  const { state, flow, reach, run } = setUp({ rateBps: 256_000, delayUs: 1_000 });
  reach("ProbeBW_CRUISE", 60);
  run(5);
  const arrived = flow.arrivedBytes;
  let cwndLeast = Infinity;
  flow.onAck = () => cwndLeast = Math.min(cwndLeast, state.cwnd);
  run(8);
  assert.ok(cwndLeast >= 4 * DATAGRAM, `${cwndLeast}`);
  assert.ok(flow.arrivedBytes - arrived > 0.9 * 8 * 32_000);
  assert.ok(state.pacingRate < 1.3 * 32_000);
});

test("increasing bandwidth 10x and ensuring full bandwidth is reached", () => {
  const { path, state, reach } = setUp({ queueBytes: 25 * DATAGRAM });
  reach("ProbeBW_UP");
  reach("ProbeBW_CRUISE");
  assert.ok(state.inflightLongterm < Infinity);
  path.options.rateBps = 100e6;
  path.options.queueBytes = 250 * DATAGRAM;
  reach("ProbeBW_UP");
  const round = state.roundCount;
  const steps: number[] = [];
  path.run(path.nowUs + 5 * SECOND, () => {
    const packets = Math.round(state.cwnd / state.probeUpAckedPerInc);
    if (state.phase === "ProbeBW_UP" && packets !== steps.at(-1)) steps.push(packets);
    return state.maxBw > 0.95 * 100e6 / 8;
  });
  assert.ok(state.maxBw > 0.95 * 100e6 / 8, `${state.maxBw * 8 / 1e6} Mbit/s`);
  assert.ok(state.roundCount - round < 40, `${state.roundCount - round} rounds`);
  assert.ok(Math.max(...steps) >= 16, `packets more per round: ${steps}`);
});

test("decreasing bandwidth 10x and ensuring max bandwidth adapts down", () => {
  const { path, state, reach } = setUp({ rateBps: 100e6, queueBytes: 300 * DATAGRAM });
  reach("ProbeBW_CRUISE");
  path.options.rateBps = 10e6;
  path.options.queueBytes = 60 * DATAGRAM;
  assert.ok(path.run(path.nowUs + SECOND, () => state.bwShortterm < 0.2 * 100e6 / 8));
  const isDown = path.run(path.nowUs + 10 * SECOND, () => state.maxBw < 1.1 * RATE);
  assert.ok(isDown, `${state.maxBw * 8 / 1e6} Mbit/s`);
});

test("handling token bucket policers", () => {
  const { path, flow, state, reach, run } = setUp({ rateBps: 100e6 });
  reach("ProbeBW_CRUISE");
  path.options.policer = { rateBps: 20e6, burstBytes: 100_000 };
  assert.ok(path.run(path.nowUs + 2 * SECOND, () => state.bwShortterm < 50e6 / 8));
  assert.ok(state.inflightShortterm < Infinity);
  run(10);
  const arrived = flow.arrivedBytes;
  const dropped = path.dropped;
  run(10);
  assert.ok(flow.arrivedBytes - arrived > 0.8 * 10 * 20e6 / 8, `${flow.arrivedBytes - arrived}`);
  const lostBytes = (path.dropped - dropped) * DATAGRAM;
  assert.ok(lostBytes < 0.1 * (flow.arrivedBytes - arrived), `${lostBytes}`);
});

test("handling spurious fast recovery", () => {
  const { path, flow, state, reach } = setUp({ reorderDelayUs: 8_000 });
  reach("ProbeBW_UP");
  path.options.reorderRate = 0.3;
  reach("ProbeBW_DOWN", 0.5);
  assert.equal(state.undo?.phase, "ProbeBW_UP");
  assert.ok(state.inflightLongterm < Infinity);
  path.options.reorderRate = 0;
  assert.ok(path.run(path.nowUs + SECOND, () => flow.recovery.stats.undone > 0));
  assert.equal(state.inflightLongterm, Infinity);
  assert.equal(state.bwShortterm, Infinity);
  assert.equal(state.phase, "ProbeBW_REFILL");
  reach("ProbeBW_UP", 0.2);
});

test("handling spurious RTO recovery", () => {
  const { path, flow, state, run, reach } = setUp();
  reach("ProbeBW_CRUISE");
  run(0.3);
  const { cwnd, bwShortterm } = state;
  // All of half a second comes at once, after what is sent later.
  path.options.hold = { untilUs: path.nowUs + 0.5 * SECOND, arriveUs: path.nowUs + SECOND };
  const { stats } = flow.recovery;
  assert.ok(path.run(path.nowUs + 3 * SECOND, () => stats.persistentCongestions > 0));
  assert.equal(state.cwnd, 4 * DATAGRAM);
  assert.ok(path.run(path.nowUs + SECOND, () => stats.undone > 0), `${stats.spurious}`);
  assert.ok(state.cwnd >= 0.9 * cwnd, `${state.cwnd} of ${cwnd}`);
  assert.equal(state.bwShortterm, bwShortterm);
});

test("entering and exiting PROBE_RTT during STARTUP", () => {
  const { flow, state, phases, reach, run } = setUp();
  flow.setAppRate(0.3 * RATE, 0);
  reach("ProbeRTT", 11);
  assert.equal(state.fullBwReached, false);
  run(1);
  assert.deepEqual(phases, ["Startup", "ProbeRTT", "Startup"]);
  flow.setAppRate(Infinity, 12 * SECOND);
  run(2);
  about(state.maxBw, RATE, 0.02, "max_bw");
});

test("handling loss during PROBE_UP after inflight_longterm is set", () => {
  const { path, state, reach } = setUp({ queueBytes: 25 * DATAGRAM });
  reach("ProbeBW_UP");
  reach("ProbeBW_CRUISE");
  reach("ProbeBW_UP");
  const longterm = state.inflightLongterm;
  assert.ok(longterm < Infinity);
  path.options.lossRate = 0.2;
  reach("ProbeBW_DOWN", 0.2);
  assert.equal(state.prevProbeTooHigh, true);
  assert.ok(state.inflightLongterm < longterm);
  assert.ok(state.inflightLongterm >= 0.7 * 0.9 * BDP);
});

test("handling application-limited sending during PROBE_REFILL", () => {
  const { path, flow, state, phases, reach, run } = setUp();
  reach("ProbeBW_REFILL");
  const { maxBw } = state;
  flow.setAppRate(0.1 * RATE, path.nowUs);
  reach("ProbeBW_UP", 1);
  assert.equal(state.maxBw, maxBw);
  flow.setAppRate(Infinity, path.nowUs);
  run(3);
  assert.ok(phases.slice(-6).includes("ProbeBW_CRUISE"));
  about(state.maxBw, RATE, 0.02, "max_bw");
});

test("a probe that went too high is followed by a short one", () => {
  const { path, state, reach } = setUp({ queueBytes: 25 * DATAGRAM });
  reach("ProbeBW_UP");
  path.options.lossRate = 0.2;
  reach("ProbeBW_DOWN", 0.2);
  path.options.lossRate = 0;
  assert.equal(state.prevProbeTooHigh, true);
  reach("ProbeBW_UP");
  const round = state.roundCount;
  reach("ProbeBW_DOWN", 1);
  assert.equal(state.prevProbePrecautionary, true);
  assert.ok(state.roundCount - round <= 2);
  // It was safe: the next one comes at once.
  assert.ok(path.run(path.nowUs + SECOND, () => state.phase === "ProbeBW_REFILL"));
  assert.ok(state.roundCount - round <= 4);
});

test("however much is lost, bw_shortterm falls to 0.7 in a round, no further", () => {
  const { path, state, reach } = setUp();
  reach("ProbeBW_CRUISE");
  path.options.lossRate = 0.8;
  const steps: number[] = [];
  path.run(path.nowUs + 0.3 * SECOND, () => {
    if (state.bwShortterm !== (steps.at(-1) ?? Infinity)) steps.push(state.bwShortterm);
    return false;
  });
  assert.ok(steps.length >= 3, `${steps}`);
  const ratios = steps.slice(1).map((bw, i) => bw / steps[i]);
  about(Math.min(...ratios), 0.7, 0.001, "least ratio");
});

Deno.test("NS-CC-005: bbr slows down in CRUISE when packets come marked, not lost", () => {
  const { path, flow, state, reach } = setUp({ markAtBytes: 10 * DATAGRAM, queueBytes: 1e6 });
  reach("ProbeBW_CRUISE");
  path.options.rateBps *= 0.5;
  const isSlower = path.run(path.nowUs + 0.5 * SECOND, () => state.bwShortterm < 0.6 * RATE);
  assert.ok(isSlower, `${state.bwShortterm / RATE}`);
  assert.equal(flow.recovery.stats.lost, 0);
});

Deno.test("NS-CC-005: bbr treats CE marks as congestion: the queue stays short without loss", () => {
  const { path, flow, run } = setUp({ markAtBytes: 20 * DATAGRAM });
  run(3);
  let queue = 0;
  flow.onAck = () => queue = Math.max(queue, path.queuedBytes);
  const arrived = flow.arrivedBytes;
  run(6);
  assert.equal(flow.recovery.stats.lost, 0);
  assert.ok(flow.recovery.stats.congestionEvents > 0);
  assert.ok(flow.arrivedBytes - arrived > 0.9 * 6 * RATE);
  assert.ok(queue < 40 * DATAGRAM, `${queue / DATAGRAM} packets`);
});

for (const seed of [1, 2, 3]) {
  Deno.test(`NS-CC-003: bbr gets 90 % of 100 Mbit/s over 50 ms at 1 % loss, seed ${seed}`, () => {
    const options = { rateBps: 100e6, delayUs: 25_000, queueBytes: 625_000, lossRate: 0.01 };
    const { flow, run } = setUp(options, seed);
    run(10);
    const share = flow.arrivedBytes * 8 / (100e6 * 10);
    assert.ok(share >= 0.9, `${share}`);
  });
}
