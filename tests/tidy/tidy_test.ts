/** The house rules that a program can check: import arrows, purity of the layers, file headers. */
import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

/** What a folder of lib may import beside itself (design.md, "Imports point down only"). */
const ARROWS: Record<string, readonly string[]> = {
  base: [],
  l1_link: ["base"],
  l2_route: ["base", "l1_link"],
  l3_stream: ["base", "l1_link", "l2_route"],
  l4_trust: ["base", "l1_link", "l2_route", "l3_stream"],
  l5_api: ["base", "l1_link", "l2_route", "l3_stream", "l4_trust"],
  endpoint: ["base", "l1_link", "l2_route", "l3_stream", "l4_trust", "l5_api"],
  io: ["base", "l1_link", "l2_route", "l3_stream", "l4_trust", "l5_api", "ffi"],
};
const LAYERS = Object.keys(ARROWS).filter((name) => name !== "io");
ARROWS.sdk = [...LAYERS, "io"];
ARROWS.admin_api = ["base", "l2_route", "l4_trust"];
ARROWS.node = [...ARROWS.sdk, "sdk", "admin_api"];
ARROWS.ctl = ARROWS.node;
ARROWS.cloud = ARROWS.node;

/** Layers and endpoint are sans-I/O: none of these may appear in their code. */
const IMPURE =
  /\bDeno\.|["']node:|\bDate\b|\bMath\.random\b|\bsetTimeout\b|\bsetInterval\b|\bperformance\b|\bcrypto\.|\bqueueMicrotask\b|\bfetch\(/;

interface Source {
  readonly path: string;
  readonly text: string;
}

function* sourcesBelow(folder: string): Generator<Source> {
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(new URL(folder, ROOT))];
  } catch {
    return;
  }
  for (const entry of entries) {
    const path = folder + entry.name;
    if (entry.isDirectory) yield* sourcesBelow(`${path}/`);
    else if (path.endsWith(".ts")) yield { path, text: Deno.readTextFileSync(new URL(path, ROOT)) };
  }
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*["']([^"']+)["']/g)].map((match) => match[1]);
}

/** Folder of lib that a path lies in; "ffi" for ffi/, undefined elsewhere. */
function roomOf(path: string): string | undefined {
  return /^lib\/([^/]+)\//.exec(path)?.[1] ?? (path.startsWith("ffi/") ? "ffi" : undefined);
}

function resolvePath(from: string, specifier: string): string {
  return new URL(specifier, new URL(from, "file:///")).pathname.slice(1);
}

/** Comments and strings of prose may name what code may not. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

const LIB = [...sourcesBelow("lib/")];

Deno.test("imports point down only, and into other rooms only through mod.ts", () => {
  const wrong: string[] = [];
  for (const { path, text } of LIB) {
    const room = roomOf(path)!;
    for (const specifier of importsOf(text)) {
      if (!specifier.startsWith(".")) continue;
      const target = resolvePath(path, specifier);
      const targetRoom = roomOf(target);
      if (targetRoom === room || target === "deno.json") continue; // deno.json: the version.
      if (targetRoom === undefined || !ARROWS[room]?.includes(targetRoom)) {
        wrong.push(`${path} imports ${target}`);
      } else if (!target.endsWith("/mod.ts") && targetRoom !== "io" && targetRoom !== "ffi") {
        wrong.push(`${path} imports ${target}, expected lib/${targetRoom}/mod.ts`);
      }
    }
  }
  assert.ok(LIB.length > 50, `only ${LIB.length} sources found`);
  assert.deepEqual(wrong, []);
});

Deno.test("layers and endpoint touch no clock, randomness, timer, socket or environment", () => {
  const wrong: string[] = [];
  for (const { path, text } of LIB) {
    if (!LAYERS.includes(roomOf(path)!)) continue;
    const found = IMPURE.exec(withoutComments(text));
    if (found !== null) wrong.push(`${path}: ${found[0]}`);
  }
  assert.deepEqual(wrong, []);
});

Deno.test("every source is reached from main, an export, a test or a tool", () => {
  const config = JSON.parse(Deno.readTextFileSync(new URL("deno.json", ROOT)));
  const all = new Map(
    ["lib/", "ffi/", "tests/", "bench/", "schemas/"].flatMap((folder) => [...sourcesBelow(folder)])
      .map((source) => [source.path, source.text]),
  );
  all.set("main.ts", Deno.readTextFileSync(new URL("main.ts", ROOT)));
  const taskText = JSON.stringify(config.tasks);
  const queue = [
    "main.ts",
    ...Object.values<string>(config.exports).map((path) => path.slice(2)),
    ...[...all.keys()].filter((path) => path.endsWith("_test.ts") || taskText.includes(path)),
  ];
  const reached = new Set<string>();
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const text = all.get(path);
    if (text === undefined || reached.has(path)) continue;
    reached.add(path);
    for (const specifier of importsOf(text)) {
      if (specifier.startsWith(".")) queue.push(resolvePath(path, specifier));
    }
    // Programs that are started rather than imported: new URL("./worker.ts", import.meta.url)
    for (const [, name] of text.matchAll(/["'](\.{1,2}\/[^"']+\.ts)["']/g)) {
      queue.push(resolvePath(path, name));
    }
    for (const [, name] of text.matchAll(/["']([\w/]+\.ts)["']/g)) queue.push(name);
  }
  assert.deepEqual([...all.keys()].filter((path) => !reached.has(path)), []);
});

Deno.test("no secrets, machine paths or registry addresses in tracked text", () => {
  const git = new Deno.Command("git", { args: ["ls-files"], cwd: ROOT, stdout: "piped" })
    .outputSync();
  const files = new TextDecoder().decode(git.stdout).split("\n").filter(Boolean);
  const wrong: string[] = [];
  const forbidden = new RegExp(
    ["/" + "work/", "BEGIN [A-Z ]*PRIVATE " + "KEY", "registry\\." + "npmjs", "sk-[A-Za-z0-9]{20,}"]
      .join("|"),
  );
  for (const file of files) {
    let text: string;
    try {
      text = Deno.readTextFileSync(new URL(file, ROOT));
    } catch {
      continue;
    }
    const found = forbidden.exec(text);
    if (found !== null) wrong.push(`${file}: ${found[0]}`);
  }
  assert.deepEqual(wrong, []);
});
