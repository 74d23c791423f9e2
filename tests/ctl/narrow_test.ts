/** Tables and the demo's story on narrow terminals. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Story } from "../../lib/ctl/demo/story.ts";
import { COLOURED, PLAIN } from "../../lib/ctl/output/paint.ts";
import { type Column, formatFields, formatTable } from "../../lib/ctl/output/table.ts";
import { cut, widthOf, wrapWords } from "../../lib/ctl/output/wrap.ts";
import { type CandidateRow, formatCandidates } from "../../lib/ctl/route/candidates.ts";
import { FakeNode, NODE_A, NODE_B, run } from "./support.ts";

const plainOf = (text: string) =>
  // deno-lint-ignore no-control-regex
  text.replace(/\x1b\[\d+m/g, "");
const widest = (text: string) => Math.max(...plainOf(text).split("\n").map(widthOf));

const TERMS = { capability: 1, latency: 0.9, cost: 0.8, context: 1, trust: 1, region: 1 };
const CANDIDATES: CandidateRow[] = [
  {
    nodeId: NODE_A,
    nodeName: "birch",
    model: "birch-coder",
    chosen: true,
    score: 0.9,
    terms: TERMS,
  },
  {
    nodeId: NODE_B,
    nodeName: "a-node-with-a-long-name",
    model: "meta-llama/Llama-3.1-70B-Instruct",
    chosen: false,
    rejected: "lacks code_gen+tool_use; context 8192 < 32768",
  },
];

Deno.test("words are wrapped at blanks, or behind + where a word alone is too wide", () => {
  assert.deepEqual(wrapWords("one two  three", 8), ["one two", "three"]);
  assert.deepEqual(wrapWords("text_gen+code_gen", 10), ["text_gen+", "code_gen"]);
  assert.deepEqual(wrapWords("a text_gen+code_gen b", 19), ["a text_gen+code_gen", "b"]);
  assert.deepEqual(wrapWords("unbreakable", 4), ["unbreakable"]);
  assert.deepEqual(wrapWords("", 4), [""]);
  assert.equal(cut("abcdef", 4), "abc…");
  assert.equal(cut("abcd", 4), "abcd");
  const words = fc.array(fc.stringMatching(/^[a-z]{1,9}$/));
  fc.assert(fc.property(words, fc.integer({ min: 9, max: 40 }), (list, width) => {
    const lines = wrapWords(list.join(" "), width);
    assert.equal(lines.join(" "), list.join(" "));
    for (const line of lines) assert.ok(line.length <= width);
  }));
});

Deno.test("columns wrap, go below, get cut and are left out, in this order, until a table fits", () => {
  const columns: Column<string[]>[] = [
    { head: "A", value: (row) => row[0], narrow: { by: "cut", to: 4 } },
    { head: "N", value: (row) => row[1], drop: true, right: true },
    { head: "WORDS", value: (row) => row[2], narrow: { by: "wrap", to: 8 }, below: true },
  ];
  const rows = [["abcdefgh", "1", "one two three"], ["i", "22", ""]];
  const drawn = (width: number) => formatTable(columns, rows, { width });
  assert.equal(drawn(27), formatTable(columns, rows));
  assert.equal(
    drawn(22),
    "A          N  WORDS\nabcdefgh   1  one two\n              three\ni         22  -\n",
  );
  assert.equal(
    drawn(20),
    "A          N\nabcdefgh   1\n          one two\n          three\ni         22\n",
  );
  assert.equal(
    drawn(10),
    "A        N\nabcde…   1\n        one\n        two\n        three\ni       22\n",
  );
  assert.match(drawn(7), /^A\nabcdef…\n/);
});

Deno.test("the candidates of a resolution fit 80 columns, with every verdict whole", () => {
  for (const width of [60, 80, 100, 120]) {
    for (const paint of [PLAIN, COLOURED]) {
      const table = formatCandidates(CANDIDATES, { width, paint });
      assert.ok(widest(table) <= width, table);
      const words = plainOf(table).replaceAll(/\s+/g, " ");
      assert.match(words, / chosen .* rejected: lacks code_gen\+tool_use; context 8192 < 32768 $/);
    }
  }
  assert.match(formatCandidates(CANDIDATES, { width: 80 }), /REGION\n.*\n {14}chosen\n/);
  assert.match(formatCandidates(CANDIDATES), /VERDICT\n/);
});

Deno.test("a cell without value is dim, the score of a rejected candidate too", () => {
  const [, , rejected] = formatCandidates(CANDIDATES, { paint: COLOURED }).split("\n");
  assert.equal(rejected.split("\x1b[2m-\x1b[22m").length - 1, 7);
});

Deno.test("long values of fields go on below themselves", () => {
  assert.equal(
    formatFields([["id", "1"], ["says", "one two three"]], { width: 14, indent: " " }),
    " id    1\n says  one two\n       three\n",
  );
});

Deno.test("node list and route table fit a terminal of 80 columns; wide, JSON and pipes are whole", async () => {
  const model = "meta-llama/Llama-3.1-70B-Instruct";
  const capabilities = ["text_gen", "code_gen", "tool_use", "reasoning", "vision"];
  await using node = new FakeNode({
    "GET /api/v1/nodes": () =>
      Response.json({
        nodes: [{
          id: NODE_A,
          name: "a-node-with-a-long-name",
          self: false,
          connected: true,
          draining: false,
          addresses: ["192.168.100.100:16477", "[2001:db8::1234]:6477"],
          models: [model, "another-model", "and-one-more"],
          capabilities,
          rttMs: 1.25,
          load: 0.5,
        }],
      }),
    "GET /api/v1/routes": () =>
      Response.json({
        version: 1,
        routes: [{
          model,
          nodeId: NODE_A,
          nodeName: "a-node-with-a-long-name",
          capabilities,
          context: 131072,
          latencyMs: 6.5,
          costMicros: 500,
          costPer1k: true,
          trust: 1,
          maxConcurrency: 1,
          local: true,
        }],
      }),
  });
  const { env } = node;
  for (const noun of ["node list", "route table"]) {
    const args = noun.split(" ");
    const narrow = await run(args, { env, outIsTerminal: true, width: 80 });
    assert.equal(narrow.code, 0, narrow.err);
    assert.ok(widest(narrow.out) <= 80, narrow.out);
    assert.ok(narrow.out.includes(model), narrow.out);
    const piped = await run(args, { env, width: 80 });
    const wide = await run([...args, "-o", "wide"], { env, outIsTerminal: true, width: 80 });
    for (const { out } of [piped, wide]) {
      assert.equal(out.trimEnd().split("\n").length, 2);
      assert.ok(widest(out) > 80, out);
    }
  }
});

Deno.test("the story of the demo keeps to the width, 80 where there is none", () => {
  for (const width of [undefined, 60, 120]) {
    let out = "";
    const story = new Story((text) => out += text, COLOURED, (text) => text, width);
    story.step(`Who can do  ${"cap=code_gen+tool_use,ctx>=32k,".repeat(4)}latency<500ms`);
    story.line("words ".repeat(40));
    story.text("A senten");
    for (let i = 0; i < 100; i++) story.text(`ce of w`), story.text("ords");
    story.text("\n\n    code\n");
    story.endText();
    assert.ok(widest(out) <= (width ?? 80), out);
    assert.match(out, /\n {3}A sentence of wordsce of /);
    assert.match(out, /ords\n\n {7}code\n$/);
  }
});
