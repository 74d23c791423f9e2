/** examples/node.yaml is where people look keys up: it must show all of them, and be right. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { configLeaves, loadConfig } from "../../lib/node/config/mod.ts";
import { alternatives, type JsonSchema } from "../../lib/node/config/json_schema.ts";

const FILE = new URL("../../examples/node.yaml", import.meta.url).pathname;
const TEXT = Deno.readTextFileSync(FILE);

/** The file with the keys that are off switched on; prose stays a comment. */
const WHOLE = TEXT.replaceAll(/^( *)# ( *(?:- )?[a-z_]+:(?: .*)?| +- [^\s:]+)$/gm, "$1$2");

/** Names of the user's own stand below it. */
const FREE = /^(bridge\.aliases)\..*$/;

/** Keys of a value, those within lists without their place: "providers.models.name". */
function keysOf(value: unknown, path: string[] = []): string[] {
  if (Array.isArray(value) && value.length > 0) return value.flatMap((each) => keysOf(each, path));
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [path.join(".")];
  return Object.entries(value).flatMap(([key, next]) => keysOf(next, [...path, key]));
}

/** Keys that a schema knows, spelled in the same way. */
function keysOfSchema(schema: JsonSchema, path: string[] = []): string[] {
  const all = alternatives(schema).flatMap((each) => {
    if (each.properties !== undefined) {
      return Object.entries(each.properties).flatMap(([key, next]) =>
        keysOfSchema(next, [...path, key])
      );
    }
    return each.items === undefined ? [path.join(".")] : keysOfSchema(each.items, path);
  });
  return [...new Set(all)];
}

Deno.test("config: examples/node.yaml shows every key, and no other", () => {
  const known = [...configLeaves().values()].flatMap(({ schema, path }) =>
    keysOfSchema(schema, [...path])
  );
  const shown = new Set(keysOf(parse(WHOLE)).map((key) => key.replace(FREE, "$1")));
  assert.ok(known.includes("providers.timeouts.idle_ms"), "the walk enters lists");
  assert.deepEqual(
    known.filter((key) => !shown.has(key)),
    [
      "providers", // as a leaf of its own: an OpenAI model may be its bare name
      "providers.models",
    ].filter((key) => known.includes(key) && !shown.has(key)),
  );
  assert.deepEqual([...shown].filter((key) => !known.includes(key)), []);
});

Deno.test("config: examples/node.yaml loads with all that it shows switched on", () => {
  const dir = Deno.makeTempDirSync();
  try {
    const secrets = { "join.token": "nxi1_abc", "bridge.keys": "key-of-file", "hosted.key": "h" };
    for (const [name, text] of Object.entries(secrets)) {
      Deno.writeTextFileSync(`${dir}/${name}`, text, { mode: 0o600 });
    }
    const file = `${dir}/node.yaml`;
    Deno.writeTextFileSync(file, WHOLE.replace(/^ +join: .*\n/m, "")); // One of the two.
    const env = { VLLM_API_KEY: "v", NEXUS_KEYS: "key-of-env" };
    const { config, secrets: read } = loadConfig({ file, env });
    assert.deepEqual(config.link.faults, { loss_rate: 0.2, seed: 1 });
    assert.deepEqual(config.providers.map(({ type }) => type), ["openai", "openai", "embedded"]);
    assert.equal(read.join, "nxi1_abc");
    assert.deepEqual(read.bridgeKeys, ["key-of-file", "key-of-env"]);
    assert.deepEqual([...read.providerKeys], [["vllm", "v"], ["hosted", "h"]]);
    const [openai, , embedded] = config.providers;
    assert.deepEqual(embedded.models.map(({ name }) => name), ["greeter", "nexus-demo"]);
    assert.deepEqual(openai.models.map(({ name }) => name), ["llama-3.1-70b", "coder-32b"]);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("config: a default that examples/node.yaml writes out is the default", () => {
  const sections = parse(TEXT);
  const own = /^(node\.|providers|bridge\.aliases$)/; // Values of the example's own.
  let compared = 0;
  for (const [key, { schema }] of configLeaves()) {
    if (own.test(key) || schema.default === undefined) continue;
    const shown = key.split(".").reduce((at, part) => at?.[part], sections);
    if (shown === undefined) continue; // Switched off.
    assert.deepEqual(shown, schema.default, key);
    compared++;
  }
  assert.ok(compared > 20, `${compared} compared`);
});
