import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { NexusError } from "../../lib/base/mod.ts";
import {
  checkConfigJsonSchema,
  ConfigError,
  configJsonSchemaText,
  configLeaves,
  type ConfigSources,
  envName,
  findConfigFile,
  loadConfig,
  withoutSecrets,
} from "../../lib/node/config/mod.ts";
import { editDistance, suggest } from "../../lib/node/config/suggest.ts";
import { WEIGHTS_DEFAULT } from "../../lib/l2_route/mod.ts";

const root = new URL("../../", import.meta.url);

function load(text: string, more: ConfigSources = {}) {
  return loadConfig({ file: "node.yaml", text, ...more });
}

/** The mistakes of a config, one line each. */
function mistakes(text: string, more: ConfigSources = {}): string[] {
  try {
    load(text, more);
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, String(thrown));
    assert.equal(thrown.code, "CONFIG_INVALID");
    return thrown.message.split("\n");
  }
  return [];
}

Deno.test("config: an empty file is a whole config of defaults", () => {
  const { config, secrets, warnings } = load("");
  assert.deepEqual(config.link.listen, { host: "0.0.0.0", port: 6477 });
  assert.deepEqual(config.admin.listen, { host: "127.0.0.1", port: 6478 });
  assert.deepEqual(config.bridge.listen, { host: "127.0.0.1", port: 6479 });
  assert.deepEqual(config.routing.weights, { ...WEIGHTS_DEFAULT });
  assert.equal(config.limits.request_bytes_max, 32 * 1024 * 1024);
  assert.equal(config.limits.deadline_ms, 600_000);
  assert.ok(config.node.name.length > 0);
  assert.deepEqual(config.providers, []);
  assert.deepEqual(secrets.bridgeKeys, []);
  assert.deepEqual(warnings, []);
});

Deno.test("config: examples/node.yaml loads without mistakes or warnings", () => {
  const file = new URL("examples/node.yaml", root).pathname;
  const { config, warnings } = loadConfig({ file });
  assert.deepEqual(warnings, []);
  assert.equal(config.node.name, "workbench");
  assert.equal(config.node.region, 276);
  assert.equal(config.node.state_dir, new URL("examples/state", root).pathname);
  const [provider] = config.providers;
  assert.equal(provider.type, "embedded");
  assert.equal(provider.models[0].context, 131072);
  assert.deepEqual(provider.models[0].cost, { micros: 500, per1k: true });
});

for (
  const [name, text, expected] of [
    ["an unknown key", "link:\n  lisen: x", [
      'node.yaml:2: link.lisen: unknown key, did you mean "listen"?',
    ]],
    ["an unknown section", "\n\nproviderz: []", [
      'node.yaml:3: providerz: unknown key, did you mean "providers"?',
    ]],
    ["a wrong type", "admin:\n  enabled: 'yes'", [
      'node.yaml:2: admin.enabled: is "yes", expected true or false',
    ]],
    ["a bad address", "# one\nbridge:\n  listen: '1.2.3.4:x'", [
      'node.yaml:3: bridge.listen: is "1.2.3.4:x", expected host:port or [ipv6]:port, ' +
      "port 6479 if none",
    ]],
    ["a bad address in a list", "link:\n  advertise:\n    - 1.2.3.4\n    - 'h:99999'", [
      'node.yaml:4: link.advertise[1]: is "h:99999", expected host:port or [ipv6]:port, ' +
      "port 6477 if none",
    ]],
    ["a bad SAD", "bridge:\n  aliases:\n    a: foo", [
      'node.yaml:3: bridge.aliases.a: term "foo" has no operator',
    ]],
    [
      "a bad capability",
      "providers:\n  - type: embedded\n    models:\n      - name: a\n" +
      "        capabilities: [text_gen, code_gne]",
      [
        'node.yaml:5: providers[0].models[0].capabilities: capability "code_gne" is unknown, ' +
        'did you mean "code_gen"?',
      ],
    ],
    ["a bad provider type", "providers:\n  - type: openia", [
      'node.yaml:2: providers[0].type: is "openia", expected one of embedded, openai; ' +
      'did you mean "openai"?',
    ]],
    ["a misspelt provider type key", "providers:\n  - typ: openai\n    url: http://x", [
      'node.yaml:2: providers[0].typ: unknown key, did you mean "type"?',
    ]],
    ["a missing provider type", "providers:\n  - url: http://x", [
      "node.yaml:2: providers[0].type: is missing, expected one of embedded, openai",
    ]],
    [
      "a capability like no other",
      "providers:\n- {type: openai, url: 'http://x', capabilities: zzzzzz}",
      [
        'node.yaml:2: providers[0].capabilities: capability "zzzzzz" is unknown, ' +
        "expected one of text_gen, code_gen",
      ],
    ],
    ["a bad URL", "providers:\n- type: openai\n  url: ftp://x", [
      'node.yaml:3: providers[0].url: is "ftp://x", expected an http:// or https:// URL',
    ]],
    ["a key of another provider type", "providers:\n- type: openai\n  url: http://x\n  answer: 1", [
      "node.yaml:4: providers[0].answer: unknown key, expected one of ",
    ]],
    ["a missing key", "providers:\n- type: openai", [
      "node.yaml:2: providers[0].url: is missing, expected text",
    ]],
    ["a number out of range", "# config\n\nrouting:\n  top_k: 65", [
      "node.yaml:4: routing.top_k: is 65, expected at most 64",
    ]],
    [
      "a duplicate provider name",
      "providers:\n- {type: openai, url: 'http://x'}\n- {type: openai, url: 'http://y'}",
      [
        'node.yaml:3: providers[1].name: is "openai" as providers[0].name is, ' +
        "expected a name of its own",
      ],
    ],
    [
      "a missing API key file",
      "providers:\n- type: openai\n  url: http://x\n  api_key_file: /no/such/key",
      [
        "node.yaml:4: providers[0].api_key_file: cannot read /no/such/key: no such file, " +
        "expected a readable key file",
      ],
    ],
    ["an unset API key variable", "providers:\n- type: openai\n  url: http://x\n  api_key_env: K", [
      "node.yaml:4: providers[0].api_key_env: environment variable K is not set, " +
      "expected a key in it",
    ]],
    ["a key that stands twice", "admin: {}\nadmin: {}", ["node.yaml:2: this key stands twice"]],
    ["a list as the file", "- a", ["node.yaml:1: expected sections such as node: and link:"]],
    ["a second document", "admin: {}\n---\nlink: {}", [
      "node.yaml:2: a second YAML document, expected one",
    ]],
  ] as const
) {
  Deno.test(`config: ${name} is named with file, line, key and what was expected`, () => {
    const lines = mistakes(text);
    assert.equal(lines.length, expected.length, lines.join("\n"));
    lines.forEach((line, index) =>
      assert.equal(line.slice(0, expected[index].length), expected[index])
    );
  });
}

