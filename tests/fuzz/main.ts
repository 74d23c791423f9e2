/**
 * `deno task fuzz <name> [--inputs N] [--seed S]`: runs a fuzz target over N inputs. The seed is
 * printed, and a run with the same seed makes the same inputs. Exit 1 with the input as hexadecimal
 * when something was found.
 */
import { parseArgs } from "node:util";
import { toHex } from "../../lib/base/mod.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { linkFuzz } from "./link.ts";
import { streamFuzz } from "./stream.ts";

const TARGETS: readonly FuzzTarget[] = [linkFuzz, streamFuzz];
const INPUTS_DEFAULT = 1_000_000;
/** Inputs between two looks at the clock. */
const BATCH = 4096;
const PROGRESS_MS = 5000;

function usage(problem?: string): never {
  if (problem !== undefined) console.error(problem);
  console.error("usage: deno task fuzz <name> [--inputs N] [--seed S]; there are:");
  for (const { name, about } of TARGETS) console.error(`  ${name.padEnd(12)}${about}`);
  Deno.exit(problem === undefined ? 0 : 2);
}

function readArgs() {
  const number = { type: "string" } as const;
  const options = { inputs: number, seed: number, help: { type: "boolean", short: "h" } } as const;
  try {
    return parseArgs({ args: Deno.args, options, allowPositionals: true });
  } catch (error) {
    return usage((error as Error).message);
  }
}

function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text.replaceAll("_", ""));
  return Number.isSafeInteger(value) && value >= 0 ? value : usage(`${flag} needs a whole number`);
}

const { values, positionals } = readArgs();
if (values.help) usage();
if (positionals.length > 1) usage(`one fuzz target at a time, not ${positionals.join(" and ")}`);
const target = TARGETS.find(({ name }) => name === positionals[0]) ??
  usage(positionals.length === 0 ? "no fuzz target named" : `no fuzz target ${positionals[0]}`);
const inputs = wholeNumber("--inputs", values.inputs) ?? INPUTS_DEFAULT;
const seed = wholeNumber("--seed", values.seed) ?? crypto.getRandomValues(new Uint32Array(1))[0];

console.log(`fuzz ${target.name}: ${inputs} inputs, seed ${seed}`);
const run = target.start(seed);
const started = performance.now();
let reported = started;
let done = 0;
try {
  while (done < inputs) {
    const until = Math.min(inputs, done + BATCH);
    for (; done < until; done++) run.one();
    const now = performance.now();
    if (now - reported < PROGRESS_MS) continue;
    reported = now;
    const rate = Math.round(done / (now - started) * 1000);
    console.error(`${done} of ${inputs}, ${rate} a second; ${run.summary()}`);
  }
} catch (thrown) {
  console.error(`input ${done} of seed ${seed} (${target.name}): ${toHex(run.lastInput())}`);
  console.error(thrown);
  Deno.exit(1);
}
const seconds = (performance.now() - started) / 1000;
console.log(`${done} inputs in ${seconds.toFixed(1)} s, nothing found; ${run.summary()}`);
