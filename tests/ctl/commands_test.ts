import assert from "node:assert/strict";
import { NexusError } from "../../lib/base/mod.ts";
import type { RunOptions } from "../../lib/ctl/mod.ts";
import { failure, fakeHandlers, FakeNode, NODE_A, NODE_B, run, SHA, TOKEN } from "./support.ts";

const NODES = {
  nodes: [
    {
      id: NODE_B,
      self: false,
      addresses: ["10.0.0.2:6477"],
      connected: true,
      rttMs: 1.25,
      load: 0.5,
      models: ["m2"],
      capabilities: ["text_gen"],
      lastSeenMs: 1_782_907_200_000,
    },
    {
      id: NODE_A,
      name: "alder",
      self: true,
      addresses: [],
      connected: true,
      models: [],
      capabilities: [],
    },
  ],
};
const CERTIFICATE = {
  serial: SHA,
  nodeId: NODE_A,
  publicKey: SHA,
  fingerprint: SHA,
  issuerNodeId: NODE_B,
  notBeforeS: 1_782_907_200,
  notAfterS: 1_785_499_200,
  role: "node",
  vni: 7,
  capabilities: ["code_gen"],
  context: 32_768,
  models: ["m"],
  bytes: 221,
};
const NODE = {
  id: NODE_A,
  name: "alder",
  state: "running",
  notReady: [],
  version: "1.2.3",
  vni: 7,
  pid: 42,
  startedAtMs: 0,
  uptimeS: 65,
  stateDir: "/s",
  addresses: { link: ["0.0.0.0:6477"], advertised: [], bridge: "127.0.0.1:6479" },
  port: { kind: "udp", reason: "portable" },
  crypto: "node:crypto",
  certificate: CERTIFICATE,
  ca: { fingerprint: SHA, here: true },
  providers: [{
    name: "openai",
    state: "down",
    detail: "refused",
    models: 0,
    active: 0,
    queueDepth: 0,
  }],
  models: ["m"],
  connections: 1,
  activeRequests: 0,
};
const ROUTES = {
  version: 3,
  routes: [{
    nodeId: NODE_A,
    model: "m",
    capabilities: ["code_gen", "tool_use"],
    context: 131_072,
    latencyMs: 5,
    effectiveLatencyMs: 6.5,
    costMicros: 500,
    costPer1k: true,
    trust: 1,
    load: 0.25,
    local: true,
    expiresInS: 300,
  }],
};
const RESOLUTION = {
  sad: "cap=code_gen",
  durationUs: 12,
  candidates: [
    {
      nodeId: NODE_A,
      model: "m",
      chosen: true,
      score: 0.91,
      terms: { capability: 1, latency: 0.9, cost: 0.8, context: 1, trust: 1, region: 1 },
    },
    { nodeId: NODE_B, model: "n", chosen: false, rejected: "lacks code_gen" },
  ],
};
const NOBODY = { ...RESOLUTION, candidates: RESOLUTION.candidates.slice(1) };

function fakeNode(): FakeNode {
  return new FakeNode({
    "GET /api/v1/nodes": () => Response.json(NODES),
    "GET /api/v1/node": () => Response.json(NODE),
    "GET /api/v1/routes": () => Response.json(ROUTES),
    "POST /api/v1/routes/resolve": (_, body) => {
      const { sad } = body as { sad: string };
      if (sad === "cap=x") {
        return failure(400, "SAD_SYNTAX", "cannot read SAD", "write cap=code_gen");
      }
      return Response.json(sad === "cap=nobody" ? NOBODY : RESOLUTION);
    },
    "POST /api/v1/invites": (_, body) => {
      const { uses } = body as { uses: number };
      if (uses === 9) return failure(409, "NOT_A_CA", "the CA is elsewhere");
      return Response.json({ token: "nxi1_abc", id: "00", expiresS: 1_782_907_200, uses });
    },
    "GET /api/v1/trust/mic": () =>
      Response.json({ chain: [CERTIFICATE], encoded: ["AA"], roots: [SHA] }),
  });
}

