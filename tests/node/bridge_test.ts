/** The bridge over HTTP with a scripted service and the official client. */
import assert from "node:assert/strict";
import fc from "fast-check";
import OpenAI from "openai";
import { decodeSad, parseSad } from "../../lib/l2_route/mod.ts";
import { decodeMessage, encodeMessage, MESSAGE_HEADER_BYTES } from "../../lib/l5_api/mod.ts";
import {
  type BridgeOptions,
  type BridgeRecord,
  mergeSads,
  readChatRequest,
  serveBridge,
  writeChatRequest,
} from "../../lib/node/bridge/mod.ts";
import { InferenceError } from "../../lib/node/inference.ts";
import {
  chunk,
  FakeService,
  ManualSleep,
  NODE_ID,
  say,
  until,
  whenAborted,
} from "./bridge_helpers.ts";

interface Bridge {
  url: string;
  client: OpenAI;
  service: FakeService;
  records: BridgeRecord[];
  post(body: unknown, headers?: Record<string, string>): Promise<Response>;
}

async function withBridge(
  service: FakeService,
  test: (bridge: Bridge) => Promise<void>,
  options: Partial<BridgeOptions> = {},
): Promise<void> {
  const records: BridgeRecord[] = [];
  const server = serveBridge({
    service,
    port: 0,
    keepAliveMs: 0,
    onDone: (record) => records.push(record),
    ...options,
  });
  const url = `http://127.0.0.1:${server.address.port}`;
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "key-of-test", maxRetries: 0 });
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  try {
    await test({ url, client, service, records, post });
  } finally {
    await server.close(AbortSignal.abort());
  }
}

const HELLO = { model: "m", messages: [{ role: "user" as const, content: "hi" }] };

Deno.test("NA-BR-001: the official client gets a plain completion with usage and headers", async () => {
  await withBridge(
    new FakeService(() => say("Hel", "lo")),
    async ({ client, service, records }) => {
      const { data, response } = await client.chat.completions.create(HELLO).withResponse();
      assert.equal(data.object, "chat.completion");
      assert.match(data.id, /^chatcmpl-/);
      assert.deepEqual(data.choices, [{
        index: 0,
        message: { role: "assistant", content: "Hello", refusal: null },
        finish_reason: "stop",
        logprobs: null,
      }]);
      assert.deepEqual(data.usage, {
        prompt_tokens: 3,
        completion_tokens: 2,
        total_tokens: 5,
        prompt_tokens_details: { cached_tokens: 1 },
      });
      assert.equal(response.headers.get("x-nexus-node"), NODE_ID);
      assert.equal(response.headers.get("x-nexus-model"), "m");
      assert.match(response.headers.get("x-request-id")!, /^req_/);
      assert.deepEqual(decodeSad(service.requests[0].model), { model: "m" });
      assert.equal(service.closed, 1);
      assert.equal(records[0].status, 200);
      assert.equal(records[0].completionTokens, 2);
    },
  );
});

