import assert from "node:assert/strict";
import { SeededRandom } from "../../lib/base/mod.ts";
import {
  AdvertStore,
  type AdvertStoreOptions,
  encodeAdvertisement,
  followAdverts,
  type OwnAdvert,
  RoutingTable,
} from "../../lib/l2_route/mod.ts";
import { advertModel, codeOf, TestNode, TestVerifier } from "./helpers.ts";

const UNIX_MS = 1_700_000_000_000;
const SECOND_US = 1e6;
const NODES = Array.from({ length: 12 }, (_, i) => new TestNode(i + 1));
const OWN: OwnAdvert = { endpoints: ["h:1"], region: 276, models: [advertModel("m")] };

function storeOf(node: TestNode, options: Partial<AdvertStoreOptions> = {}): AdvertStore {
  return new AdvertStore({
    nodeId: node.nodeId,
    verifier: new TestVerifier(),
    signer: node,
    chain: node.chain,
    ...options,
  });
}

/** Bytes of an advertisement of a node, issued `atS` seconds after the start. */
function advert(node: TestNode, sequence: number, atS = 0, ttlS = 300, names = ["m"]): Uint8Array {
  return encodeAdvertisement(
    {
      nodeId: node.nodeId,
      sequence,
      issuedS: UNIX_MS / 1000 + atS,
      ttlS,
      endpoints: [],
      region: 0,
      models: names.map((name) => advertModel(name)),
    },
    node.chain,
    node,
  );
}

/** Stores joined by links that carry everything at once, in one process. */
class Mesh {
  readonly stores = new Map<string, AdvertStore>();
  readonly links = new Set<string>();
  sent = 0;
  nowS = 0;

  add(node: TestNode): AdvertStore {
    const store = storeOf(node);
    this.stores.set(node.id, store);
    return store;
  }
  join(a: string, b: string): void {
    if (a === b || this.links.has(`${a} ${b}`)) return;
    this.links.add(`${a} ${b}`).add(`${b} ${a}`);
    this.stores.get(a)!.connect(b);
    this.stores.get(b)!.connect(a);
  }
  cut(a: string, b: string): void {
    this.links.delete(`${a} ${b}`);
    this.links.delete(`${b} ${a}`);
    this.stores.get(a)!.disconnect(b);
    this.stores.get(b)!.disconnect(a);
  }
  /** Until nothing waits anywhere. */
  settle(): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const [from, store] of this.stores) {
        for (const to of store.pendingPeers()) {
          for (const bytes of store.take(to)) {
            moved = true;
            this.sent++;
            this.stores.get(to)!.receive(bytes, from, this.nowS * SECOND_US, this.unixMs);
          }
        }
      }
    }
  }
  get unixMs(): number {
    return UNIX_MS + this.nowS * 1000;
  }
  /** What every store knows, as one sorted text each. */
  views(): string[] {
    return [...this.stores.values()].map((store) =>
      [...store.all()].map((each) => `${each.nodeId}:${each.sequence}`).sort().join()
    );
  }
}

Deno.test("NR-G-002: stores in a line all learn every advertisement", () => {
  const mesh = new Mesh();
  for (const node of NODES) mesh.add(node).setOwn(OWN, 0, UNIX_MS);
  for (let i = 1; i < NODES.length; i++) mesh.join(NODES[i - 1].id, NODES[i].id);
  mesh.settle();
  assert.equal(new Set(mesh.views()).size, 1);
  assert.equal(mesh.stores.get(NODES[0].id)!.stats().nodes, NODES.length);
  // A tree carries each advertisement once over each link, in one direction.
  assert.equal(mesh.sent, NODES.length * (NODES.length - 1));
});