Deno.test("version prints the versions, as a table and as JSON", async () => {
  const table = await run(["version"]);
  assert.equal(table.code, 0);
  assert.match(table.out, /^nexus {5}1\.2\.3\nprotocol {2}1\n/);
  const json = JSON.parse((await run(["version", "-o", "json"])).out);
  assert.equal(json.version, "1.2.3");
  assert.equal(json.protocol, 1);
  assert.equal((await run(["--version"])).out, "1.2.3\n");
});

Deno.test("node list shows this node first, in every form", async () => {
  await using node = fakeNode();
  const { env } = node;
  const table = await run(["node", "list"], { env });
  assert.equal(table.code, 0);
  assert.equal(
    table.out,
    "NODE      NAME   STATE      ADDRESS           RTT  LOAD  MODELS\n" +
      "a0a0a0a0  alder  self       -                   -     -  -\n" +
      "b1b1b1b1  -      connected  10.0.0.2:6477  1.3 ms  50 %  m2\n",
  );
  const json = JSON.parse((await run(["node", "list", "-o", "json"], { env })).out);
  assert.deepEqual(json.nodes, [NODES.nodes[1], NODES.nodes[0]]);
  assert.equal((await run(["-o", "name", "node", "list"], { env })).out, `${NODE_A}\n${NODE_B}\n`);
  assert.match((await run(["node", "list", "-o", "wide"], { env })).out, /CAPABILITIES/);
  assert.match((await run(["node", "list", "-o", "yaml"], { env })).out, /^nodes:\n {2}- id: a0a0/);
});

Deno.test("node info shows the node asked, or one by name or start of its id", async () => {
  await using node = fakeNode();
  const { env } = node;
  const self = await run(["node", "info"], { env });
  assert.equal(self.code, 0);
  assert.match(self.out, /\nOpenAI API {3}http:\/\/127\.0\.0\.1:6479\/v1\n/);
  assert.match(self.out, /\nup {11}1m 5s\n/);
  assert.deepEqual(JSON.parse((await run(["node", "info", "-o", "json"], { env })).out), NODE);
  assert.match((await run(["node", "info", "b1b1"], { env })).out, /^id {12}b1b1b1/);
  assert.match((await run(["node", "info", "alder"], { env })).out, /^id {5}a0a0a0/);
});

Deno.test("a node that is not known is exit code 3, a name that fits two is a usage mistake", async () => {
  await using node = new FakeNode({
    "GET /api/v1/nodes": () =>
      Response.json({
        nodes: NODES.nodes.map((each, i) => ({ ...each, id: `ab${i}`.padEnd(32, "0") })),
      }),
  });
  const { env } = node;
  const missing = await run(["node", "info", "nope"], { env });
  assert.equal(missing.code, 3);
  assert.equal(missing.out, "");
  assert.match(missing.err, /^nexus: cannot show node: "nope" is not known here\nhint: /);
  assert.equal((await run(["node", "info", "ab"], { env })).code, 2);
  assert.equal((await run(["node", "info", "ab1"], { env })).code, 0);
});

Deno.test("route table shows every model", async () => {
  await using node = fakeNode();
  const { env } = node;
  const table = await run(["route", "table"], { env });
  assert.equal(
    table.out,
    "MODEL  NODE      CONTEXT  LATENCY        COST  LOAD  CAPABILITIES\n" +
      "m      a0a0a0a0     128k   6.5 ms  $0.0005/1k  25 %  code_gen+tool_use\n",
  );
  assert.deepEqual(JSON.parse((await run(["route", "table", "-o", "json"], { env })).out), ROUTES);
});

Deno.test("route resolve shows who wins, with scores, and why the others do not", async () => {
  await using node = fakeNode();
  const { env } = node;
  const table = await run(["route", "resolve", "cap=code_gen"], { env });
  assert.equal(table.code, 0);
  assert.match(table.out, /\na0a0a0a0 {2}m {6}0\.910 {2}1\.00 {2}0\.90 .* chosen\n/);
  assert.match(table.out, /\nb1b1b1b1 .* rejected: lacks code_gen\n$/);
  assert.deepEqual(node.seen[0].body, { sad: "cap=code_gen" });
  const json = await run(["route", "resolve", "cap=code_gen", "-o", "json"], { env });
  assert.deepEqual(JSON.parse(json.out), RESOLUTION);
});

