/** `deno task build` where there is nothing to build with. */
import assert from "node:assert/strict";

/** How the build ends on a machine without a compiler, and what it says. */
async function buildWithoutCompiler(...args: string[]): Promise<{ code: number; text: string }> {
  const permissions = ["--allow-read", "--allow-write", "--allow-run", "--allow-env"];
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...permissions, "ffi/build.ts", ...args],
    cwd: new URL("../../", import.meta.url),
    env: { PATH: "/nonexistent", NO_COLOR: "1" },
    stdin: "null",
    stderr: "inherit",
  }).output();
  return { code, text: new TextDecoder().decode(stdout) };
}

Deno.test("NL-P-003: without a compiler the build says what is missing and what brings it", async () => {
  const { code, text } = await buildWithoutCompiler();
  assert.match(text, /^missing a C compiler: no native library, the portable path stays$/m);
  assert.match(text, /^to enable: .*apt-get install -y gcc libc6-dev libisal-dev .*$/m);
  assert.equal(code, 0, "who has no compiler goes on without");
  assert.equal((await buildWithoutCompiler("--required")).code, 1, "CI does not");
});
