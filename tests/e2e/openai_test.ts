/**
 * An unmodified OpenAI client at the bridge of a node that has no model; the model lives behind an
 * upstream of another node. Client → bridge → mesh → provider → upstream, and all the way back.
 */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { FakeUpstream, Gate } from "./fake_upstream.ts";
import { e2e, failureOf, type NodeProcess, type Stage, until, within } from "./harness.ts";

const MODEL = "fake/coder-7b";
const SAD = "cap=text_gen+tool_use,ctx>=32k";
/** Largest HTTP body that these nodes take. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/** A node with a model at an upstream, and a node that only asks. */
async function pair(stage: Stage): Promise<{
  upstream: FakeUpstream;
  answering: NodeProcess;
  asking: NodeProcess;
}> {
  const upstream = new FakeUpstream([MODEL]);
  stage.onClear(() => upstream.close());
  const answering = await stage.start("answering", {
    providers: [upstream.provider({ timeouts: { first_token_ms: 1_500, idle_ms: 1_500 } })],
  });
  const asking = await stage.start("asking", {
    mesh: { join: answering.invite },
    limits: { drain_ms: 2_000, request_bytes_max: BODY_BYTES_MAX },
  });
  await asking.knows(MODEL);
  return { upstream, answering, asking };
}

const ask = (content: string) => [{ role: "user" as const, content }];

async function collect(stream: AsyncIterable<OpenAI.ChatCompletionChunk>) {
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return { chunks, text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("") };
}

e2e("an OpenAI client chats with a model on another node", async (stage, t) => {
  const { upstream, answering, asking } = await pair(stage);
  const client = asking.openai();

  await t.step("plain answer: text, usage, model, and which node gave it", async () => {
    upstream.script = () => ({ tokens: ["Grüße ", "aus ", "der ", "Ferne 🚀"] });
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: ask("hello"), temperature: 0.25, seed: 7 })
      .withResponse();
    assert.equal(data.object, "chat.completion");
    assert.equal(data.choices[0].message.content, "Grüße aus der Ferne 🚀");
    assert.equal(data.choices[0].finish_reason, "stop");
    assert.equal(data.model, MODEL);
    assert.deepEqual(
      [data.usage?.prompt_tokens, data.usage?.completion_tokens, data.usage?.total_tokens],
      [1, 4, 5],
    );
    assert.equal(response.headers.get("x-nexus-node"), answering.nodeId);
    const { body } = upstream.last;
    assert.deepEqual(body.messages, [{ role: "user", content: "hello" }]);
    assert.deepEqual([body.temperature, body.seed, body.stream ?? false], [0.25, 7, false]);
  });

  await t.step(
    "streamed answer: pieces in order, finish reason, usage when asked for",
    async () => {
      const tokens = Array.from({ length: 300 }, (_, i) => `${i} `);
      upstream.script = () => ({ tokens });
      const { chunks, text } = await collect(
        await client.chat.completions.create({
          model: MODEL,
          messages: ask("count"),
          stream: true,
          stream_options: { include_usage: true },
        }),
      );
      assert.equal(text, tokens.join(""));
      assert.equal(chunks.length > 100, true, "the pieces were glued together");
      assert.equal(
        chunks.findLast((chunk) => chunk.choices.length)?.choices[0].finish_reason,
        "stop",
      );
      assert.equal(chunks.at(-1)?.usage?.completion_tokens, 300);
      assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
    },
  );

  await t.step("tokens arrive one by one, not at the end", async () => {
    const gates = [new Gate(), new Gate(), new Gate()];
    upstream.script = () => ({ tokens: ["a", "b", "c"], before: (i) => gates[i]?.passed });
    gates[0].open();
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages: ask("slowly"),
      stream: true,
    });
    let text = "";
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      gates[text.length]?.open(); // The next piece is made only after this one was seen.
    }
    assert.equal(text, "abc");
  });

  await t.step("models list and a single model", async () => {
    const listed = await client.models.list();
    assert.deepEqual(listed.data.map((model) => model.id), [MODEL]);
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
    assert.equal((await failureOf("it", client.models.retrieve("no-such"))).status, 404);
  });

  await t.step("the model may be a SAD in text form", async () => {
    upstream.script = () => ({ tokens: ["found"] });
    const answer = await client.chat.completions.create({ model: SAD, messages: ask("hi") });
    assert.equal(answer.choices[0].message.content, "found");
    assert.equal(answer.model, MODEL);
    assert.equal(upstream.last.body.model, MODEL, "the upstream is asked by its own name");
  });

  await t.step("a tool call and its result make the round trip", async () => {
    const tools: OpenAI.ChatCompletionTool[] = [{
      type: "function",
      function: {
        name: "weather",
        description: "The weather somewhere",
        parameters: { type: "object", properties: { city: { type: "string" } } },
      },
    }];
    const call = { id: "call_1", name: "weather", arguments: '{"city":"Köln"}' };
    upstream.script = () => ({ toolCalls: [call] });
    const first = await client.chat.completions.create({
      model: MODEL,
      messages: ask("weather?"),
      tools,
      tool_choice: "auto",
    });
    assert.deepEqual(upstream.last.body.tools, tools);
    assert.equal(upstream.last.body.tool_choice, "auto");
    assert.equal(first.choices[0].finish_reason, "tool_calls");
    const [made] = first.choices[0].message.tool_calls ?? [];
    const functionCall = { name: call.name, arguments: call.arguments };
    assert.deepEqual([made.id, made.type, "function" in made && made.function], [
      call.id,
      "function",
      functionCall,
    ]);

    const { chunks } = await collect(
      await client.chat.completions.create({
        model: MODEL,
        messages: ask("?"),
        tools,
        stream: true,
      }),
    );
    const pieces = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    assert.equal(pieces.map((piece) => piece.function?.arguments ?? "").join(""), call.arguments);
    assert.equal(pieces[0].function?.name, call.name);

    upstream.script = () => ({ tokens: ["sunny"] });
    const second = await client.chat.completions.create({
      model: MODEL,
      tools,
      messages: [
        ...ask("weather?"),
        first.choices[0].message,
        { role: "tool", tool_call_id: call.id, content: '{"sky":"clear"}' },
      ],
    });
    assert.equal(second.choices[0].message.content, "sunny");
    const [, assistant, result] = upstream.last.body.messages;
    assert.deepEqual(
      [assistant.tool_calls[0].id, assistant.tool_calls[0].function],
      [call.id, functionCall],
    );
    assert.deepEqual(result, { role: "tool", tool_call_id: call.id, content: '{"sky":"clear"}' });
  });

  await t.step("aborting a stream stops the upstream behind the other node", async () => {
    const hang = new Gate();
    upstream.script = () => ({
      tokens: ["one", "two", "never"],
      before: (i) => i === 2 ? hang.passed : undefined,
    });
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages: ask("abort me"),
      stream: true,
    });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content === "two") break;
    const call = upstream.last;
    await until("the upstream to see the abort", () => call.aborted);
    assert.equal(call.sent, 2);
    hang.open();
  });

  await t.step("aborting a plain request stops the upstream behind the other node", async () => {
    const hang = new Gate();
    upstream.script = () => ({ tokens: ["never"], before: () => hang.passed });
    const before = upstream.calls.length;
    const abort = new AbortController();
    const request = client.chat.completions.create(
      { model: MODEL, messages: ask("abort me") },
      { signal: abort.signal },
    );
    await until("the upstream to be asked", () => upstream.calls.length > before);
    abort.abort();
    assert.ok(await failureOf("the request", request) instanceof OpenAI.APIUserAbortError);
    const call = upstream.last;
    await until("the upstream to see the abort", () => call.aborted);
    hang.open();
    await until(
      "both nodes to be idle",
      async () =>
        (await asking.metric("nexus_requests_active")) === 0 &&
        (await answering.metric("nexus_requests_active")) === 0,
    );
  });
});

