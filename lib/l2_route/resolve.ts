/**
 * Resolution: from a query to the node that should answer it.
 *
 *   entries ─▶ hard constraints ─▶ scores ─▶ the best K nodes that have room
 *                   │ why not                    ─▶ one of them by the key's hash ─▶ chosen
 *
 * A plain scan, O(n + p log p) for n entries of which p pass.
 */
import { type CircuitBreakers, endpointKey } from "./breaker.ts";
import { effectiveLatencyMs, type ModelEntry, type NodeRoute } from "./entry.ts";
import { rankMembers } from "./hash.ts";
import { makeQuery, passes } from "./match.ts";
import type { Sad } from "./sad.ts";
import { normaliseWeights, Range, scoreOf, type Terms, termsOf } from "./score.ts";
import type { TableSnapshot } from "./table.ts";

/** Nodes among which a key is hashed. */
export const TOP_K_DEFAULT = 3;

/**
 * Reported load from which a node is passed over while another has room. Below 1: reports are
 * old by a heartbeat, and affinity would fill the node up until the next one.
 */
export const LOAD_MAX_DEFAULT = 0.8;

/** How to resolve. */
export interface ResolveOptions {
  /** Monotonic time, µs: expired entries and breakers. */
  readonly nowUs: number;
  /** Over WEIGHTS_DEFAULT, then normalised. */
  readonly weights?: Partial<Terms>;
  /** "soft": capability, latency and cost never reject, they only score. Default "strict". */
  readonly mode?: "strict" | "soft";
  readonly topK?: number;
  readonly loadMax?: number;
  readonly breakers?: CircuitBreakers;
  /** Nodes not to ask, with the reason in words ("failed before"): for the second try. */
  readonly exclude?: ReadonlyMap<string, string>;
  /** Spreads queries without affinity: see `requesterKey`. Without any key the best one is chosen. */
  readonly requesterKey?: Uint8Array;
  /** false: rejected candidates are not listed, which is much faster. Default true. */
  readonly explain?: boolean;
}

/** One model of one node and how it did. */
export interface Candidate {
  readonly nodeId: string;
  readonly model: string;
  readonly entry: ModelEntry;
  readonly endpoints: readonly string[];
  /** Expected time to first token, see `effectiveLatencyMs`. */
  readonly latencyMs: number;
  /** 0…1; 0 when rejected. */
  readonly score: number;
  /** Terms of the score before weighting; absent when rejected. */
  readonly terms?: Terms;
  /** Reasons in words, joined by "; ". Absent: it passed. */
  readonly rejected?: string;
}

/** The answer, and how it came about. */
export interface Resolution {
  /** Undefined: nobody can answer. */
  readonly chosen?: Candidate;
  /** Whom to ask in turn: chosen first, one candidate of each node that passed. */
  readonly order: readonly Candidate[];
  /** All: those that passed by score, then the rejected; ties by node id, then model name. */
  readonly candidates: readonly Candidate[];
  /** Normalised weights that were used. */
  readonly weights: Terms;
  /** Version of the table. */
  readonly version: number;
}

/** Finds who should answer the query. Throws INVALID_WEIGHTS only. */
export function resolve(table: TableSnapshot, sad: Sad, options: ResolveOptions): Resolution {
  const weights = normaliseWeights(options.weights);
  const { passed, rejected } = selectCandidates(table, sad, options);
  const scored = scoreCandidates(passed, sad, weights);
  const order = orderNodes(scored, table, sad, options);
  return {
    chosen: order[0],
    order,
    candidates: [...scored, ...rejected.sort(compareNames)],
    weights,
    version: table.version,
  };
}

interface Passed {
  readonly node: NodeRoute;
  readonly entry: ModelEntry;
  readonly latencyMs: number;
}

