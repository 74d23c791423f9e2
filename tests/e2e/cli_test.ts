/** The command line against two real nodes: what it says is what the nodes are. */
import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import { toHex } from "../../lib/base/mod.ts";
import { decodeInvite, nobleEngine } from "../../lib/l4_trust/mod.ts";
import { cli, cliFails, cliJson, on, runCli } from "./cli.ts";
import { type Config, e2e, type NodeProcess, type Stage } from "./harness.ts";

const MAPLE: Config = {
  providers: [{
    type: "embedded",
    models: [{
      name: "maple-echo",
      capabilities: ["text_gen"],
      context: "8k",
      latency_ms: 20,
      answer: "echo",
    }],
  }],
};
const OAK: Config = {
  node: { region: "DE" },
  providers: [{
    type: "embedded",
    models: [
      {
        name: "oak-coder",
        capabilities: ["text_gen", "code_gen"],
        context: "64k",
        latency_ms: 30,
        cost: "$0.001/1k",
        answer: "text",
        answer_text: "I am oak, of two\nlines.",
      },
      { name: "oak-mini", capabilities: ["code_gen"], context: "4k", latency_ms: 10 },
    ],
  }],
};
const MODELS = ["maple-echo", "oak-coder", "oak-mini"];
const CODER = "cap=code_gen,ctx>=32k";

/** maple makes the mesh, oak joins it; both know all models. */
async function pair(stage: Stage): Promise<[NodeProcess, NodeProcess]> {
  const maple = await stage.start("maple", MAPLE);
  const oak = await stage.start("oak", { ...OAK, mesh: { join: maple.invite } });
  await Promise.all([maple.knows(...MODELS), oak.knows(...MODELS)]);
  return [maple, oak];
}

e2e("nexus infer against two nodes", async (stage, t) => {
  const [maple, oak] = await pair(stage);

  await t.step("the answer alone is on standard output", async () => {
    const { code, stdout, stderr } = await runCli(on(maple, "infer", CODER, "who are you?"));
    assert.deepEqual([code, stdout, stderr], [0, "I am oak, of two\nlines.\n", ""]);
  });
  await t.step("-o json: text, who answered, over which handshake, and the numbers", async () => {
    const answer = await cliJson(on(maple, "infer", CODER, "who are you?"));
    assert.equal(answer.text, "I am oak, of two\nlines.");
    assert.deepEqual([answer.model, answer.nodeId], ["oak-coder", oak.nodeId]);
    assert.equal(answer.finishReason, "stop");
    assert.ok(answer.usage.promptTokens > 0 && answer.usage.completionTokens > 0);
    assert.ok(answer.latencyMs > 0 && answer.ttftMs > 0 && answer.ttftMs <= answer.latencyMs);
    assert.ok(answer.network.bytesReceived > 0 && answer.network.retransmissions >= 0);
    assert.deepEqual(answer.attempts.map((each: { nodeId: string }) => each.nodeId), [oak.nodeId]);
    assert.deepEqual(answer.retries, []);
    assert.equal(answer.handshake.certificate.nodeId, oak.nodeId);
    const { candidates } = answer.resolution;
    assert.deepEqual(candidates.map((each: { model: string }) => each.model).sort(), MODELS);
    const chosen = candidates.filter((each: { chosen: boolean }) => each.chosen);
    assert.deepEqual(chosen.map((each: { model: string }) => each.model), ["oak-coder"]);
  });
  await t.step("a node that answers itself shakes no hands", async () => {
    const answer = await cliJson(on(oak, "infer", CODER, "who are you?"));
    assert.equal(answer.nodeId, oak.nodeId);
    assert.equal(answer.handshake, undefined);
    assert.equal(answer.attempts[0].local, true);
  });
  await t.step(
    "a model's name asks that model; - takes the prompt from standard input",
    async () => {
      const prompt = "line one\nline two: äöü € 🌳\n";
      const stdout = await cli(on(oak, "infer", "maple-echo", "-"), { stdin: prompt });
      assert.equal(stdout.trimEnd(), prompt.trimEnd());
    },
  );
  await t.step("-v tells candidates, handshake and numbers on standard error", async () => {
    const { code, stdout, stderr } = await runCli(on(maple, "infer", CODER, "who?", "-v"));
    assert.deepEqual([code, stdout], [0, "I am oak, of two\nlines.\n"]);
    const [address] = oak.ready.link;
    const told = oneLine(stderr);
    assert.match(told, /^asked cap=code_gen,/);
    assert.match(told, / oak oak-coder ([\d.]+ ){7}chosen /);
    assert.match(told, / maple maple-echo (- ){7}rejected: lacks code_gen/);
    assert.ok(told.includes(` attempt 1: oak-coder on oak (${address}) `), told);
    assert.match(told, new RegExp(` secured .*certificate of ${oak.nodeId}, role node`));
    assert.match(told, / done \d+ tokens, .* \d+ retransmissions, stop $/);
  });
  await t.step("nobody has the model, or can what is asked: exit code 3", async () => {
    assert.match(await cliFails(3, on(maple, "infer", "no-such-model", "x")), /no-such-model/);
    assert.match(await cliFails(3, on(maple, "infer", "cap=vision", "x")), /vision|capabilit/);
  });
  await t.step("a malformed SAD and an empty prompt: exit code 2", async () => {
    assert.match(await cliFails(2, on(maple, "infer", "cap=flying", "x")), /flying/);
    assert.match(await cliFails(2, on(maple, "infer", CODER, " ")), /prompt is empty/);
  });
  await t.step("a wrong token: exit code 4, and no token in what is said", async () => {
    const wrong = "b".repeat(43);
    const options = { env: { NEXUS_TOKEN: wrong } };
    const { code, stdout, stderr } = await runCli(on(maple, "infer", CODER, "x"), options);
    assert.deepEqual([code, stdout], [4, ""]);
    assert.match(stderr, /^nexus: .*token/);
    assert.ok(!stderr.includes(wrong));
  });
  await t.step("the far node gone: nobody can answer; the asked node gone: 5", async () => {
    await oak.stop();
    await maple.knows("maple-echo");
    await cliFails(3, on(maple, "infer", CODER, "x"));
    await maple.stop();
    assert.match(
      await cliFails(5, on(maple, "infer", CODER, "x")),
      new RegExp(`cannot reach node at ${maple.ready.admin}`),
    );
  });
});