Deno.test("NA-BR-001: the official client streams role, texts, finish reason and usage", async () => {
  await withBridge(new FakeService(() => say("a", "b")), async ({ client, service }) => {
    const stream = await client.chat.completions.create({
      ...HELLO,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
    assert.deepEqual(chunks.map(({ choices }) => choices[0]?.delta), [
      { role: "assistant", content: "" },
      { content: "a" },
      { content: "b" },
      {},
      undefined,
    ]);
    assert.equal(chunks[3].choices[0].finish_reason, "stop");
    assert.equal(chunks[4].usage?.total_tokens, 5);
    assert.ok(chunks.slice(0, 4).every(({ usage }) => usage === null));
    await until(() => service.closed === 1);
  });
});

Deno.test("a stream is framed as data lines and ends with [DONE], without usage unless asked", async () => {
  await withBridge(new FakeService(() => say("x\n\ny")), async ({ post }) => {
    const response = await post({ ...HELLO, stream: true });
    assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
    const frames = (await response.text()).split("\n\n");
    assert.equal(frames.pop(), "");
    assert.equal(frames.pop(), "data: [DONE]");
    for (const frame of frames) {
      assert.match(frame, /^data: \{[^\n]*\}$/);
      assert.equal("usage" in JSON.parse(frame.slice(6)), false);
    }
  });
});

Deno.test("tool call pieces reach the official client's accumulator whole", async () => {
  const service = new FakeService(function* () {
    yield { type: "start", nodeId: NODE_ID, model: "m" };
    yield chunk(0, { toolCalls: [{ index: 0, id: "c1", name: "add", arguments: "" }] });
    yield chunk(1, { toolCalls: [{ index: 0, arguments: '{"a":' }] });
    yield chunk(2, { toolCalls: [{ index: 0, arguments: "1}" }], finishReason: "tool_calls" });
    yield { type: "end", finishReason: "tool_calls" };
  });
  await withBridge(service, async ({ client }) => {
    const wanted = [{
      id: "c1",
      type: "function",
      function: { name: "add", arguments: '{"a":1}' },
    }];
    const plain = await client.chat.completions.create(HELLO);
    assert.deepEqual(plain.choices[0].message.tool_calls, wanted);
    assert.equal(plain.choices[0].message.content, null);
    assert.equal(plain.usage, undefined);
    const streamed = await client.chat.completions.stream({ ...HELLO, stream: true })
      .finalChatCompletion();
    const [call] = streamed.choices[0].message.tool_calls!;
    assert.equal(call.type === "function" && call.function.arguments, '{"a":1}');
    assert.equal(streamed.choices[0].finish_reason, "tool_calls");
  });
});

Deno.test("reasoning, log probabilities, own finish words and several choices come through", async () => {
  const extra = (delta: object, token: string) =>
    JSON.stringify({ delta, choice: { logprobs: { content: [{ token }] } } });
  const service = new FakeService(function* () {
    const extraJson = JSON.stringify({ system_fingerprint: "fp_1" });
    yield { type: "start", nodeId: NODE_ID, model: "m", extraJson };
    yield chunk(0, { extraJson: extra({ reasoning_content: "th" }, "t") });
    yield chunk(1, { index: 1, text: "other" });
    yield chunk(2, { text: "A", extraJson: extra({ reasoning_content: "ink" }, "A") });
    yield chunk(3, {
      finishReason: "unknown",
      extraJson: JSON.stringify({ choice: { finish_reason: "eos_token" } }),
    });
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, queue_time: 4 };
    yield { type: "end", finishReason: "length", extraJson: JSON.stringify({ usage }) };
  });
  await withBridge(service, async ({ post }) => {
    const body = await (await post(HELLO)).json();
    assert.equal(body.system_fingerprint, "fp_1");
    assert.equal(body.usage.queue_time, 4);
    const [first, second] = body.choices;
    assert.equal(first.message.reasoning_content, "think");
    assert.deepEqual(first.logprobs, { content: [{ token: "t" }, { token: "A" }] });
    assert.equal(first.finish_reason, "eos_token");
    assert.equal(second.message.content, "other");
    assert.equal(second.finish_reason, "length");
    const text = await (await post({ ...HELLO, stream: true })).text();
    assert.match(text, /"reasoning_content":"th"/);
    assert.match(text, /"finish_reason":"eos_token"/);
    assert.match(text, /"system_fingerprint":"fp_1"/);
  });
});

Deno.test("NA-BR-003: a failure before the first token is a status, also for a stream", async () => {
  const cases: [InferenceError, number, string][] = [
    [new InferenceError("MODEL_NOT_FOUND", "none fits"), 404, "model_not_found"],
    [new InferenceError("CONTEXT_TOO_LARGE", "too long"), 400, "context_length_exceeded"],
    [new InferenceError("INVALID_REQUEST", "bad", { param: "seed" }), 400, "invalid_value"],
    [
      new InferenceError("RATE_LIMITED", "slow", { retryAfterMs: 1500 }),
      429,
      "rate_limit_exceeded",
    ],
    [new InferenceError("MODEL_OVERLOADED", "full"), 503, "overloaded"],
    [new InferenceError("TIMEOUT", "late"), 504, "timeout"],
    [new InferenceError("NOT_IMPLEMENTED", "no"), 501, "not_implemented"],
    [new InferenceError("INTERNAL_ERROR", "peer", { retryable: true }), 502, "upstream_error"],
    [new InferenceError("INTERNAL_ERROR", "own"), 500, "internal_error"],
  ];
  let current = cases[0][0];
  const service = new FakeService(function* () {
    yield { type: "start", nodeId: NODE_ID, model: "m" };
    throw current;
  });
  await withBridge(service, async ({ post }) => {
    for (const [error, status, code] of cases) {
      for (const stream of [false, true]) {
        current = error;
        const response = await post({ ...HELLO, stream });
        assert.equal(response.status, status, code);
        const body = await response.json();
        assert.deepEqual(Object.keys(body.error), ["message", "type", "param", "code"]);
        assert.equal(body.error.code, code);
        assert.equal(body.error.message, error.message);
        if (error.param) assert.equal(body.error.param, error.param);
        const after = error.retryAfterMs !== undefined ? "2" : null;
        assert.equal(response.headers.get("retry-after"), after);
      }
    }
  });
});

Deno.test("the official client throws its own classes for the bridge's errors", async () => {
  const service = new FakeService(() => {
    throw new InferenceError("MODEL_NOT_FOUND", "no model fits");
  });
  await withBridge(service, async ({ client }) => {
    await assert.rejects(client.chat.completions.create(HELLO), (error: unknown) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, "model_not_found");
      assert.equal(error.param, "model");
      assert.equal(error.type, "invalid_request_error");
      return true;
    });
  });
});