Deno.test("config: a model's words become the numbers of the wire", () => {
  const { config } = load(
    "providers:\n- type: embedded\n  models:\n  - name: m\n    arch: moe\n" +
      "    capabilities: code_gen+vision\n    context: 8k\n    cost: 0.25\n    benchmark: 0.855\n",
  );
  const [provider] = config.providers;
  assert.deepEqual(provider.models[0], {
    name: "m",
    arch: 3,
    capabilities: 0b1_0000_0010,
    context: 8192,
    cost: { micros: 250_000, per1k: false },
    benchmark: 855,
    tokens_per_second: 0,
    answer: "words",
    answer_tokens: 64,
  });
});

Deno.test("config: broken YAML is one line with its place", () => {
  assert.match(mistakes("admin:\n  enabled: [true\nlink: {}")[0], /^node\.yaml:\d: \S/);
});

Deno.test("config: all mistakes of a file come at once, in order of lines, and are bounded", () => {
  const lines = mistakes("log:\n  level: loud\nadmin:\n  listen: 70000\n  hots: []");
  assert.deepEqual(lines.map((line) => line.split(": ")[1]), [
    "log.level",
    "admin.listen",
    "admin.hots",
  ]);
  const many = mistakes(Array.from({ length: 50 }, (_, n) => `bad${n}: 1`).join("\n"));
  assert.equal(many.length, 11);
  assert.equal(many[10], "and 40 more");
});

Deno.test("config: a file that is something else is not repeated in its mistakes", () => {
  const secret = "correct-horse-battery-staple".repeat(9);
  for (
    const text of [
      `${secret}: 1`,
      `link: {${secret}: 1}`,
      `link: {listen: "${secret} x"}`,
      `node: {region: "${secret}"}`,
      `log: {level: "${secret}"}`,
      `bridge: {aliases: {${secret}: 5}}`,
      `providers: [{type: ${secret}}]`,
      `providers: [{type: openai, url: x, capabilities: [${secret}]}]`,
      `a: *${secret}`,
      `%${secret}\n"${secret}`,
      `-----BEGIN SOMETHING-----\n${secret}\n-----END`,
    ]
  ) {
    const lines = mistakes(text);
    assert.ok(lines.length > 0, text);
    for (const line of lines) assert.ok(!line.includes(secret.slice(0, 80)), line);
  }
  const [line] = mistakes(`${secret}: 1`);
  assert.ok(line.startsWith(`node.yaml:1: ${secret.slice(0, 32)}…: unknown key`), line);
});

