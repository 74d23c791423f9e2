/**
 * `deno task bench [name …] [--json]`: runs the named groups, or all of them, and prints one row per
 * figure. Peers are measured in the same run: on shared machines only ratios mean something.
 */
import { parseArgs } from "node:util";
import { e2eBench } from "./e2e.ts";
import { handshakeBench } from "./handshake.ts";
import { kernelPathBench } from "./kernel_path.ts";
import { linkBench } from "./link.ts";
import { Program } from "./program.ts";
import type { Bench, Row } from "./row.ts";
import { streamBench } from "./stream.ts";

const BENCHES: readonly Bench[] = [
  linkBench,
  handshakeBench,
  streamBench,
  kernelPathBench,
  e2eBench,
];

function usage(problem?: string): never {
  if (problem !== undefined) console.error(problem);
  console.error("usage: deno task bench [name …] [--json]; without a name all of:");
  for (const { name, about } of BENCHES) console.error(`  ${name.padEnd(12)}${about}`);
  Deno.exit(problem === undefined ? 0 : 2);
}

function readArgs() {
  try {
    const options = { json: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const;
    return parseArgs({ args: Deno.args, options, allowPositionals: true });
  } catch (error) {
    return usage((error as Error).message);
  }
}

const { values: { json = false, help }, positionals: names } = readArgs();
if (help) usage();
const unknown = names.filter((name) => !BENCHES.some((bench) => bench.name === name));
if (unknown.length > 0) usage(`no benchmark ${unknown.join(", ")}`);

/** A runner and its group both pass a signal on; only one that comes later is impatience. */
const IMPATIENCE_MS = 1_000;
/** 128 + the signal that ended the run. */
let ended: number | undefined;
let endedMs = 0;
for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15]] as const) {
  Deno.addSignalListener(signal, () => {
    if (ended === undefined) endedMs = performance.now();
    else if (performance.now() > endedMs + IMPATIENCE_MS) Deno.exit(ended);
    ended = 128 + number;
    Program.endAll(); // who waits for them fails, and cleans up
  });
}
const load = Deno.loadavg().map((each) => each.toFixed(2)).join(" ");
console.error(`machine: ${navigator.hardwareConcurrency} cores, load average ${load}`);
try {
  await run();
} catch (error) {
  if (ended === undefined) throw error;
}
Deno.exit(ended ?? 0);

async function run(): Promise<void> {
  for (const bench of BENCHES) {
    if (names.length > 0 && !names.includes(bench.name)) continue;
    if (!json) console.error(`${bench.name}: ${bench.about}`);
    for await (const row of bench.run()) {
      if (ended !== undefined) return;
      console.log(json ? JSON.stringify(row) : rowText(row));
    }
  }
}

function rowText(row: Row): string {
  const { bench, name, value, unit, peer, peerValue, ratio, quotient, target, met } = row;
  let text = `${`${bench}/${name}`.padEnd(42)}${figure(value).padStart(8)} ${unit}`;
  if (quotient !== undefined) text += `  quotient ${quotient.toFixed(2)} to ${peer}`;
  else if (ratio !== undefined) text += `  ratio ${ratio.toFixed(2)} to ${peer}`;
  if (peerValue !== undefined) text += ` (${figure(peerValue)} ${unit})`;
  if (target !== undefined) text += `  [${target}: ${met ? "met" : "missed"}]`;
  return text;
}

function figure(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
