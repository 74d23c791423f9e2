/** A small run of `deno task fuzz link` with the other tests, and proof that it finds things. */
import assert from "node:assert/strict";
import { linkFuzz } from "./link.ts";

const INPUTS = 60_000;

for (const seed of [1, 20_260_101]) {
  Deno.test(`NL-F-002: ${INPUTS} fuzzed inputs of seed ${seed} are frames or typed errors`, () => {
    const run = linkFuzz.start(seed);
    for (let i = 0; i < INPUTS; i++) run.one();
    // Not vacuous: every kind of input was reached.
    const [, kinds, accepted] = /(\d+) kinds reached, ([\d.]+) % accepted/.exec(run.summary())!;
    assert(Number(kinds) > 300, run.summary());
    assert(Number(accepted) > 10, run.summary());
    const [, honest, conflicts] = /(\d+) of them honest, (\d+) conflicts/.exec(run.summary())!;
    assert(Number(honest) > 50 && Number(conflicts) > 50, run.summary());
  });
}

Deno.test("NL-F-002: the same seed fuzzes the same inputs", () => {
  const [a, b] = [linkFuzz.start(7), linkFuzz.start(7)];
  for (let i = 0; i < 500; i++) {
    a.one();
    b.one();
    assert.deepEqual(a.lastInput(), b.lastInput());
  }
});
