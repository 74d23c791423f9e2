import assert from "node:assert/strict";
import { stringify } from "yaml";
import { presentConfig } from "../../lib/ctl/config/present.ts";
import { ConfigError, loadConfig, withoutSecrets } from "../../lib/node/config/mod.ts";
import { NexusError } from "../../lib/base/mod.ts";
import { run } from "./support.ts";

const CONFIG = `
node: {name: n, state_dir: /s, region: DE}
link: {listen: "[::1]:7000", advertise: [example.org:1]}
mesh: {seeds: ["10.0.0.1:6477", "00112233445566778899aabbccddeeff@10.0.0.2:1"]}
bridge: {aliases: {coder: "cap=code_gen"}}
routing: {weights: {region: 0.3, trust: 0}}
providers:
  - type: embedded
    models:
      - {name: a, capabilities: [code_gen, vision], context: 32k, cost: $0.002/1k, arch: moe,
         benchmark: 71.5, latency_ms: 5}
  - type: openai
    name: up
    url: http://127.0.0.1:8000/v1
    capabilities: text_gen
    models: [x, {name: y, upstream: z, cost: 0.001}]
`;

Deno.test("a shown config loads again as the same config", () => {
  const { config } = loadConfig({ text: CONFIG });
  const shown = stringify(presentConfig({ ...config }));
  assert.deepEqual(loadConfig({ text: shown }).config, config);
});

Deno.test("config show prints YAML, or JSON, and never a secret", async () => {
  const handlers = {
    checkConfig: () => {
      const text = CONFIG.replace("bridge: {", 'bridge: {api_keys: ["key-of-somebody"], ');
      const { config, warnings } = loadConfig({ text });
      return Promise.resolve({ config: { ...withoutSecrets(config) }, warnings });
    },
  };
  const yaml = await run(["config", "show"], { handlers });
  assert.equal(yaml.code, 0);
  assert.match(yaml.out, /\n {2}region: DE\n/);
  assert.match(yaml.out, /- code_gen\n {10}- vision\n/);
  assert.doesNotMatch(yaml.out, /key-of-somebody/);
  const json = await run(["config", "show", "-o", "json"], { handlers });
  assert.deepEqual(JSON.parse(json.out).mesh.seeds, [
    "10.0.0.1:6477",
    "00112233445566778899aabbccddeeff@10.0.0.2:1",
  ]);
});

Deno.test("config validate says ok, with warnings on standard error", async () => {
  const handlers = {
    checkConfig: () => Promise.resolve({ file: "n.yaml", config: {}, warnings: ["unwise"] }),
  };
  const { code, out, err } = await run(["config", "validate", "n.yaml"], { handlers });
  assert.equal(code, 0);
  assert.equal(out, "n.yaml: ok\n");
  assert.equal(err, "warning: unwise\n");
});

Deno.test("config validate names every mistake, also for programs", async () => {
  const mistakes = [
    { where: "n.yaml:2", line: 2, key: "a.b", message: "unknown key" },
    { where: "n.yaml:3", line: 3, key: "c", message: "is missing" },
  ];
  const handlers = { checkConfig: () => Promise.reject(new ConfigError(mistakes)) };
  const table = await run(["config", "validate", "n.yaml"], { handlers });
  assert.equal(table.code, 1);
  assert.equal(table.out, "");
  assert.equal(table.err, "nexus: n.yaml:2: a.b: unknown key\nnexus: n.yaml:3: c: is missing\n");
  const json = await run(["config", "validate", "n.yaml", "-o", "json"], { handlers });
  assert.equal(json.code, 1);
  assert.deepEqual(JSON.parse(json.out), { valid: false, file: "n.yaml", warnings: [], mistakes });
});

Deno.test("config validate of a file that is not there is exit code 3", async () => {
  const handlers = {
    checkConfig: () => Promise.reject(new NexusError("CONFIG_NOT_FOUND", "no such file")),
  };
  assert.equal((await run(["config", "validate", "nosuch.yaml"], { handlers })).code, 3);
});

Deno.test("config validate hands --set on", async () => {
  const seen: unknown[] = [];
  const handlers = {
    checkConfig: (
      options: unknown,
    ) => (seen.push(options), Promise.resolve({ config: {}, warnings: [] })),
  };
  await run(["config", "validate", "--set", "log.level=debug"], { handlers });
  assert.deepEqual(seen, [{
    configFile: undefined,
    overrides: { "log.level": "debug" },
    flagNames: {},
  }]);
});
