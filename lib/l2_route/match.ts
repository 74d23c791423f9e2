/** Hard constraints: may this model answer this query at all, and if not, why in words. */
import { toHex } from "../base/mod.ts";
import { formatArchitecture, formatCapabilities } from "./capabilities.ts";
import type { ModelEntry } from "./entry.ts";
import { matchesModel } from "./names.ts";
import { formatRegion, REGION_UNKNOWN } from "./regions.ts";
import { OPTION_PARTIAL, OPTION_RELAX, type Sad } from "./sad.ts";

/** A query made ready to be compared with many entries. */
export interface Query {
  readonly sad: Sad;
  /** Publisher as the entries spell it. */
  readonly publisher?: string;
  /** All capability bits must be there. */
  readonly capabilitiesHard: boolean;
  /** Latency and cost limits must hold. */
  readonly limitsHard: boolean;
}

/** `soft` treats capability, latency and cost as score only, whatever OPTIONS say. */
export function makeQuery(sad: Sad, soft: boolean): Query {
  const options = sad.options ?? 0;
  return {
    sad,
    publisher: sad.publisher && toHex(sad.publisher),
    capabilitiesHard: !soft && (options & OPTION_PARTIAL) === 0,
    limitsHard: !soft && (options & OPTION_RELAX) === 0,
  };
}

/**
 * Whether the entry passes. With `reasons`, every constraint that it misses is added in words;
 * without, the first miss ends the comparison.
 */
export function passes(
  query: Query,
  entry: ModelEntry,
  latencyMs: number,
  reasons?: string[],
): boolean {
  let pass = true;
  for (const { holds, reason } of CONSTRAINTS) {
    if (holds(query, entry, latencyMs)) continue;
    if (reasons === undefined) return false;
    reasons.push(reason(query, entry, latencyMs));
    pass = false;
  }
  return pass;
}

interface Constraint {
  readonly holds: (query: Query, entry: ModelEntry, latencyMs: number) => boolean;
  /** Why not, in words; called only when it does not hold, so the field of the query is there. */
  readonly reason: (query: Query, entry: ModelEntry, latencyMs: number) => string;
}

const CONSTRAINTS: readonly Constraint[] = [
  {
    holds: ({ sad }, entry) => sad.arch === undefined || entry.arch === sad.arch,
    reason: ({ sad }, entry) =>
      `arch ${formatArchitecture(entry.arch)} is not ${formatArchitecture(sad.arch!)}`,
  },
  {
    holds: (query, entry) => !query.capabilitiesHard || lacking(query.sad, entry) === 0,
    reason: ({ sad }, entry) => `lacks ${formatCapabilities(lacking(sad, entry))}`,
  },
  {
    holds: ({ sad }, entry) => sad.contextMin === undefined || entry.context >= sad.contextMin,
    reason: ({ sad }, entry) => `context ${entry.context} < ${sad.contextMin}`,
  },
  {
    holds: ({ limitsHard, sad }, _, latencyMs) =>
      !limitsHard || sad.latencyMsMax === undefined || latencyMs <= sad.latencyMsMax,
    reason: ({ sad }, _, latencyMs) => `latency ${roundUp(latencyMs)} ms > ${sad.latencyMsMax} ms`,
  },
  {
    // A cost per request and one per 1,000 tokens compare as they stand: a request counts as 1,000.
    holds: ({ limitsHard, sad }, entry) =>
      !limitsHard || sad.costMax === undefined || entry.cost <= sad.costMax.micros,
    reason: ({ sad }, entry) =>
      `cost ${dollars(entry.cost, entry.per1k)} > ${
        dollars(sad.costMax!.micros, sad.costMax!.per1k)
      }`,
  },
  {
    holds: ({ sad }, entry) => sad.trustMin === undefined || entry.trust >= sad.trustMin,
    reason: ({ sad }, entry) => `trust ${entry.trust} < ${sad.trustMin}`,
  },
  {
    holds: ({ sad }, entry) => !sad.regionExclude?.includes(entry.region),
    reason: (_, entry) =>
      `region ${
        entry.region === REGION_UNKNOWN ? "unknown" : formatRegion(entry.region)
      } is excluded`,
  },
  {
    holds: ({ publisher }, entry) => publisher === undefined || entry.publisher === publisher,
    reason: ({ publisher }, entry) => `publisher ${entry.publisher} is not ${publisher}`,
  },
  {
    holds: ({ sad }, entry) =>
      sad.benchmarkMin === undefined || entry.benchmark >= sad.benchmarkMin,
    reason: ({ sad }, entry) => `benchmark ${entry.benchmark / 1000} < ${sad.benchmarkMin! / 1000}`,
  },
  {
    holds: ({ sad }, entry) => sad.model === undefined || matchesModel(sad.model, entry.name),
    reason: ({ sad }, entry) => `model ${entry.name} is not ${sad.model}`,
  },
];

function lacking(sad: Sad, entry: ModelEntry): number {
  return (sad.capabilities ?? 0) & ~entry.capabilities;
}

/** Rounded so that a value just above its limit is not shown as equal to it. */
function roundUp(ms: number): number {
  return Math.ceil(ms * 10) / 10;
}

function dollars(micros: number, per1k: boolean): string {
  const text = (micros / 1e6).toFixed(6).replace(/\.?0+$/, "");
  return `$${text}${per1k ? "/1k" : ""}`;
}
