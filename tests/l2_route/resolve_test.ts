import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex } from "../../lib/base/mod.ts";
import {
  CircuitBreakers,
  effectiveLatencyMs,
  endpointKey,
  type EndpointMetrics,
  type ModelEntry,
  OPTION_PARTIAL,
  OPTION_RELAX,
  parseSad,
  requesterKey,
  resolve,
  type ResolveOptions,
  RoutingTable,
  type Sad,
} from "../../lib/l2_route/mod.ts";
import { referenceResolve } from "../reference/resolve.ts";
import { codeOf, entry, nodeId } from "./helpers.ts";

const IDLE: EndpointMetrics = { load: 0, queueDepth: 0 };

type Row = [ModelEntry, Partial<EndpointMetrics>?];

function tableOf(rows: readonly Row[]): RoutingTable {
  const table = new RoutingTable();
  for (const [model, metrics] of rows) {
    table.insert(model, Infinity);
    if (metrics !== undefined) table.updateMetrics(model.nodeId, metrics);
  }
  return table;
}

function ask(rows: readonly Row[], sad: Sad | string, options: Partial<ResolveOptions> = {}) {
  const query = typeof sad === "string" ? parseSad(sad) : sad;
  return resolve(tableOf(rows).snapshot(), query, { nowUs: 0, ...options });
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-9, `${actual} is not ${expected}`);
}

Deno.test("NR-F-001: a score with all limits is the hand-computed weighted sum", () => {
  const { chosen } = ask(
    [[entry(1, { capabilities: 0b11, latencyMs: 90, cost: 500, region: 250 }), { rttMs: 10 }]],
    "cap=text_gen+code_gen,latency<400ms,cost<$0.002,region=DE",
  );
  // capability 1, latency 1 − 100/400 = 0.75, cost 1 − 500/2000 = 0.75, region 0.5
  assert.deepEqual(chosen!.terms, {
    capability: 1,
    latency: 0.75,
    cost: 0.75,
    context: 1,
    trust: 1,
    region: 0.5,
  });
  near(chosen!.score, (0.30 + 0.25 * 0.75 + 0.20 * 0.75 + 0.15 + 0.10 + 0.10 * 0.5) / 1.1);
});

Deno.test("NR-F-001: without limits latency and cost are relative to the candidates that pass", () => {
  const rows: Row[] = [
    [entry(1, { latencyMs: 100, cost: 3000 })],
    [entry(2, { latencyMs: 200, cost: 2000 })],
    [entry(3, { latencyMs: 300, cost: 1000 })],
    [entry(4, { latencyMs: 9000, cost: 90000, context: 10 })], // does not pass, so does not count
  ];
  const { candidates } = ask(rows, "ctx>=1k");
  const terms = new Map(candidates.map((c) => [c.nodeId, c.terms]));
  assert.deepEqual(
    [1, 2, 3].map((n) => [terms.get(nodeId(n))!.latency, terms.get(nodeId(n))!.cost]),
    [[1, 0], [0.5, 0.5], [0, 1]],
  );
  near(candidates[0].score, (0.30 + 0.25 + 0.15 + 0.10 + 0.10) / 1.1);
  assert.deepEqual(candidates.map((c) => c.nodeId), [1, 2, 3, 4].map(nodeId));
});

Deno.test("NR-F-001: equal candidates without limits all have the terms 1", () => {
  const { candidates } = ask([[entry(1)], [entry(2)]], "*");
  for (const { score } of candidates) near(score, 1);
});

Deno.test("NR-F-001: a partial match scores the share of the capabilities", () => {
  const { chosen } = ask([[entry(1, { capabilities: 0b101 })]], {
    capabilities: 0b1111,
    options: OPTION_PARTIAL,
  });
  assert.equal(chosen!.terms!.capability, 0.5);
});

Deno.test("NR-F-001: weights are configurable and normalised", () => {
  const { chosen, weights } = ask([[entry(1, { latencyMs: 75 })]], "latency<100ms", {
    weights: { capability: 0, latency: 3, cost: 0, context: 0, trust: 0, region: 1 },
  });
  assert.deepEqual([weights.latency, weights.region], [0.75, 0.25]);
  near(chosen!.score, 0.75 * 0.25 + 0.25);
  near(Object.values(ask([], "*").weights).reduce((a, b) => a + b), 1);
});

