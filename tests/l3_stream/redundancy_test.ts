import assert from "node:assert/strict";
import fc from "fast-check";
import { type LossModel, repairsNeeded } from "../../lib/l3_stream/fec/redundancy.ts";
import { LossEstimate } from "../../lib/l3_stream/fec/loss_estimate.ts";

/** The chance that a message fails, by going through every pattern of losses. */
function failure(
  sources: number,
  repairs: number,
  symbols: number,
  { lossRate, runRate }: LossModel,
): number {
  const count = sources + repairs;
  const begin = lossRate * (1 - runRate) / (1 - lossRate);
  let sum = 0;
  for (let pattern = 0; pattern < 2 ** count; pattern++) {
    let chance = 1;
    let lost = 0;
    for (let i = 0; i < count; i++) {
      const isLost = pattern >> i & 1;
      const before = i === 0 ? -1 : pattern >> (i - 1) & 1;
      const rate = before < 0 ? lossRate : before ? runRate : begin;
      chance *= isLost ? rate : 1 - rate;
      lost += isLost;
    }
    if (lost <= repairs) continue;
    // The message may be any `symbols` of the block: the share of choices that is hit.
    let spared = 1;
    for (let i = 0; i < symbols; i++) spared *= Math.max(0, count - lost - i) / (count - i);
    sum += chance * (1 - spared);
  }
  return sum;
}

Deno.test("NS-PR-001: repairs are the least with which a message fails as seldom as allowed", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 8 }),
      fc.double({ min: 0.001, max: 0.4, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom(0.3, 0.1, 0.01, 0.001),
      (sources, wanted, lossRate, run, failureMax) => {
        const symbols = Math.min(wanted, sources);
        const model = { lossRate, runRate: lossRate + (0.9 - lossRate) * run };
        const repairs = repairsNeeded(sources, symbols, failureMax, model);
        if (sources + repairs > 15) return;
        assert.ok(failure(sources, repairs, symbols, model) <= failureMax * (1 + 1e-9));
        if (repairs === 0) return;
        assert.ok(failure(sources, repairs - 1, symbols, model) > failureMax * (1 - 1e-9));
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("NS-PR-001: repairs for a table of codes and losses", () => {
  const table: [
    sources: number,
    symbols: number,
    lossRate: number,
    runRate: number,
    asked: number,
    repairs: number,
  ][] = [
    [64, 1, 0, 0, 0.999, 0],
    [64, 1, 0.009, 0.009, 0.99, 0],
    [64, 1, 0.01, 0.01, 0.999, 3],
    [64, 1, 0.05, 0.05, 0.9, 0],
    [64, 1, 0.05, 0.05, 0.999, 9],
    [64, 64, 0.05, 0.05, 0.999, 11],
    [20, 3, 0.1, 0.1, 0.99, 6],
    [64, 1, 0.05, 0.8, 0.999, 33],
    [1, 1, 0.01, 0.01, 0.99, 0],
    [1, 1, 0.1, 0.1, 0.999, 2],
    [1, 1, 0.5, 0.5, 0.999, 9],
    [10, 1, 1, 1, 0.9, 64],
    [10, 10, 0.9, 0.98, 0.999, 64],
  ];
  for (const [sources, symbols, lossRate, runRate, asked, expected] of table) {
    const repairs = repairsNeeded(sources, symbols, 1 - asked, { lossRate, runRate });
    assert.equal(repairs, expected, `${sources}, ${symbols}, ${lossRate}, ${runRate}, ${asked}`);
  }
});

/** Reports of symbols in steps, `missing` of each step in `gaps` runs. */
function feed(
  estimate: LossEstimate,
  steps: number,
  symbols: number,
  missing: number,
  gaps: number,
  total = { received: 0, recovered: 0, lost: 0, gaps: 0 },
) {
  for (let i = 0; i < steps; i++) {
    total.received += symbols - missing;
    total.recovered += missing;
    total.gaps += gaps;
    assert.equal(estimate.onReport(total), true);
  }
  return total;
}

Deno.test("NS-PR-005: before any report the sender assumes a bad path", () => {
  const { lossRate, runRate } = new LossEstimate().model;
  assert.ok(lossRate > 0.1 && lossRate < 0.3, `${lossRate}`);
  assert.ok(runRate >= lossRate);
});

Deno.test("NS-PR-005: the estimate converges to the reported losses, its bound from above", () => {
  for (const missing of [0, 1, 5, 20]) {
    const estimate = new LossEstimate();
    feed(estimate, 200, 100, missing, missing);
    assert.ok(Math.abs(estimate.lossRate - missing / 100) < 0.002, `${estimate.lossRate}`);
    const { lossRate } = estimate.model;
    assert.ok(lossRate > missing / 100 && lossRate < missing / 100 * 1.2 + 0.002, `${lossRate}`);
  }
});

Deno.test("NS-PR-005: losses in runs are told from single ones", () => {
  const single = new LossEstimate();
  feed(single, 100, 100, 10, 9);
  assert.ok(single.model.runRate < 0.2);
  const runs = new LossEstimate();
  feed(runs, 100, 100, 10, 2);
  assert.ok(runs.model.runRate > 0.7 && runs.model.runRate < 0.9, `${runs.model.runRate}`);
  assert.ok(runs.model.lossRate > single.model.lossRate); // runs say less about the rate
});

Deno.test("NS-PR-005: a path that changes is followed within a few hundred symbols", () => {
  for (const [before, after] of [[0, 10], [10, 0], [1, 5], [20, 2]]) {
    const estimate = new LossEstimate();
    const total = feed(estimate, 100, 100, before, before);
    feed(estimate, 8, 100, after, after, total);
    assert.ok(Math.abs(estimate.lossRate - after / 100) < 0.02, `${before}: ${estimate.lossRate}`);
  }
});

Deno.test("NS-PR-005: an old report changes nothing, a late symbol is taken back", () => {
  const estimate = new LossEstimate();
  feed(estimate, 10, 100, 10, 10);
  const { lossRate } = estimate;
  assert.equal(estimate.onReport({ received: 0, recovered: 0, lost: 500, gaps: 1 }), false);
  assert.equal(estimate.lossRate, lossRate);
  // 50 of the 100 missing ones arrived after all.
  estimate.onReport({ received: 1_050, recovered: 50, lost: 0, gaps: 50 });
  assert.ok(estimate.lossRate < 0.06);
});