Deno.test("a defect of the service is a 500 that tells the client nothing of it", async () => {
  const service = new FakeService(() => {
    throw new TypeError("secret path /root/x");
  });
  await withBridge(service, async ({ post, records }) => {
    const response = await post(HELLO);
    assert.equal(response.status, 500);
    assert.doesNotMatch(await response.text(), /secret/);
    assert.match(String(records[0].error), /secret/);
  });
});

Deno.test("NA-BR-003: a failure in mid-stream is an error event and no [DONE]", async () => {
  const service = new FakeService(function* () {
    yield { type: "start", nodeId: NODE_ID, model: "m" };
    yield chunk(0, { text: "a" });
    throw new InferenceError("INTERNAL_ERROR", "the node died", { retryable: true });
  });
  await withBridge(service, async ({ post, client, records }) => {
    const text = await (await post({ ...HELLO, stream: true })).text();
    const frames = text.trimEnd().split("\n\n");
    assert.deepEqual(JSON.parse(frames.at(-1)!.slice(6)), {
      error: {
        message: "the node died",
        type: "server_error",
        param: null,
        code: "upstream_error",
      },
    });
    assert.doesNotMatch(text, /\[DONE\]/);
    assert.ok(records[0].error instanceof InferenceError);
    const stream = await client.chat.completions.create({ ...HELLO, stream: true });
    await assert.rejects(Array.fromAsync(stream), /the node died/);
  });
});

Deno.test("NA-BR-002: a streaming client that goes away aborts the service", async () => {
  const service = new FakeService(async function* (_request, signal) {
    yield { type: "start", nodeId: NODE_ID, model: "m" };
    yield chunk(0, { text: "a" });
    await whenAborted(signal);
    throw new InferenceError("CANCELLED", "gone");
  });
  await withBridge(service, async ({ client, records }) => {
    const stream = await client.chat.completions.create({ ...HELLO, stream: true });
    for await (const _ of stream) break; // the client library aborts its fetch here
    await whenAborted(service.signals[0]);
    await until(() => records.length === 1 && service.closed === 1);
    assert.equal(records[0].status, 499);
    assert.equal(records[0].chunks, 1);
  });
});