Deno.test("NR-F-001: weights that cannot be normalised are refused", () => {
  const none = { capability: 0, latency: 0, cost: 0, context: 0, trust: 0, region: 0 };
  for (const weights of [none, { cost: -1 }, { cost: NaN }, { cost: Infinity }]) {
    assert.equal(codeOf(() => ask([], "*", { weights })), "INVALID_WEIGHTS");
  }
});

Deno.test("NR-S-004: each unmet constraint is named in words", () => {
  const cases: [Partial<ModelEntry>, string, string][] = [
    [{ arch: 2 }, "arch=moe", "arch diffusion is not moe"],
    [{ arch: 0 }, "arch=moe", "arch 0 is not moe"],
    [{}, "cap=code_gen+tool_use+text_gen", "lacks code_gen+tool_use"],
    [{ context: 8192 }, "ctx>=32k", "context 8192 < 32768"],
    [{ latencyMs: 900 }, "latency<500ms", "latency 900 ms > 500 ms"],
    [{ cost: 2001 }, "cost<$0.002", "cost $0.002001 > $0.002"],
    [{ cost: 3000000, per1k: true }, "cost<$2", "cost $3/1k > $2"],
    [{ trust: 1 }, "trust>=2", "trust 1 < 2"],
    [{ region: 840 }, "region!=US|CN", "region US is excluded"],
    [{ region: 0 }, "region!=0", "region unknown is excluded"],
    [
      { publisher: "0".repeat(32) },
      "publisher=000102030405060708090a0b0c0d0e0f",
      `publisher ${"0".repeat(32)} is not 000102030405060708090a0b0c0d0e0f`,
    ],
    [{ benchmark: 849 }, "benchmark>=0.85", "benchmark 0.849 < 0.85"],
    [{ name: "gpt" }, "model=llama-3*", "model gpt is not llama-3*"],
    [{ context: 1, trust: 0 }, "ctx>=2,trust>=1", "context 1 < 2; trust 0 < 1"],
  ];
  for (const [changes, sad, reason] of cases) {
    const { chosen, candidates, order } = ask([[entry(1, changes)]], sad);
    assert.equal(candidates[0].rejected, reason);
    assert.deepEqual([chosen, order.length, candidates[0].score], [undefined, 0, 0]);
    assert.equal(candidates[0].terms, undefined);
  }
});

Deno.test("NR-S-004: limits are inclusive", () => {
  const model = entry(1, {
    capabilities: 2,
    context: 32768,
    latencyMs: 500,
    cost: 2000,
    trust: 2,
    benchmark: 850,
    name: "llama-3",
    publisher: nodeId(9),
  });
  const { chosen } = ask(
    [[model]],
    `arch=transformer,cap=code_gen,ctx>=32k,latency<500ms,cost<$0.002,trust>=2,region!=US,` +
      `publisher=${nodeId(9)},benchmark>=0.85,model=llama-3`,
  );
  assert.equal(chosen?.nodeId, nodeId(1));
});

Deno.test("NR-S-004: a limit of 0 is met by 0 alone, with the term 1", () => {
  const rows: Row[] = [[entry(1, { cost: 0 })], [entry(2, { cost: 1 })]];
  const { candidates } = ask(rows, "cost<$0");
  assert.equal(candidates[0].terms!.cost, 1);
  assert.equal(candidates[1].rejected, "cost $0.000001 > $0");
});

Deno.test("NR-S-005: a trailing star matches every name that starts so, without it only the name", () => {
  const rows: Row[] = ["llama-3", "llama-3-70b", "llama-2", "xllama-3"].map((
    name,
    i,
  ) => [entry(i, { name })]);
  const names = (sad: string) =>
    ask(rows, sad).candidates.filter((c) => !c.rejected).map((c) => c.model).sort();
  assert.deepEqual(names("model=llama-3*"), ["llama-3", "llama-3-70b"]);
  assert.deepEqual(names("model=llama-3"), ["llama-3"]);
  assert.deepEqual(names("model=LLAMA-3"), []);
  assert.equal(names("model=*").length, 4);
});

