/**
 * `deno task check`: everything that guards style and truth without running the program. Each step
 * runs even when one before it failed, so that one run shows all there is to mend.
 */

interface Step {
  readonly name: string;
  readonly args: readonly string[];
}

/** Sources below a folder that hold examples in their comments. */
function* modulesBelow(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* modulesBelow(path);
    else if (path.endsWith(".ts") && Deno.readTextFileSync(path).includes("* ```ts")) yield path;
  }
}

const examples = [...modulesBelow("lib")];

const STEPS: readonly Step[] = [
  { name: "format", args: ["fmt", "--check", "--quiet"] },
  { name: "lint", args: ["lint", "--quiet"] },
  {
    name: "types",
    args: ["check", "--quiet", "."],
  },
  {
    name: "import arrows and other house rules",
    args: ["test", "--quiet", "--allow-read", "--allow-run", "tests/tidy"],
  },
  // Without types: a module's own example would import the module twice.
  { name: "doc examples", args: ["test", "--doc", "--no-check", "--quiet", ...examples] },
  { name: "README examples", args: ["check", "--doc-only", "--quiet", "README.md"] },
  {
    name: "schemas/link.json → generated files",
    args: ["run", "--allow-read", "schemas/generate.ts", "--check"],
  },
  {
    name: "config schema → schemas/config.schema.json",
    args: ["run", "--allow-read", "lib/node/config/json_schema.ts", "--check"],
  },
];

let failed = 0;
for (const { name, args } of STEPS) {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  console.log(`${success ? "ok    " : "FAILED"} ${name}`);
  if (success) continue;
  failed++;
  await Deno.stdout.write(stdout);
  await Deno.stderr.write(stderr);
}
console.log(failed === 0 ? "check: all good" : `check: ${failed} of ${STEPS.length} failed`);
Deno.exitCode = failed === 0 ? 0 : 1;
