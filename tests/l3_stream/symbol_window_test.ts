import assert from "node:assert/strict";
import fc from "fast-check";
import { SymbolWindow, WINDOW_SYMBOLS } from "../../lib/l3_stream/streams/symbol_window.ts";

const REORDER = 8;

Deno.test("NS-PR-005: counts are those of a plain list, whatever comes in whatever order", () => {
  const step = fc.record({
    ahead: fc.oneof(fc.integer({ min: -140, max: 4 }), fc.integer({ min: 0, max: 400 })),
    rebuilt: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const window = new SymbolWindow();
      const state: string[] = [];
      for (const { ahead, rebuilt } of steps) {
        const symbol = Math.max(0, state.length + ahead);
        if (rebuilt) {
          if (symbol >= state.length || symbol < window.low || state[symbol] !== "lost") continue;
          window.recover(symbol);
          state[symbol] = "recovered";
        } else {
          window.advance(symbol + 1);
          while (state.length <= symbol) state.push("lost");
          // At the edge the symbol before is forgotten: whether a run ends here is a guess.
          if (symbol < window.low || symbol === window.low && symbol > 0) continue;
          assert.equal(window.arrive(symbol), state[symbol] === "lost");
          state[symbol] = "received";
        }
      }
      const counted = state.slice(0, Math.max(0, state.length - REORDER));
      const count = (what: string) => counted.filter((one) => one === what).length;
      const { received, recovered, lost, gaps } = window.counts;
      assert.deepEqual(
        { received, recovered, lost },
        { received: count("received"), recovered: count("recovered"), lost: count("lost") },
      );
      const runs = counted.filter((one, i) =>
        one !== "received" && counted[i - 1] !== "lost" && counted[i - 1] !== "recovered"
      ).length;
      assert.equal(gaps, runs);
      assert.equal(window.settled, counted.length);
    }),
    { numRuns: 500 },
  );
});

Deno.test("NS-PR-005: a jump of 2^53 symbols costs a constant", () => {
  const window = new SymbolWindow();
  window.arrive(0);
  window.advance(1);
  window.advance(Number.MAX_SAFE_INTEGER);
  assert.equal(window.low, Number.MAX_SAFE_INTEGER - WINDOW_SYMBOLS);
  const { received, lost, gaps } = window.counts;
  assert.equal(received + lost, Number.MAX_SAFE_INTEGER - REORDER);
  assert.equal(gaps, 1);
});