Deno.test("NR-S-004: options relax capabilities, or latency and cost, and nothing else", () => {
  const rows: Row[] = [[entry(1, { latencyMs: 900, cost: 9000, trust: 0 })]];
  const reason = (sad: Sad) => ask(rows, sad).candidates[0].rejected;
  const sad: Sad = {
    capabilities: 3,
    latencyMsMax: 500,
    costMax: { micros: 1, per1k: false },
    trustMin: 1,
  };
  assert.equal(
    reason({ ...sad, options: OPTION_PARTIAL }),
    "latency 900 ms > 500 ms; cost $0.009 > $0.000001; trust 0 < 1",
  );
  assert.equal(reason({ ...sad, options: OPTION_RELAX }), "lacks code_gen; trust 0 < 1");
  assert.equal(reason({ ...sad, options: OPTION_RELAX | OPTION_PARTIAL }), "trust 0 < 1");
});

Deno.test("NR-S-004: soft mode rejects for neither capability, latency nor cost", () => {
  const rows: Row[] = [
    [entry(1, { latencyMs: 900, cost: 9000 })],
    [entry(2, { capabilities: 2, latencyMs: 100, cost: 500 })],
    [entry(3, { context: 1, capabilities: 2 })],
  ];
  const { candidates } = ask(rows, "cap=code_gen,latency<500ms,cost<$0.001,ctx>=2", {
    mode: "soft",
  });
  assert.deepEqual(candidates.map((c) => c.rejected), [undefined, undefined, "context 1 < 2"]);
  assert.equal(candidates[0].nodeId, nodeId(2));
  assert.deepEqual(
    [candidates[1].terms!.capability, candidates[1].terms!.latency, candidates[1].terms!.cost],
    [0, 0, 0],
  );
});

Deno.test("NR-F-001: latency is network plus service inflated by load and queue", () => {
  const model = entry(1, { latencyMs: 100, maxConcurrency: 4 });
  near(effectiveLatencyMs(model, IDLE), 100);
  near(effectiveLatencyMs(model, { ...IDLE, rttMs: 20 }), 120);
  near(effectiveLatencyMs(model, { load: 0.5, queueDepth: 2, rttMs: 20 }), 20 + 100 * 2);
  near(effectiveLatencyMs(model, { load: 1, queueDepth: 0, rttMs: 20, ttftMs: 70 }), 20 + 50 * 2);
  near(effectiveLatencyMs(model, { ...IDLE, rttMs: 70, ttftMs: 20 }), 71);
  near(effectiveLatencyMs({ ...model, maxConcurrency: 0 }, { load: 0, queueDepth: 3 }), 400);
});

Deno.test("NR-F-001: of two nodes that answer at once the busy one loses", () => {
  const model = { latencyMs: 0, cost: 0 };
  const rows: Row[] = [[entry(1, model), { load: 0.1 }], [entry(2, model), { load: 0 }]];
  assert.equal(ask(rows, "*").chosen!.nodeId, nodeId(2));
  const queued: Row[] = [[entry(1, model), { queueDepth: 1 }], [entry(2, model)]];
  assert.equal(ask(queued, "latency<100ms").chosen!.nodeId, nodeId(2));
});

Deno.test("NR-F-001: reports out of range count as the end of their range", () => {
  const rows: Row[] = [[entry(1), { load: 1e9, queueDepth: -5, rttMs: NaN, ttftMs: -1 }]];
  near(ask(rows, "*").candidates[0].latencyMs, 200);
  near(ask([[entry(1), { load: NaN, queueDepth: NaN }]], "*").candidates[0].latencyMs, 100);
});

Deno.test("NR-F-001: ties go to the lower node id, then the lower model name", () => {
  const rows: Row[] = [
    [entry(3)],
    [entry(1, { name: "b" })],
    [entry(2)],
    [entry(1, { name: "a" })],
  ];
  const { candidates } = ask(rows, "*");
  assert.deepEqual(
    candidates.map((c) => `${Number(c.nodeId)}${c.model}`),
    ["1a", "1b", "2model", "3model"],
  );
});

Deno.test("NR-F-001: a better value of one kind never lowers the score", () => {
  const limited = parseSad(
    "cap=text_gen+code_gen,latency<1s,cost<$0.01,region=DE,opt=partial+relax",
  );
  const model = fc.record({
    capabilities: fc.nat(7),
    latencyMs: fc.nat(2000),
    cost: fc.nat(20000),
    region: fc.constantFrom(276, 250),
  });
  fc.assert(fc.property(model, fc.nat(500), (worse, step) => {
    const score = (changes: Partial<ModelEntry>) =>
      ask([[entry(1, { ...worse, ...changes })]], limited).candidates[0].score;
    const base = score({});
    assert.ok(score({ latencyMs: Math.max(0, worse.latencyMs - step) }) >= base);
    assert.ok(score({ cost: Math.max(0, worse.cost - step) }) >= base);
    assert.ok(score({ capabilities: worse.capabilities | 2 }) >= base);
    assert.ok(score({ region: 276 }) >= base);
    assert.ok(base >= 0 && base <= 1 + 1e-12);
  }));
});

