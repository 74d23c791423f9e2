/** Every row of the scenario matrix, and whether docs/transport-matrix.md is what they give. */
import assert from "node:assert/strict";
import { MATRIX_SEED, renderMatrix, rowOf, SCENARIOS, TABLE } from "./matrix.ts";
import { runScenario } from "./scenario.ts";

const rows = new Map<string, string>();

for (const scenario of SCENARIOS) {
  if (scenario.waitsFor !== undefined) continue;
  Deno.test(`matrix: ${scenario.name}: ${scenario.about}`, () => {
    rows.set(scenario.name, rowOf(scenario, runScenario(scenario, MATRIX_SEED)));
  });
}

Deno.test("matrix: docs/transport-matrix.md is current", () => {
  const current = renderMatrix(({ name }) => rows.get(name) ?? `${name} failed\n`);
  assert.equal(Deno.readTextFileSync(TABLE), current, "run `deno task sim --matrix`");
});
