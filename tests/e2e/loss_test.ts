/** A fifth of all datagrams lost, in both directions: the answers are the same, byte for byte. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import OpenAI from "openai";
import { FakeUpstream } from "./fake_upstream.ts";
import { e2e, within } from "./harness.ts";
import { SeededRandom } from "../../lib/base/mod.ts";

const MODEL = "lossy/model";
const LOSS_RATE = 0.2;
const PROMPT_BYTES = 1 << 20;
const LONG_ANSWER_TOKENS = 4_000;

/** Different text for every token, with characters of one to four bytes. */
function tokensOf(count: number, seed: number): string[] {
  const random = new SeededRandom(seed);
  const pieces = ["é", "漢字", "🚀", "ab", "\n", '"', "\\", "  "];
  return Array.from(
    { length: count },
    (_, i) => `${i}:${random.u32().toString(36)}${pieces[random.below(pieces.length)]} `,
  );
}

e2e("20 % loss between two nodes changes no byte of any answer", async (stage, t) => {
  const upstream = new FakeUpstream([MODEL]);
  stage.onClear(() => upstream.close());
  // What it says depends only on what it got, so that asking without the mesh gives the reference.
  upstream.script = ({ body }) => {
    const { content } = body.messages[0];
    const digest = createHash("sha256").update(content).digest("hex");
    return { tokens: [`${content.length} ${digest} `, ...tokensOf(body.max_tokens, body.seed)] };
  };
  const link = (seed: number) => ({ faults: { loss_rate: LOSS_RATE, seed } });
  const answering = await stage.start("answering", {
    link: link(1),
    providers: [upstream.provider()],
  });
  const asking = await stage.start("asking", { link: link(2), mesh: { join: answering.invite } });
  await asking.knows(MODEL);

  const ask = async (baseURL: string, content: string, tokens: number, stream: boolean) => {
    const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
    const request = {
      model: MODEL,
      messages: [{ role: "user" as const, content }],
      max_tokens: tokens,
      seed: content.length,
    };
    if (!stream) {
      const { choices, usage } = await client.chat.completions.create(request);
      return { text: choices[0].message.content, finish: choices[0].finish_reason, usage };
    }
    let text = "";
    let finish: string | null = null;
    let usage: OpenAI.CompletionUsage | undefined;
    const options = { stream: true as const, stream_options: { include_usage: true } };
    for await (const chunk of await client.chat.completions.create({ ...request, ...options })) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    return { text, finish, usage };
  };
  const same = async (content: string, tokens: number, stream: boolean) => {
    const expected = await ask(upstream.url, content, tokens, stream);
    const bridge = `http://${asking.ready.bridge}/v1`;
    const got = await within(20_000, "the answer", ask(bridge, content, tokens, stream));
    assert.equal(got.finish, expected.finish);
    assert.equal(got.usage?.completion_tokens, expected.usage?.completion_tokens);
    if (got.text !== expected.text) assert.fail(firstDifference(got.text!, expected.text!));
  };

  for (const stream of [true, false]) {
    const kind = stream ? "streamed" : "plain";
    await t.step(`short answers, ${kind}`, async () => {
      for (let n = 1; n <= 5; n++) await same(`question ${n}`, 20 * n, stream);
    });
    await t.step(`an answer of ${LONG_ANSWER_TOKENS} tokens, ${kind}`, async () => {
      await same("a long one", LONG_ANSWER_TOKENS, stream);
    });
  }
  await t.step("a prompt of 1 MB", async () => {
    const prompt = tokensOf(PROMPT_BYTES, 5).join("").slice(0, PROMPT_BYTES);
    await same(prompt, 3, true);
  });
  await t.step("ten answers at once", async () => {
    await Promise.all(Array.from({ length: 10 }, (_, n) => same(`at once ${n}`, 100, true)));
  });
  await t.step("datagrams were really lost, and sent again", async () => {
    // Sent frames are counted behind the loss. Acknowledgements are not sent again.
    const lost = await answering.metric("nexus_retransmissions_total");
    const sent = await answering.metric("nexus_frames_total", /transmit/);
    assert.ok(lost / (lost + sent) > LOSS_RATE / 2, `${lost} lost, ${sent} sent`);
    assert.ok(await asking.metric("nexus_retransmissions_total") > 20);
  });
});

function firstDifference(got: string, expected: string): string {
  let at = 0;
  while (got[at] === expected[at]) at++;
  return `answers differ at character ${at} of ${expected.length} (${got.length}): ` +
    `${JSON.stringify(got.slice(at, at + 40))}, expected ${
      JSON.stringify(expected.slice(at, at + 40))
    }`;
}
