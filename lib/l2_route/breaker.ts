/**
 * Circuit breakers, one for each node.
 *
 *   closed ──failuresMax in a row──▶ open ──cooldown──▶ half-open ──success──▶ closed
 *                                     ▲                    │ one probe at a time
 *                                     └──────failure───────┘
 */

/** What a breaker lets through: all, nothing, or one probe. */
export type BreakerState = "closed" | "open" | "half-open";

/** Limits of the breakers. */
export interface BreakerOptions {
  /** Consecutive failures that open a breaker. */
  readonly failuresMax?: number;
  /** Time from opening to the first probe, µs. */
  readonly cooldownUs?: number;
  /** After this time a probe that never reported counts as lost and another may go, µs. */
  readonly probeTimeoutUs?: number;
}

/** Nodes with a failure history at once; the one whose history is oldest is forgotten first. */
export const BREAKERS_MAX = 16_384;

interface Breaker {
  failures: number;
  /** Closed when undefined. */
  openedUs?: number;
  probeStartedUs?: number;
}

/**
 * Call `allows` before choosing a node, `attempt` when a request goes to it, and `success` or
 * `failure` when it ended. Only nodes that failed take memory.
 */
export class CircuitBreakers {
  readonly #failuresMax: number;
  readonly #cooldownUs: number;
  readonly #probeTimeoutUs: number;
  readonly #breakers = new Map<string, Breaker>();

  constructor(options: BreakerOptions = {}) {
    this.#failuresMax = options.failuresMax ?? 3;
    this.#cooldownUs = options.cooldownUs ?? 10_000_000;
    this.#probeTimeoutUs = options.probeTimeoutUs ?? 30_000_000;
  }

  /** A request goes to the node; on a half-open breaker it is the probe. */
  attempt(nodeId: string, nowUs: number): void {
    const breaker = this.#breakers.get(nodeId);
    if (breaker !== undefined && this.state(nodeId, nowUs) === "half-open") {
      breaker.probeStartedUs = nowUs;
    }
  }

  /** The node answered. */
  success(nodeId: string): void {
    this.#breakers.delete(nodeId);
  }

  /** The node failed: could not be reached, or an error that another node may not have. */
  failure(nodeId: string, nowUs: number): void {
    const breaker = this.#breakers.get(nodeId) ?? { failures: 0 };
    const probed = this.state(nodeId, nowUs) === "half-open";
    breaker.failures++;
    // Requests that were under way when it opened do not put the probe off.
    if (probed || (breaker.openedUs === undefined && breaker.failures >= this.#failuresMax)) {
      breaker.openedUs = nowUs;
      breaker.probeStartedUs = undefined;
    }
    this.#breakers.delete(nodeId);
    this.#breakers.set(nodeId, breaker);
    if (this.#breakers.size > BREAKERS_MAX) {
      for (const oldest of this.#breakers.keys()) {
        this.#breakers.delete(oldest);
        break;
      }
    }
  }

  /** The node is gone for good. */
  forget(nodeId: string): void {
    this.#breakers.delete(nodeId);
  }

  state(nodeId: string, nowUs: number): BreakerState {
    const openedUs = this.#breakers.get(nodeId)?.openedUs;
    if (openedUs === undefined) return "closed";
    return nowUs - openedUs >= this.#cooldownUs ? "half-open" : "open";
  }

  /** Whether a request may go to the node now. */
  allows(nodeId: string, nowUs: number): boolean {
    const state = this.state(nodeId, nowUs);
    if (state !== "half-open") return state === "closed";
    const started = this.#breakers.get(nodeId)?.probeStartedUs;
    return started === undefined || nowUs - started >= this.#probeTimeoutUs;
  }
}