Deno.test("NA-BR-002: a plain client that goes away aborts the service", async () => {
  const service = new FakeService(async function* (_request, signal) {
    yield { type: "start", nodeId: NODE_ID, model: "m" };
    await whenAborted(signal);
    throw new InferenceError("CANCELLED", "gone");
  });
  await withBridge(service, async ({ client, records }) => {
    const leave = new AbortController();
    const answer = client.chat.completions.create(HELLO, { signal: leave.signal });
    await until(() => service.signals.length === 1);
    leave.abort();
    await assert.rejects(answer, OpenAI.APIUserAbortError);
    await whenAborted(service.signals[0]);
    await until(() => records.length === 1);
    assert.equal(records[0].status, 499);
  });
});

Deno.test("a finished answer does not abort the service's signal", async () => {
  await withBridge(new FakeService(() => say("a")), async ({ post, service }) => {
    await (await post(HELLO)).text();
    await (await post({ ...HELLO, stream: true })).text();
    await (await post(HELLO)).text(); // the connection was used again, so it is past both
    assert.deepEqual(service.signals.map(({ aborted }) => aborted), [false, false, false]);
  });
});

Deno.test("a silent stream carries comments, and only after its first token", async () => {
  const clock = new ManualSleep();
  let go = () => {};
  const gate = new Promise<void>((resolve) => go = resolve);
  const service = new FakeService(async function* () {
    yield { type: "start", nodeId: NODE_ID, model: "m" };
    yield chunk(0, { text: "a" });
    await gate;
    yield* [...say("b")].slice(1);
  });
  await withBridge(service, async ({ post }) => {
    const response = await post({ ...HELLO, stream: true });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const readOn = (async () => {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        text += part.value;
      }
    })();
    await until(() => clock.wake(777) > 0);
    await until(() => text.includes(": keep-alive\n\n"));
    go();
    await readOn;
    assert.ok(text.startsWith("data: "));
    assert.match(text, /"content":"b"/);
    assert.ok(text.endsWith("data: [DONE]\n\n"));
  }, { keepAliveMs: 777, sleep: clock.sleep });
});

Deno.test("model takes a name, an alias or a SAD; the header adds constraints", async () => {
  const service = new FakeService(() => say("a"));
  await withBridge(service, async ({ post }) => {
    const asked = async (model: string, header?: string) => {
      const headers: Record<string, string> = header === undefined ? {} : { "x-nexus-sad": header };
      const response = await post({ ...HELLO, model }, headers);
      assert.equal(response.status, 200, await response.text());
      return decodeSad(service.requests.at(-1)!.model);
    };
    assert.deepEqual(await asked("meta/llama-3"), { model: "meta/llama-3" });
    assert.deepEqual(await asked("fast"), parseSad("cap=code_gen,latency<200ms"));
    assert.deepEqual(await asked("cap=code_gen+tool_use,ctx>=32k"), {
      capabilities: 0b1000010,
      contextMin: 32768,
    });
    assert.deepEqual(await asked("m", "trust>=2,region!=US"), {
      model: "m",
      trustMin: 2,
      regionExclude: [840],
    });
    assert.deepEqual(await asked("*"), {});
  }, { aliases: new Map([["fast", "cap=code_gen,latency<200ms"]]) });
});

Deno.test("a malformed or contradicting selector is a 400 that explains itself", async () => {
  const service = new FakeService(() => say("a"));
  await withBridge(service, async ({ post }) => {
    const refused = async (model: unknown, header?: string) => {
      const headers: Record<string, string> = header === undefined ? {} : { "x-nexus-sad": header };
      const response = await post({ ...HELLO, model }, headers);
      assert.equal(response.status, 400);
      return (await response.json()).error;
    };
    const unknown = await refused("cap=fly");
    assert.equal(unknown.param, "model");
    assert.match(unknown.message, /fly/);
    assert.equal((await refused(undefined)).code, "missing_required_parameter");
    assert.equal((await refused(7)).param, "model");
    assert.equal((await refused("")).param, "model");
    assert.equal((await refused("m", "ctx>=")).param, "x-nexus-sad");
    const conflict = await refused("m", "model=other");
    assert.equal(conflict.param, "x-nexus-sad");
    assert.match(conflict.message, /model/);
    assert.equal(service.requests.length, 0);
  });
});

