/**
 * The peer table of a port: socket addresses as small numbers, so that descriptors stay integers.
 *
 * Anybody can send from any source address, so the table is two bounded LRU lists: *learned*
 * (heard from, never answered) and *known* (named by us or sent to). A flood of sources churns the
 * learned list only. Numbers count up and are not reused, so a forgotten one never means another
 * peer.
 */
import { formatSocketAddress, type SocketAddress } from "../base/mod.ts";

/** Sources heard but never answered; enough for the time between a frame and its answer. */
export const PEERS_LEARNED_MAX = 1024;
/** Peers this node sends to: several times the connections of a large node. */
export const PEERS_KNOWN_MAX = 4096;

interface Entry {
  readonly key: string;
  readonly address: SocketAddress;
}

/** Bounded two-way map between addresses and numbers. */
export class PeerTable {
  readonly #numbers = new Map<string, number>();
  // Maps iterate in insertion order: the first key is the one unused for longest.
  readonly #learned = new Map<number, Entry>();
  readonly #known = new Map<number, Entry>();
  #next = 0;

  constructor(
    readonly learnedMax: number = PEERS_LEARNED_MAX,
    readonly knownMax: number = PEERS_KNOWN_MAX,
  ) {}

  get size(): number {
    return this.#numbers.size;
  }

  /** Number of an address that a datagram came from. */
  learn(address: SocketAddress): number {
    const key = formatSocketAddress(address);
    const number = this.#numbers.get(key);
    if (number === undefined) return this.#insert(this.#learned, this.learnedMax, key, address);
    const list = this.#known.has(number) ? this.#known : this.#learned;
    touch(list, number);
    return number;
  }

  /** Number of an address that we name ourselves. */
  know(address: SocketAddress): number {
    const key = formatSocketAddress(address);
    const number = this.#numbers.get(key);
    if (number === undefined) return this.#insert(this.#known, this.knownMax, key, address);
    this.use(number);
    return number;
  }

  /** Address to send to, which makes the peer a known one; undefined when it was forgotten. */
  use(number: number): SocketAddress | undefined {
    if (this.#known.has(number)) return touch(this.#known, number).address;
    const entry = this.#learned.get(number);
    if (entry === undefined) return undefined;
    this.#learned.delete(number);
    this.#makeRoom(this.#known, this.knownMax);
    this.#known.set(number, entry);
    return entry.address;
  }

  /** Address of a number without touching it. */
  address(number: number): SocketAddress | undefined {
    return (this.#known.get(number) ?? this.#learned.get(number))?.address;
  }

  #insert(list: Map<number, Entry>, max: number, key: string, address: SocketAddress): number {
    this.#makeRoom(list, max);
    // After 2³¹ peers the numbers start again and step over those in use.
    while (this.address(this.#next) !== undefined) this.#next = (this.#next + 1) & 0x7fffffff;
    const number = this.#next;
    this.#next = (number + 1) & 0x7fffffff;
    this.#numbers.set(key, number);
    list.set(number, { key, address: { host: address.host, port: address.port } });
    return number;
  }

  #makeRoom(list: Map<number, Entry>, max: number): void {
    if (list.size < max) return;
    const [oldest, entry] = list.entries().next().value!;
    list.delete(oldest);
    this.#numbers.delete(entry.key);
  }
}

function touch(list: Map<number, Entry>, number: number): Entry {
  const entry = list.get(number)!;
  list.delete(number);
  list.set(number, entry);
  return entry;
}
