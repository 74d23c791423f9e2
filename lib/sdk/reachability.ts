/**
 * Nodes that did not answer at all. They are left out of resolution at once, and dialled again in
 * the background, so that no request waits for a node that is known to be gone.
 */
import { type Clock, NexusError } from "../base/mod.ts";
import type { SessionPool } from "./session_pool.ts";

/** Pause before the first new dial; doubles up to the second. */
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 30_000;

/** Errors that mean "nobody is there", as against "it answered something bad". */
const UNREACHABLE_CODES: ReadonlySet<string> = new Set([
  "CONNECT_TIMEOUT",
  "HANDSHAKE_TIMEOUT",
  "IDLE_TIMEOUT",
  "PEER_UNREACHABLE",
  "PEER_UNRESPONSIVE",
  "UNREACHABLE",
]);

/** Whether an error, or what caused it, says that the node is not there. */
export function isUnreachable(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof NexusError && UNREACHABLE_CODES.has(at.code)) return true;
  }
  return false;
}

interface Lost {
  readonly sinceUs: number;
  failures: number;
  timer?: ReturnType<typeof setTimeout>;
}

export class Reachability {
  readonly #clock: Clock;
  readonly #pool: SessionPool;
  /** Addresses of a node; undefined once it is no longer known: then it is not dialled again. */
  readonly #endpointsOf: (nodeId: string) => readonly string[] | undefined;
  readonly #lost = new Map<string, Lost>();
  #closed = false;

  constructor(
    clock: Clock,
    pool: SessionPool,
    endpointsOf: (nodeId: string) => readonly string[] | undefined,
  ) {
    this.#clock = clock;
    this.#pool = pool;
    this.#endpointsOf = endpointsOf;
  }

  /** The node did not answer. */
  lost(nodeId: string): void {
    if (this.#closed || this.#lost.has(nodeId)) return;
    const lost: Lost = { sinceUs: this.#clock.nowUs(), failures: 0 };
    this.#lost.set(nodeId, lost);
    this.#schedule(nodeId, lost);
  }

  /** Nodes to leave out, with the reason in words. A node with an open session is back. */
  reasons(): ReadonlyMap<string, string> {
    const reasons = new Map<string, string>();
    for (const [nodeId, lost] of this.#lost) {
      if (this.#pool.sessions.get(nodeId)?.isOpen) this.#found(nodeId);
      else {
        const seconds = Math.round((this.#clock.nowUs() - lost.sinceUs) / 1e6);
        reasons.set(nodeId, `unreachable for ${seconds} s`);
      }
    }
    return reasons;
  }

  /** Stops dialling. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#lost.values()) clearTimeout(timer);
    this.#lost.clear();
  }

  #schedule(nodeId: string, lost: Lost): void {
    const pauseMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** lost.failures);
    lost.timer = setTimeout(() => this.#retry(nodeId, lost), pauseMs);
  }

  async #retry(nodeId: string, lost: Lost): Promise<void> {
    const endpoints = this.#endpointsOf(nodeId);
    if (endpoints === undefined) return this.#found(nodeId);
    try {
      await this.#pool.get(nodeId, endpoints, {});
      this.#found(nodeId);
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
      if (this.#closed) return;
      // It answers, be it with a refusal: what to make of that is the next request's business.
      if (!isUnreachable(error)) return this.#found(nodeId);
      lost.failures++;
      this.#schedule(nodeId, lost);
    }
  }

  #found(nodeId: string): void {
    clearTimeout(this.#lost.get(nodeId)?.timer);
    this.#lost.delete(nodeId);
  }
}
