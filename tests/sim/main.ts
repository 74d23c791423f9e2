/**
 * `deno task sim`: the simulator from the command line.
 *
 *     deno task sim --seeds 10000 [--from 1]          random networks and workloads
 *     deno task sim --matrix                          writes docs/transport-matrix.md
 *     deno task sim --scenario handshakeloss [--from 7]   one row, with another seed
 */
import { MATRIX_SEED, renderMatrix, rowOf, SCENARIOS, TABLE } from "./matrix.ts";
import { runScenario } from "./scenario.ts";
import { runSoak } from "./soak_run.ts";

const USAGE =
  `usage: deno task sim --seeds N [--from SEED] | --matrix | --scenario NAME [--from SEED]
scenarios: ${SCENARIOS.filter((s) => s.waitsFor === undefined).map(({ name }) => name).join(" ")}`;

function usage(problem: string): never {
  console.error(`${problem}\n${USAGE}`);
  Deno.exit(2);
}

/** The value after a flag; undefined when the flag is not there. */
function valueOf(flag: string): string | undefined {
  const at = Deno.args.indexOf(flag);
  return at < 0 ? undefined : Deno.args[at + 1] ?? usage(`${flag} needs a value`);
}

function numberOf(flag: string): number | undefined {
  const text = valueOf(flag);
  if (text === undefined) return undefined;
  const value = Number(text.replaceAll("_", ""));
  return Number.isSafeInteger(value) && value >= 0 ? value : usage(`${flag} needs a whole number`);
}

const from = numberOf("--from");
const name = valueOf("--scenario");
const seeds = numberOf("--seeds");
if (Deno.args.includes("--matrix")) {
  Deno.writeTextFileSync(TABLE, renderMatrix());
  console.log(`wrote ${TABLE.pathname}`);
} else if (name !== undefined) {
  const scenario = SCENARIOS.find((scenario) => scenario.name === name);
  if (scenario === undefined || scenario.waitsFor !== undefined) usage(`no scenario ${name} runs`);
  console.log(rowOf(scenario, runScenario(scenario, from ?? MATRIX_SEED)));
} else if (seeds !== undefined) {
  if (!await runSoak(from ?? 1, seeds)) Deno.exitCode = 1;
} else {
  usage("nothing to do");
}
