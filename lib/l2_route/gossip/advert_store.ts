/**
 * Advertisement flooding, sans-I/O (protocol.md §8.1, Gossip). What every joined node knows reaches
 * every other: a new peer gets all, news goes to all peers but the one it came from.
 *
 *   in   receive, connect, disconnect, setOwn, handleTimeout
 *   out  take (what to send to a peer), pollEvent (what changed), nextTimeoutUs
 *
 * What waits for a peer is a set of node ids, not bytes: a slow peer gets the newest advertisement
 * of each node once it can take it, and can never hold more than one id per node.
 */
import { equalBytes, errorMessage, NEVER, NexusError, toHex } from "../../base/mod.ts";
import {
  ADVERT_TTL_S_DEFAULT,
  type AdvertContent,
  advertExpiresS,
  type Advertisement,
  type AdvertPolicy,
  type AdvertVerifier,
  decodeAdvertisement,
  encodeAdvertisement,
  type Signer,
  verifyAdvertisement,
} from "../advertisement.ts";
import { ExpiryBuckets } from "../expiry.ts";

/** Nodes remembered at once; beyond it new ones are refused and known ones stay. */
export const NODES_MAX = 16_384;
/**
 * Bytes of advertisements held at once. Decoded they take about as much again, which keeps the
 * gossip state below its 50 MiB (02-route.md, Targets).
 */
export const STORE_BYTES_MAX = 24 * 1024 * 1024;
/** Bytes handed out for one peer at a time, so that a full exchange does not stall the others. */
export const BATCH_BYTES_MAX = 256 * 1024;
/** Nodes with a change not yet fetched by `pollEvent`; beyond it the oldest is dropped. */
export const EVENTS_MAX = 65_536;

/** What this node advertises; sequence and time are the store's business. */
export interface OwnAdvert extends Omit<AdvertContent, "nodeId" | "sequence" | "issuedS" | "ttlS"> {
  readonly ttlS?: number;
}

/** How to make a store. */
export interface AdvertStoreOptions {
  readonly nodeId: Uint8Array;
  readonly verifier: AdvertVerifier;
  /** Both needed to advertise: the identity key and its chain, `count u8 ‖ bytes16 each`. */
  readonly signer?: Signer;
  readonly chain?: Uint8Array;
  readonly policy?: AdvertPolicy;
  readonly nodesMax?: number;
  readonly bytesMax?: number;
}

/** Something that the routing table must follow. */
export type AdvertEvent =
  | { readonly type: "updated"; readonly advert: Advertisement; readonly expiresUs: number }
  | {
    readonly type: "removed";
    readonly nodeId: string;
    readonly why: "withdrawn" | "expired";
  };

/** What became of received bytes. Everything but "news" changed nothing. */
export type ReceiveOutcome = "news" | "known" | "older" | "own" | "refused";

/** Outcome of `receive`; `error` says why it was refused. */
export interface ReceiveResult {
  readonly outcome: ReceiveOutcome;
  readonly error?: NexusError;
}

/** Counters since the start. */
export interface AdvertStats {
  readonly nodes: number;
  readonly bytes: number;
  readonly news: number;
  readonly known: number;
  readonly older: number;
  readonly refused: number;
  readonly expired: number;
  readonly eventsDropped: number;
}

/** Newest advertisement of a node, or after its expiry just the memory of its sequence. */
interface Known {
  sequence: number;
  advert?: Advertisement;
  expiresUs: number;
  /** Until then an older, still valid advertisement could be replayed. */
  rememberUs: number;
}

export class AdvertStore {
  readonly nodeId: string;
  readonly #options: AdvertStoreOptions;
  readonly #nodesMax: number;
  readonly #bytesMax: number;
  readonly #known = new Map<string, Known>();
  readonly #expiry = new ExpiryBuckets();
  /** Peer → ids of nodes whose newest advertisement waits to be sent. */
  readonly #pending = new Map<string, Set<string>>();
  /** Latest change of each node, in order of the changes. */
  readonly #events = new Map<string, AdvertEvent>();
  #own: OwnAdvert | undefined;
  #ownSequence = 0;
  #renewUs = NEVER;
  #bytes = 0;
  #counts = { news: 0, known: 0, older: 0, refused: 0, expired: 0, eventsDropped: 0 };

  constructor(options: AdvertStoreOptions) {
    this.nodeId = toHex(options.nodeId);
    this.#options = options;
    this.#nodesMax = options.nodesMax ?? NODES_MAX;
    this.#bytesMax = options.bytesMax ?? STORE_BYTES_MAX;
  }

