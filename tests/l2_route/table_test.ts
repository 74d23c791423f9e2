import assert from "node:assert/strict";
import fc from "fast-check";
import { listModels, RoutingTable, smoothed } from "../../lib/l2_route/mod.ts";
import { codeOf, entry, nodeId } from "./helpers.ts";

const namesOf = (table: RoutingTable, n: number) =>
  table.snapshot().node(nodeId(n))?.entries.map((model) => model.name);

Deno.test("NR-RT-004: single inserts and removals change one model", () => {
  const table = new RoutingTable();
  table.insert(entry(1, { name: "b" }), Infinity);
  table.insert(entry(1, { name: "a" }), Infinity);
  table.insert(entry(2), Infinity);
  assert.deepEqual(namesOf(table, 1), ["a", "b"]);
  table.insert(entry(1, { name: "a", context: 5 }), Infinity);
  assert.equal(table.snapshot().node(nodeId(1))!.entries[0].context, 5);
  assert.deepEqual([table.nodeCount, table.entryCount], [2, 3]);
  assert.equal(table.remove(nodeId(1), "b"), true);
  assert.equal(table.remove(nodeId(1), "b"), false);
  assert.equal(table.remove(nodeId(1), "a"), true);
  assert.equal(table.snapshot().node(nodeId(1)), undefined);
  assert.equal(table.removeNode(nodeId(2)), true);
  assert.equal(table.removeNode(nodeId(2)), false);
  assert.deepEqual([table.nodeCount, table.entryCount], [0, 0]);
});

Deno.test("a snapshot never changes while the table does", () => {
  const table = new RoutingTable();
  for (let n = 0; n < 300; n++) table.insert(entry(n), 5e6);
  const before = table.snapshot();
  const text = JSON.stringify(before);
  table.insert(entry(1, { name: "second" }), 9e6);
  table.updateMetrics(nodeId(2), { load: 1 });
  table.removeNode(nodeId(3));
  table.setNode(nodeId(4), [entry(4, { context: 1 })], 9e6, ["h:1"]);
  table.expire(5e6);
  assert.equal(JSON.stringify(before), text);
  assert.deepEqual([before.nodeCount, before.entryCount], [300, 300]);
  const after = table.snapshot();
  assert.deepEqual([...after.nodes()].map((node) => Number("0x" + node.nodeId)).sort(), [1, 4]);
  assert.deepEqual([after.nodeCount, after.entryCount], [2, 3]);
});

Deno.test("the version grows with each published change and only then", () => {
  const table = new RoutingTable();
  const first = table.snapshot();
  assert.equal(table.snapshot(), first);
  assert.equal(table.updateMetrics(nodeId(1), { load: 1 }), false);
  assert.equal(table.removeNode(nodeId(1)), false);
  assert.equal(table.snapshot(), first);
  table.insert(entry(1), Infinity);
  assert.equal(table.snapshot().version, first.version + 1);
});

Deno.test("NR-RT-004: a metric update keeps the other metrics, a new advertisement keeps all", () => {
  const table = new RoutingTable();
  table.insert(entry(1), Infinity);
  table.updateMetrics(nodeId(1), { rttMs: 5, load: 0.5 });
  table.updateMetrics(nodeId(1), { queueDepth: 2 });
  table.setNode(nodeId(1), [entry(1, { name: "new" })], Infinity);
  const { rttMs, load, queueDepth } = table.snapshot().node(nodeId(1))!.metrics;
  assert.deepEqual([rttMs, load, queueDepth], [5, 0.5, 2]);
});

Deno.test("NR-RT-003: nodes go when their time is up, and not before", () => {
  const table = new RoutingTable();
  table.insert(entry(1), 1_500_000);
  table.insert(entry(2), 1_500_001);
  table.insert(entry(3), 4_000_000);
  table.insert(entry(4), Infinity);
  assert.deepEqual(table.expire(1_499_999), []);
  assert.equal(table.nextTimeoutUs(), 2_000_000);
  assert.deepEqual(table.expire(2_000_000), [nodeId(1), nodeId(2)]);
  table.insert(entry(3), 6_000_000); // renewed
  assert.deepEqual(table.expire(5_000_000), []);
  assert.deepEqual(table.expire(table.nextTimeoutUs()), [nodeId(3)]);
  assert.deepEqual([table.nextTimeoutUs(), table.nodeCount], [Infinity, 1]);
});

Deno.test("NR-RT-003: a removed node leaves no deadline behind", () => {
  const table = new RoutingTable();
  table.insert(entry(1), 1_000_000);
  table.removeNode(nodeId(1));
  assert.equal(table.nextTimeoutUs(), Infinity);
});