function selectCandidates(table: TableSnapshot, sad: Sad, options: ResolveOptions) {
  const query = makeQuery(sad, options.mode === "soft");
  const passed: Passed[] = [];
  const rejected: Candidate[] = [];
  for (const node of table.nodes()) {
    const nodeReason = nodeRejection(node, options);
    if (nodeReason !== undefined && options.explain === false) continue;
    for (const entry of node.entries) {
      const latencyMs = effectiveLatencyMs(entry, node.metrics);
      const reasons: string[] | undefined = options.explain === false ? undefined : [];
      const closed = nodeReason ?? circuitRejection(entry, options);
      if (closed !== undefined) reasons?.push(closed);
      const pass = passes(query, entry, latencyMs, reasons) && closed === undefined;
      if (pass) passed.push({ node, entry, latencyMs });
      else if (reasons !== undefined) {
        rejected.push({
          nodeId: node.nodeId,
          model: entry.name,
          entry,
          endpoints: node.endpoints,
          latencyMs,
          score: 0,
          rejected: reasons.join("; "),
        });
      }
    }
  }
  return { passed, rejected };
}

function nodeRejection(node: NodeRoute, options: ResolveOptions): string | undefined {
  if (node.expiresUs <= options.nowUs) return "advertisement expired";
  const excluded = options.exclude?.get(node.nodeId);
  if (excluded !== undefined) return excluded;
  if (node.metrics.draining) return "draining";
  return undefined;
}

function circuitRejection(entry: ModelEntry, options: ResolveOptions): string | undefined {
  const { breakers, nowUs } = options;
  if (breakers === undefined || breakers.isEmpty) return undefined;
  const endpoint = endpointKey(entry.nodeId, entry.name);
  if (breakers.allows(endpoint, nowUs)) return undefined;
  return breakers.state(endpoint, nowUs) === "open"
    ? "circuit open"
    : "circuit half-open, its probe is under way";
}

function scoreCandidates(passed: readonly Passed[], sad: Sad, weights: Terms): Candidate[] {
  const latencies = new Range();
  const costs = new Range();
  for (const { entry, latencyMs } of passed) {
    latencies.add(latencyMs);
    costs.add(entry.cost);
  }
  return passed.map(({ node, entry, latencyMs }): Candidate => {
    const terms = termsOf(sad, entry, latencyMs, latencies, costs);
    return {
      nodeId: node.nodeId,
      model: entry.name,
      entry,
      endpoints: node.endpoints,
      latencyMs,
      score: scoreOf(weights, terms),
      terms,
    };
  }).sort((a, b) => b.score - a.score || compareNames(a, b));
}

/**
 * One candidate of each node, its best. The first K that have room are ranked by the key's hash,
 * weighted by score; behind them the others by score, nodes without room last. Room comes before
 * affinity: a key whose node is full moves on instead of making a hot spot.
 */
function orderNodes(
  scored: readonly Candidate[],
  table: TableSnapshot,
  sad: Sad,
  options: ResolveOptions,
): Candidate[] {
  const bestOfNode = new Map<string, Candidate>();
  for (const candidate of scored) {
    if (!bestOfNode.has(candidate.nodeId)) bestOfNode.set(candidate.nodeId, candidate);
  }
  const loadMax = options.loadMax ?? LOAD_MAX_DEFAULT;
  const free: Candidate[] = [];
  const full: Candidate[] = [];
  for (const candidate of bestOfNode.values()) {
    (hasRoom(candidate, table, loadMax) ? free : full).push(candidate);
  }
  const preferred = free.length > 0 ? free : full;
  const topK = preferred.slice(0, Math.max(1, options.topK ?? TOP_K_DEFAULT));
  const others = [...preferred.slice(topK.length), ...(preferred === free ? full : [])];
  const key = sad.affinity ?? options.requesterKey;
  if (key === undefined) return [...topK, ...others];
  const members = topK.map((candidate) => ({
    id: candidate.nodeId,
    weight: Math.max(candidate.score, Number.EPSILON),
    candidate,
  }));
  return [...rankMembers(members, key).map(({ candidate }) => candidate), ...others];
}

function hasRoom(candidate: Candidate, table: TableSnapshot, loadMax: number): boolean {
  const metrics = table.node(candidate.nodeId)!.metrics;
  return metrics.load < loadMax &&
    metrics.queueDepth < Math.max(1, candidate.entry.maxConcurrency);
}

function compareNames(a: Candidate, b: Candidate): number {
  if (a.nodeId !== b.nodeId) return a.nodeId < b.nodeId ? -1 : 1;
  return a.model < b.model ? -1 : 1;
}
