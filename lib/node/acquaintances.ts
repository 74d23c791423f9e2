/** The nodes that this one has met: their names for people, their addresses for the next start. */
import { equalBytes, formatNodeId, parseSocketAddress } from "../base/mod.ts";
import { systemClock } from "../io/clock.ts";
import { nodeEngine } from "../io/crypto.ts";
import type { PeerRecord, State } from "../io/state.ts";
import { fingerprintOf, type Mic, nodeNameOf } from "../l4_trust/mod.ts";
import { nodeLog } from "./log.ts";

/** Nodes met are written together, shortly after: durable writes stay off the packets' way. */
const NOTE_MS = 20;
/** Names held at once; what is forgotten is learned again. */
const NAMES_MAX = 16_384;

export class Acquaintances {
  readonly #state: State;
  readonly #ownId: Uint8Array;
  readonly #names = new Map<string, string>();
  /** Met since the last write. */
  readonly #seen = new Map<string, PeerRecord>();
  #timer?: ReturnType<typeof setTimeout>;

  constructor(state: State, ownId: Uint8Array) {
    this.#state = state;
    this.#ownId = ownId;
  }

  /**
   * A node was met, by its certificate, at these addresses. The key is pinned only when the node
   * proved it itself, on a connection.
   */
  met(mic: Mic, addresses: readonly string[], isProven: boolean): void {
    const { nodeId } = mic;
    if (equalBytes(nodeId, this.#ownId)) return;
    const id = formatNodeId(nodeId);
    const name = nodeNameOf(mic.claims);
    if (name !== undefined) {
      if (this.#names.size >= NAMES_MAX) this.#names.clear();
      this.#names.set(id, name);
    }
    this.#seen.set(id, {
      nodeId,
      addresses: addresses.map((text) => parseSocketAddress(text)),
      lastSeenMs: systemClock.unixMs(),
      fingerprint: isProven
        ? fingerprintOf(mic.publicKey, nodeEngine)
        : this.#seen.get(id)?.fingerprint,
    });
    this.#timer ??= setTimeout(() => this.write(), NOTE_MS);
  }

  /** The name in a node's certificate, as far as it has been seen. */
  nameOf(nodeId: string): string | undefined {
    return this.#names.get(nodeId);
  }

  /** Nodes met now or in earlier runs, seen last first. */
  all(): PeerRecord[] {
    this.write();
    return this.#state.peers();
  }

  /** Writes what was met; call it before the state is closed. */
  write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      for (const peer of this.#seen.values()) this.#state.putPeer(peer);
    } catch (error) {
      nodeLog("node").error("cannot note the nodes met", { error }); // A full disk, say.
    }
    this.#seen.clear();
  }
}