Deno.test("config: a bare port is that port of the key's own host", () => {
  const { config } = load("link: {listen: 6500}\nadmin: {listen: 6501}", {
    env: { NEXUS_BRIDGE_LISTEN: "6502" },
  });
  assert.deepEqual(config.link.listen, { host: "0.0.0.0", port: 6500 });
  assert.deepEqual(config.admin.listen, { host: "127.0.0.1", port: 6501 });
  assert.deepEqual(config.bridge.listen, { host: "127.0.0.1", port: 6502 });
  assert.deepEqual(mistakes("link: {listen: 70000}"), [
    "node.yaml:1: link.listen: is 70000, expected at most 65535",
  ]);
  const [line] = mistakes("link: {listen: true}");
  assert.equal(line, "node.yaml:1: link.listen: is true, expected text or a number");
});

Deno.test("config: an error never repeats a join token or an API key", () => {
  const text = "mesh:\n  join: nxi1_SECRET!\nbridge:\n  api_keys: [SECRET, 5]\n";
  const lines = mistakes(text).join("\n");
  assert.ok(lines.includes("mesh.join") && lines.includes("bridge.api_keys[0]"), lines);
  assert.ok(!lines.includes("SECRET"), lines);
  const flags = mistakes("", { env: { NEXUS_BRIDGE_API_KEYS: "[SECRET" } });
  assert.equal(flags.length, 1);
  assert.ok(!flags[0].includes("SECRET"), flags[0]);
});

Deno.test("config: a section with nothing in it is a section of defaults", () => {
  const { config } = load("admin:\nproviders:\nlog:\n  level: debug\n");
  assert.equal(config.admin.enabled, true);
  assert.deepEqual(config.providers, []);
  assert.equal(config.log.level, "debug");
});

Deno.test("config: flags win over variables, variables over the file", () => {
  const text = "log:\n  level: error\nrouting:\n  top_k: 9\nlimits:\n  drain_ms: 5\n";
  const { config } = load(text, {
    env: {
      NEXUS_LOG_LEVEL: "debug",
      NEXUS_ROUTING_TOP_K: "8",
      NEXUS_CONTEXT: "prod",
      NEXUS_NODE_NAME: "",
    },
    overrides: { "log.level": "trace" },
  });
  assert.equal(config.log.level, "trace");
  assert.equal(config.routing.top_k, 8);
  assert.equal(config.limits.drain_ms, 5);
});

Deno.test("config: a variable or flag may set text, numbers, booleans, lists and structures", () => {
  const { config } = load("", {
    env: {
      NEXUS_NODE_NAME: "123",
      NEXUS_ADMIN_ENABLED: "false",
      NEXUS_LINK_LISTEN: "[::1]:2",
      NEXUS_LINK_FAULTS_LOSS_RATE: "0.2",
      NEXUS_PROVIDERS: "[{type: embedded, models: [{name: m, context: 32k}]}]",
      NEXUS_BRIDGE_ALIASES: '{"a":"ctx>=1k"}',
    },
    overrides: { "mesh.seeds": "10.0.0.1:5", "link.faults.seed": "7" },
  });
  assert.equal(config.node.name, "123");
  assert.equal(config.admin.enabled, false);
  assert.deepEqual(config.link.listen, { host: "::1", port: 2 });
  assert.deepEqual(config.link.faults, { loss_rate: 0.2, seed: 7 });
  assert.deepEqual(config.mesh.seeds, [{ address: { host: "10.0.0.1", port: 5 } }]);
  assert.equal(config.providers[0].models[0].context, 32768);
  assert.deepEqual(config.bridge.aliases, { a: "ctx>=1k" });
});

Deno.test("config: mistakes of variables and flags are named by them", () => {
  const lines = mistakes("log:\n  level: info\n", {
    env: { NEXUS_ADMIN_LISTN: "x", NEXUS_LIMITS_DEADLINE_MS: "soon" },
    overrides: { "log.level": "loud", "log.levle": "info" },
  });
  assert.deepEqual(lines.sort(), [
    '--set log.level: is "loud", expected one of trace, debug, info, warning, error',
    '--set log.levle: unknown key, did you mean "log.level"?',
    "NEXUS_ADMIN_LISTN: unknown variable, did you mean NEXUS_ADMIN_LISTEN?",
    'NEXUS_LIMITS_DEADLINE_MS: limits.deadline_ms: is "soon", expected a number',
  ]);
});

Deno.test("config: a flag that stands for a key is named as it was typed", () => {
  const lines = mistakes("", {
    overrides: { "mesh.join": "hello", "admin.listen": "a b", providers: "[{type: openai}]" },
    flagNames: { "mesh.join": "--join", "admin.listen": "--admin" },
  });
  assert.deepEqual(lines.sort(), [
    '--admin: is "a b", expected host:port or [ipv6]:port, port 6478 if none',
    '--join: is not an invite token, expected one that starts with "nxi1_"',
    "--set providers: providers[0].url: is missing, expected text",
  ]);
});