Deno.test("merged selectors take the stricter of each bound", () => {
  const merged = mergeSads(
    parseSad("cap=code_gen,ctx>=8k,latency<900ms,cost<$0.01,region!=US"),
    parseSad("cap=tool_use,ctx>=4k,latency<200ms,cost<$0.02,region!=CN,trust>=1"),
  );
  assert.deepEqual(
    merged,
    parseSad("cap=code_gen+tool_use,ctx>=8k,latency<200ms,cost<$0.01,trust>=1,region!=US|CN"),
  );
  assert.throws(() => mergeSads(parseSad("cost<$1"), parseSad("cost<$1/1k")), /cost/);
});

Deno.test("a bad request names the member at fault", async () => {
  const service = new FakeService(() => say("a"));
  await withBridge(service, async ({ post }) => {
    const cases: [Record<string, unknown>, string][] = [
      [{ messages: undefined }, "messages"],
      [{ messages: [] }, "messages"],
      [{ messages: [7] }, "messages[0]"],
      [{ messages: [{ role: "king", content: "x" }] }, "messages[0].role"],
      [{ messages: [{ role: "user", content: 5 }] }, "messages[0].content"],
      [
        { messages: [{ role: "user", content: [{ type: "text" }] }] },
        "messages[0].content[0].text",
      ],
      [{ temperature: "hot" }, "temperature"],
      [{ max_tokens: -1 }, "max_tokens"],
      [{ stream: "yes" }, "stream"],
      [{ n: 0 }, "n"],
      [{ tools: {} }, "tools"],
      [{ tools: [{ type: "function", function: {} }] }, "tools[0].function.name"],
    ];
    for (const [members, param] of cases) {
      const response = await post({ ...HELLO, ...members });
      assert.equal(response.status, 400, param);
      const { error } = await response.json();
      assert.equal(error.param, param);
      assert.equal(error.type, "invalid_request_error");
    }
    for (const text of ["{", "[]", "7", '"x"', ""]) {
      const response = await post(text);
      assert.equal(response.status, 400);
      assert.equal((await response.json()).error.code, "invalid_json");
    }
  });
});

Deno.test("a request without messages says so, as against one whose messages are something else", async () => {
  await withBridge(new FakeService(() => say("a")), async ({ post }) => {
    const told = async (messages: unknown) =>
      (await (await post({ model: "m", messages })).json()).error.message;
    assert.equal(
      await told([]),
      'cannot read request: "messages" is empty, expected at least one message',
    );
    assert.match(await told("hi"), /"messages" is "hi", expected a list of messages/);
  });
});

Deno.test("wrong paths, methods and content types are 404, 405 and 415; later parts are 501", async () => {
  await withBridge(new FakeService(() => say("a")), async ({ url, post }) => {
    const status = async (method: string, path: string) => {
      const response = await fetch(url + path, { method });
      const { error } = await response.json();
      return [response.status, error.code, response.headers.get("allow")];
    };
    assert.deepEqual(await status("GET", "/v1/nothing"), [404, "unknown_url", null]);
    assert.deepEqual(await status("GET", "/v1/chat/completions"), [
      405,
      "method_not_allowed",
      "POST",
    ]);
    assert.deepEqual(await status("DELETE", "/v1/models/m"), [405, "method_not_allowed", "GET"]);
    assert.deepEqual(await status("OPTIONS", "/v1/chat/completions"), [
      405,
      "method_not_allowed",
      "POST",
    ]);
    assert.deepEqual(await status("POST", "/v1/embeddings"), [501, "not_implemented", null]);
    const form = await post("{}", { "content-type": "text/plain" });
    assert.equal(form.status, 415);
    assert.equal((await form.json()).error.code, "unsupported_media_type");
  });
});

