/** Many requests at once, and readers that do not read. */
import assert from "node:assert/strict";
import { FakeUpstream } from "./fake_upstream.ts";
import { e2e, type NodeProcess, until } from "./harness.ts";

const MODEL = "busy/model";
const REQUESTS = 200;

/** Pieces of the endless answer, and what of it may lie in sockets, windows and queues. */
const PIECE_CHARS = 4_096;
const UNDER_WAY_BYTES_MAX = 48 << 20;
/** Memory that a node may take for it, beyond what lies under way. */
const RSS_GROWTH_BYTES_MAX = 128 << 20;

e2e("many answers at once are all right, and a slow reader holds nothing up", async (stage, t) => {
  const upstream = new FakeUpstream([MODEL]);
  stage.onClear(() => upstream.close());
  const answering = await stage.start("answering", { providers: [upstream.provider()] });
  const asking = await stage.start("asking", { mesh: { join: answering.invite } });
  await asking.knows(MODEL);
  const client = asking.openai();

  await t.step(`${REQUESTS} streams in parallel, every one with its own answer`, async () => {
    const answerTo = (question: string) =>
      Array.from({ length: 30 }, (_, i) => `${question} is answered with ${i * i}. `);
    upstream.script = ({ body }) => ({ tokens: answerTo(body.messages[0].content) });
    const before = upstream.calls.length;
    const answers = await Promise.all(
      Array.from({ length: REQUESTS }, async (_, n) => {
        const stream = await client.chat.completions.create({
          model: MODEL,
          messages: [{ role: "user", content: `question ${n}` }],
          stream: true,
        });
        let text = "";
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
        return text;
      }),
    );
    assert.deepEqual(
      answers,
      answers.map((_, n) => answerTo(`question ${n}`).join("")),
    );
    assert.equal(upstream.calls.length - before, REQUESTS, "each was asked once");
  });

  await t.step("a reader that stops reading stops the upstream; memory stays bounded", async () => {
    const pieces = Array.from({ length: 100_000 }, (_, i) => `${i} `.padEnd(PIECE_CHARS, "x"));
    upstream.script = () => ({ tokens: pieces });
    const rss = (node: NodeProcess) => node.metric("process_resident_memory_bytes");
    const before = [await rss(asking), await rss(answering)];
    const abort = new AbortController();
    const response = await fetch(`http://${asking.ready.bridge}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: MODEL,
        messages: [{ role: "user", content: "without end" }],
        stream: true,
      }),
      signal: abort.signal,
    });
    const reader = response.body!.getReader();
    await reader.read();
    const call = upstream.last;
    // It stands still when nothing was taken for a hundred looks.
    let sent = 0;
    let still = 0;
    await until("the upstream to stand still", () => {
      still = call.sent === sent ? still + 1 : 0;
      sent = call.sent;
      return still > 100;
    });
    assert.ok(sent > 10 && sent * PIECE_CHARS < UNDER_WAY_BYTES_MAX, `${sent} pieces were taken`);
    for (const [i, node] of [asking, answering].entries()) {
      const growth = await rss(node) - before[i];
      assert.ok(growth < RSS_GROWTH_BYTES_MAX, `${node.name} grew by ${growth} bytes`);
    }

    // Others are served meanwhile.
    upstream.script = () => ({ tokens: ["no ", "queue"] });
    const other = await client.chat.completions.create({
      model: MODEL,
      messages: [{ role: "user", content: "hi" }],
    });
    assert.equal(other.choices[0].message.content, "no queue");

    // When it reads again the answer goes on where it was.
    let read = 0;
    while (read < UNDER_WAY_BYTES_MAX / 4) {
      const { value } = await reader.read();
      assert.ok(value !== undefined, "the answer ended");
      read += value.length;
    }
    await until("the upstream to be asked for more", () => call.sent > sent);
    abort.abort();
    await until("the upstream to see the abort", () => call.aborted);
  });

  await t.step("after it nothing is left running", async () => {
    for (const node of [asking, answering]) {
      await until(
        `${node.name} to be idle`,
        async () => (await node.metric("nexus_requests_active")) === 0,
      );
    }
    // What stays open are gossip and health.
    await until("streams to close", async () => (await asking.metric("nexus_streams")) <= 4);
  });
});