e2e(
  "what goes wrong behind the bridge reaches an OpenAI client in OpenAI's shape",
  async (stage, t) => {
    const { upstream, answering, asking } = await pair(stage);
    const client = asking.openai();
    const create = (model: string, content = "hi") =>
      client.chat.completions.create({ model, messages: ask(content) });

    await t.step("unknown model: 404 model_not_found", async () => {
      const error = await failureOf("the request", create("gpt-nonexistent"));
      assert.ok(error instanceof OpenAI.NotFoundError, String(error));
      assert.equal(error.code, "model_not_found");
      assert.equal(error.param, "model");
    });

    await t.step("a SAD that nobody fulfils says why each candidate lost", async () => {
      const error = await failureOf("the request", create("cap=vision,ctx>=32k"));
      assert.equal(error.status, 404);
      assert.match(error.message, new RegExp(`${MODEL} on \\w+: lacks vision`));
    });

    await t.step(
      "malformed SAD: 400 at the bridge and at the admin API, naming the term",
      async () => {
        const error = await failureOf("the request", create("cap=flying,ctx>=32k"));
        assert.ok(error instanceof OpenAI.BadRequestError, String(error));
        assert.equal(error.code, "invalid_model_selector");
        assert.match(error.message, /flying/);
        for (const path of ["/api/v1/routes/resolve", "/api/v1/infer"]) {
          const response = await asking.admin(path, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({
              sad: "ctx>=banana",
              ...path.endsWith("infer") && { prompt: "x" },
            }),
          });
          const text = await response.text();
          assert.match(text, /SAD_SYNTAX/, path);
          assert.match(text, /banana/, path);
        }
      },
    );

    await t.step("429 of the upstream stays 429, with its retry-after", async () => {
      upstream.script = () => ({ status: 429, headers: { "retry-after": "7" } });
      const error = await failureOf("the request", create(MODEL));
      assert.ok(error instanceof OpenAI.RateLimitError, String(error));
      assert.equal(error.headers?.get("retry-after"), "7");
    });

    await t.step("500 of the upstream becomes a 5xx, and the next request is served", async () => {
      upstream.script = () => ({ status: 500 });
      const error = await failureOf("the request", create(MODEL));
      assert.ok(error.status >= 500, String(error));
      upstream.script = () => ({ tokens: ["well again"] });
      // The provider is looked at before it is used again.
      const answer = await until("an answer", () => create(MODEL).catch(() => undefined));
      assert.equal(answer.choices[0].message.content, "well again");
    });

    await t.step(
      "an upstream that is silent before the first token: the deadline's 504",
      async () => {
        const hang = new Gate();
        upstream.script = () => ({ tokens: ["never"], before: () => hang.passed });
        const error = await failureOf(
          "the request",
          client.chat.completions.create({ model: MODEL, messages: ask("hi"), stream: true }, {
            headers: { "x-nexus-deadline-ms": "700" },
          }),
        );
        assert.equal(error.status, 504, String(error));
        const call = upstream.last;
        await until("the upstream to be released", () => call.aborted);
        hang.open();
      },
    );

    await t.step("an upstream that stops in the middle: an error event, and no end", async () => {
      const hang = new Gate();
      upstream.script = () => ({
        tokens: ["one ", "two ", "never"],
        before: (i) => i === 2 ? hang.passed : undefined,
      });
      const stream = await client.chat.completions.create({
        model: MODEL,
        messages: ask("hi"),
        stream: true,
      });
      let text = "";
      const error = await failureOf(
        "the stream",
        (async () => {
          for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
        })(),
      );
      assert.equal(text, "one two ");
      assert.ok(error instanceof OpenAI.APIError, String(error));
      assert.match(error.message, /provider.*1500 ms/);
      hang.open();
    });

    await t.step(
      "an upstream that breaks off in the middle: an error event, and no end",
      async () => {
        const seen = new Gate();
        upstream.script = () => ({
          tokens: ["one ", "two "],
          breakOff: true,
          before: (i) => i === 2 ? seen.passed : undefined,
        });
        const stream = await client.chat.completions.create({
          model: MODEL,
          messages: ask("hi"),
          stream: true,
        });
        const error = await failureOf(
          "the stream",
          (async () => {
            for await (const chunk of stream) {
              if (chunk.choices[0]?.delta.content === "two ") {
                seen.open();
              }
            }
          })(),
        );
        assert.ok(error instanceof OpenAI.APIError, String(error));
        assert.match(error.message, /provider "openai"/);
      },
    );

    await t.step("a 40 MB prompt is refused with 413, announced or not", async () => {
      const body = JSON.stringify({ model: MODEL, messages: ask("x".repeat(40 << 20)) });
      const headers = { "content-type": "application/json" };
      const post = (node: NodeProcess, sent: BodyInit) =>
        within(
          15_000,
          "413",
          fetch(`http://${node.ready.bridge}/v1/chat/completions`, {
            method: "POST",
            headers,
            body: sent,
          }),
        );
      // 40 MB is past the default limit of one node; past the other's limit many times over, where
      // the connection is closed while the client still sends.
      for (const sent of [() => body, () => new Blob([body]).stream()]) {
        const response = await post(answering, sent());
        assert.equal(response.status, 413);
        assert.equal((await response.json()).error.code, "request_too_large");
        const cut = await post(asking, sent()).catch((error) => error);
        if (cut instanceof Response) {
          assert.equal((await cut.json()).error.code, "request_too_large");
        } else assert.match(String(cut), /error sending request/);
      }
    });

    await t.step("a prompt just below the limit arrives whole", async () => {
      upstream.script = (call) => ({ tokens: [String(call.body.messages[0].content.length)] });
      const content = "x".repeat(BODY_BYTES_MAX - 1_000);
      const answer = await create(MODEL, content);
      assert.equal(answer.choices[0].message.content, String(content.length));
    });

    await t.step("both nodes are alive and idle after all this", async () => {
      upstream.script = () => ({ tokens: ["fine"] });
      const answer = await until("an answer", () => create(MODEL).catch(() => undefined));
      assert.equal(answer.choices[0].message.content, "fine");
      for (const node of [asking, answering]) {
        await until(
          `${node.name} to be idle`,
          async () => (await node.metric("nexus_requests_active")) === 0,
        );
      }
    });
  },
);
