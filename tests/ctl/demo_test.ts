import assert from "node:assert/strict";
import { LocalMesh } from "../../lib/ctl/demo/local_mesh.ts";
import { configText, DEMO_NODES } from "../../lib/ctl/demo/nodes.ts";
import { NodeProcess } from "../../lib/ctl/demo/node_process.ts";
import { rowsOf, whyLost } from "../../lib/ctl/demo/verdict.ts";
import { formatCandidates } from "../../lib/ctl/route/candidates.ts";
import { parseCapabilities, parseSad, resolve, RoutingTable } from "../../lib/l2_route/mod.ts";
import { loadConfig } from "../../lib/node/config/mod.ts";
import { FakeTerminal, run } from "./support.ts";

const SAD = "cap=code_gen+tool_use,ctx>=32k,latency<500ms";

/** The routing table that the demo's nodes would make. */
function demoResolution() {
  const table = new RoutingTable();
  DEMO_NODES.forEach((node, i) => {
    const { config } = loadConfig({ text: configText(node, "/s") });
    const [provider] = config.providers;
    if (provider.type !== "embedded") throw new Error("the demo needs nothing installed");
    const nodeId = `${i + 1}${i + 1}`.repeat(16);
    for (const model of provider.models) {
      table.insert({
        nodeId,
        name: model.name,
        arch: 1,
        capabilities: model.capabilities ?? 0,
        context: model.context ?? 0,
        latencyMs: model.latency_ms ?? 0,
        cost: model.cost?.micros ?? 0,
        per1k: model.cost?.per1k ?? false,
        trust: 1,
        benchmark: 0,
        publisher: nodeId,
        region: 0,
        maxConcurrency: 16,
      }, Infinity);
    }
  });
  return resolve(table.snapshot(), parseSad(SAD), { nowUs: 0 });
}

Deno.test("the demo's nodes give the question one winner, one loser and misfits for each reason", () => {
  const { chosen, candidates } = demoResolution();
  assert.equal(chosen?.model, "birch-coder"); // Not on the first node: the client must dial it.
  assert.equal(candidates.filter((each) => each.rejected === undefined).length, 2);
  const reasons = candidates.map((each) => each.rejected ?? "").join("; ");
  assert.match(reasons, /context/);
  assert.match(reasons, /lacks/);
});