Deno.test("NR-F-001: adding a constraint never lets more candidates pass", () => {
  const terms = ["cap=code_gen", "ctx>=8k", "latency<300ms", "trust>=2", "region!=US", "model=a*"];
  fc.assert(fc.property(arbitraryNodes(), fc.subarray(terms), fc.constantFrom(...terms), (
    nodes,
    some,
    added,
  ) => {
    const passing = (list: string[]) =>
      new Set(
        ask(nodes, list.length === 0 ? "*" : list.join(",")).candidates.filter((c) => !c.rejected)
          .map((c) => c.nodeId + c.model),
      );
    const before = passing(some);
    const after = passing(some.includes(added) ? some : [...some, added]);
    for (const name of after) assert.ok(before.has(name));
  }));
});

Deno.test("NR-RT-002: resolution agrees with its simple twin", () => {
  let passed = 0;
  fc.assert(
    fc.property(arbitraryNodes(), arbitraryQuery(), fc.boolean(), (rows, sad, soft) => {
      const table = tableOf(rows);
      const expected = referenceResolve([...table.snapshot().nodes()], sad, soft);
      const mode = soft ? "soft" : "strict";
      const { candidates } = resolve(table.snapshot(), sad, { nowUs: 0, mode });
      const actual = candidates.filter((c) => c.rejected === undefined);
      passed += actual.length;
      assert.equal(candidates.length, table.entryCount);
      assert.equal(actual.length, expected.length);
      const scores = new Map(expected.map((c) => [c.nodeId + c.model, c.score]));
      for (const [i, { nodeId, model, score }] of actual.entries()) {
        near(score, scores.get(nodeId + model)!);
        near(score, expected[i].score); // the same order, but for ties
      }
      const quick = resolve(table.snapshot(), sad, { nowUs: 0, mode, explain: false });
      assert.deepEqual(quick.candidates, actual);
    }),
    { numRuns: 500 },
  );
  assert.ok(passed > 600, `only ${passed} candidates passed`);
});

Deno.test("NR-F-002: a key is served by one of the best K nodes, without a key by the best", () => {
  const rows: Row[] = [10, 20, 30, 40, 50].map((latencyMs, i) => [entry(i, { latencyMs })]);
  const owners = new Set<string>();
  for (let stream = 0; stream < 200; stream++) {
    const { chosen, order } = ask(rows, "*", {
      topK: 2,
      requesterKey: requesterKey(new Uint8Array(16), stream),
    });
    owners.add(chosen!.nodeId);
    assert.equal(order[0], chosen);
    assert.deepEqual(order.slice(2).map((c) => c.nodeId), [2, 3, 4].map(nodeId));
  }
  assert.deepEqual([...owners].sort(), [nodeId(0), nodeId(1)]);
  assert.equal(ask(rows, "*").chosen!.nodeId, nodeId(0));
});

Deno.test("NR-F-002: the affinity key goes before the requester's key", () => {
  const rows: Row[] = [0, 1, 2].map((n) => [entry(n)]);
  const affinity = fromHex("0123456789abcdef");
  const owners = new Set<string>();
  for (let stream = 0; stream < 50; stream++) {
    const key = requesterKey(new Uint8Array(16), stream);
    owners.add(ask(rows, { affinity }, { requesterKey: key }).chosen!.nodeId);
  }
  assert.equal(owners.size, 1);
});

Deno.test("NR-F-002: a node without room is passed over in spite of affinity, and asked last", () => {
  const affinity = fromHex("0123456789abcdef");
  const models = [0, 1, 2].map((n) => entry(n, { latencyMs: 0 }));
  const owner = ask(models.map((model) => [model]), { affinity }).chosen!.nodeId;
  for (const busy of [{ load: 0.9 }, { queueDepth: 4 }]) {
    const rows = models.map((model): Row => [model, model.nodeId === owner ? busy : {}]);
    const { chosen, order } = ask(rows, { affinity });
    assert.notEqual(chosen!.nodeId, owner);
    assert.equal(order[2].nodeId, owner);
  }
  const full = models.map((model): Row => [model, { load: 1 }]);
  assert.equal(ask(full, { affinity }).chosen!.nodeId, owner);
});

