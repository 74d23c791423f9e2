/** The nodes through which this one enters the mesh: dialled at the start, and again when lost. */
import {
  equalBytes,
  formatNodeId,
  formatSocketAddress,
  NexusError,
  type SocketAddress,
} from "../base/mod.ts";
import { systemClock } from "../io/clock.ts";
import type { Session, SessionPool } from "../sdk/mod.ts";
import { nodeLog } from "./log.ts";

/** Pauses between two tries to reach a seed double from the first to the second. */
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 30_000;
/** How long a start waits for its seeds before it goes on without them. */
const START_MS = 6_000;

/** A node to be met. */
export interface SeedTarget {
  readonly address: SocketAddress;
  readonly nodeId?: Uint8Array;
  /** A node of an earlier run: dialled like a seed, but nobody waits for it. */
  readonly remembered?: boolean;
}

/** A seed and how it goes. */
export interface Seed extends SeedTarget {
  session?: Session;
  dialling: boolean;
  failures: number;
  nextTryMs: number;
  lastError?: string;
}

export class Seeds {
  readonly all: readonly Seed[];
  readonly #pool: SessionPool;

  /** One seed for each address; this node itself is none. */
  constructor(targets: readonly SeedTarget[], ownId: Uint8Array, pool: SessionPool) {
    this.#pool = pool;
    const seen = new Set<string>();
    this.all = targets.filter(({ address, nodeId }) => {
      const key = formatSocketAddress(address);
      if (seen.has(key) || (nodeId !== undefined && equalBytes(nodeId, ownId))) return false;
      seen.add(key);
      return true;
    }).map((target) => ({ ...target, dialling: false, failures: 0, nextTryMs: 0 }));
  }

  /** Dials all; resolves when the configured ones were tried, or after a while. */
  async start(): Promise<void> {
    const dials = this.all.map((seed) => ({ seed, done: this.#dial(seed) }))
      .filter(({ seed }) => !seed.remembered).map(({ done }) => done);
    if (dials.length === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, START_MS));
    await Promise.race([Promise.all(dials), timeout]);
    clearTimeout(timer);
  }

  /** Dials those that are lost and whose pause is over. */
  lookAfter(nowMs: number): void {
    for (const seed of this.all) {
      if (!seed.session?.isOpen && !seed.dialling && nowMs >= seed.nextTryMs) this.#dial(seed);
    }
  }

  /** Why the mesh is out of reach, a line for each seed; empty when one is connected or none is set. */
  unreached(): string[] {
    const wanted = this.all.filter((seed) => !seed.remembered);
    if (wanted.some((seed) => seed.session?.isOpen)) return [];
    return wanted.map(({ address, lastError = "not connected yet" }) =>
      `seed ${formatSocketAddress(address)}: ${lastError}`
    );
  }

  async #dial(seed: Seed): Promise<void> {
    seed.dialling = true;
    try {
      const known = seed.nodeId && this.#pool.sessions.get(formatNodeId(seed.nodeId));
      seed.session = known?.isOpen
        ? known
        : await this.#pool.dialAddress(seed.address, seed.nodeId);
      seed.failures = 0;
      seed.lastError = undefined;
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
      const pauseMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(seed.failures, 10));
      seed.failures++;
      seed.nextTryMs = systemClock.unixMs() + pauseMs;
      if (seed.lastError !== error.message) {
        const where = formatSocketAddress(seed.address);
        nodeLog("mesh").warn(`cannot reach seed ${where}`, { error, retryMs: pauseMs });
      }
      seed.lastError = error.message;
    } finally {
      seed.dialling = false;
    }
  }
}