Deno.test("a body past the limit is 413 whether or not its length is announced", async () => {
  const service = new FakeService(() => say("a"));
  await withBridge(service, async ({ url, post }) => {
    const big = { model: "m", messages: [{ role: "user", content: "x".repeat(3000) }] };
    const announced = await post(big);
    assert.equal(announced.status, 413);
    assert.equal((await announced.json()).error.code, "request_too_large");
    const chunked = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new Blob([JSON.stringify(big)]).stream(),
    });
    assert.equal(chunked.status, 413);
    await chunked.text();
    const huge = await post("x".repeat(1_000_000));
    assert.equal(huge.status, 413);
    await huge.text();
    for (const { headers } of [announced, chunked, huge]) {
      // Or a client would send its next request behind the unread rest of this one.
      assert.equal(headers.get("connection"), "close");
    }
    assert.equal(service.requests.length, 0);
    const fits = await post(HELLO);
    assert.equal(fits.status, 200);
    await fits.text();
  }, { bodyBytesMax: 2048 });
});

Deno.test("with keys configured only a bearer of one is served", async () => {
  await withBridge(new FakeService(() => say("a")), async ({ client, url, post }) => {
    assert.equal((await client.chat.completions.create(HELLO)).choices[0].message.content, "a");
    const without = await post(HELLO);
    assert.equal(without.status, 401);
    assert.equal((await without.json()).error.type, "invalid_request_error");
    const other = new OpenAI({ baseURL: `${url}/v1`, apiKey: "another", maxRetries: 0 });
    await assert.rejects(other.models.list(), (error: unknown) => {
      assert.ok(error instanceof OpenAI.AuthenticationError);
      assert.equal(error.code, "invalid_api_key");
      return true;
    });
  }, { apiKeys: ["first-key", "key-of-test"] });
});

Deno.test("without keys a rebound host name is refused and a configured one served", async () => {
  await withBridge(new FakeService(() => say("a")), async ({ url }) => {
    const status = async (host: string) => {
      const port = Number(new URL(url).port);
      const connection = await Deno.connect({ hostname: "127.0.0.1", port });
      const head = `GET /v1/models HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`;
      await connection.write(new TextEncoder().encode(head));
      const text = await new Response(connection.readable).text();
      return text.split(" ")[1];
    };
    assert.equal(await status("evil.example"), "403");
    assert.equal(await status("localhost:6479"), "200");
    assert.equal(await status("[::1]:6479"), "200");
    assert.equal(await status("mesh.example"), "200");
  }, { hosts: ["mesh.example"] });
});

Deno.test("models are listed and found by name, slashes included", async () => {
  const service = new FakeService(() => say("a"));
  service.listing = [
    { name: "org/a b", nodes: [NODE_ID], capabilities: 3, contextMax: 8192 },
    { name: "z", nodes: [], capabilities: 1, contextMax: 1 },
  ];
  await withBridge(service, async ({ client, url }) => {
    const listed = await Array.fromAsync(client.models.list());
    assert.deepEqual(listed.map(({ created }) => created), [1_700_000_000, 1_700_000_000]);
    const slash = await (await fetch(url + "/v1/models/")).json();
    assert.deepEqual(slash.data, listed);
    const post = await fetch(url + "/v1/models/", { method: "POST" });
    assert.equal(post.status, 405);
    await post.body?.cancel();
    assert.deepEqual(listed.map(({ id }) => id), ["org/a b", "z"]);
    const model = await client.models.retrieve("org/a b") as unknown as Record<string, unknown>;
    assert.deepEqual(model.nexus, {
      capabilities: ["text_gen", "code_gen"],
      context: 8192,
      nodes: [NODE_ID],
    });
    await assert.rejects(client.models.retrieve("none"), OpenAI.NotFoundError);
  }, { createdS: 1_700_000_000 });
});

