/** Why a candidate lost, in words and numbers. */
import type { Candidate, Resolution } from "../../l2_route/mod.ts";
import type { CandidateRow } from "../route/candidates.ts";

/** The smallest part of a score that is worth a word. */
const DIFFERENCE_MIN = 0.0005;
/** More terms than this blur the picture. */
const TERMS_SHOWN = 2;

/** The rows of a resolution's table, with names for node ids. */
export function rowsOf(
  resolution: Resolution,
  nameOf: (nodeId: string) => string | undefined,
): CandidateRow[] {
  return resolution.candidates.map((candidate) => ({
    nodeId: candidate.nodeId,
    nodeName: nameOf(candidate.nodeId),
    model: candidate.model,
    chosen: candidate === resolution.chosen,
    score: candidate.rejected === undefined ? candidate.score : undefined,
    terms: candidate.terms,
    rejected: candidate.rejected,
    note: whyLost(candidate, resolution),
  }));
}

/** "−0.154: latency −0.100, cost −0.054": the weighted terms in which the winner is ahead. */
export function whyLost(candidate: Candidate, resolution: Resolution): string | undefined {
  const { chosen, weights } = resolution;
  if (chosen?.terms === undefined || candidate.terms === undefined || candidate === chosen) {
    return undefined;
  }
  const behind = (Object.keys(weights) as (keyof typeof weights)[])
    .map((name) => ({
      name,
      points: weights[name] * (chosen.terms![name] - candidate.terms![name]),
    }))
    .filter(({ points }) => points > DIFFERENCE_MIN)
    .sort((a, b) => b.points - a.points)
    .slice(0, TERMS_SHOWN)
    .map(({ name, points }) => `${name} −${points.toFixed(3)}`);
  const gap = chosen.score - candidate.score;
  if (gap < DIFFERENCE_MIN) return "same score, ranked behind by its id";
  return `lost by ${gap.toFixed(3)}: ${behind.join(", ")}`;
}