Deno.test("route resolve tells why nobody can, with exit code 3", async () => {
  await using node = fakeNode();
  const { code, out, err } = await run(["route", "resolve", "cap=nobody"], { env: node.env });
  assert.equal(code, 3);
  assert.match(out, /rejected: lacks code_gen/);
  assert.match(err, /^nexus: no node can answer/);
});

Deno.test("a malformed SAD is a usage mistake with the node's words and hint", async () => {
  await using node = fakeNode();
  const { code, err } = await run(["route", "resolve", "cap=x"], { env: node.env });
  assert.equal(code, 2);
  assert.equal(err, "nexus: cannot read SAD\nhint: write cap=code_gen\n");
});

Deno.test("invite prints the token alone on standard output", async () => {
  await using node = fakeNode();
  const { env } = node;
  const one = await run(["invite"], { env });
  assert.equal(one.out, "nxi1_abc\n");
  assert.match(one.err, /one node or client within 1h/);
  assert.deepEqual(node.seen[0].body, { uses: 1, lifeS: 3600 });
  const five = await run(["invite", "--uses", "5", "--expires", "15m", "-o", "json"], { env });
  assert.equal(JSON.parse(five.out).uses, 5);
  assert.equal(five.err, "");
  assert.deepEqual(node.seen[1].body, { uses: 5, lifeS: 900 });
  assert.equal((await run(["invite", "--uses", "9"], { env })).code, 1);
  assert.equal((await run(["invite", "--expires", "2 hours"], { env })).code, 2);
});

Deno.test("trust mic show without a file shows the node's chain", async () => {
  await using node = fakeNode();
  const { code, out } = await run(["trust", "mic", "show"], { env: node.env });
  assert.equal(code, 0);
  assert.match(out, /^leaf\n {2}node id {7}a0a0/);
  assert.match(out, /tenant {8}7\n/);
});

Deno.test("no node there is exit code 5, with what to do about it", async () => {
  const { code, out, err } = await run(["node", "list", "--endpoint", "127.0.0.1:1"], {
    env: { NEXUS_TOKEN: TOKEN },
  });
  assert.equal(code, 5);
  assert.equal(out, "");
  assert.match(err, /^nexus: cannot reach node at 127\.0\.0\.1:1: connection refused\nhint: /);
});

Deno.test("a wrong token is exit code 4, a missing one says where it was looked for", async () => {
  await using node = fakeNode();
  const env = { NEXUS_ENDPOINT: node.endpoint };
  const wrong = await run(["node", "list"], { env: { ...env, NEXUS_TOKEN: "another-token" } });
  assert.equal(wrong.code, 4);
  assert.match(wrong.err, /\nhint: .*--state-dir.*--token-file/);
  const missing = await run(["node", "list", "--state-dir", "/nonexistent"], { env });
  assert.equal(missing.code, 4);
  assert.match(missing.err, /\/nonexistent\/admin\.token: no such file/);
  assert.match(missing.err, /\nhint: .*--state-dir.*--token-file/);
});