Deno.test("deadline and request id headers are taken over, nonsense is refused or replaced", async () => {
  await withBridge(new FakeService(() => say("a")), async ({ post, service }) => {
    const ok = await post(HELLO, { "x-nexus-deadline-ms": "1234", "x-request-id": "abc-1" });
    assert.equal(ok.headers.get("x-request-id"), "abc-1");
    assert.equal(service.requests[0].deadlineMs, 1234);
    await ok.text();
    const odd = await post(HELLO, { "x-nexus-deadline-ms": "soon", "x-request-id": "a b" });
    assert.equal(odd.status, 400);
    assert.match(odd.headers.get("x-request-id")!, /^req_/);
    await odd.text();
  });
});

// --- lossless mapping -------------------------------------------------------------------

/** JSON → request → NexBuf → request → JSON. */
function roundTrip(body: Record<string, unknown>): Record<string, unknown> {
  const request = readChatRequest(body, new Uint8Array([1, 0, 0, 4]), 0);
  const bytes = encodeMessage("inferenceRequest", 1, request);
  assert.ok(bytes.length > MESSAGE_HEADER_BYTES);
  const message = decodeMessage(bytes);
  assert.equal(message.kind, "inferenceRequest");
  return writeChatRequest(message.body as typeof request, body.model as string);
}

Deno.test("NA-BR-004: a chat request with everything in it survives the mesh unchanged", () => {
  const body = {
    model: "up",
    messages: [
      { role: "developer", content: "be brief", name: "boss" },
      { role: "system", content: [{ type: "text", text: "one part stays a list" }] },
      {
        role: "user",
        content: [
          { type: "text", text: "look" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AA==", detail: "low" } },
          { type: "image_url", image_url: { url: "https://x/y.png" } },
          { type: "input_audio", input_audio: { data: "AA==", format: "wav" } },
          { type: "text", text: "cached", cache_control: { type: "ephemeral" } },
        ],
      },
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "c1", type: "function", function: { name: "f", arguments: '{"a": 1}' } },
          { id: "c2", type: "function", function: { name: "g", arguments: "" } },
        ],
      },
      { role: "tool", tool_call_id: "c1", content: "42" },
      { role: "tool", tool_call_id: "c2", content: [{ type: "text", text: "x" }] },
      {
        role: "assistant",
        tool_calls: [{ id: "c3", type: "custom", custom: { name: "h", input: "i" } }],
      },
      { role: "assistant", content: "", refusal: "no", reasoning_content: "hm" },
      { role: "function", name: "old", content: "1" },
      { role: "user", content: "go on", "__proto__x": 1 },
    ],
    temperature: 0.7,
    top_p: 0.1,
    top_k: 40,
    seed: -12345678901,
    max_tokens: 5,
    max_completion_tokens: 7,
    stop: "END",
    n: 2,
    logprobs: true,
    top_logprobs: 3,
    presence_penalty: -0.5,
    logit_bias: { "50256": -100 },
    user: "u",
    metadata: { a: "b" },
    stream: true,
    stream_options: { include_usage: true },
    tools: [
      {
        type: "function",
        function: {
          name: "f",
          description: "",
          parameters: { type: "object", properties: { a: { type: "number" } } },
          strict: true,
        },
      },
      { type: "function", function: { name: "g" } },
    ],
    tool_choice: { type: "function", function: { name: "f" } },
    response_format: { type: "json_schema", json_schema: { name: "s", schema: {} } },
    parallel_tool_calls: false,
    guided_regex: "a+",
  };
  assert.deepEqual(roundTrip(body), body);
});

