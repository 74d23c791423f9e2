/** NS-PR in the simulator: the promise of probabilistic streams, and what it costs. */
import assert from "node:assert/strict";
import { repairsNeeded } from "../../lib/l3_stream/fec/redundancy.ts";
import { NEVER } from "../../lib/base/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { type LinkOptions, simulate } from "./network.ts";
import { type PrResult, type PrRun, runPr, shareLowerBound } from "./pr_harness.ts";
import { addLink } from "./second_link.ts";

const REPLAY = "deno task test tests/sim/pr_test.ts";
const PROBABILITIES = [0.9, 0.99, 0.999];

function run(seed: number, options: PrRun): PrResult {
  return simulate(seed, REPLAY, (network) => runPr(network, options));
}

/** A second link beside the first, the client opens a path over it. */
function secondPath(link: LinkOptions): PrRun["prepare"] {
  return (client, server, network) => {
    addLink(network, { client, server }, link, {
      ...link,
      lossRate: 0,
      burst: undefined,
      blackholes: [],
    });
    network.at(50_000, () => { // by then the peer's parameters are there
      client.openPath("server-b");
      network.wake("client");
    });
  };
}

/** About a packet each. */
const packetSized: PrRun["messageBytes"] = (_, random) => 700 + random.below(250);

function checkShare({ delivered, share }: PrResult, probability: number): void {
  const bound = shareLowerBound(probability, delivered);
  assert.ok(share >= bound, `${share} arrived, expected ${probability}, at least ${bound}`);
}

for (const lossRate of [0.001, 0.01, 0.05, 0.1, 0.2]) {
  for (const probability of PROBABILITIES) {
    Deno.test(`NS-PR-001: at ${100 * lossRate} % loss ${probability} of all messages arrive, at little more than the need`, () => {
      const result = run(1, {
        link: { delayUs: 1_000, lossRate },
        probability,
        messages: 10_000,
        messageBytes: packetSized,
      });
      checkShare(result, probability);
      // What the blocks would need on a path that loses a little more, for which the bound of the
      // estimate stands, and the caution of the first blocks.
      const assumed = 1.3 * lossRate + 0.003;
      const model = { lossRate: assumed, runRate: assumed };
      const start = 150;
      const need = result.blocks.reduce(
        (sum, sources) => sum + repairsNeeded(sources, 1, 1 - probability, model),
        start,
      );
      assert.ok(result.repairs <= need, `${result.repairs} repairs, expected at most ${need}`);
    });
  }
}

Deno.test("NS-PR-001: a path without loss costs next to nothing", () => {
  const result = run(1, {
    link: { delayUs: 1_000, rateBps: 50e6 },
    probability: 0.999,
    messages: 20_000,
    messageBytes: packetSized,
  });
  assert.equal(result.share, 1);
  assert.ok(result.overhead < 0.04, `${result.overhead}`);
});

for (const [enter, leave] of [[0.01, 0.5], [0.01, 0.2], [0.002, 0.1]]) {
  for (const probability of PROBABILITIES) {
    Deno.test(`NS-PR-001: in bursts of ${1 / leave} packets ${probability} of all messages arrive`, () => {
      const result = run(2, {
        link: { delayUs: 1_000, burst: { enter, leave } },
        probability,
        messages: 20_000,
        messageBytes: packetSized,
      });
      checkShare(result, probability);
      assert.ok(result.overhead < 1, `${result.overhead}`);
    });
  }
}

Deno.test("NS-PR-005: redundancy follows a path that becomes worse and better again", () => {
  const link = { delayUs: 1_000, lossRate: 0.001 };
  const result = run(3, {
    link,
    probability: 0.99,
    messages: 20_000,
    messageBytes: packetSized,
    onSend: (number) => {
      if (number === 6_000) link.lossRate = 0.1;
      if (number === 13_000) link.lossRate = 0.001;
    },
  });
  const { delivered } = result;
  // A few hundred messages pass before reports tell of the change.
  for (const [from, to] of [[0, 6_000], [6_500, 13_000], [13_000, 20_000]]) {
    const part = delivered.slice(from, to);
    checkShare(
      { ...result, delivered: part, share: part.filter(Boolean).length / part.length },
      0.99,
    );
  }
  const always = run(3, {
    link: { ...link, lossRate: 0.1 },
    probability: 0.99,
    messages: 20_000,
    messageBytes: packetSized,
  });
  assert.ok(result.repairs < 0.6 * always.repairs, `${result.repairs} of ${always.repairs}`);
});

