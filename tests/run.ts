/**
 * `deno task test`: every test the machine can run, then what was left out and the one line
 * that would enable it, then `N passed, N failed` alone on a line. With CI=true a test
 * that was left out counts as failed. Arguments are passed on to `deno test`.
 */

const PERMISSIONS = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-run",
  "--allow-sys",
  "--allow-ffi",
];

/** The last line of `deno test`: "3 passed (2 steps) | 0 failed | 1 ignored (40ms)". */
const SUMMARY = /(\d+) passed(?: \([^)]*\))? \| (\d+) failed(?: \([^)]*\))?(?: \| (\d+) ignored)?/g;

const leftOutFile = await Deno.makeTempFile({ prefix: "nexus-left-out-" });
try {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", ...PERMISSIONS, ...(Deno.args.length > 0 ? Deno.args : ["tests/"])],
    env: { NEXUS_TESTS_LEFT_OUT: leftOutFile, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();

  let tail = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
    tail = (tail + text).slice(-4096);
  }
  const { code } = await child.status;

  const needs = (await Deno.readTextFile(leftOutFile)).split("\n").filter(Boolean)
    .map((line) => line.split("\t"));
  for (const [test, need, enable] of needs) {
    console.log(`left out: ${test}\n  needs ${need}; to enable: ${enable}`);
  }

  const summary = [...tail.matchAll(SUMMARY)].at(-1);
  const passed = Number(summary?.[1] ?? 0);
  let failed = Number(summary?.[2] ?? 0);
  // Tests may be ignored in other ways, too. A test with two missing needs is one test.
  const ignored = Number(summary?.[3] ?? 0);
  const named = new Set(needs.map(([test]) => test)).size;
  const leftOut = Math.max(ignored, named);
  const unnamed = leftOut - named;
  if (unnamed > 0) console.log(`left out: ${unnamed} more, ignored without saying why`);
  if (code !== 0 && failed === 0) failed = 1; // Did not load, leaked, or ended itself.
  if (Deno.env.get("CI") === "true") failed += leftOut;
  console.log(`${passed} passed, ${failed} failed`);
  Deno.exitCode = failed === 0 && passed > 0 ? 0 : 1;
} finally {
  await Deno.remove(leftOutFile);
}
