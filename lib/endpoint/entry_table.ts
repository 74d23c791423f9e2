/**
 * The connections and handshakes of an endpoint: found by connection id or, while a HELLO may come
 * again, by that; bounded in all and by source; who has work, and whose timer is next.
 */
import { formatSocketAddress, type RandomFill, type SocketAddress } from "../base/mod.ts";
import type { Connection } from "../l3_stream/mod.ts";
import type { ClientHandshake, ServerHandshake } from "../l4_trust/mod.ts";
import { Deadlines } from "./deadlines.ts";
import type { ConnectionId } from "./events.ts";
import { CONNECTIONS_MAX, type EndpointGroup, type EndpointOptions } from "./options.ts";

/** Half-open handshakes a server keeps in all (docs/protocol.md §4.1). */
export const HALF_OPEN_MAX = 1024;
/** Half-open handshakes of one IP address, whatever its ports. */
export const HALF_OPEN_PER_SOURCE_MAX = 64;

/** Connection ids are 32 bits. */
const CONNECTION_ID_MAX = 0xffff_ffff;

const ALONE: EndpointGroup = { index: 0, size: 1 };

/** A handshake, then the connection that it became. */
export class Entry {
  /** Where its handshake comes from. */
  readonly source: string;
  client: ClientHandshake | undefined;
  server: ServerHandshake | undefined;
  /** Half-open server handshakes only: identifies a repeated HELLO. */
  helloKey: string | undefined;
  connection: Connection | undefined;
  peerNodeId: Uint8Array | undefined;
  /** Handshake frames ready to go, whole frames. */
  readonly frames: Uint8Array[] = [];
  /** Connection ids of paths beside the first. */
  readonly pathIds = new Set<ConnectionId>();
  queued = false;
  failed = false;

  /**
   * `peer` is the number of `address` in the port's table; looked up again when the port forgot it.
   * `address` is where the peer is; it follows when the peer moves.
   */
  constructor(
    readonly id: ConnectionId,
    readonly initiator: boolean,
    public peer: number,
    public address: SocketAddress,
  ) {
    this.source = formatSocketAddress(address);
  }
}

export class EntryTable {
  readonly deadlines = new Deadlines<Entry>();
  /** Entries that may have something to send or to tell. */
  readonly ready: Entry[] = [];
  readonly group: EndpointGroup;
  readonly #entries = new Map<ConnectionId, Entry>();
  /** By the connection ids of paths beside the first. */
  readonly #pathEntries = new Map<ConnectionId, Entry>();
  readonly #halfOpen = new Map<string, Entry>();
  readonly #halfOpenBySource = new Map<string, number>();
  readonly #entriesMax: number;
  readonly #random: RandomFill;

  constructor(options: EndpointOptions) {
    this.group = options.group ?? ALONE;
    this.#entriesMax = options.connectionsMax ?? CONNECTIONS_MAX;
    this.#random = options.random;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Connection ids that frames may come under: one for each entry and further path. */
  get idCount(): number {
    return this.#entries.size + this.#pathEntries.size;
  }

  get halfOpenCount(): number {
    return this.#halfOpen.size;
  }

  /** Half-open handshakes that may still become connections. */
  get handshakeCount(): number {
    let count = 0;
    for (const { failed } of this.#halfOpen.values()) if (!failed) count++;
    return count;
  }

  /** By the id of the connection, which is that of its first path. */
  get(id: ConnectionId): Entry | undefined {
    return this.#entries.get(id);
  }

  /** By the id of any path. */
  ofPath(id: ConnectionId): Entry | undefined {
    return this.#entries.get(id) ?? this.#pathEntries.get(id);
  }

  /** A new entry under a new id; undefined: there are as many as there may be. */
  add(initiator: boolean, peer: number, address: SocketAddress): Entry | undefined {
    if (this.#entries.size >= this.#entriesMax) return undefined;
    const entry = new Entry(this.newId(), initiator, peer, address);
    this.#entries.set(entry.id, entry);
    return entry;
  }

  /** A random id that is free, not 0 and ours within the group. */
  newId(): ConnectionId {
    const { index, size } = this.group;
    const word = new Uint8Array(4);
    for (;;) {
      this.#random(word);
      const random = new DataView(word.buffer).getUint32(0);
      const id = random - random % size + index;
      const isFree = !this.#entries.has(id) && !this.#pathEntries.has(id);
      if (id !== 0 && id <= CONNECTION_ID_MAX && isFree) return id;
    }
  }

  addPathId(entry: Entry, id: ConnectionId): void {
    entry.pathIds.add(id);
    this.#pathEntries.set(id, entry);
  }

  deletePathId(entry: Entry, id: ConnectionId): void {
    entry.pathIds.delete(id);
    this.#pathEntries.delete(id);
  }

  /** The entry has work to look at. */
  enqueue(entry: Entry): void {
    if (entry.queued || this.#entries.get(entry.id) !== entry) return;
    entry.queued = true;
    this.ready.push(entry);
  }

  /** The half-open handshake that a HELLO began; see helloKeyOf. */
  halfOpen(helloKey: string): Entry | undefined {
    return this.#halfOpen.get(helloKey);
  }

  mayHalfOpen({ host }: SocketAddress): boolean {
    return this.#halfOpen.size < HALF_OPEN_MAX &&
      (this.#halfOpenBySource.get(host) ?? 0) < HALF_OPEN_PER_SOURCE_MAX;
  }

  addHalfOpen(entry: Entry, helloKey: string): void {
    entry.helloKey = helloKey;
    this.#halfOpen.set(helloKey, entry);
    const { host } = entry.address;
    this.#halfOpenBySource.set(host, (this.#halfOpenBySource.get(host) ?? 0) + 1);
  }

  forgetHalfOpen(entry: Entry): void {
    if (entry.helloKey === undefined) return;
    this.#halfOpen.delete(entry.helloKey);
    entry.helloKey = undefined;
    const { host } = entry.address;
    const left = (this.#halfOpenBySource.get(host) ?? 1) - 1;
    if (left > 0) this.#halfOpenBySource.set(host, left);
    else this.#halfOpenBySource.delete(host);
  }

  remove(entry: Entry): void {
    // Keys are not left to the garbage collector; a finished handshake has none any more.
    entry.client?.wipe();
    entry.server?.wipe();
    this.forgetHalfOpen(entry);
    this.deadlines.delete(entry);
    for (const id of entry.pathIds) this.#pathEntries.delete(id);
    this.#entries.delete(entry.id);
  }
}
