/** Conformance of every congestion controller, then what is NewReno's and the helpers' own. */
import assert from "node:assert/strict";
import {
  CONGESTION_NAMES,
  type CongestionName,
  createCongestion,
  initialWindowBytes,
  NewReno,
  Pacer,
} from "../../lib/l3_stream/congestion/mod.ts";
import { HyStart } from "../../lib/l3_stream/congestion/hystart.ts";
import { RttEstimator } from "../../lib/l3_stream/rtt.ts";

const MSS = 1_200;
const rtt = new RttEstimator(100_000);
rtt.update(100_000, 0, 0, 0);

/** Controllers that are a window and a threshold; BBR's own ways are in bbr_test.ts. */
const isWindowBased = (name: CongestionName) => name !== "bbr";

for (const name of CONGESTION_NAMES) {
  const make = (windowBytesMax?: number) =>
    createCongestion(name, { datagramBytes: MSS, windowBytesMax });

  Deno.test(`NS-CC-003: ${name} starts with ten packets in slow start (RFC 9002 §7.2)`, () => {
    const congestion = make();
    assert.equal(congestion.name, name);
    assert.equal(congestion.windowBytes, 10 * MSS);
    assert.equal(congestion.inSlowStart, true);
  });

  Deno.test(`NS-CC-003: ${name} never falls below two packets`, () => {
    const congestion = make();
    for (let i = 1; i < 60; i++) {
      congestion.onLoss(MSS, 10 * i, 10 * i + 1, i % 7 === 0);
      congestion.onEcnCe(10 * i + 5, 10 * i + 6, 1);
      assert.ok(congestion.windowBytes >= 2 * MSS);
    }
    assert.equal(congestion.windowBytes, 2 * MSS);
  });

  Deno.test(`NS-LD-004: ${name} takes a spurious loss back, persistent or not`, () => {
    for (const persistent of [false, true]) {
      const congestion = make();
      congestion.onLoss(MSS, 100, 200, persistent);
      congestion.onSpuriousLoss();
      assert.equal(congestion.windowBytes, 10 * MSS);
      assert.equal(congestion.inSlowStart, true);
    }
  });

  if (!isWindowBased(name)) continue;

  Deno.test(`NS-CC-003: ${name} never grows past its maximum`, () => {
    const congestion = make(50 * MSS);
    for (let i = 1; i < 1_000; i++) congestion.onAck(MSS, i, true, rtt, i);
    assert.equal(congestion.windowBytes, 50 * MSS);
  });

  Deno.test(`NS-CC-003: ${name} answers a flight of losses once and ignores its ACKs`, () => {
    const congestion = make();
    assert.equal(congestion.onLoss(MSS, 100, 200, false), true);
    const { windowBytes } = congestion;
    assert.equal(congestion.onLoss(9 * MSS, 200, 210, false), false);
    congestion.onAck(MSS, 200, true, rtt, 220);
    assert.equal(congestion.windowBytes, windowBytes);
    congestion.onAck(MSS, 201, true, rtt, 300);
    assert.ok(congestion.windowBytes > windowBytes);
  });

  Deno.test(`NS-CC-004: ${name} does not grow without a full window`, () => {
    const congestion = make();
    for (let i = 1; i < 100; i++) congestion.onAck(MSS, i, false, rtt, i);
    assert.equal(congestion.windowBytes, 10 * MSS);
  });

  Deno.test(`NS-CC-006: ${name} paces 1.25 windows per round trip`, () => {
    assert.equal(make().pacingRate(rtt), 1.25 * 10 * MSS / 0.1);
  });
}

Deno.test("NS-CC-003: an unknown name is a typed error", () => {
  assert.throws(
    () => createCongestion("vegas" as CongestionName, { datagramBytes: MSS }),
    { code: "UNKNOWN_CONGESTION" },
  );
});

Deno.test("NS-CC-003: the initial window of large packets is 14,720 bytes or two packets", () => {
  assert.equal(initialWindowBytes(1_200), 12_000);
  assert.equal(initialWindowBytes(1_500), 14_720);
  assert.equal(initialWindowBytes(9_000), 18_000);
});

Deno.test("NS-CC-003: newreno halves on loss and adds one packet per window", () => {
  const reno = new NewReno({ datagramBytes: MSS });
  reno.onLoss(MSS, 1, 2, false);
  assert.equal(reno.windowBytes, 5 * MSS);
  assert.equal(reno.inSlowStart, false);
  for (let i = 0; i < 5; i++) reno.onAck(MSS, 3, true);
  assert.ok(Math.abs(reno.windowBytes / MSS - 6) < 0.1);
});

/** Feeds rounds of `samples` RTTs each; the round in which slow start ended, -1 never. */
function hystartRounds(rounds: number[], samples: number): { hystart: HyStart; exit: number } {
  const hystart = new HyStart();
  let nowUs = 0;
  for (const [round, us] of rounds.entries()) {
    const sentUs = nowUs;
    nowUs += us;
    for (let i = 0; i < samples; i++) {
      if (hystart.onRtt(us, sentUs, nowUs + i / 100)) return { hystart, exit: round };
    }
    nowUs += 1;
  }
  return { hystart, exit: -1 };
}

Deno.test("NS-CC-002: HyStart++ keeps slow start while the round trip stays", () => {
  const { hystart, exit } = hystartRounds(new Array(30).fill(50_000), 20);
  assert.equal(exit, -1);
  assert.equal(hystart.growthDivisor, 1);
});

Deno.test("NS-CC-002: HyStart++ slows down when the round trip grows and leaves 5 rounds later", () => {
  const slow = hystartRounds([50_000, 50_000, 60_000], 20);
  assert.equal(slow.hystart.growthDivisor, 4);
  const { exit } = hystartRounds([50_000, 50_000, ...new Array(10).fill(60_000)], 20);
  assert.equal(exit, 7);
});

Deno.test("NS-CC-002: HyStart++ resumes slow start when the growth was a blip", () => {
  const { hystart, exit } = hystartRounds([50_000, 50_000, 60_000, 50_000, 50_000], 20);
  assert.equal(exit, -1);
  assert.equal(hystart.growthDivisor, 1);
});

Deno.test("NS-CC-002: HyStart++ does not judge by fewer than eight samples or less than 4 ms", () => {
  assert.equal(hystartRounds([50_000, 50_000, 90_000], 7).hystart.growthDivisor, 1);
  assert.equal(hystartRounds([20_000, 20_000, 23_900], 20).hystart.growthDivisor, 1);
});

Deno.test("NS-CC-006: the pacer's bucket holds two ms at high rates and refills no further", () => {
  const pacer = new Pacer(12_000);
  const rate = 1e9; // bytes per second: 2 ms are 2 MB
  assert.equal(pacer.delayUs(2_000_000, rate, 1e6), 0);
  pacer.onSent(2_000_000, rate, 1e6);
  assert.equal(pacer.delayUs(1_000_000, rate, 1e6), 1_000);
  assert.equal(pacer.delayUs(2_000_000, rate, 9e6), 0);
  assert.ok(pacer.delayUs(2_000_002, rate, 9e6) > 0);
});

Deno.test("NS-CC-006: probes that ignore the pacer leave a debt of at most one burst", () => {
  const pacer = new Pacer(12_000);
  for (let i = 0; i < 100; i++) pacer.onSent(1_200, 1e6, 0);
  assert.equal(pacer.delayUs(1_200, 1e6, 0), 13_200);
});