Deno.test("the token is taken from the file that is named", async () => {
  await using node = fakeNode();
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, TOKEN + "\n");
    const args = ["node", "list", "--endpoint", node.endpoint, "--token-file", file];
    assert.equal((await run(args)).code, 0);
    await Deno.writeTextFile(file, "");
    assert.equal((await run(args)).code, 4);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("usage mistakes are exit code 2, with a hint, on standard error only", async () => {
  const wrong = [
    [],
    ["node"],
    ["nodes"],
    ["node", "lisst"],
    ["node", "list", "--nope"],
    ["node", "list", "-o", "xml"],
    ["route", "resolve"],
    ["node", "list", "too", "many"],
    ["version", "--endpoint"],
    ["config", "validate", "--set", "nonsense"],
    ["config", "show", "-o", "name"],
    ["demo", "-o", "name"],
  ];
  for (const args of wrong) {
    const { code, out, err } = await run(args);
    assert.equal(code, 2, args.join(" "));
    assert.equal(out, "", args.join(" "));
    assert.notEqual(err, "", args.join(" "));
  }
  assert.equal(
    (await run(["node", "lisst"])).err,
    "nexus: unknown command 'lisst' (Did you mean list?)\nhint: add --help\n",
  );
});

Deno.test("every command has a help text with an example, on standard output", async () => {
  const commands = [
    "up",
    "daemon",
    "invite",
    "demo",
    "infer",
    "route resolve",
    "route table",
    "node list",
    "node info",
    "trust keys generate",
    "trust ca init",
    "trust ca issue",
    "trust csr create",
    "trust mic show",
    "config validate",
    "config show",
    "completion",
  ];
  for (const command of ["", ...commands]) {
    const { code, out, err } = await run([...command.split(" ").filter(Boolean), "--help"]);
    assert.equal(code, 0, command);
    assert.equal(err, "", command);
    assert.match(out, /\nExamples:\n {2}nexus /, command);
  }
});

Deno.test("up hands its flags to the node as config keys", async () => {
  const runs: RunOptions[] = [];
  const args =
    "up --join nxi1_x --config n.yaml --name w --listen 127.0.0.1:0 --admin 127.0.0.1:1 " +
    "--bridge 127.0.0.1:2 --state-dir /s --set limits.drain_ms=5 --set log.level=debug " +
    "--uses 3 --expires 15m -o json";
  const { code } = await run(args.split(" "), { handlers: fakeHandlers(runs) });
  assert.equal(code, 0);
  assert.deepEqual(runs, [{
    configFile: "n.yaml",
    overrides: {
      "mesh.join": "nxi1_x",
      "node.name": "w",
      "node.state_dir": "/s",
      "link.listen": "127.0.0.1:0",
      "admin.listen": "127.0.0.1:1",
      "bridge.listen": "127.0.0.1:2",
      "limits.drain_ms": "5",
      "log.level": "debug",
    },
    flagNames: {
      "mesh.join": "--join",
      "node.name": "--name",
      "node.state_dir": "--state-dir",
      "link.listen": "--listen",
      "admin.listen": "--admin",
      "bridge.listen": "--bridge",
    },
    printInvite: true,
    inviteUses: 3,
    inviteLifeS: 900,
    output: "json",
  }]);
});

Deno.test("up refuses a key that is set twice, and two invites", async () => {
  for (
    const args of [
      ["up", "--name", "a", "--set", "node.name=b"],
      ["up", "--join", "nxi1_a", "--join-file", "f"],
      ["up", "--uses", "0"],
    ]
  ) assert.equal((await run(args)).code, 2, args.join(" "));
});

Deno.test("daemon ends with the node's exit code, 78 for a mistake that a restart cannot mend", async () => {
  const runs: RunOptions[] = [];
  const done = await run(["daemon", "--config", "n.yaml", "--set", "a.b=c=d"], {
    handlers: {
      ...fakeHandlers(runs),
      runNode: (options) => (runs.push(options), Promise.resolve(7)),
    },
  });
  assert.equal(done.code, 7);
  assert.deepEqual(runs[0], {
    configFile: "n.yaml",
    overrides: { "a.b": "c=d" },
    flagNames: {},
    printInvite: false,
    output: "table",
  });
  const failing = (lasting: boolean) => ({
    runNode: () => Promise.reject(new NexusError("CONFIG_INVALID", "n.yaml:1: a\nn.yaml:2: b")),
    isConfigMistake: () => Promise.resolve(lasting),
  });
  const lasting = await run(["daemon"], { handlers: failing(true) });
  assert.equal(lasting.code, 78);
  assert.equal(lasting.err, "nexus: n.yaml:1: a\nnexus: n.yaml:2: b\n");
  assert.equal((await run(["daemon"], { handlers: failing(false) })).code, 1);
});

Deno.test("the exit code of a join that failed says whether it was refused or nobody was there", async () => {
  const codes = {
    2: ["INVALID_INVITE"],
    4: [
      "INVITE_REFUSED",
      "ALERT_INVITE_REFUSED",
      "JOIN_REFUSED",
      "INVITE_EXPIRED",
      "ALERT_UNKNOWN_CA",
      "ALERT_REVOKED",
    ],
    5: ["HANDSHAKE_TIMEOUT", "CONNECT_TIMEOUT", "UNREACHABLE", "UNKNOWN_HOST", "ALERT_OVERLOADED"],
    1: ["ALERT_INTERNAL"],
  };
  for (const [expected, all] of Object.entries(codes)) {
    for (const code of all) {
      const handlers = { runNode: () => Promise.reject(new NexusError(code, "cannot join")) };
      assert.equal((await run(["up"], { handlers })).code, Number(expected), code);
    }
  }
});

Deno.test("a mistake on the command line is a usage mistake, one of the file is not", async () => {
  const failing = (...places: string[]) => {
    const mistakes = places.map((where) => ({ where, key: "", message: "is wrong" }));
    const error = Object.assign(new NexusError("CONFIG_INVALID", "wrong"), { mistakes });
    return { handlers: { runNode: () => Promise.reject(error) } };
  };
  assert.equal((await run(["up"], failing("--join"))).code, 2);
  assert.equal((await run(["up"], failing("--join", "n.yaml:3"))).code, 1);
});

Deno.test("a fault of ours is told without a stack, which --verbose shows", async () => {
  const handlers = { runNode: () => Promise.reject(new TypeError("x is undefined")) };
  const short = await run(["up"], { handlers });
  assert.equal(short.code, 1);
  assert.match(short.err, /^nexus: internal error: x is undefined\nhint: /);
  assert.match((await run(["up", "-v"], { handlers })).err, /at .*commands_test\.ts/);
});

Deno.test("--verbose tells code and causes of an error", async () => {
  const error = new NexusError("A", "cannot a", {
    cause: new Error("b", { cause: new Error("c") }),
  });
  const handlers = { runNode: () => Promise.reject(error) };
  assert.equal((await run(["up"], { handlers })).err, "nexus: cannot a\n");
  assert.equal(
    (await run(["up", "-v"], { handlers })).err,
    "nexus: cannot a\n  code: A\n  because: b\n  because: c\n",
  );
});

Deno.test("a reader that has seen enough is no failure", async () => {
  const { code, err } = await run(["version"], {
    onOut: () => {
      throw new Deno.errors.BrokenPipe("Broken pipe (os error 32)");
    },
  });
  assert.equal(code, 0);
  assert.equal(err, "");
});

Deno.test("colour goes to a terminal only, and not with --no-color", async () => {
  await using node = fakeNode();
  const env = { ...node.env, TERM: "xterm" };
  const coloured = await run(["node", "list"], { env, outIsTerminal: true });
  assert.ok(coloured.out.includes("\x1b[32m"));
  for (
    const setup of [
      { args: ["node", "list", "--no-color"], env, outIsTerminal: true },
      { args: ["node", "list"], env: { ...env, NO_COLOR: "1" }, outIsTerminal: true },
      { args: ["node", "list"], env, outIsTerminal: false },
    ]
  ) assert.ok(!(await run(setup.args, setup)).out.includes("\x1b"));
});

Deno.test("bash completes commands and flags from the printed script", async () => {
  const { code, out } = await run(["completion", "bash"]);
  assert.equal(code, 0);
  const complete = async (...words: string[]) => {
    const script = `${out}\nCOMP_WORDS=(nexus ${words.map((word) => `'${word}'`).join(" ")})\n` +
      `COMP_CWORD=${words.length}\n_nexus\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await new Deno.Command("bash", { args: ["-c", script] }).output();
    return new TextDecoder().decode(stdout).split("\n").filter(Boolean);
  };
  assert.deepEqual(await complete("ro"), ["route"]);
  assert.deepEqual(await complete("node", "l"), ["list"]);
  assert.deepEqual(await complete("trust", "ca", "i"), ["init", "issue"]);
  assert.deepEqual(await complete("invite", "--us"), ["--uses"]);
  assert.deepEqual(await complete("invite", "--outp"), ["--output"]);
});

Deno.test("completion scripts of all shells name every command", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, out } = await run(["completion", shell]);
    assert.equal(code, 0);
    for (const word of ["resolve", "generate", "deadline"]) assert.ok(out.includes(word), shell);
  }
  assert.equal((await run(["completion", "tcsh"])).code, 2);
});