Deno.test("NR-G-002: random meshes converge through joins, cuts and changes", () => {
  for (const seed of [1, 2, 3]) {
    const random = new SeededRandom(seed);
    const mesh = new Mesh();
    for (const node of NODES) mesh.add(node).setOwn(OWN, 0, UNIX_MS);
    const any = () => NODES[random.below(NODES.length)];
    for (let i = 1; i < NODES.length; i++) mesh.join(NODES[i].id, NODES[random.below(i)].id);
    for (let step = 0; step < 20; step++) {
      const [a, b] = [any(), any()];
      if (random.chance(0.4)) mesh.join(a.id, b.id);
      else if (random.chance(0.3)) mesh.cut(a.id, b.id);
      else mesh.stores.get(a.id)!.setOwn({ ...OWN, region: step }, 0, UNIX_MS + step);
      if (random.chance(0.3)) mesh.settle();
    }
    for (let i = 1; i < NODES.length; i++) mesh.join(NODES[i - 1].id, NODES[i].id);
    mesh.settle();
    assert.equal(new Set(mesh.views()).size, 1, `seed ${seed}`);
  }
});

Deno.test("NR-G-002: news goes to every peer but the one it came from", () => {
  const store = storeOf(NODES[0]);
  for (const peer of ["a", "b", "c"]) store.connect(peer);
  const bytes = advert(NODES[1], 1);
  assert.equal(store.receive(bytes, "b", 0, UNIX_MS).outcome, "news");
  assert.deepEqual(store.pendingPeers(), ["a", "c"]);
  assert.deepEqual(store.take("a"), [bytes]);
  assert.deepEqual(store.take("a"), []);
  assert.equal(store.receive(bytes, "c", 0, UNIX_MS).outcome, "known");
  assert.deepEqual(store.take("c"), []); // c has shown that it has it
});

Deno.test("NR-G-002: a slow peer gets only the newest of each node", () => {
  const store = storeOf(NODES[0]);
  store.connect("slow");
  for (let sequence = 1; sequence <= 5; sequence++) {
    store.receive(advert(NODES[1], sequence), "x", 0, UNIX_MS);
  }
  assert.deepEqual(store.take("slow"), [advert(NODES[1], 5)]);
});

Deno.test("NR-G-002: batches keep to their size but always make progress", () => {
  const store = storeOf(NODES[0]);
  for (const node of NODES.slice(1, 6)) store.receive(advert(node, 1), "x", 0, UNIX_MS);
  store.connect("peer");
  const size = advert(NODES[1], 1).length;
  const counts = [store.take("peer", 2 * size), store.take("peer", 1), store.take("peer")];
  assert.deepEqual(counts.map((batch) => batch.length), [2, 1, 2]);
  assert.deepEqual(store.take("stranger"), []);
});

Deno.test("NR-G-007: older, repeated, forged, expired and future advertisements change nothing", () => {
  const verifier = new TestVerifier();
  const store = storeOf(NODES[0], { verifier });
  store.connect("peer");
  store.receive(advert(NODES[1], 5), "x", 0, UNIX_MS);
  store.take("peer");
  store.pollEvent();
  const before = [...store.all()];
  const callsBefore = verifier.calls;
  const forged = advert(NODES[1], 6);
  forged[forged.length - 1] ^= 1;
  const cases: [Uint8Array, string, string?][] = [
    [advert(NODES[1], 4), "older"],
    [advert(NODES[1], 5), "known"],
    [advert(NODES[1], 6, -300), "refused", "ADVERT_EXPIRED"],
    [advert(NODES[1], 6, 301), "refused", "ADVERT_FUTURE"],
    [new Uint8Array(0), "refused", "MALFORMED"],
    [forged, "refused", "BAD_SIGNATURE"],
  ];
  for (const [bytes, outcome, code] of cases) {
    const result = store.receive(bytes, "x", 0, UNIX_MS);
    assert.deepEqual([result.outcome, result.error?.code], [outcome, code]);
  }
  assert.equal(verifier.calls, callsBefore + 1, "only the forged one was worth a signature check");
  assert.deepEqual([...store.all()], before);
  assert.deepEqual([store.take("peer"), store.pollEvent()], [[], undefined]);
  const { news, known, older, refused } = store.stats();
  assert.deepEqual([news, known, older, refused], [1, 1, 1, 4]);
});

Deno.test("NR-G-007: a verifier that fails in an unforeseen way refuses the advertisement", () => {
  const verifier = {
    verify() {
      throw new RangeError("boom");
    },
  };
  const result = storeOf(NODES[0], { verifier }).receive(advert(NODES[1], 1), "x", 0, UNIX_MS);
  assert.deepEqual([result.outcome, result.error?.code], ["refused", "INTERNAL"]);
});