Deno.test("NR-F-002: a node with several models stands once in the order, with its best", () => {
  const rows: Row[] = [
    [entry(1, { name: "slow", latencyMs: 500 })],
    [entry(1, { name: "fast", latencyMs: 50 })],
    [entry(2, { latencyMs: 100 })],
  ];
  const { order, candidates } = ask(rows, "*");
  assert.deepEqual(order.map((c) => c.model), ["fast", "model"]);
  assert.equal(candidates.length, 3);
});

Deno.test("NR-F-006: nodes with an open circuit, excluded, draining or expired are rejected", () => {
  const breakers = new CircuitBreakers({ failuresMax: 1, cooldownUs: 100 });
  breakers.failure(endpointKey(nodeId(1), "model"), 0);
  breakers.failure(endpointKey(nodeId(5), "another model of that node"), 0);
  const table = tableOf([[entry(1)], [entry(2)], [entry(3), { draining: true }], [entry(5)]]);
  table.insert(entry(4), 50);
  const reasons = (nowUs: number) =>
    resolve(table.snapshot(), {}, {
      nowUs,
      breakers,
      exclude: new Map([[nodeId(2), "failed before"]]),
    }).candidates.filter((c) => c.rejected).map((c) => c.rejected);
  assert.deepEqual(reasons(49), ["circuit open", "failed before", "draining"]);
  assert.deepEqual(reasons(50), [
    "circuit open",
    "failed before",
    "draining",
    "advertisement expired",
  ]);
  assert.equal(reasons(100)[0], "failed before");
  breakers.attempt(endpointKey(nodeId(1), "model"), 100);
  assert.equal(reasons(101)[0], "circuit half-open, its probe is under way");
});

function arbitraryNodes(): fc.Arbitrary<Row[]> {
  const model = fc.record({
    name: fc.constantFrom("a", "ab", "b"),
    arch: fc.integer({ min: 1, max: 2 }),
    capabilities: fc.nat(7),
    context: fc.constantFrom(4096, 8192, 32768),
    latencyMs: fc.nat(500),
    cost: fc.nat(3000),
    per1k: fc.boolean(),
    trust: fc.nat(4),
    benchmark: fc.constantFrom(0, 500, 900),
    publisher: fc.constantFrom(nodeId(1), nodeId(2)),
    region: fc.constantFrom(0, 276, 840),
    maxConcurrency: fc.nat(4),
  });
  const metrics = fc.record({
    rttMs: fc.option(fc.nat(50), { nil: undefined }),
    ttftMs: fc.option(fc.nat(300), { nil: undefined }),
    load: fc.double({ min: 0, max: 1, noNaN: true }),
    queueDepth: fc.nat(5),
  });
  return fc.array(fc.tuple(fc.nat(8), model, metrics), { maxLength: 12 }).map((rows) =>
    rows.map(([n, changes, measured]): Row => [entry(n, changes), measured])
  );
}

function arbitraryQuery(): fc.Arbitrary<Sad> {
  const all = fc.record({
    arch: fc.integer({ min: 1, max: 2 }),
    capabilities: fc.integer({ min: 1, max: 7 }),
    contextMin: fc.constantFrom(4096, 8192),
    latencyMsMax: fc.constantFrom(0, 200, 400, 600),
    costMax: fc.record({ micros: fc.constantFrom(0, 1500, 3000), per1k: fc.boolean() }),
    trustMin: fc.nat(3),
    regionPrefer: fc.constantFrom([276], [276, 840]),
    regionExclude: fc.constantFrom([840], [0]),
    publisher: fc.constantFrom(fromHex(nodeId(1)), fromHex(nodeId(2))),
    benchmarkMin: fc.constantFrom(0, 500),
    model: fc.constantFrom("a", "a*", "*"),
    options: fc.integer({ min: 1, max: 3 }),
  });
  // Few terms at a time: with more, hardly any candidate would pass.
  return all.chain((sad) =>
    fc.subarray(Object.entries(sad), { maxLength: 4 }).map((kept): Sad => Object.fromEntries(kept))
  );
}
