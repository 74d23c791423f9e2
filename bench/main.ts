/**
 * `deno task bench [name …] [--json]`: runs the named groups, or all of them, and prints one row per
 * figure. Peers are measured in the same run: on shared machines only ratios mean something.
 */
import { e2eBench } from "./e2e.ts";
import { handshakeBench } from "./handshake.ts";
import { kernelPathBench } from "./kernel_path.ts";
import { linkBench } from "./link.ts";
import type { Bench, Row } from "./row.ts";
import { streamBench } from "./stream.ts";

const BENCHES: readonly Bench[] = [
  linkBench,
  handshakeBench,
  streamBench,
  kernelPathBench,
  e2eBench,
];

const json = Deno.args.includes("--json");
const names = Deno.args.filter((arg) => !arg.startsWith("-"));
const unknown = names.filter((name) => !BENCHES.some((bench) => bench.name === name));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(", ")}; there are:`);
  for (const { name, about } of BENCHES) console.error(`  ${name.padEnd(12)}${about}`);
  Deno.exit(2);
}
const load = Deno.loadavg().map((each) => each.toFixed(2)).join(" ");
console.error(`machine: ${navigator.hardwareConcurrency} cores, load average ${load}`);
for (const bench of BENCHES) {
  if (names.length > 0 && !names.includes(bench.name)) continue;
  if (!json) console.error(`${bench.name}: ${bench.about}`);
  for await (const row of bench.run()) console.log(json ? JSON.stringify(row) : rowText(row));
}

function rowText(row: Row): string {
  const { bench, name, value, unit, peer, peerValue, ratio, target, met } = row;
  let text = `${`${bench}/${name}`.padEnd(34)}${figure(value).padStart(10)} ${unit}`;
  if (ratio !== undefined) text += `  ${ratio.toFixed(2)} × ${peer}`;
  if (peerValue !== undefined) text += ` (${figure(peerValue)} ${unit})`;
  if (target !== undefined) text += `  [${target}: ${met ? "met" : "missed"}]`;
  return text;
}

function figure(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
