/** What tests/run.ts prints and how it ends, on small folders of tests made for it. */
import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url).pathname;
const NEEDS = `import { testNeeding } from "${ROOT}tests/support/needs.ts";
const absent = { name: "a moon", present: false, enable: "apt-get install moon" };
const also = { name: "a sun", present: false, enable: "apt-get install sun" };
const present = { name: "a sky", present: true, enable: "never said" };
`;
const PASSES = `Deno.test("passes", () => {});\n`;
const FAILS = `Deno.test("fails", () => { throw new Error("on purpose"); });\n`;

/** Runs a test file as `deno task test` does; how it ended, and its lines on standard output. */
async function runTests(text: string, ci: boolean): Promise<{ code: number; lines: string[] }> {
  const dir = await Deno.makeTempDir({ prefix: "nexus-run-" });
  try {
    await Deno.writeTextFile(`${dir}/one_test.ts`, text);
    const allow = ["run", "read", "write", "env"].map((name) => `--allow-${name}`);
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", ...allow, "tests/run.ts", "--no-check", dir],
      cwd: ROOT,
      env: { CI: ci ? "true" : "", TMPDIR: dir },
      stdin: "null",
      stderr: "null",
    }).output();
    const left = [...Deno.readDirSync(dir)].map(({ name }) => name);
    assert.deepEqual(left, ["one_test.ts"], "the runner left a file");
    return { code, lines: new TextDecoder().decode(stdout).trimEnd().split("\n") };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the last line counts what passed and failed, and the exit code says the same", async () => {
  const cases: [string, string, number][] = [
    [PASSES, "1 passed, 0 failed", 0],
    [PASSES + FAILS, "1 passed, 1 failed", 1],
    [FAILS, "0 passed, 1 failed", 1],
    [PASSES + "syntax error here", "0 passed, 1 failed", 1],
    [PASSES + "queueMicrotask(() => { throw new Error('late'); });", "0 passed, 1 failed", 1],
    [
      `Deno.test("steps", async (t) => { await t.step("one", () => {}); });\n` + PASSES,
      "2 passed, 0 failed",
      0,
    ],
    ["", "0 passed, 0 failed", 1], // Nothing was shown.
  ];
  for (const [text, last, expected] of cases) {
    const { code, lines } = await runTests(text, false);
    assert.deepEqual([lines.at(-1), code], [last, expected], text);
  }
});

Deno.test("a test whose need is missing is left out by name, with the line that enables it", async () => {
  const text = NEEDS + PASSES +
    `testNeeding([present], "has all", () => {});
testNeeding([absent, present], "howls", () => { throw new Error("was run"); });`;
  const { code, lines } = await runTests(text, false);
  const at = lines.indexOf("left out: howls");
  assert.ok(at >= 0, lines.join("\n"));
  assert.equal(lines[at + 1], "  needs a moon; to enable: apt-get install moon");
  assert.equal(lines.filter((line) => line.startsWith("left out")).length, 1);
  assert.deepEqual([lines.at(-1), code], ["2 passed, 0 failed", 0]);
});

Deno.test("in CI each test that was left out counts as failed, once", async () => {
  const text = NEEDS + PASSES +
    `testNeeding([absent, also], "howls", () => {});
testNeeding([absent], "barks", () => {});`;
  const { code, lines } = await runTests(text, true);
  assert.deepEqual([lines.at(-1), code], ["1 passed, 2 failed", 1]);
});

Deno.test("a test that is ignored in another way is told of, and fails in CI", async () => {
  const text = PASSES + `Deno.test.ignore("hidden", () => {});`;
  const here = await runTests(text, false);
  assert.ok(here.lines.includes("left out: 1 more, ignored without saying why"));
  assert.deepEqual([here.lines.at(-1), here.code], ["1 passed, 0 failed", 0]);
  const ci = await runTests(text, true);
  assert.deepEqual([ci.lines.at(-1), ci.code], ["1 passed, 1 failed", 1]);
});

Deno.test("what a test prints does not change the count", async () => {
  const text = `Deno.test("speaks", () => console.log("9 passed | 7 failed"));\n`;
  const { code, lines } = await runTests(text, false);
  assert.deepEqual([lines.at(-1), code], ["1 passed, 0 failed", 0]);
});