Deno.test("NR-G-007: a replay is refused after a newer one with a shorter TTL has expired", () => {
  const store = storeOf(NODES[0]);
  const long = advert(NODES[1], 1, 0, 3600, ["old"]);
  store.receive(long, "x", 0, UNIX_MS);
  store.receive(advert(NODES[1], 2, 0, 10), "x", 0, UNIX_MS);
  store.handleTimeout(11 * SECOND_US, UNIX_MS + 11_000);
  assert.equal(store.get(NODES[1].id), undefined);
  assert.equal(store.receive(long, "x", 11 * SECOND_US, UNIX_MS + 11_000).outcome, "older");
  assert.equal(store.stats().bytes, 0);
  // Once no replay can pass the time check any more, the node is forgotten.
  store.handleTimeout(3601 * SECOND_US, UNIX_MS + 3_601_000);
  assert.equal(store.stats().nodes, 0);
  assert.equal(store.nextTimeoutUs(), Infinity);
});

Deno.test("NR-G-002: an advertisement goes when its TTL is over, however late it came", () => {
  const store = storeOf(NODES[0]);
  store.receive(advert(NODES[1], 1, 0, 300), "x", 0, UNIX_MS + 200_000);
  const first = store.pollEvent();
  assert.ok(first?.type === "updated");
  assert.equal(first.expiresUs, 100 * SECOND_US);
  assert.equal(store.nextTimeoutUs(), 100 * SECOND_US);
  store.handleTimeout(99 * SECOND_US, UNIX_MS + 299_000);
  assert.notEqual(store.get(NODES[1].id), undefined);
  store.handleTimeout(100 * SECOND_US, UNIX_MS + 300_000);
  assert.equal(store.get(NODES[1].id), undefined);
  assert.deepEqual(store.pollEvent(), { type: "removed", nodeId: NODES[1].id, why: "expired" });
  assert.deepEqual([...store.all()], []);
});

Deno.test("NR-G-002: one from a clock that is ahead lives no longer than its TTL", () => {
  const store = storeOf(NODES[0]);
  store.receive(advert(NODES[1], 1, 250, 100), "x", 0, UNIX_MS);
  store.handleTimeout(100 * SECOND_US, UNIX_MS + 100_000);
  assert.equal(store.get(NODES[1].id), undefined);
  const replay = store.receive(advert(NODES[1], 1, 250, 100), "x", 0, UNIX_MS + 101_000);
  assert.equal(replay.outcome, "known");
});

Deno.test("NR-G-002: a node's own advertisement is renewed at half its TTL with a new sequence", () => {
  const store = storeOf(NODES[0]);
  store.connect("peer");
  store.setOwn({ ...OWN, ttlS: 100 }, 0, UNIX_MS);
  assert.equal(store.take("peer").length, 1);
  const first = store.get(store.nodeId)!;
  assert.equal(first.sequence, UNIX_MS);
  assert.equal(store.nextTimeoutUs(), 50 * SECOND_US);
  store.handleTimeout(49 * SECOND_US, UNIX_MS + 49_000);
  assert.equal(store.take("peer").length, 0);
  store.handleTimeout(50 * SECOND_US, UNIX_MS + 50_000);
  assert.equal(store.take("peer").length, 1);
  const second = store.get(store.nodeId)!;
  assert.deepEqual([second.sequence, second.issuedS], [UNIX_MS + 50_000, UNIX_MS / 1000 + 50]);
});

Deno.test("NR-G-002: the sequence grows even when the clock stands still or goes back", () => {
  const store = storeOf(NODES[0]);
  store.setOwn(OWN, 0, UNIX_MS);
  store.setOwn(OWN, 0, UNIX_MS);
  store.setOwn(OWN, 0, UNIX_MS - 5000);
  assert.equal(store.get(store.nodeId)!.sequence, UNIX_MS + 2);
});

