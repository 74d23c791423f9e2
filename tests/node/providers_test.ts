/** Providers: the embedded one, the SSE parser, and the bridge in front of a fake upstream. */
import assert from "node:assert/strict";
import fc from "fast-check";
import OpenAI from "openai";
import { encodeSad, parseCapabilities, parseSad } from "../../lib/l2_route/mod.ts";
import { type InferenceRequest, inferenceRequest } from "../../lib/l5_api/mod.ts";
import { serveBridge } from "../../lib/node/bridge/mod.ts";
import { type GenerationEvent, InferenceError, type Provider } from "../../lib/node/inference.ts";
import { Gate } from "../../lib/node/providers/gate.ts";
import { joinSignals } from "../../lib/sdk/mod.ts";
import { StopFilter } from "../../lib/node/providers/tokens.ts";
import {
  EmbeddedProvider,
  findModel,
  guessArchitecture,
  guessCapabilities,
  type OpenAiOptions,
  OpenAiProvider,
  SseParser,
} from "../../lib/node/providers/mod.ts";
import { readErrorBody, retryAfterMs } from "../../lib/node/providers/upstream_errors.ts";
import { delta, FakeUpstream, ManualSleep, serviceOf, sse, until } from "./bridge_helpers.ts";

function ask(text: string, fields: Partial<InferenceRequest> = {}): InferenceRequest {
  return inferenceRequest({
    model: encodeSad({}),
    messages: [{ role: "user", parts: [{ type: "text", text }] }],
    ...fields,
  });
}

async function run(provider: Provider, request: InferenceRequest, signal = quiet()) {
  const events: GenerationEvent[] = [];
  for await (const event of provider.generate(request, signal)) events.push(event);
  const chunks = events.filter((event) => event.type === "chunk");
  const end = events.at(-1)!;
  assert.equal(events[0].type, "start");
  assert.equal(end.type, "end");
  assert.deepEqual(chunks.map(({ sequence }) => sequence), chunks.map((_, i) => i));
  return {
    events,
    chunks,
    start: events[0] as Extract<GenerationEvent, { type: "start" }>,
    end: end as Extract<GenerationEvent, { type: "end" }>,
    text: chunks.filter(({ index }) => index === 0).map(({ text }) => text).join(""),
  };
}

function quiet(): AbortSignal {
  return new AbortController().signal;
}

function fault(code: string, retryable?: boolean, message?: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof InferenceError, String(error));
    assert.equal(error.code, code, error.message);
    if (retryable !== undefined) assert.equal(error.retryable, retryable);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  };
}

// --- embedded ---------------------------------------------------------------------------

const noSleep = () => Promise.resolve();