e2e("nexus node, route, trust and invite say what the nodes are", async (stage, t) => {
  const [maple, oak] = await pair(stage);

  await t.step("node list", async () => {
    const { nodes } = await cliJson(on(maple, "node", "list"));
    assert.deepEqual(nodes.map((each: { id: string }) => each.id), [maple.nodeId, oak.nodeId]);
    const [self, other] = nodes;
    assert.deepEqual([self.self, other.self, other.connected], [true, false, true]);
    assert.deepEqual([self.name, other.name], ["maple", "oak"]);
    assert.deepEqual(other.addresses, oak.ready.link);
    assert.deepEqual(other.models.toSorted(), ["oak-coder", "oak-mini"]);
    assert.equal(other.region, "DE");
    const table = await cli(on(maple, "node", "list"));
    assert.match(
      table,
      new RegExp(`^${oak.nodeId.slice(0, 8)} +oak +connected +${oak.ready.link[0]} `, "m"),
    );
    assert.equal(await cli(on(maple, "node", "list", "-o", "name")), nodeLines(maple, oak));
  });
  await t.step("node info, of the node asked and of another one", async () => {
    const info = await cliJson(on(oak, "node", "info"));
    assert.deepEqual(
      [info.id, info.name, info.pid, info.stateDir, info.state, info.region],
      [oak.nodeId, "oak", oak.pid, oak.place.stateDir, "running", "DE"],
    );
    const { link, admin, bridge } = info.addresses;
    assert.deepEqual({ link, admin, bridge }, {
      link: oak.ready.link,
      admin: oak.ready.admin,
      bridge: oak.ready.bridge,
    });
    assert.equal(info.ca.here, false);
    assert.equal((await cliJson(on(maple, "node", "info"))).ca.here, true);
    const other = await cliJson(on(maple, "node", "info", oak.nodeId.slice(0, 12)));
    assert.deepEqual([other.id, other.self], [oak.nodeId, false]);
    const table = await cli(on(maple, "node", "info", "oak"));
    assert.match(table, new RegExp(`^id +${oak.nodeId}\nname +oak\nstate +connected\n`));
    await cliFails(3, on(maple, "node", "info", "elm"));
  });
  await t.step("route table", async () => {
    const { routes } = await cliJson(on(maple, "route", "table"));
    assert.deepEqual(routes.map((each: { model: string }) => each.model), MODELS);
    const [, coder] = routes;
    assert.deepEqual(
      [coder.nodeId, coder.nodeName, coder.context, coder.costMicros, coder.costPer1k],
      [oak.nodeId, "oak", 65_536, 1_000, true],
    );
    assert.deepEqual(coder.capabilities.toSorted(), ["code_gen", "text_gen"]);
    assert.deepEqual(routes.map((each: { local: boolean }) => each.local), [true, false, false]);
    assert.match(
      await cli(on(maple, "route", "table")),
      /^oak-coder +oak +64k /m,
    );
  });
  await t.step("route resolve: a score or a reason for each, the best one chosen", async () => {
    const { sad, candidates } = await cliJson(on(maple, "route", "resolve", CODER));
    assert.match(sad, /cap=code_gen.*ctx>=/);
    const of = (model: string) =>
      candidates.find((each: { model: string }) => each.model === model);
    assert.ok(of("oak-coder").chosen && of("oak-coder").score > 0);
    assert.match(of("oak-mini").rejected, /context/);
    assert.match(of("maple-echo").rejected, /lacks code_gen/);
    const table = oneLine(await cli(on(maple, "route", "resolve", CODER)));
    assert.match(table, / oak oak-coder ([\d.]+ ){7}chosen /);
    assert.match(table, / oak oak-mini (- ){7}rejected: context /);
    const { code, stdout, stderr } = await runCli(on(maple, "route", "resolve", "cap=vision"));
    assert.equal(code, 3);
    assert.match(stdout, /rejected: lacks vision/);
    assert.match(stderr, /^nexus: no node can answer/);
    assert.match(await cliFails(2, on(maple, "route", "resolve", "ctx>=many")), /ctx/);
  });
  await t.step("trust mic show: the chain of the running node", async () => {
    const { chain, roots } = await cliJson(on(oak, "trust", "mic", "show"));
    assert.deepEqual(
      [chain[0].nodeId, chain[0].role, chain.at(-1).role],
      [oak.nodeId, "node", "ca"],
    );
    assert.deepEqual(chain[0].models.toSorted(), ["oak-coder", "oak-mini"]);
    assert.equal(chain[0].issuerNodeId, chain[1].nodeId);
    const ca = (await cliJson(on(maple, "node", "info"))).ca.fingerprint;
    assert.deepEqual([roots, chain.at(-1).fingerprint], [[ca], ca]);
    assert.match(await cli(on(oak, "trust", "mic", "show")), /^leaf\n {2}node id +[0-9a-f]{32}$/m);
  });
  await t.step("invite: its token alone, and a node joins with it", async () => {
    const { token, uses, expiresS } = await cliJson(
      on(maple, "invite", "--uses", "2", "--expires", "5m"),
    );
    assert.equal(uses, 2);
    assert.ok(Math.abs(expiresS - Date.now() / 1000 - 300) < 60);
    const { seeds } = decodeInvite(token, nobleEngine);
    assert.deepEqual(seeds.map(({ nodeId }) => nodeId && toHex(nodeId)), [maple.nodeId]);
    const { stdout, stderr } = await runCli(on(maple, "invite"));
    assert.match(stdout, /^nxi1_[A-Za-z0-9_-]+\n$/);
    assert.match(stderr, /one node or client/);
    const elm = await stage.start("elm", { providers: [], mesh: { join: stdout.trim() } });
    await elm.knows(...MODELS);
    assert.match(await cliFails(1, on(oak, "invite")), /CA|authority|made the mesh/);
  });
  await t.step("a wrong token is 4 everywhere", async () => {
    const options = { env: { NEXUS_TOKEN: "c".repeat(43) } };
    for (const words of [["node", "list"], ["route", "table"], ["invite"]]) {
      await cliFails(4, on(maple, ...words), options);
    }
  });
});

/** Where lines break is a matter of width. */
function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

function nodeLines(...nodes: NodeProcess[]): string {
  return nodes.map(({ nodeId }) => `${nodeId}\n`).join("");
}

Deno.test("nexus version says what deno.json says", async () => {
  const version = await cliJson(["version"]);
  assert.equal(version.version, config.version);
  assert.ok(version.protocol >= 1);
  const table = await cli(["version"]);
  assert.deepEqual(table.split("\n")[0].split(/ +/), ["nexus", config.version]);
  assert.equal(await cli(["version", "-o", "name"]), `${config.version}\n`);
});
