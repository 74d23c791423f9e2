/**
 * Routing table: read-copy-update. Readers hold a `TableSnapshot`, which never changes; writers
 * prepare the next version and `snapshot()` publishes it.
 *
 * Nodes are spread over 256 shards by the first byte of their id. A write copies the one shard it
 * touches, and only when a published version still shares it, so a burst of writes between two
 * snapshots costs O(1) each and no write copies the whole table.
 */
import { clip, NexusError } from "../base/mod.ts";
import {
  clampMetrics,
  type EndpointMetrics,
  IDLE,
  type ModelEntry,
  type NodeRoute,
} from "./entry.ts";
import { ExpiryBuckets } from "./expiry.ts";

/** Nodes a table takes; one advertisement per node and 100,000 entries are the design's scale. */
export const TABLE_NODES_MAX = 131_072;

const SHARDS = 256;
type Shard = Map<string, NodeRoute>;

/** One whole version of the table. Safe to keep; nothing in it changes. */
export class TableSnapshot {
  readonly #shards: readonly ReadonlyMap<string, NodeRoute>[];

  constructor(
    readonly version: number,
    readonly nodeCount: number,
    readonly entryCount: number,
    shards: readonly ReadonlyMap<string, NodeRoute>[],
  ) {
    this.#shards = shards;
  }

  node(nodeId: string): NodeRoute | undefined {
    return this.#shards[shardOf(nodeId)].get(nodeId);
  }

  *nodes(): IterableIterator<NodeRoute> {
    for (const shard of this.#shards) yield* shard.values();
  }

  /** Plain data for JSON, nodes ascending by id; a deadline of never is null. */
  toJSON(): unknown {
    const nodes = [...this.nodes()].sort((a, b) => a.nodeId < b.nodeId ? -1 : 1);
    return { version: this.version, nodes };
  }
}

/** The one writer's side of the table. */
export class RoutingTable {
  #shards: Shard[] = Array.from({ length: SHARDS }, () => new Map());
  /** Shards that a published snapshot shares and a write must copy first. */
  readonly #shared = new Uint8Array(SHARDS);
  #published: TableSnapshot | undefined;
  #version = 0;
  #nodeCount = 0;
  #entryCount = 0;
  readonly #expiry = new ExpiryBuckets();

  constructor(readonly nodesMax = TABLE_NODES_MAX) {}

  get nodeCount(): number {
    return this.#nodeCount;
  }
  get entryCount(): number {
    return this.#entryCount;
  }

  /** The current version; the same object until something changes. */
  snapshot(): TableSnapshot {
    if (this.#published === undefined) {
      this.#shared.fill(1);
      this.#published = new TableSnapshot(
        ++this.#version,
        this.#nodeCount,
        this.#entryCount,
        this.#shards.slice(),
      );
    }
    return this.#published;
  }

  /**
   * Sets all models of a node at once, as its advertisement says; its metrics stay. Throws
   * INVALID_ROUTE when an entry is another node's or a name stands twice, TABLE_FULL.
   */
  setNode(
    nodeId: string,
    entries: readonly ModelEntry[],
    expiresUs: number,
    endpoints: readonly string[] = [],
  ): void {
    const sorted = [...entries].sort((a, b) => a.name < b.name ? -1 : 1);
    sorted.forEach((entry, i) => {
      if (entry.nodeId !== nodeId) throw invalidRoute(entry, `node ${clip(nodeId)}`);
      if (i > 0 && sorted[i - 1].name === entry.name) throw invalidRoute(entry, "one of the name");
    });
    const before = this.#get(nodeId);
    this.#put({
      nodeId,
      endpoints,
      entries: sorted,
      metrics: before?.metrics ?? IDLE,
      expiresUs,
    });
  }

  /** Adds one model or replaces the one of its name; the node's deadline becomes `expiresUs`. */
  insert(entry: ModelEntry, expiresUs: number): void {
    const before = this.#get(entry.nodeId);
    const others = before?.entries.filter((other) => other.name !== entry.name) ?? [];
    this.setNode(entry.nodeId, [...others, entry], expiresUs, before?.endpoints);
  }

  /** Removes one model, and the node with its last one. False: was not there. */
  remove(nodeId: string, name: string): boolean {
    const before = this.#get(nodeId);
    if (before === undefined) return false;
    const entries = before.entries.filter((entry) => entry.name !== name);
    if (entries.length === before.entries.length) return false;
    if (entries.length === 0) return this.removeNode(nodeId);
    this.#put({ ...before, entries });
    return true;
  }

  /** Removes a node with all its models. False: was not there. */
  removeNode(nodeId: string): boolean {
    const before = this.#get(nodeId);
    if (before === undefined) return false;
    this.#writable(nodeId).delete(nodeId);
    this.#expiry.delete(nodeId);
    this.#nodeCount--;
    this.#entryCount -= before.entries.length;
    return true;
  }

  /** Changes the given metrics of a node and keeps the others. False: unknown node. */
  updateMetrics(nodeId: string, metrics: Partial<EndpointMetrics>): boolean {
    const before = this.#get(nodeId);
    if (before === undefined) return false;
    this.#writable(nodeId).set(nodeId, {
      ...before,
      metrics: clampMetrics({ ...before.metrics, ...metrics }),
    });
    return true;
  }

  /** Removes the nodes whose time is up and returns their ids. */
  expire(nowUs: number): string[] {
    const due = this.#expiry.take(nowUs);
    for (const nodeId of due) this.removeNode(nodeId);
    return due;
  }

  /** When `expire` has something to do. */
  nextTimeoutUs(): number {
    return this.#expiry.nextTimeoutUs();
  }

  /** The current version as plain data. */
  toJSON(): unknown {
    return this.snapshot().toJSON();
  }

  #get(nodeId: string): NodeRoute | undefined {
    return this.#shards[shardOf(nodeId)].get(nodeId);
  }

  #put(route: NodeRoute): void {
    const before = this.#get(route.nodeId);
    if (before === undefined && this.#nodeCount >= this.nodesMax) {
      throw new NexusError(
        "TABLE_FULL",
        `cannot add node: table has ${this.#nodeCount} nodes, expected fewer than ${this.nodesMax}`,
      );
    }
    this.#writable(route.nodeId).set(route.nodeId, route);
    this.#expiry.set(route.nodeId, route.expiresUs);
    if (before === undefined) this.#nodeCount++;
    this.#entryCount += route.entries.length - (before?.entries.length ?? 0);
  }

  /** The shard to write to, copied when a snapshot has it; the published version is outdated. */
  #writable(nodeId: string): Shard {
    const index = shardOf(nodeId);
    this.#published = undefined;
    if (this.#shared[index] === 1) {
      this.#shards[index] = new Map(this.#shards[index]);
      this.#shared[index] = 0;
    }
    return this.#shards[index];
  }
}

function shardOf(nodeId: string): number {
  const byte = parseInt(nodeId.slice(0, 2), 16);
  return Number.isNaN(byte) ? 0 : byte;
}

function invalidRoute(entry: ModelEntry, expected: string): NexusError {
  return new NexusError(
    "INVALID_ROUTE",
    `cannot add model: ${clip(entry.name)} is of node ${clip(entry.nodeId)}, expected ${expected}`,
  );
}
