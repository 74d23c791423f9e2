/**
 * The simple twin of lib/l2_route/resolve.ts: candidates, scores and order by the letter of
 * 02-route.md, with no thought of speed. Written on its own; it shares nothing but the data types.
 */
import type { EndpointMetrics, ModelEntry, Sad } from "../../lib/l2_route/mod.ts";

export interface ReferenceNode {
  readonly entries: readonly ModelEntry[];
  readonly metrics: EndpointMetrics;
}

export interface ReferenceCandidate {
  readonly nodeId: string;
  readonly model: string;
  readonly score: number;
}

const WEIGHTS = [0.30, 0.25, 0.20, 0.15, 0.10, 0.10];

/** Those that pass, best first. */
export function referenceResolve(
  nodes: readonly ReferenceNode[],
  sad: Sad,
  soft: boolean,
): ReferenceCandidate[] {
  const all = nodes.flatMap(({ entries, metrics }) =>
    entries.map((entry) => ({ entry, latency: latencyOf(entry, metrics) }))
  );
  const passing = all.filter(({ entry, latency }) => isAllowed(entry, latency, sad, soft));
  const latencies = passing.map(({ latency }) => latency);
  const costs = passing.map(({ entry }) => entry.cost);
  const total = WEIGHTS.reduce((a, b) => a + b);
  const scored = passing.map(({ entry, latency }) => {
    const asked = bitsOf(sad.capabilities ?? 0);
    const offered = new Set(bitsOf(entry.capabilities));
    const capability = asked.length === 0
      ? 1
      : asked.filter((bit) => offered.has(bit)).length / asked.length;
    const regions = sad.regionPrefer ?? [];
    const terms = [
      capability,
      cheapness(latency, sad.latencyMsMax, latencies),
      cheapness(entry.cost, sad.costMax?.micros, costs),
      1,
      1,
      regions.length === 0 || regions.includes(entry.region) ? 1 : 0.5,
    ];
    const score = terms.reduce((sum, term, i) => sum + WEIGHTS[i] * term, 0) / total;
    return { nodeId: entry.nodeId, model: entry.name, score };
  });
  return scored.sort((a, b) => b.score - a.score);
}

function latencyOf(entry: ModelEntry, metrics: EndpointMetrics): number {
  const rtt = metrics.rttMs ?? 0;
  const measured = metrics.ttftMs === undefined ? entry.latencyMs : metrics.ttftMs - rtt;
  const slots = entry.maxConcurrency === 0 ? 1 : entry.maxConcurrency;
  return rtt + Math.max(measured, 1) * (1 + metrics.load + metrics.queueDepth / slots);
}

function isAllowed(entry: ModelEntry, latency: number, sad: Sad, soft: boolean): boolean {
  const options = sad.options ?? 0;
  const offered = new Set(bitsOf(entry.capabilities));
  const constraints = [
    sad.arch === undefined || sad.arch === entry.arch,
    soft || options % 2 === 1 || bitsOf(sad.capabilities ?? 0).every((bit) => offered.has(bit)),
    sad.contextMin === undefined || entry.context >= sad.contextMin,
    soft || options >= 2 || sad.latencyMsMax === undefined || latency <= sad.latencyMsMax,
    soft || options >= 2 || sad.costMax === undefined || entry.cost <= sad.costMax.micros,
    sad.trustMin === undefined || entry.trust >= sad.trustMin,
    !(sad.regionExclude ?? []).includes(entry.region),
    sad.publisher === undefined ||
    Array.from(sad.publisher, (byte) => byte.toString(16).padStart(2, "0")).join("") ===
      entry.publisher,
    sad.benchmarkMin === undefined || entry.benchmark >= sad.benchmarkMin,
    sad.model === undefined || sad.model === entry.name ||
    (sad.model.at(-1) === "*" && entry.name.indexOf(sad.model.slice(0, -1)) === 0),
  ];
  return constraints.every((holds) => holds);
}

function cheapness(value: number, limit: number | undefined, all: number[]): number {
  if (limit === 0) return value === 0 ? 1 : 0;
  if (limit !== undefined) return Math.max(0, 1 - value / limit);
  const min = all.reduce((a, b) => Math.min(a, b));
  const max = all.reduce((a, b) => Math.max(a, b));
  return min === max ? 1 : 1 - (value - min) / (max - min);
}

function bitsOf(set: number): number[] {
  return Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (set >>> bit) % 2 === 1);
}