  /**
   * Takes one advertisement from a connected peer. The cheap checks come first: what is not newer
   * costs no signature check. Never throws for what the bytes are.
   */
  receive(bytes: Uint8Array, fromPeer: string, nowUs: number, unixMs: number): ReceiveResult {
    let advert: Advertisement;
    try {
      advert = decodeAdvertisement(bytes);
    } catch (error) {
      return this.#refuse(error);
    }
    const nodeId = toHex(advert.nodeId);
    const sequenceKnown = this.#known.get(nodeId)?.sequence ?? -1;
    if (advert.sequence <= sequenceKnown) return this.#notNewer(advert, nodeId, fromPeer);
    const unixS = unixMs / 1000;
    try {
      this.#checkRoom(advert, nodeId);
      verifyAdvertisement(advert, this.#options.verifier, unixS, this.#options.policy);
      if (nodeId === this.nodeId) {
        // From before a restart with a clock that went back: only a higher sequence replaces it.
        this.#ownSequence = Math.max(this.#ownSequence, advert.sequence);
        this.#renew(nowUs, unixMs);
        return { outcome: "own" };
      }
    } catch (error) {
      return this.#refuse(error);
    }
    this.#counts.news++;
    this.#store(advert, nodeId, nowUs, unixS);
    this.#announce(nodeId, fromPeer);
    return { outcome: "news" };
  }

  /** A peer is connected: everything known waits for it. */
  connect(peer: string): void {
    const waiting = new Set<string>();
    for (const [nodeId, known] of this.#known) if (known.advert) waiting.add(nodeId);
    this.#pending.set(peer, waiting);
  }

  disconnect(peer: string): void {
    this.#pending.delete(peer);
  }

  /**
   * Sets what this node advertises, signs it and sends it to all peers; undefined withdraws.
   * It is renewed at half its TTL. Throws NO_IDENTITY without signer and chain, and what
   * `encodeAdvertisement` throws; then the former one stays.
   */
  setOwn(own: OwnAdvert | undefined, nowUs: number, unixMs: number): void {
    const before = this.#own;
    if (own === undefined && before === undefined) return;
    this.#own = own ?? { ...before!, models: [] };
    try {
      this.#renew(nowUs, unixMs);
    } catch (error) {
      this.#own = before;
      throw error;
    }
    if (own === undefined) {
      this.#own = undefined;
      this.#renewUs = NEVER;
    }
  }

  /** Forgets what expired and renews what this node advertises. */
  handleTimeout(nowUs: number, unixMs: number): void {
    for (const nodeId of this.#expiry.take(nowUs)) this.#expire(nodeId, nowUs);
    if (nowUs >= this.#renewUs) this.#renew(nowUs, unixMs);
  }

  /** When to call `handleTimeout`. */
  nextTimeoutUs(): number {
    return Math.min(this.#renewUs, this.#expiry.nextTimeoutUs());
  }

  /** Peers for which something waits. */
  pendingPeers(): string[] {
    return [...this.#pending].filter(([, waiting]) => waiting.size > 0).map(([peer]) => peer);
  }

  /**
   * Advertisements to send to the peer now, about `bytesMax` in all and at least one when any
   * waits; call again when they are on their way. Empty: nothing waits.
   */
  take(peer: string, bytesMax = BATCH_BYTES_MAX): Uint8Array[] {
    const waiting = this.#pending.get(peer);
    const batch: Uint8Array[] = [];
    if (waiting === undefined) return batch;
    let bytes = 0;
    for (const nodeId of waiting) {
      const advert = this.#known.get(nodeId)?.advert;
      if (advert !== undefined) {
        if (batch.length > 0 && bytes + advert.bytes.length > bytesMax) break;
        batch.push(advert.bytes);
        bytes += advert.bytes.length;
      }
      waiting.delete(nodeId);
    }
    return batch;
  }

  /** The next change, oldest first. Several changes of one node since the last call are one. */
  pollEvent(): AdvertEvent | undefined {
    for (const [nodeId, event] of this.#events) {
      this.#events.delete(nodeId);
      return event;
    }
    return undefined;
  }

  /** Newest advertisement of a node (hex id) that has not expired. */
  get(nodeId: string): Advertisement | undefined {
    return this.#known.get(nodeId)?.advert;
  }

  /** All that have not expired, withdrawals included. */
  *all(): IterableIterator<Advertisement> {
    for (const { advert } of this.#known.values()) if (advert !== undefined) yield advert;
  }

  stats(): AdvertStats {
    return { nodes: this.#known.size, bytes: this.#bytes, ...this.#counts };
  }

  #notNewer(advert: Advertisement, nodeId: string, fromPeer: string): ReceiveResult {
    const known = this.#known.get(nodeId)!;
    if (advert.sequence < known.sequence) {
      this.#counts.older++;
      return { outcome: "older" };
    }
    this.#counts.known++;
    // The peer has it already. (A forged equal sequence would only keep us from repeating it.)
    if (known.advert !== undefined && equalBytes(known.advert.bytes, advert.bytes)) {
      this.#pending.get(fromPeer)?.delete(nodeId);
    }
    return { outcome: "known" };
  }

  #checkRoom(advert: Advertisement, nodeId: string): void {
    const known = this.#known.get(nodeId);
    const bytes = this.#bytes - (known?.advert?.bytes.length ?? 0) + advert.bytes.length;
    if ((known === undefined && this.#known.size >= this.#nodesMax) || bytes > this.#bytesMax) {
      throw new NexusError(
        "STORE_FULL",
        `cannot accept advertisement: store has ${this.#known.size} nodes and ${this.#bytes} bytes, ` +
          `expected at most ${this.#nodesMax} and ${this.#bytesMax}`,
      );
    }
  }

  #store(advert: Advertisement, nodeId: string, nowUs: number, unixS: number): void {
    const before = this.#known.get(nodeId);
    // An advertisement issued ahead of our clock still lives no longer than its TTL.
    const lifeS = Math.min(advert.ttlS, advertExpiresS(advert) - unixS);
    const expiresUs = nowUs + lifeS * 1e6;
    // Replays of this one pass the time check until the second it expires by wall time.
    const replayableUs = nowUs + (advertExpiresS(advert) - unixS) * 1e6;
    this.#bytes += advert.bytes.length - (before?.advert?.bytes.length ?? 0);
    this.#known.set(nodeId, {
      sequence: advert.sequence,
      advert,
      expiresUs,
      rememberUs: Math.max(before?.rememberUs ?? 0, replayableUs),
    });
    this.#expiry.set(nodeId, expiresUs);
    if (advert.models.length > 0) this.#emit(nodeId, { type: "updated", advert, expiresUs });
    else if ((before?.advert?.models.length ?? 0) > 0) {
      this.#emit(nodeId, { type: "removed", nodeId, why: "withdrawn" });
    }
  }

  #expire(nodeId: string, nowUs: number): void {
    const known = this.#known.get(nodeId);
    if (known === undefined) return;
    if (known.advert !== undefined) {
      this.#counts.expired++;
      this.#bytes -= known.advert.bytes.length;
      if (known.advert.models.length > 0) {
        this.#emit(nodeId, { type: "removed", nodeId, why: "expired" });
      }
      known.advert = undefined;
    }
    if (known.rememberUs <= nowUs) this.#known.delete(nodeId);
    else this.#expiry.set(nodeId, known.rememberUs);
  }

  #announce(nodeId: string, exceptPeer?: string): void {
    for (const [peer, waiting] of this.#pending) {
      if (peer === exceptPeer) waiting.delete(nodeId); // split horizon
      else waiting.add(nodeId);
    }
  }

  #renew(nowUs: number, unixMs: number): void {
    const own = this.#own;
    if (own === undefined) return;
    const { signer, chain } = this.#options;
    if (signer === undefined || chain === undefined) {
      throw new NexusError("NO_IDENTITY", "cannot advertise: store has no signer and chain");
    }
    const ttlS = own.ttlS ?? ADVERT_TTL_S_DEFAULT;
    const sequence = Math.max(Math.floor(unixMs), this.#ownSequence + 1);
    const bytes = encodeAdvertisement(
      {
        nodeId: this.#options.nodeId,
        sequence,
        issuedS: Math.floor(unixMs / 1000),
        ttlS,
        endpoints: own.endpoints,
        region: own.region,
        models: own.models,
      },
      chain,
      signer,
    );
    this.#ownSequence = sequence;
    this.#renewUs = nowUs + ttlS * 1e6 / 2;
    this.#store(decodeAdvertisement(bytes), this.nodeId, nowUs, unixMs / 1000);
    this.#announce(this.nodeId);
  }

  #emit(nodeId: string, event: AdvertEvent): void {
    this.#events.delete(nodeId);
    this.#events.set(nodeId, event);
    if (this.#events.size > EVENTS_MAX) {
      this.pollEvent();
      this.#counts.eventsDropped++;
    }
  }

  #refuse(error: unknown): ReceiveResult {
    this.#counts.refused++;
    return {
      outcome: "refused",
      error: error instanceof NexusError
        ? error
        : new NexusError("INTERNAL", `cannot check advertisement: ${errorMessage(error)}`, {
          cause: error,
        }),
    };
  }
}