Deno.test("config: every key has a variable and a flag of its own, with a description", () => {
  const leaves = [...configLeaves()];
  assert.ok(leaves.length > 30);
  assert.equal(new Set(leaves.map(([key]) => envName(key))).size, leaves.length);
  for (const [key, { schema }] of leaves) assert.ok(schema.description, key);
});

Deno.test("config: secrets come from files and variables and are not part of what is shown", () => {
  const dir = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(join(dir, "keys"), "# clients\nkey-of-alice\n\nkey-of-bob\n", {
      mode: 0o600,
    });
    Deno.writeTextFileSync(join(dir, "upstream"), "sk-upstream\n", { mode: 0o644 });
    const file = join(dir, "node.yaml");
    Deno.writeTextFileSync(
      file,
      "bridge: {api_keys: [key-inline], api_keys_file: keys, api_keys_env: MORE}\n" +
        "mesh: {join: nxi1_abc}\n" +
        "providers: [{type: openai, url: 'http://x', api_key_file: upstream}]\n",
    );
    const { config, secrets, warnings } = loadConfig({
      file,
      env: { MORE: "key-env-1,key-env-2" },
    });
    assert.deepEqual(secrets.bridgeKeys, [
      "key-inline",
      "key-of-alice",
      "key-of-bob",
      "key-env-1",
      "key-env-2",
    ]);
    assert.equal(secrets.providerKeys.get("openai"), "sk-upstream");
    assert.equal(secrets.join, "nxi1_abc");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /upstream can be read by other users/);
    const shown = JSON.stringify(withoutSecrets(config));
    for (const secret of ["key-", "sk-", "nxi1_"]) assert.ok(!shown.includes(secret), secret);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("config: what is unwise is a warning", () => {
  const open = load(
    "bridge: {listen: '0.0.0.0'}\nadmin: {listen: '10.0.0.1'}\nlink: {faults: {loss_rate: 0.1}}",
  );
  assert.equal(open.warnings.length, 3);
  const keyed = load("bridge: {listen: '0.0.0.0', api_keys: [long-enough]}");
  assert.deepEqual(keyed.warnings, []);
});

Deno.test("config: a file that cannot be read is one line", () => {
  for (
    const [file, code, why] of [
      ["/no/such.yaml", "CONFIG_NOT_FOUND", /no such file/],
      ["/tmp", "CONFIG_UNREADABLE", /directory/],
    ] as const
  ) {
    assert.throws(() => loadConfig({ file }), (thrown) => {
      assert.ok(thrown instanceof NexusError);
      assert.equal(thrown.code, code);
      assert.match(thrown.message, why);
      return !thrown.message.includes("\n");
    });
  }
  assert.equal(findConfigFile({ NEXUS_CONFIG: "/x.yaml" }), "/x.yaml");
});

Deno.test("config: schemas/config.schema.json is what the code says", () => {
  const file = Deno.readTextFileSync(new URL("schemas/config.schema.json", root));
  assert.equal(checkConfigJsonSchema(file), undefined);
  assert.match(checkConfigJsonSchema(file.replace("0.25", "0.26"))!, /^config\.schema\.json:\d+ /);
  const schema = JSON.parse(configJsonSchemaText());
  assert.equal(Object.keys(schema)[0], "$comment");
  assert.equal(schema.additionalProperties, false);
});

Deno.test("config: suggestions are near or nothing", () => {
  assert.equal(editDistance("listen", "lisetn"), 1);
  assert.equal(editDistance("", "abc"), 3);
  assert.equal(suggest("lisetn", ["listen", "level"]), "listen");
  assert.equal(suggest("banana", ["listen", "level"]), undefined);
});

Deno.test("config: any text and any YAML value gives a config or a ConfigError", () => {
  const fits = (text: string) => {
    try {
      load(text);
    } catch (thrown) {
      assert.ok(thrown instanceof ConfigError, `${String(thrown)} for ${JSON.stringify(text)}`);
    }
  };
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), fits), { numRuns: 300 });
  const keys = fc.constantFrom(
    ...["node", "link", "providers", "type", "models", "name", "listen", "__proto__", "faults"],
    ...["constructor", "embedded", "openai", "url", "aliases", "weights", "mesh", "seeds"],
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom<unknown>(null, true, -1, 1e99, "", "x", "127.0.0.1:1", "embedded", "openai"),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.array(fc.tuple(keys, tie("value")), { maxLength: 5 }).map((entries) =>
        Object.fromEntries(entries)
      ),
    ),
  }));
  fc.assert(fc.property(value, (any) => fits(JSON.stringify(any))), { numRuns: 1000 });
});
