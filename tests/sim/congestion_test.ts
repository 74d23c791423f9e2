/** Recovery and congestion control on simulated paths; ratios of virtual time are exact. */
import assert from "node:assert/strict";
import {
  CONGESTION_NAMES,
  type CongestionName,
  createCongestion,
  Cubic,
} from "../../lib/l3_stream/congestion/mod.ts";
import { type FlowOptions, FlowReceiver, FlowSender } from "./flow.ts";
import { type LinkOptions, type SimNetwork, simulate } from "./network.ts";

const DATAGRAM = 1_200;
const REPLAY = "deno test tests/sim/congestion_test.ts";

interface Flow {
  sender: FlowSender;
  receiver: FlowReceiver;
}

function addFlow(
  network: SimNetwork,
  name: CongestionName,
  link: LinkOptions,
  more: Partial<FlowOptions> = {},
): Flow {
  const congestion = createCongestion(name, { datagramBytes: DATAGRAM });
  const sender = new FlowSender({ to: "receiver", congestion, ...more });
  const receiver = new FlowReceiver();
  network.link("sender", "receiver", link, { delayUs: link.delayUs });
  network.addHost("receiver", receiver);
  network.addHost("sender", sender);
  return { sender, receiver };
}

/** Runs one flow for some virtual seconds; the share of the link's rate that arrived. */
function utilisation(
  name: CongestionName,
  link: LinkOptions & { rateBps: number },
  seconds: number,
  more: Partial<FlowOptions> = {},
) {
  return simulate(1, REPLAY, (network) => {
    const flow = addFlow(network, name, link, more);
    network.run(seconds * 1e6);
    const ratio = flow.receiver.bytes * 8 / (link.rateBps * seconds);
    const { counts } = network.linkBetween("sender", "receiver");
    return { ...flow, ratio, counts, stats: flow.sender.recovery.stats };
  });
}

for (const name of CONGESTION_NAMES) {
  Deno.test(`NS-CC-001: ${name} fills 10 Mbit/s, 15 ms, queue of 25 packets`, () => {
    const { ratio, counts } = utilisation(
      name,
      { rateBps: 10e6, delayUs: 15_000, queueMax: 25 },
      20,
    );
    assert.ok(ratio > 0.9, `utilisation ${ratio}`);
    assert.ok(counts.queueDropped < 0.02 * counts.sent, `${counts.queueDropped} of ${counts.sent}`);
  });

  Deno.test(`NS-CC-001: ${name} keeps its window near path and queue, not beyond`, () => {
    const { sender } = utilisation(name, { rateBps: 10e6, delayUs: 15_000, queueMax: 25 }, 20);
    // 30 ms at 10 Mbit/s are 31 packets, 25 more wait: losses must set in by then.
    assert.ok(
      sender.windowBytesLargest < 2.2 * (31 + 25) * DATAGRAM,
      `${sender.windowBytesLargest}`,
    );
  });

  Deno.test(`NS-LD-003: ${name} recovers from a blackhole of two seconds`, () => {
    const link = {
      rateBps: 10e6,
      delayUs: 15_000,
      queueMax: 50,
      blackholes: [{ fromUs: 3e6, untilUs: 5e6 }],
    };
    const { ratio, stats } = utilisation(name, link, 13);
    // Two seconds are lost, and at most as long again until the next probe.
    assert.ok(ratio > 0.95 * 9 / 13, `utilisation ${ratio}`);
    assert.ok(stats.ptos >= 2);
    assert.equal(stats.persistentCongestions, 1);
  });
}

Deno.test("NS-CC-001: CUBIC fills a long fat path better than NewReno", () => {
  const link = { rateBps: 20e6, delayUs: 150_000, queueMax: 40 };
  const cubic = utilisation("cubic", link, 40);
  const reno = utilisation("newreno", link, 40);
  assert.ok(cubic.ratio > 0.8, `cubic ${cubic.ratio}`);
  assert.ok(cubic.ratio > reno.ratio + 0.05, `cubic ${cubic.ratio}, newreno ${reno.ratio}`);
});

