/**
 * `deno task sim`: the simulator from the command line.
 *
 *     deno task sim --seeds 10000 [--from 1]          random networks and workloads
 *     deno task sim --matrix                          writes docs/transport-matrix.md
 *     deno task sim --scenario handshakeloss [--from 7]   one row, with another seed
 */
import { parseArgs } from "node:util";
import { MATRIX_SEED, renderMatrix, rowOf, SCENARIOS, TABLE } from "./matrix.ts";
import { runScenario } from "./scenario.ts";
import { runSoak } from "./soak_run.ts";

const USAGE =
  `usage: deno task sim --seeds N [--from SEED] | --matrix | --scenario NAME [--from SEED]
scenarios: ${SCENARIOS.filter((s) => s.waitsFor === undefined).map(({ name }) => name).join(" ")}`;

function usage(problem?: string): never {
  console.error(problem === undefined ? USAGE : `${problem}\n${USAGE}`);
  Deno.exit(problem === undefined ? 0 : 2);
}

function readArgs() {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const help = { type: "boolean", short: "h" } as const;
  const options = { seeds: text, from: text, scenario: text, matrix: flag, help } as const;
  try {
    return parseArgs({ args: Deno.args, options }).values;
  } catch (error) {
    return usage((error as Error).message);
  }
}

function wholeNumber(flag: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text.replaceAll("_", ""));
  if (Number.isSafeInteger(value) && value >= least) return value;
  return usage(`${flag} needs a whole number from ${least}`);
}

const { matrix, scenario: name, help, ...numbers } = readArgs();
if (help) usage();
const from = wholeNumber("--from", numbers.from, 0);
const seeds = wholeNumber("--seeds", numbers.seeds, 1);
if (matrix) {
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
