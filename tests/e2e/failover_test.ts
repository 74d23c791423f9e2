/** Nodes that die or leave while they answer, and what the asking side sees of it. */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { FakeUpstream, Gate } from "./fake_upstream.ts";
import { type Config, e2e, failureOf, type NodeProcess, type Stage, until } from "./harness.ts";

const SAD = "cap=code_gen";

/**
 * A node that asks, and two that answer, each with an upstream of its own. Both upstreams know the
 * order in which they are asked: the first has by far the better latency.
 */
async function trio(stage: Stage, answering: Config = {}): Promise<{
  asking: NodeProcess;
  nodes: Record<"first" | "second", NodeProcess>;
  upstreams: Record<"first" | "second", FakeUpstream>;
}> {
  const upstreams = { first: new FakeUpstream(["quick"]), second: new FakeUpstream(["slow"]) };
  for (const upstream of Object.values(upstreams)) stage.onClear(() => upstream.close());
  // One candidate is chosen, not one of the best three.
  const asking = await stage.start("asking", { routing: { top_k: 1 } });
  const config = (upstream: FakeUpstream, latency_ms: number): Config => ({
    ...answering,
    mesh: { join: asking.invite },
    providers: [upstream.provider({ model: { latency_ms, capabilities: ["code_gen"] } })],
  });
  const [first, second] = await stage.startAll({
    first: config(upstreams.first, 20),
    second: config(upstreams.second, 2_000),
  });
  await asking.knows("quick", "slow");
  return { asking, nodes: { first, second }, upstreams };
}

const request = (content = "hi") => ({
  model: `${SAD},latency<10s`,
  messages: [{ role: "user" as const, content }],
});

e2e("the answering node is killed before the first token: another one answers", async (stage) => {
  const { asking, nodes, upstreams } = await trio(stage);
  const asked = new Gate();
  upstreams.first.script = () => {
    asked.open();
    return { tokens: ["never"], before: () => new Promise(() => {}) };
  };
  upstreams.second.script = () => ({ tokens: ["from ", "the ", "second"] });
  const answer = asking.openai().chat.completions
    .create({ ...request(), stream: true }, { headers: { "x-nexus-deadline-ms": "15000" } })
    .withResponse();
  answer.catch(() => {});
  await asked.passed;
  await nodes.first.kill();
  const { data, response } = await answer;
  let text = "";
  for await (const chunk of data) text += chunk.choices[0]?.delta.content ?? "";
  assert.equal(text, "from the second");
  assert.equal(response.headers.get("x-nexus-node"), nodes.second.nodeId);
  assert.equal(upstreams.second.calls.length, 1);
  assert.equal(await asking.metric("nexus_request_retries_total"), 1);

  // The next one does not wait for the dead node's silence again: its session is closed, and
  // every failed connect brings its breaker nearer.
  const again = await asking.openai().chat.completions.create(request());
  assert.equal(again.choices[0].message.content, "from the second");
});

e2e(
  "the answering node is killed in the middle: a clear error, and nothing hangs",
  async (stage) => {
    const { asking, nodes, upstreams } = await trio(stage);
    upstreams.first.script = () => ({
      tokens: ["one ", "two ", "never"],
      before: (i) => i === 2 ? new Promise(() => {}) : undefined,
    });
    upstreams.second.script = () => ({ tokens: ["still here"] });
    const stream = await asking.openai().chat.completions.create({ ...request(), stream: true });
    let text = "";
    const error = await failureOf(
      "the stream",
      (async () => {
        for await (const chunk of stream) {
          text += chunk.choices[0]?.delta.content ?? "";
          if (text === "one two ") await nodes.first.kill();
        }
      })(),
    );
    assert.equal(text, "one two ");
    assert.ok(error instanceof OpenAI.APIError, String(error));
    assert.match(error.message, new RegExp(`connection lost: node ${nodes.first.nodeId}`));
    await until(
      "the request to be over",
      async () => (await asking.metric("nexus_requests_active")) === 0,
    );
    const answer = await asking.openai().chat.completions.create(request());
    assert.equal(answer.choices[0].message.content, "still here");
  },
);

e2e(
  "SIGTERM in the middle of a stream: it ends whole, new requests go elsewhere",
  async (stage) => {
    const { asking, nodes, upstreams } = await trio(stage, { limits: { drain_ms: 10_000 } });
    const rest = new Gate();
    upstreams.first.script = () => ({
      tokens: ["one ", "two ", "three"],
      before: (i) => i === 2 ? rest.passed : undefined,
    });
    upstreams.second.script = () => ({ tokens: ["elsewhere"] });
    const stream = await asking.openai().chat.completions.create({ ...request(), stream: true });
    let text = "";
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      if (text !== "one two " || rest.isOpen) continue;
      nodes.first.signal("SIGTERM");
      await asking.knows("slow"); // The other's models are withdrawn at once.
      const meanwhile = await asking.openai().chat.completions.create(request());
      assert.equal(meanwhile.choices[0].message.content, "elsewhere");
      rest.open();
    }
    assert.equal(text, "one two three");
    const { code, signal } = await nodes.first.ends();
    assert.deepEqual([code, signal], [0, null]);
    assert.equal(upstreams.first.last.done, true);
  },
);

e2e("SIGTERM while an upstream hangs: the node leaves at its drain deadline", async (stage) => {
  const upstream = new FakeUpstream(["m"]);
  stage.onClear(() => upstream.close());
  upstream.script = () => ({
    tokens: ["one ", "never"],
    before: (i) => i === 1 ? new Promise(() => {}) : undefined,
  });
  const node = await stage.start("node", {
    limits: { drain_ms: 500 },
    providers: [upstream.provider()],
  });
  const stream = await node.openai().chat.completions.create({
    model: "m",
    messages: request().messages,
    stream: true,
  });
  const error = await failureOf(
    "the stream",
    (async () => {
      for await (const chunk of stream) {
        if (chunk.choices[0]?.delta.content === "one ") node.signal("SIGTERM");
      }
    })(),
  );
  assert.ok(error instanceof Error);
  const { code, signal } = await node.ends();
  assert.deepEqual([code, signal], [0, null]);
  await until("the upstream to be released", () => upstream.last.aborted);
});
