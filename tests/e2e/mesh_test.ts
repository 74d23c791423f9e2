/** Nodes find each other, tell each other what they have, leave and come back. */
import assert from "node:assert/strict";
import { type Config, e2e, failureOf, type NodeProcess, until } from "./harness.ts";

/** A provider whose answer names it. */
const model = (name: string): Config => ({
  providers: [{
    type: "embedded",
    models: [{
      name,
      capabilities: ["text_gen"],
      answer: "text",
      answer_text: `I am ${name}`,
      latency_ms: 10,
    }],
  }],
});

/** What the model says when it is asked through this node, and which node answered. */
async function ask(node: NodeProcess, name: string) {
  const { data, response } = await node.openai().chat.completions
    .create({ model: name, messages: [{ role: "user", content: "who are you?" }] })
    .withResponse();
  assert.equal(data.choices[0].message.content, `I am ${name}`);
  return response.headers.get("x-nexus-node");
}

async function peersOf(node: NodeProcess): Promise<string[]> {
  const { connections } = await node.adminJson("/api/v1/connections");
  return connections.map((each: { nodeId: string }) => each.nodeId).toSorted();
}

e2e("knowledge spreads: who joined through one node asks the others directly", async (stage, t) => {
  const a = await stage.start("a", model("of-a"));
  const b = await stage.start("b", { ...model("of-b"), mesh: { join: a.invite } });
  const c = await stage.start("c", { ...model("of-c"), mesh: { join: a.invite } });
  const all = ["of-a", "of-b", "of-c"];

  await t.step("every node knows every model, and they are listed at every bridge", async () => {
    for (const node of [a, b, c]) {
      await node.knows(...all);
      const { data } = await node.openai().models.list();
      assert.deepEqual(data.map(({ id }) => id), all);
    }
  });
  await t.step("c asks b on a connection of their own; a has no part in it", async () => {
    assert.deepEqual(await peersOf(c), [a.nodeId]);
    const through = await a.metric("nexus_requests_total");
    assert.equal(await ask(c, "of-b"), b.nodeId);
    assert.deepEqual(await peersOf(c), [a.nodeId, b.nodeId].toSorted());
    assert.equal(await a.metric("nexus_requests_total"), through);
    assert.equal(await b.metric("nexus_requests_total", /side="server".*outcome="ok"/), 1);
  });
  await t.step("every node asks every other one, both ways of a connection", async () => {
    for (const asking of [a, b, c]) {
      assert.equal(await ask(asking, "of-a"), a.nodeId);
      assert.equal(await ask(asking, "of-b"), b.nodeId);
      assert.equal(await ask(asking, "of-c"), c.nodeId);
    }
  });
  await t.step("a node that leaves by SIGTERM takes its models with it at once", async () => {
    assert.equal((await b.stop()).code, 0);
    for (const node of [a, c]) await node.knows("of-a", "of-c");
    assert.equal((await failureOf("it", ask(c, "of-b"))).status, 404);
  });
  await t.step("a node that is killed is passed over; nothing hangs", async () => {
    const again = await stage.start(b.place);
    for (const node of [a, c]) await node.knows(...all);
    await ask(c, "of-b");
    await again.kill();
    const failed = await failureOf("the request", ask(c, "of-b"));
    assert.ok(failed.status >= 500, String(failed));
    // From now on it is known to be gone: said at once, as something that may pass.
    const next = await failureOf("the request", ask(c, "of-b"));
    assert.equal(next.status, 503);
    assert.match(next.message, /unreachable|circuit/);
    assert.equal(await ask(c, "of-a"), a.nodeId);
  });
  await t.step("it comes back after the kill, with its name, and is asked again", async () => {
    const back = await stage.start(b.place);
    assert.equal(back.nodeId, b.nodeId);
    const answered = await until(
      "b to be asked",
      () =>
        ask(c, "of-b").catch((error) => {
          if (error.status === 503) return undefined;
          throw error;
        }),
    );
    assert.equal(answered, b.nodeId);
  });
});

e2e("a node started again is the node it was", async (stage, t) => {
  const a = await stage.start("a", model("of-a"));
  const b = await stage.start("b", { ...model("of-b"), mesh: { join: a.invite } });
  await a.knows("of-a", "of-b");
  await b.knows("of-a", "of-b");
  const identity = async (node: NodeProcess) => {
    const { encoded, roots } = await node.adminJson("/api/v1/trust/mic");
    return { nodeId: node.nodeId, encoded, roots, token: node.token };
  };
  const before = await identity(b);

  let again = b;
  for (const how of ["stop", "kill"] as const) {
    await t.step(`after ${how}: same id, certificate and token, connected again`, async () => {
      await again[how]();
      again = await stage.start(b.place);
      assert.deepEqual(await identity(again), before);
      await again.knows("of-a", "of-b");
      assert.equal(await ask(again, "of-a"), a.nodeId);
      await until("a to ask b", () => ask(a, "of-b").catch(() => undefined));
    });
  }
  await t.step("without token and seeds it finds the mesh by what it remembers", async () => {
    await again.stop();
    stage.rewrite(b.place, model("of-b"));
    again = await stage.start(b.place);
    await again.knows("of-a", "of-b");
    assert.equal(again.nodeId, before.nodeId);
    assert.equal(await ask(again, "of-a"), a.nodeId);
  });
  await t.step(
    "the node that made the mesh comes back at its address: they meet again",
    async () => {
      await a.kill();
      stage.rewrite(a.place, { ...model("of-a"), link: { listen: a.ready.link[0] } });
      const back = await stage.start(a.place);
      assert.equal(back.nodeId, a.nodeId);
      assert.ok(back.invite.startsWith("nxi1_"), "it is still the authority");
      await back.knows("of-a", "of-b");
      assert.equal(await ask(back, "of-b"), before.nodeId);
      await until("b to ask a", () => ask(again, "of-a").catch(() => undefined));
    },
  );
});
