/**
 * `deno task compile`: makes dist/nexus, one file that needs neither Deno nor Node. The compiler
 * embeds every package that the lock file knows, so it gets a config and a lock file without the
 * packages that only tests use. Offline, DENORT_BIN names the runtime to embed.
 */

const OUTPUT = "dist/nexus";
/** Packages that only tests import. */
const TEST_PACKAGES = ["fast-check", "openai"];
const PERMISSIONS = ["net", "read", "write", "env", "sys", "run", "ffi"];
/** The compiler walks the packages on a thread with Rust's 2 MiB, which is too little for it. */
const COMPILER_STACK_BYTES = 64 * 1024 * 1024;

interface Lock {
  specifiers: Record<string, string>;
  npm: Record<string, { dependencies?: string[]; optionalDependencies?: string[] }>;
  workspace?: { dependencies?: string[] };
}

const root = new URL("../", import.meta.url);
const config = JSON.parse(Deno.readTextFileSync(new URL("deno.json", root)));
const lock: Lock & Record<string, unknown> = JSON.parse(
  Deno.readTextFileSync(new URL("deno.lock", root)),
);

for (const name of TEST_PACKAGES) delete config.imports[name];
const isOfTests = (specifier: string) =>
  TEST_PACKAGES.some((name) => specifier.startsWith(`npm:${name}@`));
lock.specifiers = Object.fromEntries(
  Object.entries(lock.specifiers).filter(([specifier]) => !isOfTests(specifier)),
);
lock.npm = reachable(lock);
if (lock.workspace?.dependencies !== undefined) {
  lock.workspace.dependencies = lock.workspace.dependencies.filter((each) => !isOfTests(each));
}

const folder = new URL("tmp/", root);
Deno.mkdirSync(folder, { recursive: true });
Deno.mkdirSync(new URL("dist/", root), { recursive: true });
const configFile = new URL("compile.json", folder);
const lockFile = new URL("compile.lock", folder);
Deno.writeTextFileSync(configFile, JSON.stringify(config, null, 2));
Deno.writeTextFileSync(lockFile, JSON.stringify(lock, null, 2));

/** The native library travels inside the binary, where `deno task build` has made it. */
const NATIVE = "ffi/native/build";
const native = exists(NATIVE) ? ["--include", NATIVE] : [];

const { code } = await new Deno.Command(Deno.execPath(), {
  args: [
    "compile",
    "--quiet",
    "--config",
    configFile.pathname,
    "--lock",
    lockFile.pathname,
    ...PERMISSIONS.map((name) => `--allow-${name}`),
    ...native,
    "--output",
    OUTPUT,
    "main.ts",
  ],
  cwd: root,
  env: { RUST_MIN_STACK: String(COMPILER_STACK_BYTES) },
}).output().then(({ code, stderr }) => {
  if (code !== 0) Deno.stderr.writeSync(stderr);
  return { code };
});
if (code === 0) {
  const { size } = Deno.statSync(new URL(OUTPUT, root));
  const has = native.length > 0 ? "with the native library" : "portable (no `deno task build`)";
  console.log(`${OUTPUT}: ${Math.round(size / 1e6)} MB, ${has}`);
} else {
  console.error(
    "compile failed. Without internet, set DENORT_BIN to a denort of this Deno version.",
  );
}
Deno.exitCode = code;

function exists(path: string): boolean {
  try {
    return Deno.statSync(new URL(path, root)).isDirectory;
  } catch {
    return false;
  }
}

/** The packages that the specifiers left need, directly or not. */
function reachable({ specifiers, npm }: Lock): Lock["npm"] {
  const kept: Lock["npm"] = {};
  // A specifier "npm:a@1" resolves to "1" or "1_peer@2": the package's key is its name and that.
  const queue = Object.entries(specifiers).map(([specifier, version]) =>
    `${specifier.slice("npm:".length).replace(/(.)@.*$/, "$1")}@${version}`
  );
  for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
    const found = key in npm ? key : Object.keys(npm).find((each) => each.startsWith(`${key}@`));
    if (found === undefined || found in kept) continue;
    kept[found] = npm[found];
    queue.push(...npm[found].dependencies ?? [], ...npm[found].optionalDependencies ?? []);
  }
  return kept;
}