Deno.test("NR-RT-005: the JSON export holds every node in order of id", () => {
  const table = new RoutingTable();
  table.setNode(nodeId(300), [entry(300)], Infinity, ["10.0.0.1:6477"]);
  table.setNode(nodeId(2), [entry(2)], 5e6);
  const json = JSON.parse(JSON.stringify(table));
  assert.deepEqual(json.nodes.map((node: { nodeId: string }) => node.nodeId), [2, 300].map(nodeId));
  assert.deepEqual(json.nodes[1].endpoints, ["10.0.0.1:6477"]);
  assert.deepEqual(json.nodes[1].entries[0], entry(300));
  assert.deepEqual([json.nodes[0].expiresUs, json.nodes[1].expiresUs], [5e6, null]);
});

Deno.test("NR-RT-004: wrong routes and nodes beyond the limit are refused and change nothing", () => {
  const table = new RoutingTable(2);
  table.insert(entry(1), Infinity);
  table.insert(entry(2), Infinity);
  const before = table.snapshot();
  assert.equal(codeOf(() => table.insert(entry(3), Infinity)), "TABLE_FULL");
  assert.equal(codeOf(() => table.setNode(nodeId(1), [entry(2)], 0)), "INVALID_ROUTE");
  assert.equal(codeOf(() => table.setNode(nodeId(1), [entry(1), entry(1)], 0)), "INVALID_ROUTE");
  assert.equal(table.snapshot(), before);
  table.insert(entry(2, { name: "another" }), Infinity);
  assert.equal(table.entryCount, 3);
});

Deno.test("NR-RT-002: after any operations the table equals a plain map", () => {
  const operation = fc.tuple(
    fc.constantFrom("insert", "remove", "removeNode", "expire", "snapshot"),
    fc.nat(6),
    fc.constantFrom("a", "b"),
    fc.integer({ min: 1, max: 9 }),
  );
  fc.assert(fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
    const table = new RoutingTable();
    const model = new Map<string, { names: Set<string>; expiresS: number }>();
    let nowS = 0;
    for (const [what, n, name, seconds] of operations) {
      const node = model.get(nodeId(n));
      if (what === "insert") {
        table.insert(entry(n, { name }), (nowS + seconds) * 1e6);
        model.set(nodeId(n), {
          names: new Set([...(node?.names ?? []), name]),
          expiresS: nowS + seconds,
        });
      } else if (what === "remove") {
        assert.equal(table.remove(nodeId(n), name), node?.names.delete(name) ?? false);
        if (node?.names.size === 0) model.delete(nodeId(n));
      } else if (what === "removeNode") {
        assert.equal(table.removeNode(nodeId(n)), model.delete(nodeId(n)));
      } else if (what === "expire") {
        nowS += seconds;
        const due = [...model].filter(([, { expiresS }]) => expiresS <= nowS).map(([id]) => id);
        assert.deepEqual(table.expire(nowS * 1e6).sort(), due.sort());
        for (const id of due) model.delete(id);
      } else table.snapshot();
      const actual = [...table.snapshot().nodes()]
        .map((route) => [route.nodeId, route.entries.map((each) => each.name)] as const);
      assert.deepEqual(
        new Map(actual),
        new Map([...model].map(([id, { names }]) => [id, [...names].sort()])),
      );
      assert.equal(table.entryCount, actual.reduce((sum, [, names]) => sum + names.length, 0));
      assert.equal(table.nodeCount, actual.length);
    }
  }));
});

Deno.test("NR-RT-005: models are listed by name with all their nodes", () => {
  const table = new RoutingTable();
  table.insert(entry(2, { name: "a", capabilities: 1, context: 10 }), Infinity);
  table.insert(entry(1, { name: "a", capabilities: 2, context: 20 }), Infinity);
  table.insert(entry(1, { name: "A" }), Infinity);
  table.insert(entry(3, { name: "gone" }), 5);
  assert.deepEqual(listModels(table.snapshot(), 5), [
    { name: "A", nodes: [nodeId(1)], capabilities: 1, contextMax: 8192 },
    { name: "a", nodes: [nodeId(1), nodeId(2)], capabilities: 3, contextMax: 20 },
  ]);
});

Deno.test("a smoothed measurement moves a quarter of the way to each sample", () => {
  assert.deepEqual([smoothed(undefined, 8), smoothed(8, 16), smoothed(10, 2)], [8, 10, 8]);
});
