/**
 * Circuit breakers, one for each endpoint: one model of one node, so that a model that fails does not
 * close the way to the others of its node.
 *
 *   closed ──failuresMax in a row──▶ open ──cooldown──▶ half-open ──success──▶ closed
 *                                     ▲                    │ one probe at a time
 *                                     └──────failure───────┘
 */

/** Name of one model of one node (hex id). */
export function endpointKey(nodeId: string, model: string): string {
  return `${nodeId} ${model}`;
}

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

/** Endpoints with a failure history at once; the one whose history is oldest is forgotten first. */
export const BREAKERS_MAX = 16_384;

interface Breaker {
  failures: number;
  /** Closed when undefined. */
  openedUs?: number;
  probeStartedUs?: number;
}

/**
 * Call `allows` before choosing an endpoint, `attempt` when a request goes to it, and `success` or
 * `failure` when it ended. Only endpoints that failed take memory.
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

  /** No endpoint has failed lately. */
  get isEmpty(): boolean {
    return this.#breakers.size === 0;
  }

  /** A request goes there; on a half-open breaker it is the probe. */
  attempt(endpoint: string, nowUs: number): void {
    const breaker = this.#breakers.get(endpoint);
    if (breaker !== undefined && this.state(endpoint, nowUs) === "half-open") {
      breaker.probeStartedUs = nowUs;
    }
  }

  /** It answered. */
  success(endpoint: string): void {
    this.#breakers.delete(endpoint);
  }

  /** It failed: an error that another node may not have. */
  failure(endpoint: string, nowUs: number): void {
    const breaker = this.#breakers.get(endpoint) ?? { failures: 0 };
    const probed = this.state(endpoint, nowUs) === "half-open";
    breaker.failures++;
    // Requests that were under way when it opened do not put the probe off.
    if (probed || (breaker.openedUs === undefined && breaker.failures >= this.#failuresMax)) {
      breaker.openedUs = nowUs;
      breaker.probeStartedUs = undefined;
    }
    this.#breakers.delete(endpoint);
    this.#breakers.set(endpoint, breaker);
    if (this.#breakers.size > BREAKERS_MAX) {
      for (const oldest of this.#breakers.keys()) {
        this.#breakers.delete(oldest);
        break;
      }
    }
  }

  /** It is gone for good. */
  forget(endpoint: string): void {
    this.#breakers.delete(endpoint);
  }

  state(endpoint: string, nowUs: number): BreakerState {
    const openedUs = this.#breakers.get(endpoint)?.openedUs;
    if (openedUs === undefined) return "closed";
    return nowUs - openedUs >= this.#cooldownUs ? "half-open" : "open";
  }

  /** Whether a request may go there now. */
  allows(endpoint: string, nowUs: number): boolean {
    const state = this.state(endpoint, nowUs);
    if (state !== "half-open") return state === "closed";
    const started = this.#breakers.get(endpoint)?.probeStartedUs;
    return started === undefined || nowUs - started >= this.#probeTimeoutUs;
  }
}
