/**
 * Score of a candidate that passed: Σ wᵢ·mᵢ, every term mᵢ in 0…1, the weights normalised to 1
 * (02-route.md, Resolution).
 */
import { NexusError } from "../base/mod.ts";
import { countBits } from "./capabilities.ts";
import type { ModelEntry } from "./entry.ts";
import type { Sad } from "./sad.ts";

/** One number for each part of the score: weights, or a candidate's terms before weighting. */
export interface Terms {
  readonly capability: number;
  readonly latency: number;
  readonly cost: number;
  readonly context: number;
  readonly trust: number;
  readonly region: number;
}

/** Default weights of the specification; they add up to 1.1 and are normalised before use. */
export const WEIGHTS_DEFAULT: Terms = {
  capability: 0.30,
  latency: 0.25,
  cost: 0.20,
  context: 0.15,
  trust: 0.10,
  region: 0.10,
};

/** The defaults with `weights` over them, divided by their sum. Throws INVALID_WEIGHTS. */
export function normaliseWeights(weights: Partial<Terms> = {}): Terms {
  const all = { ...WEIGHTS_DEFAULT, ...weights };
  const sum = all.capability + all.latency + all.cost + all.context + all.trust + all.region;
  for (const [name, weight] of Object.entries(all)) {
    if (!(weight >= 0 && weight < Infinity)) {
      throw new NexusError(
        "INVALID_WEIGHTS",
        `cannot score: weight ${name} is ${weight}, expected a number of 0 or more`,
      );
    }
  }
  if (sum <= 0) {
    throw new NexusError("INVALID_WEIGHTS", "cannot score: all weights are 0, expected one above");
  }
  return {
    capability: all.capability / sum,
    latency: all.latency / sum,
    cost: all.cost / sum,
    context: all.context / sum,
    trust: all.trust / sum,
    region: all.region / sum,
  };
}

/** Smallest and largest of a value over the candidates that pass. */
export class Range {
  min = Infinity;
  max = -Infinity;

  add(value: number): void {
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }
}

/** The candidate's terms. The ranges matter only where the query sets no limit. */
export function termsOf(
  sad: Sad,
  entry: ModelEntry,
  latencyMs: number,
  latencies: Range,
  costs: Range,
): Terms {
  return {
    capability: capabilityTerm(sad.capabilities ?? 0, entry.capabilities),
    latency: lowerIsBetter(latencyMs, sad.latencyMsMax, latencies),
    cost: lowerIsBetter(entry.cost, sad.costMax?.micros, costs),
    context: 1,
    trust: 1,
    region: !sad.regionPrefer?.length || sad.regionPrefer.includes(entry.region) ? 1 : 0.5,
  };
}

/** Weighted sum; `weights` are normalised. */
export function scoreOf(weights: Terms, terms: Terms): number {
  return weights.capability * terms.capability + weights.latency * terms.latency +
    weights.cost * terms.cost + weights.context * terms.context +
    weights.trust * terms.trust + weights.region * terms.region;
}

function capabilityTerm(asked: number, offered: number): number {
  return asked === 0 ? 1 : countBits(asked & offered) / countBits(asked);
}

/**
 * With a limit: the share of it that is left. Without: 1 for the best candidate, 0 for the worst.
 * At the limit 0 only 0 itself is left of it, and that cannot be bettered: 1.
 */
function lowerIsBetter(value: number, limit: number | undefined, range: Range): number {
  if (limit === undefined) {
    return range.max > range.min ? 1 - (value - range.min) / (range.max - range.min) : 1;
  }
  return limit === 0 ? (value === 0 ? 1 : 0) : Math.max(0, 1 - value / limit);
}