Deno.test("embedded: the answer is a pure function of model, messages and seed", async () => {
  const provider = () =>
    new EmbeddedProvider({
      models: [{ name: "a", capabilities: parseCapabilities("text_gen") }, { name: "b" }],
      sleep: noSleep,
    });
  const on = (model: string, text: string, seed?: number) =>
    run(provider(), ask(text, { model: encodeSad({ model }), seed }));
  const first = await on("a", "hello", 1);
  assert.deepEqual((await on("a", "hello", 1)).events, first.events);
  assert.notEqual((await on("a", "hello", 2)).text, first.text);
  assert.notEqual((await on("a", "hallo", 1)).text, first.text);
  assert.match((await on("b", "hello", 1)).text, /^```ts\n[^]*export function/);
  assert.equal(first.end.usage?.completion, 64);
  assert.equal(first.end.finishReason, "stop");
});

Deno.test("embedded: echo gives the prompt back byte for byte, whatever it holds", async () => {
  const provider = new EmbeddedProvider({
    models: [{ name: "e", answer: "echo" }],
    sleep: noSleep,
  });
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: "binary", maxLength: 200 }), async (text) => {
      assert.equal((await run(provider, ask(text))).text, text);
    }),
  );
});

Deno.test("embedded: a fixed text is said as it is configured", async () => {
  const provider = new EmbeddedProvider({
    models: [{ name: "t", answer: "text", answerText: "  one\ttwo\n" }],
    sleep: noSleep,
  });
  assert.equal((await run(provider, ask("x"))).text, "  one\ttwo\n");
});

Deno.test("embedded: max_tokens cuts with reason length and counts what was said", async () => {
  const provider = new EmbeddedProvider({ models: [{ name: "e", answer: "echo" }] });
  const { text, end } = await run(provider, ask("one two three four", { maxTokens: 2 }));
  assert.equal(text, "one two");
  assert.equal(end.finishReason, "length");
  assert.deepEqual(end.usage, { prompt: 4, completion: 2, cached: 0 });
});

Deno.test("stop sequences cut a text at the same place however it comes in pieces (property)", () => {
  const letters = fc.constantFrom("a", "b", " ");
  const word = fc.string({ unit: letters, maxLength: 12 });
  const stop = fc.string({ unit: letters, minLength: 1, maxLength: 4 });
  const cuts = fc.array(fc.nat(12), { maxLength: 6 });
  fc.assert(
    fc.property(word, fc.array(stop, { maxLength: 3 }), cuts, (text, stops, places) => {
      // Letter by letter: the first place where a stop is complete, the longest one there.
      let wanted = text;
      for (let end = 1; end <= text.length && wanted === text; end++) {
        const ended = stops.filter((s) => text.slice(0, end).endsWith(s));
        wanted = ended.length === 0
          ? text
          : text.slice(0, end - Math.max(...ended.map((s) => s.length)));
      }
      const filter = new StopFilter(stops);
      const at = [0, ...places.sort((a, b) => a - b), text.length];
      const said = at.slice(1).map((to, i) => filter.push(text.slice(at[i], to))).join("");
      assert.equal(said + filter.flush(), wanted);
      assert.equal(filter.stopped, wanted !== text);
    }),
    {
      numRuns: 1000,
      examples: [[" b ", ["b", " b "], []], ["a  ", [" ", "a  "], [2]], ["aba", ["aba", "b"], []]],
    },
  );
});

Deno.test("embedded: a stop sequence ends the answer before it, with reason stop", async () => {
  const provider = new EmbeddedProvider({
    models: [{ name: "e", answer: "echo" }],
    sleep: noSleep,
  });
  const { text, end } = await run(provider, ask("one two three", { stop: ["o th"] }));
  assert.deepEqual([text, end.finishReason], ["one tw", "stop"]);
});

Deno.test("embedded: a prompt beyond the context is CONTEXT_TOO_LARGE", async () => {
  const provider = new EmbeddedProvider({ models: [{ name: "e", context: 10 }], sleep: noSleep });
  await assert.rejects(run(provider, ask("x ".repeat(50))), fault("CONTEXT_TOO_LARGE", false));
  const { end } = await run(provider, ask("x ".repeat(4)));
  assert.equal(end.finishReason, "length");
});

Deno.test("embedded: latency and speed are slept, and abort ends any of them", async () => {
  const clock = new ManualSleep();
  const provider = new EmbeddedProvider({
    models: [{ name: "e", latencyMs: 700, tokensPerSecond: 20, answer: "echo" }],
    sleep: clock.sleep,
  });
  const leave = new AbortController();
  const events = provider.generate(ask("a b c"), leave.signal);
  assert.equal((await events.next()).value?.type, "start");
  const next = events.next();
  await until(() => clock.wake(700) === 1);
  await until(() => clock.wake(50) === 1);
  const first = (await next).value;
  assert.equal(first?.type === "chunk" && first.text, "a");
  assert.equal(provider.health().active, 1);
  const second = events.next();
  await until(() => clock.pending.length === 1);
  leave.abort();
  await assert.rejects(second, fault("CANCELLED"));
  assert.equal(provider.health().active, 0);
});

Deno.test("embedded: many fast tokens let other work run, so that abort is seen", async () => {
  const provider = new EmbeddedProvider({ models: [{ name: "e", answer: "echo" }] });
  const leave = new AbortController();
  setTimeout(() => leave.abort(), 1);
  await assert.rejects(run(provider, ask("x ".repeat(100_000)), leave.signal), fault("CANCELLED"));
});

Deno.test("embedded: a demanded tool is called with arguments that fit its schema", async () => {
  const provider = new EmbeddedProvider({ models: [{ name: "m" }], sleep: noSleep });
  const schema = {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 3 } },
  };
  const tools = [{ name: "weather", schemaJson: JSON.stringify(schema) }];
  for (const [text, toolChoice] of [["x", "required"], ["use weather", undefined]] as const) {
    const { chunks, end, text: said } = await run(provider, ask(text, { tools, toolChoice }));
    const parts = chunks.flatMap(({ toolCalls }) => toolCalls);
    assert.equal(parts[0].name, "weather");
    const args = JSON.parse(parts.map((part) => part.arguments).join(""));
    assert.equal(typeof args.city, "string");
    assert.ok(args.days >= 1 && args.days <= 3);
    assert.equal(end.finishReason, "tool_calls");
    assert.equal(said, "");
  }
  const { text } = await run(provider, ask("use weather", { tools, toolChoice: "none" }));
  assert.notEqual(text, "");
});

Deno.test("embedded: JSON is answered where the response format asks for it; n gives n choices", async () => {
  const provider = new EmbeddedProvider({ models: [{ name: "m" }], sleep: noSleep });
  const schema = { type: "object", properties: { ok: { type: "boolean" } } };
  const responseFormat = JSON.stringify({ type: "json_schema", json_schema: { schema } });
  assert.equal(
    typeof JSON.parse((await run(provider, ask("x", { responseFormat }))).text).ok,
    "boolean",
  );
  const metadata = new Map([["openai.n", "3"]]);
  const { chunks } = await run(provider, ask("x", { metadata }));
  assert.deepEqual([...new Set(chunks.map(({ index }) => index))], [0, 1, 2]);
});

Deno.test("a full provider refuses at once, a waiter enters in turn or leaves on abort", async () => {
  const gate = new Gate({ what: "it", runningMax: 1, queuedMax: 2 });
  const leave = await gate.enter(quiet());
  const gone = new AbortController();
  const second = gate.enter(gone.signal);
  const third = gate.enter(quiet());
  assert.equal(gate.queued, 2);
  await assert.rejects(gate.enter(quiet()), fault("MODEL_OVERLOADED", true));
  gone.abort();
  await assert.rejects(second, fault("CANCELLED"));
  leave();
  leave(); // giving back twice is harmless
  const leaveThird = await third;
  assert.deepEqual([gate.running, gate.queued], [1, 0]);
  leaveThird();
  assert.equal(gate.running, 0);
});

Deno.test("a joined signal aborts with its source's reason, and not after its release", () => {
  const sources = [new AbortController(), new AbortController()];
  const { signal } = joinSignals(...sources.map((source) => source.signal));
  sources[1].abort("why");
  assert.equal(signal.reason, "why");
  assert.equal(joinSignals(AbortSignal.abort("before")).signal.reason, "before");
  const later = new AbortController();
  const released = joinSignals(later.signal);
  released.release();
  later.abort();
  assert.equal(released.signal.aborted, false);
});

// --- model choice and guesses -----------------------------------------------------------

Deno.test("a selector finds the first model that has name, capabilities and context", () => {
  const base = new EmbeddedProvider({
    models: [
      { name: "small", context: 4096, capabilities: parseCapabilities("text_gen") },
      { name: "large", context: 65536, capabilities: parseCapabilities("text_gen+code_gen") },
    ],
  }).models;
  const find = (sad: string) => findModel(base, parseSad(sad))?.name;
  assert.equal(find("*"), "small");
  assert.equal(find("cap=code_gen"), "large");
  assert.equal(find("ctx>=32k"), "large");
  assert.equal(find("model=la*"), "large");
  assert.equal(find("model=small,cap=code_gen"), undefined);
  assert.equal(find("model=small,cap=code_gen,opt=partial"), "small");
});

Deno.test("capabilities are guessed from common model names", () => {
  const cases: [string, string][] = [
    ["llama3.2:3b", "text_gen+code_gen+tool_use"],
    ["Qwen/Qwen2.5-VL-7B-Instruct", "text_gen+code_gen+tool_use+vision"],
    ["gpt-4o-mini", "text_gen+code_gen+tool_use+vision"],
    ["deepseek-r1:14b", "text_gen+code_gen+tool_use+reasoning"],
    ["nomic-embed-text", "embedding"],
    ["BAAI/bge-reranker-v2-m3", "rerank"],
    ["whisper-1", "speech_to_text"],
    ["tts-1-hd", "audio_gen"],
    ["dall-e-3", "image_gen"],
    ["tinyllama", "text_gen"],
  ];
  for (const [name, words] of cases) {
    assert.equal(guessCapabilities(name), parseCapabilities(words), name);
  }
  assert.equal(guessArchitecture("mixtral-8x7b"), 3);
  assert.equal(guessArchitecture("sdxl-turbo"), 2);
  assert.equal(guessArchitecture("llama-3"), 1);
});

// --- SSE --------------------------------------------------------------------------------

function parseInCuts(bytes: Uint8Array, cuts: number[]): string[] {
  const parser = new SseParser();
  const at = [
    0,
    ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ];
  const events = at.slice(1).flatMap((to, i) => parser.push(bytes.subarray(at[i], to)));
  return [...events, ...parser.end()].map(({ data }) => data);
}

Deno.test("SSE: events are the same however the bytes are cut (property)", () => {
  const line = fc.string({ unit: "grapheme", maxLength: 10 })
    .map((text) => text.replace(/[\r\n\u2028]/g, "€"));
  const end = fc.constantFrom("\n", "\r\n", "\r");
  const event = fc.record({
    lines: fc.array(line, { minLength: 1, maxLength: 3 }),
    comment: fc.option(line),
    field: fc.option(fc.constantFrom("id: 7", "retry: 9", "event: x", "odd")),
    end,
  });
  fc.assert(fc.property(
    fc.array(event, { maxLength: 6 }),
    fc.array(fc.nat(), { maxLength: 12 }),
    fc.boolean(),
    (events, cuts, mark) => {
      const text = (mark ? "\ufeff" : "") +
        events.map((e) =>
          (e.comment === null ? "" : `:${e.comment}${e.end}`) +
          (e.field === null ? "" : e.field + e.end) +
          e.lines.map((line) => `data: ${line}${e.end}`).join("") + e.end
        ).join("");
      const wanted = events.map(({ lines }) => lines.join("\n"));
      assert.deepEqual(parseInCuts(new TextEncoder().encode(text), cuts), wanted);
    },
  ));
});

Deno.test("SSE: any bytes in any cuts give the events of the uncut bytes, and no exception", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.constantFrom("data:", "\n", "\r", "\n\n", ":", "event:", "é").map((text) =>
      new TextEncoder().encode(text)
    ),
  );
  fc.assert(fc.property(fc.array(piece), fc.array(fc.nat()), (pieces, cuts) => {
    const bytes = Uint8Array.from(pieces.flatMap((part) => [...part]));
    assert.deepEqual(parseInCuts(bytes, cuts), parseInCuts(bytes, []));
  }));
});

Deno.test("SSE: a missing last blank line loses nothing, an endless line is refused", () => {
  assert.deepEqual(parseInCuts(new TextEncoder().encode("data: a\n\ndata:b"), []), ["a", "b"]);
  const parser = new SseParser(1000);
  const endless = new Uint8Array(300).fill(120);
  for (let i = 0; i < 3; i++) parser.push(endless);
  assert.throws(() => parser.push(endless), fault("INTERNAL_ERROR"));
  const comments = new SseParser(100);
  for (let i = 0; i < 100; i++) comments.push(new TextEncoder().encode(": still here\n"));
});

// --- bridge → service → openai provider → upstream --------------------------------------

interface Chain {
  upstream: FakeUpstream;
  provider: OpenAiProvider;
  client: OpenAI;
  url: string;
}

async function withChain(
  answer: ConstructorParameters<typeof FakeUpstream>[0],
  test: (chain: Chain) => Promise<void>,
  options: Partial<OpenAiOptions> = {},
): Promise<void> {
  const upstream = new FakeUpstream(answer);
  const provider = new OpenAiProvider({ name: "up", baseUrl: upstream.baseUrl, ...options });
  await provider.start();
  const bridge = serveBridge({ service: serviceOf(provider), port: 0, keepAliveMs: 0 });
  const url = `http://127.0.0.1:${bridge.address.port}/v1`;
  const client = new OpenAI({ baseURL: url, apiKey: "k", maxRetries: 0 });
  try {
    await test({ upstream, provider, client, url });
  } finally {
    await bridge.close(AbortSignal.abort());
    await provider.stop();
    await upstream.close();
  }
}

const HELLO = { model: "*", messages: [{ role: "user" as const, content: "hi" }] };

Deno.test("NA-BR-001: client → bridge → provider → upstream, plain, nothing lost", async () => {
  const completion = {
    id: "x",
    object: "chat.completion",
    created: 1,
    model: "real-name",
    system_fingerprint: "fp_up",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "hello", reasoning_content: "hm", refusal: null },
        logprobs: { content: [{ token: "hello", logprob: -0.1 }], refusal: null },
        finish_reason: "stop",
      },
      { index: 1, message: { role: "assistant", content: "hola" }, finish_reason: "length" },
    ],
    usage: {
      prompt_tokens: 9,
      completion_tokens: 2,
      total_tokens: 11,
      prompt_tokens_details: { cached_tokens: 4 },
      completion_tokens_details: { reasoning_tokens: 1 },
    },
  };
  await withChain(() => Response.json(completion), async ({ client, upstream }) => {
    const request = { ...HELLO, n: 2, logprobs: true, user: "u", temperature: 0.3 };
    const { id, created, model, ...rest } = await client.chat.completions.create(request);
    assert.notEqual(id, "x");
    assert.ok(created > 1);
    assert.equal(model, "up-model");
    const { id: _, created: _c, model: _m, ...wanted } = structuredClone(completion) as {
      [key: string]: unknown;
      choices: Record<string, unknown>[];
    };
    Object.assign(wanted.choices[1], { logprobs: null });
    Object.assign(wanted.choices[1].message as object, { refusal: null });
    assert.deepEqual(rest, wanted);
    assert.deepEqual(upstream.calls[0].body, { ...request, model: "up-model" });
  });
});