Deno.test("NS-CC-002: HyStart++ halves what slow start loses on a deep queue", () => {
  const lost = [true, false].map((hystart) => {
    const link = { rateBps: 50e6, delayUs: 40_000, queueMax: 600 };
    const congestion = new Cubic({ datagramBytes: DATAGRAM, hystart });
    const { stats, ratio } = utilisation("cubic", link, 2, { congestion });
    assert.ok(ratio > 0.7, `utilisation ${ratio}`);
    return stats.lost;
  });
  assert.ok(lost[0] < lost[1] / 2, `lost with and without: ${lost}`);
});

Deno.test("NS-LD-004: packets reordered within three do no harm", () => {
  const { stats } = utilisation(
    "cubic",
    { rateBps: 10e6, delayUs: 15_000, queueMax: 1_000, reorderRate: 0.02, reorderDelayUs: 1_500 },
    5,
  );
  assert.equal(stats.lost - stats.spurious, 0);
  assert.ok(stats.lost < 5, `${stats.lost} declared lost`);
});

Deno.test("NS-LD-004: losses that were only reordering are taken back", () => {
  const link = { rateBps: 10e6, delayUs: 15_000, reorderRate: 0.005, reorderDelayUs: 10_000 };
  // A bounded window keeps the queue from overflowing: every loss is a spurious one.
  const windowBytesMax = 60 * DATAGRAM;
  const congestion = new Cubic({ datagramBytes: DATAGRAM, windowBytesMax });
  const { stats, ratio } = utilisation("cubic", link, 20, { congestion });
  assert.ok(stats.spurious > 20);
  assert.equal(stats.lost, stats.spurious);
  assert.equal(stats.undone, stats.congestionEvents);
  assert.equal(congestion.windowBytes, windowBytesMax);
  assert.ok(ratio > 0.97, `utilisation ${ratio}`);
});

Deno.test("NS-CC-005: with ECN the queue is held without losing anything", () => {
  simulate(1, REPLAY, (network) => {
    const link = { rateBps: 10e6, delayUs: 15_000, queueMax: 200, markAt: 20 };
    const { sender, receiver } = addFlow(network, "cubic", link, { ecn: 2 });
    network.run(20e6);
    assert.equal(sender.recovery.stats.lost, 0);
    assert.ok(sender.recovery.stats.congestionEvents > 3);
    assert.ok(receiver.bytes * 8 / (10e6 * 20) > 0.9);
  });
});

for (const name of CONGESTION_NAMES) {
  Deno.test(`NS-CC-004: two ${name} flows on one bottleneck share it fairly`, () => {
    simulate(1, REPLAY, (network) => {
      const path = { rateBps: 20e6, delayUs: 20_000, queueMax: 60 };
      network.link("s0", "d0", path, { delayUs: 20_000 });
      network.link("s1", "d1", {}, { delayUs: 20_000 });
      network.shareLink("s1", "d1", network.linkBetween("s0", "d0"));
      const receivers = [0, 1].map((i) => {
        const receiver = new FlowReceiver();
        const congestion = createCongestion(name, { datagramBytes: DATAGRAM });
        network.addHost(`d${i}`, receiver);
        // The second flow comes late, when the first one has all of the path.
        const sender = new FlowSender({ to: `d${i}`, congestion, startUs: i * 5e6 });
        network.addHost(`s${i}`, sender);
        return receiver;
      });
      network.run(25e6);
      const before = receivers.map(({ bytes }) => bytes);
      network.run(65e6);
      const [x, y] = receivers.map(({ bytes }, i) => bytes - before[i]);
      const jain = (x + y) ** 2 / (2 * (x * x + y * y));
      assert.ok(jain >= 0.95, `Jain's index ${jain}`);
      assert.ok((x + y) * 8 / (20e6 * 40) > 0.95, "together they fill the path");
    });
  });
}

for (const lossRate of [0, 0.02, 0.2, 0.5]) {
  Deno.test(`NS-LD-001: everything arrives at ${100 * lossRate} % loss both ways`, () => {
    simulate(5, REPLAY, (network) => {
      const link = { rateBps: 20e6, delayUs: 10_000, queueMax: 1_000, lossRate };
      const { sender, receiver } = addFlow(network, "cubic", link, { datagramsMax: 500 });
      network.linkBetween("receiver", "sender").options = { delayUs: 10_000, lossRate };
      network.run(() => sender.acked >= 500, { untilUs: 400e6 });
      assert.ok(receiver.bytes >= 500 * DATAGRAM);
      assert.equal(sender.recovery.stats.lost > 0, lossRate > 0);
    });
  });
}
