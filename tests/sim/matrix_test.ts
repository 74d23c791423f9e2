/** Every row of the scenario matrix. */
import { MATRIX_SEED, SCENARIOS } from "./matrix.ts";
import { runScenario } from "./scenario.ts";

for (const scenario of SCENARIOS) {
  if (scenario.waitsFor !== undefined) continue;
  Deno.test(`matrix: ${scenario.name}: ${scenario.about}`, () => {
    runScenario(scenario, MATRIX_SEED);
  });
}