Deno.test("the configs of the demo join with a file, on loopback and free ports", () => {
  const dir = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${dir}/invite`, "nxi1_abc\n", { mode: 0o600 });
    const text = configText(DEMO_NODES[1], `${dir}/state`, `${dir}/invite`);
    const { config, secrets, warnings } = loadConfig({ text });
    assert.deepEqual(warnings, []);
    assert.equal(secrets.join, "nxi1_abc");
    for (
      const { host, port } of [config.link.listen, config.admin.listen, config.bridge.listen]
    ) {
      assert.deepEqual({ host, port }, { host: "127.0.0.1", port: 0 });
    }
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("a loser's verdict names the terms that cost it the most", () => {
  const resolution = demoResolution();
  const loser = resolution.candidates[1];
  const gap = resolution.chosen!.score - loser.score;
  assert.match(
    whyLost(loser, resolution)!,
    new RegExp(`^lost by ${gap.toFixed(3)}: (cost|latency) −0\\.\\d+, (cost|latency) −0\\.\\d+$`),
  );
  assert.equal(whyLost(resolution.chosen!, resolution), undefined);
  const table = formatCandidates(rowsOf(resolution, (id) => ({ ["22".repeat(16)]: "birch" })[id]));
  assert.match(table, /\nbirch .* birch-coder .* chosen\n/);
  assert.match(table, /\n11111111 .* lost by/);
  assert.match(table, /rejected: /);
});

Deno.test("a tie is said to be one", () => {
  const table = new RoutingTable();
  for (const nodeId of ["11".repeat(16), "22".repeat(16)]) {
    table.insert({
      ...demoResolution().chosen!.entry,
      nodeId,
      capabilities: parseCapabilities("code_gen+tool_use"),
    }, Infinity);
  }
  const resolution = resolve(table.snapshot(), parseSad(SAD), { nowUs: 0 });
  assert.match(whyLost(resolution.candidates[1], resolution)!, /same score/);
});

// ── processes ───────────────────────────────────────────────────────────────────────────

/** A program that behaves like this, and the ids of its processes. */
function fakeProgram(behaviour: string) {
  const pidFile = Deno.makeTempFileSync();
  const script = new URL("./fake_node.ts", import.meta.url).pathname;
  return {
    command: [
      ...[Deno.execPath(), "run", "--quiet", "--no-prompt", "--no-config", "--allow-write"],
      ...[script, behaviour, pidFile],
    ],
    pids: () => Deno.readTextFileSync(pidFile).split("\n").filter(Boolean).map(Number),
    [Symbol.dispose]: () => Deno.removeSync(pidFile),
  };
}

function isAlive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT"); // Harmless to a process that runs.
    return true;
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return false;
    throw thrown;
  }
}

/** A place of our own for temporary directories, so that what is left behind shows. */
function privateTemp() {
  const before = Deno.env.get("TMPDIR");
  const dir = Deno.makeTempDirSync();
  Deno.env.set("TMPDIR", dir);
  return {
    demos: () => [...Deno.readDirSync(dir)].filter(({ name }) => name.startsWith("nexus-demo-")),
    [Symbol.dispose]: () => {
      if (before === undefined) Deno.env.delete("TMPDIR");
      else Deno.env.set("TMPDIR", before);
      Deno.removeSync(dir, { recursive: true });
    },
  };
}

const never = new AbortController().signal;

Deno.test("a node is ready with its line, and gone when stopped", async () => {
  using program = fakeProgram("obeys");
  const process = new NodeProcess("n", program.command, ["up"]);
  const ready = await process.ready(never);
  assert.equal(ready.invite?.uses, 3);
  assert.ok(isAlive(process.pid));
  await process.stop();
  assert.ok(!isAlive(process.pid));
  await process.stop(); // A second time is harmless.
});

Deno.test("a node that ignores SIGTERM is killed", async () => {
  using program = fakeProgram("ignores");
  const process = new NodeProcess("n", program.command, []);
  await process.ready(never);
  await process.stop(10);
  assert.ok(!isAlive(process.pid));
});

Deno.test("a node that ends before it serves is an error, and what it said is kept", async () => {
  using program = fakeProgram("fails");
  const process = new NodeProcess("n", program.command, []);
  await assert.rejects(process.ready(never), { code: "NODE_FAILED", message: /ended with 1/ });
  assert.match(process.errors, /port 6477 is in use/);
  await process.stop();
});

Deno.test("a node that says something else is an error", async () => {
  using program = fakeProgram("chatters");
  const process = new NodeProcess("n", program.command, []);
  await assert.rejects(process.ready(never), { code: "NODE_FAILED" });
  await process.stop();
});

Deno.test("waiting for a node ends with the signal", async () => {
  using program = fakeProgram("hangs");
  const process = new NodeProcess("n", program.command, []);
  const stop = new AbortController();
  const waiting = process.ready(stop.signal);
  stop.abort();
  await assert.rejects(waiting, { code: "CANCELLED" });
  await process.stop();
  assert.ok(!isAlive(process.pid));
});

Deno.test("a program that cannot be started is an error", () => {
  assert.throws(() => new NodeProcess("n", ["/nonexistent/nexus"], []), { code: "NODE_FAILED" });
});

Deno.test("closing a mesh ends its processes and removes its directory", async () => {
  using temp = privateTemp();
  using program = fakeProgram("obeys");
  const mesh = new LocalMesh(program.command);
  const first = await mesh.startFirst(DEMO_NODES[0], never);
  await mesh.startNext(DEMO_NODES[1], first.ready.invite!.token, never);
  assert.equal(temp.demos().length, 1);
  await mesh.close();
  assert.equal(program.pids().length, 2);
  assert.ok(!program.pids().some(isAlive));
  assert.deepEqual(temp.demos(), []);
});

Deno.test("a demo whose nodes fail shows their words, ends with 1 and leaves nothing", async () => {
  using temp = privateTemp();
  using program = fakeProgram("fails");
  const { code, err } = await run(["demo"], { handlers: { self: program.command } });
  assert.equal(code, 1);
  assert.match(err, /│ nexus: port 6477 is in use\n/);
  assert.match(err, /nexus: cannot start node alder: it ended with 1\n$/);
  assert.deepEqual(temp.demos(), []);
});

Deno.test("a demo that breaks off later ends the nodes that run", async () => {
  using program = fakeProgram("obeys");
  const { code, err } = await run(["demo"], { handlers: { self: program.command } });
  assert.equal(code, 2);
  assert.match(err, /cannot read invite/); // The client cannot use the fake's token.
  assert.equal(program.pids().length, 3);
  assert.ok(!program.pids().some(isAlive));
});

Deno.test("Ctrl-C during the demo's start ends it with 130 and leaves nothing", async () => {
  using temp = privateTemp();
  using program = fakeProgram("hangs");
  const setup = {
    handlers: { self: program.command },
    onOut: (text: string, terminal: FakeTerminal) => {
      if (text.includes("private mesh")) queueMicrotask(() => terminal.stop());
    },
  };
  const { code, err } = await run(["demo"], setup);
  assert.equal(code, 130);
  assert.equal(err, "");
  assert.ok(!program.pids().some(isAlive));
  assert.deepEqual(temp.demos(), []);
});