Deno.test("NA-BR-004: any shape of messages and parameters survives the mesh (property)", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 12 });
  const json = fc.jsonValue({ maxDepth: 2 });
  const part = fc.oneof(
    fc.record({ type: fc.constant("text"), text }),
    fc.record({
      type: fc.constant("image_url"),
      image_url: fc.record({ url: text, detail: text }, { requiredKeys: ["url"] }),
    }),
    fc.record({ type: fc.constant("file"), file: json }),
    fc.record({ type: fc.constant("text"), text, more: json }),
  );
  const call = fc.oneof(
    fc.record({
      id: text,
      type: fc.constant("function"),
      function: fc.record({ name: text, arguments: text }),
    }),
    fc.record({ id: text, type: fc.constant("custom"), custom: json }),
  );
  const message = fc.record({
    role: fc.constantFrom("system", "developer", "user", "assistant", "tool", "function"),
    content: fc.oneof(text, fc.constant(null), fc.array(part, { maxLength: 3 })),
    name: fc.oneof(text, fc.constant(null)),
    tool_call_id: text,
    tool_calls: fc.oneof(fc.array(call, { maxLength: 3 }), fc.constant(null)),
    refusal: fc.oneof(text, fc.constant(null)),
    extra: json,
  }, { requiredKeys: ["role"] });
  const tool = fc.oneof(
    fc.record({
      type: fc.constant("function"),
      function: fc.record({
        name: text,
        description: text,
        parameters: fc.dictionary(text.filter((key) => key !== "__proto__"), json, { maxKeys: 3 }),
        strict: fc.oneof(fc.boolean(), fc.constant(null)),
      }, { requiredKeys: ["name"] }),
    }),
    fc.record({ type: fc.constant("custom"), custom: json }),
  );
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x === 0 ? 0 : x);
  const body = fc.record({
    model: text,
    messages: fc.array(message, { minLength: 1, maxLength: 4 }),
    temperature: fc.oneof(number, fc.constant(null)),
    top_p: number,
    top_k: fc.integer({ min: -1, max: 100 }),
    seed: fc.maxSafeInteger(),
    max_tokens: fc.nat(),
    max_completion_tokens: fc.oneof(fc.nat(), fc.constant(null)),
    stop: fc.oneof(text, fc.array(text, { maxLength: 3 }), fc.constant(null)),
    n: fc.integer({ min: 1, max: 128 }),
    tools: fc.array(tool, { maxLength: 3 }),
    tool_choice: fc.oneof(fc.constantFrom("none", "auto", "required"), fc.record({ type: text })),
    response_format: fc.record({ type: text, json_schema: json }),
    stream: fc.constant(true),
    other: json,
  }, { requiredKeys: ["model", "messages"] });
  fc.assert(fc.property(body, (value) => {
    // fast-check makes -0 and prototypes that JSON does not have.
    const sent = JSON.parse(JSON.stringify(value));
    assert.deepEqual(roundTrip(sent), sent);
  }));
});

Deno.test("arbitrary JSON bodies are read or refused with a 400, never with another exception", () => {
  const key = fc.constantFrom(
    ..."model messages tools stop n stream tool_choice temperature seed max_tokens __proto__ x"
      .split(" "),
  );
  const body = fc.dictionary(key, fc.jsonValue({ maxDepth: 4 }), { maxKeys: 6 });
  fc.assert(fc.property(body, fc.array(fc.jsonValue({ maxDepth: 4 })), (value, messages) => {
    for (
      const candidate of [value, { ...value, messages }, { messages: [{ role: "user", ...value }] }]
    ) {
      try {
        const request = readChatRequest(
          JSON.parse(JSON.stringify(candidate)),
          new Uint8Array(4),
          0,
        );
        writeChatRequest(request, "m");
      } catch (error) {
        assert.equal((error as { status?: number }).status, 400);
      }
    }
  }));
});

Deno.test("a peer's metadata cannot replace model, messages or stream of the upstream request", () => {
  const request = readChatRequest(HELLO, new Uint8Array(4), 0);
  request.metadata.set("openai.model", '"expensive"');
  request.metadata.set("openai.messages", "[]");
  request.metadata.set("openai.stream", "true");
  assert.deepEqual(writeChatRequest(request, "up"), { ...HELLO, model: "up" });
  request.metadata.set("openai.user", "{");
  assert.throws(() => writeChatRequest(request, "up"), { code: "INVALID_REQUEST" });
});
