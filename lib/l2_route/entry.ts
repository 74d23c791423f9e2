/** What the routing table holds: models as they were advertised, and what was measured of nodes. */

/** One model that one node offers. Plain data: JSON shows it as it is. */
export interface ModelEntry {
  /** 32 hex digits. */
  readonly nodeId: string;
  readonly name: string;
  /** As in ARCHITECTURES, 0 unknown. */
  readonly arch: number;
  /** Capability bits. */
  readonly capabilities: number;
  /** Context window, tokens. */
  readonly context: number;
  /** The node's own estimate of time to first token, without network. */
  readonly latencyMs: number;
  /** Millionths of a US dollar, per request or, with `per1k`, per 1,000 tokens. */
  readonly cost: number;
  readonly per1k: boolean;
  /** 0…4. */
  readonly trust: number;
  /** Score × 1000. */
  readonly benchmark: number;
  /** Node id of the publisher, 32 hex digits. */
  readonly publisher: string;
  /** ISO 3166-1 numeric, 0 unknown. */
  readonly region: number;
  readonly maxConcurrency: number;
}

/** What is known of a node beside its advertisement: probes, recent requests, its health reports. */
export interface EndpointMetrics {
  /** Network round trip, by probe. */
  readonly rttMs?: number;
  /** Time to first token of recent requests as this node saw them, network included. */
  readonly ttftMs?: number;
  /** Reported, 0 idle … 1 full. */
  readonly load: number;
  /** Reported: requests that wait. */
  readonly queueDepth: number;
  /** Reported: takes no new requests. */
  readonly draining?: boolean;
}

/** One node with its models. They were advertised together and expire together. */
export interface NodeRoute {
  readonly nodeId: string;
  /** Where it listens, "host:port". */
  readonly endpoints: readonly string[];
  /** Ascending by name. */
  readonly entries: readonly ModelEntry[];
  readonly metrics: EndpointMetrics;
  /** Monotonic time; Infinity for the node itself. */
  readonly expiresUs: number;
}

/** A node of which nothing was measured yet. */
export const IDLE: EndpointMetrics = { load: 0, queueDepth: 0 };

/** Weight of a new sample in `smoothed`: about the last four requests count. */
const SMOOTHING = 1 / 4;

/** Exponentially weighted mean: the next value after `sample`; the first sample stands alone. */
export function smoothed(before: number | undefined, sample: number): number {
  return before === undefined ? sample : before + SMOOTHING * (sample - before);
}

/**
 * Time to first token to expect from a node now, milliseconds:
 *
 *   service = max(1, ttft − rtt) when requests were measured, else max(1, advertised latency)
 *   latency = rtt + service × (1 + load + queueDepth / max(1, maxConcurrency))
 *
 * A full node takes twice its idle time, and each round of waiting requests that fills its slots
 * adds once more. Service is at least 1 ms, so that of two instant nodes the busy one still loses.
 * The network part does not grow with load.
 */
export function effectiveLatencyMs(entry: ModelEntry, metrics: EndpointMetrics): number {
  const rttMs = metrics.rttMs ?? 0;
  const serviceMs = Math.max(
    1,
    metrics.ttftMs === undefined ? entry.latencyMs : metrics.ttftMs - rttMs,
  );
  return rttMs +
    serviceMs * (1 + metrics.load + metrics.queueDepth / Math.max(1, entry.maxConcurrency));
}

/** The metrics with reports from outside forced into their ranges; NaN counts as unknown. */
export function clampMetrics(metrics: EndpointMetrics): EndpointMetrics {
  return {
    ...metrics,
    rttMs: duration(metrics.rttMs),
    ttftMs: duration(metrics.ttftMs),
    load: metrics.load >= 0 ? Math.min(1, metrics.load) : 0,
    queueDepth: metrics.queueDepth >= 0 ? Math.min(0xffffffff, metrics.queueDepth) : 0,
  };
}

function duration(ms: number | undefined): number | undefined {
  return ms !== undefined && ms >= 0 ? Math.min(0xffffffff, ms) : undefined;
}