for (
  const [name, messageBytes] of [
    ["of 50 bytes", () => 50],
    ["of many packets", (_, random) => random.below(20_000)],
    ["longer than a block", (number, random) => number % 10 === 0 ? 150_000 : random.below(300)],
  ] as [string, PrRun["messageBytes"]][]
) {
  Deno.test(`NS-PR-001: messages ${name} arrive with the asked probability`, () => {
    for (const seed of [1, 2]) {
      const result = run(seed, {
        link: { delayUs: 5_000, lossRate: 0.05 },
        probability: 0.99,
        messages: 3_000,
        messageBytes,
      });
      checkShare(result, 0.99);
    }
  });
}

Deno.test("NS-PR-001: a sparse stream is repaired by itself within its delay", () => {
  for (const seed of [1, 2, 3]) {
    const result = run(seed, {
      link: { delayUs: 10_000, lossRate: 0.1 },
      probability: 0.99,
      messages: 1_000,
      messageBytes: () => 200,
      intervalUs: 30_000, // more than a block stays open
    });
    checkShare(result, 0.99);
    assert.ok(result.sources > 950); // hardly any shares a symbol
  }
});

Deno.test("NS-PR-002: reordering, jitter, duplicates, corruption and lost acknowledgements do no harm", () => {
  for (let seed = 1; seed <= 5; seed++) {
    const link = {
      delayUs: 5_000,
      jitterUs: 3_000,
      lossRate: 0.03,
      reorderRate: 0.1,
      duplicateRate: 0.1,
      corruptRate: 0.02,
    };
    const result = run(seed, {
      link,
      back: { ...link, lossRate: 0.2 },
      probability: 0.99,
      messages: 3_000,
      messageBytes: packetSized,
    });
    checkShare(result, 0.99);
  }
});

Deno.test("NS-PR-004: reliable streams beside a probabilistic one lose nothing", () => {
  const result = run(1, {
    link: { delayUs: 2_000, lossRate: 0.05 },
    probability: 0.99,
    messages: 2_000,
    messageBytes: packetSized,
    prepare: (client, server) => {
      client.tasks.add({ mode: MODE_RELIABLE_ORDERED, total: 500_000 });
      server.tasks.add({ mode: MODE_RELIABLE_ORDERED, total: 500_000 });
    },
  });
  checkShare(result, 0.99);
});

Deno.test("NS-PR-003: symbols are spread over two paths, whose bursts then need fewer repairs", () => {
  const link = { delayUs: 2_000, burst: { enter: 0.005, leave: 0.1 } };
  const common = { link, probability: 0.99, messages: 20_000, messageBytes: packetSized };
  const one = run(1, common);
  let shares: readonly number[] = [];
  const two = run(1, {
    ...common,
    prepare: (client, server, network) => {
      secondPath({ ...link, delayUs: 4_000 })!(client, server, network);
      network.at(1_500_000, () => {
        shares = client.connection.pathStats().map(({ packetsSent }) => packetsSent);
      });
    },
  });
  checkShare(one, 0.99);
  checkShare(two, 0.99);
  assert.equal(shares.length, 2);
  assert.ok(Math.min(...shares) > 0.2 * Math.max(...shares), `${shares}`);
  assert.ok(two.overhead < 0.9 * one.overhead, `${two.overhead}, ${one.overhead} on one path`);
});

Deno.test("NS-PR-003: a path that dies takes nothing along but what was on it", () => {
  const result = run(1, {
    link: { delayUs: 2_000, rateBps: 20e6, queueMax: 40 },
    probability: 0.99,
    messages: 20_000,
    messageBytes: packetSized,
    prepare: secondPath({
      delayUs: 4_000,
      rateBps: 20e6,
      queueMax: 40,
      blackholes: [{ fromUs: 1e6, untilUs: NEVER }],
    }),
  });
  // About one window is lost with the path; the queues of both drop some all the time.
  assert.ok(result.share > 0.98, `${result.share}`);
  const after = result.delivered.slice(10_000);
  checkShare({ ...result, delivered: after, share: after.filter(Boolean).length / 10_000 }, 0.99);
});