Deno.test("NR-G-002: a restarted node whose clock went back overtakes its former self", () => {
  const restarted = storeOf(NODES[0]);
  restarted.setOwn(OWN, 0, UNIX_MS - 60_000);
  const former = advert(NODES[0], UNIX_MS);
  restarted.connect("peer");
  restarted.take("peer");
  assert.equal(restarted.receive(former, "peer", 0, UNIX_MS).outcome, "own");
  assert.equal(restarted.get(NODES[0].id)!.sequence, UNIX_MS + 1);
  assert.equal(restarted.take("peer").length, 1);
  const last = advert(NODES[0], Number.MAX_SAFE_INTEGER);
  assert.equal(restarted.receive(last, "peer", 0, UNIX_MS).outcome, "refused");
});

Deno.test("NR-G-002: a withdrawal empties the tables that follow, and is not renewed", () => {
  const mesh = new Mesh();
  const [a, b] = [mesh.add(NODES[0]), mesh.add(NODES[1])];
  const table = new RoutingTable();
  mesh.join(NODES[0].id, NODES[1].id);
  a.setOwn(OWN, 0, UNIX_MS);
  mesh.settle();
  assert.deepEqual(followAdverts(b, table).map((event) => event.type), ["updated"]);
  assert.deepEqual(table.snapshot().node(NODES[0].id)!.endpoints, ["h:1"]);
  assert.equal(table.snapshot().node(NODES[0].id)!.expiresUs, 300 * SECOND_US);
  a.setOwn(undefined, 0, UNIX_MS + 1);
  mesh.settle();
  assert.deepEqual(followAdverts(b, table), [
    { type: "removed", nodeId: NODES[0].id, why: "withdrawn" },
  ]);
  assert.equal(table.nodeCount, 0);
  a.handleTimeout(300 * SECOND_US, UNIX_MS + 300_000);
  assert.equal(a.nextTimeoutUs(), Infinity);
});

Deno.test("NR-G-002: a table follows neither the node's own advertisement nor a change twice", () => {
  const store = storeOf(NODES[0]);
  const table = new RoutingTable();
  store.setOwn(OWN, 0, UNIX_MS);
  store.receive(advert(NODES[1], 1), "x", 0, UNIX_MS);
  store.receive(advert(NODES[1], 2, 0, 300, ["a", "b"]), "x", 0, UNIX_MS);
  assert.equal(followAdverts(store, table).length, 1);
  assert.deepEqual([table.nodeCount, table.entryCount], [1, 2]);
  assert.equal(followAdverts(store, table).length, 0);
});

Deno.test("NR-G-002: nodes and bytes are bounded; known nodes may still renew", () => {
  const size = advert(NODES[1], 1).length;
  for (const limits of [{ nodesMax: 2 }, { bytesMax: 2 * size }]) {
    const store = storeOf(NODES[0], limits);
    const outcome = (node: TestNode, sequence: number) =>
      store.receive(advert(node, sequence), "x", 0, UNIX_MS);
    assert.equal(outcome(NODES[1], 1).outcome, "news");
    assert.equal(outcome(NODES[2], 1).outcome, "news");
    assert.equal(outcome(NODES[3], 1).error?.code, "STORE_FULL");
    assert.equal(outcome(NODES[2], 2).outcome, "news");
    assert.deepEqual([store.stats().nodes, store.stats().bytes], [2, 2 * size]);
  }
});

Deno.test("NR-G-002: a store without identity listens but cannot advertise", () => {
  const store = storeOf(NODES[0], { signer: undefined, chain: undefined });
  assert.equal(store.receive(advert(NODES[1], 1), "x", 0, UNIX_MS).outcome, "news");
  assert.equal(codeOf(() => store.setOwn(OWN, 0, UNIX_MS)), "NO_IDENTITY");
  store.setOwn(undefined, 0, UNIX_MS);
  assert.equal(store.get(store.nodeId), undefined);
});

Deno.test("NR-G-002: an own advertisement that cannot be written leaves the former one", () => {
  const store = storeOf(NODES[0]);
  store.setOwn(OWN, 0, UNIX_MS);
  const broken = { ...OWN, endpoints: ["nowhere"] };
  assert.equal(codeOf(() => store.setOwn(broken, 0, UNIX_MS + 1)), "INVALID_ADVERTISEMENT");
  store.handleTimeout(150 * SECOND_US, UNIX_MS + 150_000);
  assert.deepEqual(store.get(store.nodeId)!.endpoints, ["h:1"]);
  assert.equal(store.get(store.nodeId)!.sequence, UNIX_MS + 150_000);
});
