/** A small run of `deno task fuzz stream` with the other tests, and proof that it finds things. */
import assert from "node:assert/strict";
import { streamFuzz } from "./stream.ts";

const INPUTS = 60_000;

for (const seed of [1, 20_260_101]) {
  Deno.test(`stream fuzz: ${INPUTS} fuzzed payloads of seed ${seed} are taken or refused`, () => {
    const run = streamFuzz.start(seed);
    for (let i = 0; i < INPUTS; i++) run.one();
    // Not vacuous: every kind of input and of end was reached.
    const summary = run.summary();
    const [, kinds, accepted] = /(\d+) kinds reached, ([\d.]+) frames/.exec(summary)!;
    assert(Number(kinds) > 300 && Number(accepted) > 1, summary);
    const [, connections, proofs] = /; (\d+) connections .* (\d+) times proved/.exec(summary)!;
    assert(Number(connections) > 10 && Number(proofs) > 10, summary);
    for (const end of ["nothing", "PROTOCOL_VIOLATION", "FRAME_ENCODING", "STREAM_STATE"]) {
      assert(summary.includes(`${end} `), summary);
    }
  });
}

Deno.test("stream fuzz: the same seed fuzzes the same payloads", () => {
  const [a, b] = [streamFuzz.start(7), streamFuzz.start(7)];
  for (let i = 0; i < 2_000; i++) {
    a.one();
    b.one();
    assert.deepEqual(a.lastInput(), b.lastInput());
  }
});