Deno.test("NA-BR-001: client → bridge → provider → upstream, streamed", async () => {
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
  const answer = () =>
    sse([
      { ...delta({ role: "assistant", content: "" }), system_fingerprint: "fp" },
      delta({ reasoning_content: "hm" }),
      delta({ content: "he" }, null, { logprobs: { content: [{ token: "he" }] } }),
      delta({ content: "llo" }),
      delta({}, "stop"),
      { ...delta({}), choices: [], usage },
      "[DONE]",
    ]);
  await withChain(answer, async ({ client, upstream }) => {
    const stream = await client.chat.completions.create({
      ...HELLO,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    const deltas = chunks.map(({ choices }) => choices[0]?.delta);
    assert.deepEqual(deltas, [
      { role: "assistant", content: "" },
      { reasoning_content: "hm" },
      { content: "he" },
      { content: "llo" },
      {},
      undefined,
    ]);
    assert.deepEqual(chunks[2].choices[0].logprobs, { content: [{ token: "he" }] });
    assert.ok(chunks.every(({ system_fingerprint }) => system_fingerprint === "fp"));
    assert.equal(chunks[5].usage?.total_tokens, 5);
    assert.deepEqual(upstream.calls[0].body.stream_options, { include_usage: true });
  });
});

Deno.test("usage is asked of the upstream also when the client did not, and its absence is borne", async () => {
  const answer = () => sse([delta({ content: "a" }), delta({}, "stop")]);
  await withChain(answer, async ({ client, upstream, provider }) => {
    const stream = await client.chat.completions.create({ ...HELLO, stream: true });
    assert.equal((await Array.fromAsync(stream)).at(-1)?.choices[0].finish_reason, "stop");
    assert.deepEqual(upstream.calls[0].body.stream_options, { include_usage: true });
    assert.equal((await run(provider, ask("x", { stream: true }))).end.usage, undefined);
  });
});

Deno.test("tools go to the upstream and calls come back, plain and streamed", async () => {
  const calls = (
    args: string,
  ) => [{ id: "c1", type: "function", function: { name: "add", arguments: args } }];
  const answer: ConstructorParameters<typeof FakeUpstream>[0] = ({ body }) =>
    body.stream
      ? sse([
        delta({ role: "assistant", content: null, tool_calls: [{ index: 0, ...calls("")[0] }] }),
        delta({ tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] }),
        delta({ tool_calls: [{ index: 0, function: { arguments: ":1}" } }] }),
        delta({}, "tool_calls"),
        "[DONE]",
      ])
      : Response.json({
        choices: [{
          index: 0,
          message: { role: "assistant", content: null, tool_calls: calls('{"a":1}') },
          finish_reason: "tool_calls",
        }],
      });
  await withChain(answer, async ({ client, upstream }) => {
    const request = {
      ...HELLO,
      tools: [{
        type: "function" as const,
        function: { name: "add", parameters: { type: "object", properties: {} } },
      }],
      tool_choice: "required" as const,
    };
    const plain = await client.chat.completions.create(request);
    assert.deepEqual(plain.choices[0].message.tool_calls, calls('{"a":1}'));
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    const [call] = streamed.choices[0].message.tool_calls!;
    assert.equal(call.type === "function" && call.function.arguments, '{"a":1}');
    assert.deepEqual(upstream.calls[0].body.tools, request.tools);
    assert.equal(upstream.calls[1].body.tool_choice, "required");
  });
});

Deno.test("NA-BR-002: a client that goes away closes the connection to the upstream", async () => {
  await withChain(
    ({ body, left }) =>
      body.stream ? sse([delta({ content: "a" })], true) : left.then(() => new Response()),
    async ({ client, upstream, provider }) => {
      const stream = await client.chat.completions.create({ ...HELLO, stream: true });
      for await (const _ of stream) break;
      await upstream.calls[0].left;
      const leave = new AbortController();
      const plain = client.chat.completions.create(HELLO, { signal: leave.signal });
      await until(() => upstream.calls.length === 2);
      leave.abort();
      await assert.rejects(plain, OpenAI.APIUserAbortError);
      await upstream.calls[1].left;
      await until(() => provider.health().active === 0);
    },
  );
});

Deno.test("NA-BR-002: abort and stop reach the upstream after a garbage collection, too", async () => {
  // Only a process of its own can be told to collect at this very moment.
  const script = new URL("./providers_gc.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "--no-check", "--allow-net", "--allow-env", "--allow-read"];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args, "--v8-flags=--expose-gc", script],
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.equal(code, 0, said);
  assert.match(said, /aborted, closed, stopped/);
});

Deno.test("stopping a provider twice is harmless", async () => {
  await withChain(() => new Response(), async ({ provider }) => {
    await provider.stop(); // withChain stops it again
    await assert.rejects(run(provider, ask("x")), fault("CANCELLED"));
  });
});

Deno.test("a consumer that leaves the loop closes the connection to the upstream", async () => {
  const answer = () => sse([delta({ content: "a" })], true);
  await withChain(answer, async ({ provider, upstream }) => {
    for await (const event of provider.generate(ask("x", { stream: true }), quiet())) {
      if (event.type === "chunk") break;
    }
    await upstream.calls[0].left;
    assert.equal(provider.health().active, 0);
  });
});

Deno.test("NA-BR-003: upstream statuses become the client's errors, with blame and retry", async () => {
  let current = () => new Response();
  const cases: [number, unknown, Record<string, string>, number, string][] = [
    [400, { error: { message: "bad top_p", param: "top_p" } }, {}, 400, "invalid_value"],
    [
      400,
      { error: { message: "x", code: "context_length_exceeded" } },
      {},
      400,
      "context_length_exceeded",
    ],
    [422, { detail: [{ loc: ["body"], msg: "no" }] }, {}, 400, "invalid_value"],
    [401, { error: { message: "key sk-SECRET is wrong" } }, {}, 502, "upstream_error"],
    [404, { error: { message: 'model "x" not found' } }, {}, 404, "model_not_found"],
    [404, "404 page not found", {}, 502, "upstream_error"],
    [429, { error: "slow down" }, { "retry-after": "7" }, 429, "rate_limit_exceeded"],
    [500, "<html><head><title>Oops</title></head></html>", {}, 502, "upstream_error"],
    [503, "", {}, 503, "overloaded"],
    [504, "gateway", {}, 504, "timeout"],
    [302, "", { location: "http://elsewhere/" }, 502, "upstream_error"],
  ];
  await withChain(() => current(), async ({ url }) => {
    for (const [status, body, headers, wanted, code] of cases) {
      current = () =>
        typeof body === "string"
          ? new Response(body, { status, headers })
          : Response.json(body, { status, headers });
      for (const stream of [true, false]) {
        const response = await fetch(`${url}/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ ...HELLO, stream }),
        });
        const { error } = await response.json();
        assert.deepEqual(
          [response.status, error.code],
          [wanted, code],
          `${status} ${error.message}`,
        );
        assert.equal(error.param, param(body) ?? (wanted === 404 ? "model" : error.param));
        assert.equal(response.headers.get("retry-after"), headers["retry-after"] ?? null);
        assert.doesNotMatch(error.message, /SECRET/);
      }
    }
  });
  function param(body: unknown): string | undefined {
    return (body as { error?: { param?: string } }).error?.param;
  }
});

Deno.test("an error inside the stream and a stream cut short are failures, not ends", async () => {
  let current = () => sse([]);
  await withChain(() => current(), async ({ provider }) => {
    const stream = { stream: true };
    current = () => sse([delta({ content: "a" }), { error: { message: "CUDA", code: 500 } }]);
    await assert.rejects(run(provider, ask("x", stream)), fault("INTERNAL_ERROR", true, /CUDA/));
    current = () => sse([delta({ content: "a" })]);
    await assert.rejects(
      run(provider, ask("x", stream)),
      fault("INTERNAL_ERROR", true, /without a finish reason/),
    );
    current = () => sse([delta({ content: "a" }), '{"choices": [']);
    await assert.rejects(run(provider, ask("x", stream)), fault("INTERNAL_ERROR", true));
    current = () => Response.json({ object: "not a stream" });
    await assert.rejects(run(provider, ask("x", stream)), fault("INTERNAL_ERROR", true));
    current = () => Response.json({ choices: [] });
    await assert.rejects(run(provider, ask("x")), fault("INTERNAL_ERROR", true));
    current = () => sse([delta({ content: "a" }, "stop")]);
    assert.equal((await run(provider, ask("x", stream))).text, "a");
    current = () => sse([delta({ content: "a" }), "[DONE]"]);
    assert.equal((await run(provider, ask("x", stream))).end.finishReason, "stop");
  });
});

Deno.test("an upstream that sends CRLF, comments and nothing after [DONE] is understood", async () => {
  const text = `: hi\r\n\r\ndata: ${JSON.stringify(delta({ content: "ä" }, "stop"))}\r\n\r\n` +
    "data: [DONE]\r\n\r\n";
  const bytes = new TextEncoder().encode(text);
  const answer = () => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      }, // left open
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
  await withChain(answer, async ({ provider }) => {
    assert.equal((await run(provider, ask("x", { stream: true }))).text, "ä");
  });
});

Deno.test("slow upstreams are cut at each limit, and the connection with them", async () => {
  const limits = { connectMs: 111, firstByteMs: 222, idleMs: 333, answerMs: 444 };
  const clock = new ManualSleep();
  let open: () => Response | Promise<Response> = () => new Promise<Response>(() => {});
  await withChain(() => open(), async ({ provider, upstream }) => {
    const late = async (ms: number, stream: boolean) => {
      const failed = run(provider, ask("x", { stream }));
      failed.catch(() => {});
      const calls = upstream.calls.length;
      await until(() => upstream.calls.length > calls);
      await until(() => clock.wake(ms) > 0);
      await assert.rejects(failed, fault("TIMEOUT", true));
      await upstream.calls.at(-1)!.left;
    };
    await late(222, true);
    await late(444, false);
    open = () => sse([delta({ content: "a" })], true);
    await late(333, true);
  }, { timeouts: limits, sleep: clock.sleep });
});

Deno.test("a host that swallows connections is given up after the connect limit", async () => {
  const clock = new ManualSleep();
  let unixMs = 0;
  await withChain(() => new Promise<Response>(() => {}), async ({ provider }) => {
    unixMs += 60_000; // long not heard of
    const failed = run(provider, ask("x", { stream: true }));
    failed.catch(() => {});
    await until(() => clock.wake(111) > 0);
    await assert.rejects(failed, fault("TIMEOUT", true, /accept a connection in 111 ms/));
  }, {
    timeouts: { connectMs: 111 },
    sleep: clock.sleep,
    unixMs: () => unixMs,
    tryConnect: () => new Promise(() => {}),
  });
});

Deno.test("models are discovered with their context, and again when they change", async () => {
  const clock = new ManualSleep();
  let changes = 0;
  await withChain(() => new Response(), async ({ provider, upstream }) => {
    const seen = () => provider.models.map(({ name, context }) => [name, context]);
    assert.deepEqual(seen(), [["up-model", 32768]]);
    assert.equal(provider.health().state, "ready");
    upstream.models = [{ id: "new" }, { id: "bad*name" }, { id: "ctx", meta: { n_ctx_train: 9 } }];
    await until(() => clock.wake(5000) > 0);
    await until(() => changes === 2);
    assert.deepEqual(seen(), [["new", 4096], ["ctx", 9]]);
  }, { sleep: clock.sleep, probeIntervalMs: 5000, onChange: () => changes++ });
});

Deno.test("configured models override guesses and map names to the upstream's", async () => {
  const answer = () =>
    Response.json({ choices: [{ message: { content: "x" }, finish_reason: "stop" }] });
  await withChain(answer, async ({ provider, upstream, client }) => {
    const [model] = provider.models;
    assert.equal(model.name, "mesh-name");
    assert.equal(model.context, 32768);
    assert.equal(model.capabilities, parseCapabilities("embedding"));
    assert.equal(model.latencyMs, 12);
    const { model: answered } = await client.chat.completions.create({
      ...HELLO,
      model: "mesh-name",
    });
    assert.equal(answered, "mesh-name");
    assert.equal(upstream.calls[0].body.model, "up-model");
    await assert.rejects(
      run(provider, ask("x", { model: encodeSad({ model: "up-model" }) })),
      fault("MODEL_NOT_FOUND"),
    );
  }, {
    models: [{
      name: "mesh-name",
      upstream: "up-model",
      capabilities: parseCapabilities("embedding"),
    }],
    defaults: { latencyMs: 12 },
  });
});

Deno.test("a provider that cannot be reached is down, refuses, and is ready when it answers", async () => {
  const clock = new ManualSleep();
  await withChain(() => new Response(), async ({ provider, upstream }) => {
    upstream.modelsResponse = () => new Response("starting", { status: 503 });
    await until(() => clock.wake(5000) > 0);
    await until(() => provider.health().state === "down");
    assert.match(provider.health().detail!, /503: starting/);
    await assert.rejects(run(provider, ask("x")), fault("MODEL_OVERLOADED", true));
    upstream.modelsResponse = undefined;
    await until(() => clock.wake(500) > 0 || clock.wake(1000) > 0);
    await until(() => provider.health().state === "ready");
  }, { sleep: clock.sleep, probeIntervalMs: 5000 });
});

Deno.test("a fault of a request has the server probed at once; a refused request has not", async () => {
  let current = () => new Response("", { status: 400 });
  let probes = 0;
  await withChain(() => current(), async ({ provider, upstream }) => {
    upstream.modelsResponse = () => {
      probes++;
      return new Response("", { status: 500 });
    };
    await assert.rejects(run(provider, ask("x")), fault("INVALID_REQUEST", false));
    assert.equal(probes, 0);
    current = () => new Response("", { status: 500 });
    await assert.rejects(run(provider, ask("x")), fault("INTERNAL_ERROR", true));
    await until(() => provider.health().state === "down");
  }, { sleep: new ManualSleep().sleep });
});

Deno.test("an unreachable address is an error of one line that names no key", async () => {
  const provider = new OpenAiProvider({
    name: "gone",
    baseUrl: "http://127.0.0.1:1/v1",
    apiKey: () => "sk-SECRET",
    sleep: new ManualSleep().sleep,
    models: [{ name: "m" }],
  });
  await assert.rejects(
    run(provider, ask("x", { stream: true })),
    fault("INTERNAL_ERROR", true, /^cannot reach provider "gone": .*refused[^\n]*$/),
  );
  await provider.start();
  assert.equal(provider.health().state, "down");
  assert.doesNotMatch(JSON.stringify([provider, provider.health()]), /SECRET/);
  await provider.stop();
  assert.equal(provider.health().state, "stopped");
});

Deno.test("the key is sent as bearer, read anew each time, and beside extra headers", async () => {
  let key = "one";
  const answer = () => sse([delta({ content: "a" }, "stop"), "[DONE]"]);
  await withChain(answer, async ({ provider, upstream }) => {
    await run(provider, ask("x", { stream: true }));
    key = "two";
    await run(provider, ask("x", { stream: true }));
    const sent = upstream.calls.map(({ headers }) => headers.get("authorization"));
    assert.deepEqual(sent, ["Bearer one", "Bearer two"]);
    assert.equal(upstream.calls[0].headers.get("x-org"), "o");
  }, { apiKey: () => key, headers: { "x-org": "o" } });
});

Deno.test("requests beyond the concurrency limit wait, beyond the queue are refused", async () => {
  let release = () => {};
  const released = new Promise<void>((resolve) => release = resolve);
  const answer = async () => {
    await released;
    return Response.json({ choices: [{ message: { content: "x" }, finish_reason: "stop" }] });
  };
  await withChain(answer, async ({ provider, upstream }) => {
    const first = run(provider, ask("1"));
    await until(() => upstream.calls.length === 1);
    const second = run(provider, ask("2"));
    await until(() => provider.health().queueDepth === 1);
    await assert.rejects(run(provider, ask("3")), fault("MODEL_OVERLOADED", true));
    assert.deepEqual(provider.health(), {
      state: "ready",
      load: 1,
      active: 1,
      queueDepth: 1,
      capacity: 1,
    });
    release();
    await Promise.all([first, second]);
    assert.equal(upstream.calls.length, 2);
  }, { maxConcurrency: 1, queueMax: 1 });
});

Deno.test("error bodies of any JSON or text are read without an exception (fuzz)", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
    assert.equal(typeof readErrorBody(body).message, "string");
  }));
  assert.equal(readErrorBody("<h1>502</h1>\n<p>Bad gateway").message, "502 Bad gateway");
});

Deno.test("retry-after is read as seconds, date or milliseconds", () => {
  const after = (headers: Record<string, string>) => retryAfterMs(new Headers(headers), 1_000_000);
  assert.equal(after({ "retry-after": "2" }), 2000);
  assert.equal(after({ "retry-after": new Date(1_005_000).toUTCString() }), 5000);
  assert.equal(after({ "retry-after-ms": "20", "retry-after": "9" }), 20);
  assert.equal(after({ "retry-after": "soon" }), 0);
  assert.equal(after({}), 0);
});
