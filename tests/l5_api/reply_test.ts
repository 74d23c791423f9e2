/** The server's side of a request, errors that travel, and putting chunks together. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { NexusError } from "../../lib/base/mod.ts";
import {
  ApiError,
  apiErrorName,
  ApiFault,
  type ChunkFields,
  decodeMessage,
  errorMessageOf,
  faultOf,
  InferenceReply,
  isApiErrorName,
  type MessageBodies,
  type MessageKind,
  ResponseCollector,
} from "../../lib/l5_api/mod.ts";

const nodeId = new Uint8Array(16).fill(2);
const usage = { prompt: 3, completion: 4, cached: 1 };
const origin = { model: "m", nodeId };
const ends = {
  usage,
  ...origin,
  finishReason: "stop",
  latencyMs: 5,
  ttftMs: 2,
  costMicros: 0,
} as const;

function reply(): InferenceReply {
  return new InferenceReply(9, origin, 0);
}
function body<K extends MessageKind>(kind: K, bytes: Uint8Array | undefined): MessageBodies[K] {
  const message = decodeMessage(bytes!);
  assert.equal(message.kind, kind);
  assert.equal(message.requestId, 9);
  return (message as unknown as { body: MessageBodies[K] }).body;
}
function code(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof NexusError) return thrown.code;
    throw thrown;
  }
  return "none";
}

Deno.test("chunks are numbered from 0 and END counts them", () => {
  const r = reply();
  r.start();
  const sequences = [1, 2, 3].flatMap(() => r.chunk({ text: "x" }, 0))
    .map((bytes) => body("tokenStreamChunk", bytes).sequence);
  assert.deepEqual(sequences, [0, 1, 2]);
  assert.equal(r.chunks, 3);
  assert.equal(body("tokenStreamEnd", r.end({ finishReason: "length", usage }, 0)).chunks, 3);
});

Deno.test("END of an answer without chunks takes its time to first token from the end", () => {
  const r = reply();
  r.start();
  const end = body("tokenStreamEnd", r.end({ finishReason: "stop", usage }, 7_000));
  assert.equal(end.chunks, 0);
  assert.equal(end.ttftMs, 7);
});

Deno.test("END takes the model of the provider when one is named, else that of START", () => {
  for (const [given, expected] of [["m-2", "m-2"], [undefined, "m"]]) {
    const r = reply();
    r.start();
    const end = r.end({ finishReason: "stop", usage, model: given }, 0);
    assert.equal(body("tokenStreamEnd", end).model, expected);
  }
});

Deno.test("calls out of order are refused", () => {
  const fresh = reply();
  assert.equal(code(() => fresh.chunk({}, 0)), "WRONG_STATE");
  assert.equal(code(() => fresh.end({ finishReason: "stop", usage }, 0)), "WRONG_STATE");
  fresh.start();
  assert.equal(code(() => fresh.start()), "WRONG_STATE");
  const whole = { choices: [], usage, model: "m", ttftMs: 0, costMicros: 0 };
  assert.equal(code(() => fresh.response(whole, 0)), "WRONG_STATE");
  fresh.end({ finishReason: "stop", usage }, 0);
  assert.equal(code(() => fresh.chunk({}, 0)), "WRONG_STATE");
});

Deno.test("an answer fails once, and not after it is over", () => {
  const r = reply();
  r.start();
  const error = body("error", r.failure(new ApiFault("MODEL_OVERLOADED", "busy")));
  assert.equal(error.code, ApiError.MODEL_OVERLOADED);
  assert.equal(r.over, true);
  assert.equal(r.failure(new Error("again")), undefined);
});

Deno.test("a response carries node id and latency of the reply", () => {
  const r = reply();
  const whole = { choices: [], usage, model: "m-2", ttftMs: 1, costMicros: 2 };
  const response = body("inferenceResponse", r.response(whole, 12_345));
  assert.deepEqual(response.nodeId, nodeId);
  assert.equal(response.latencyMs, 12);
  assert.equal(response.model, "m-2");
});

Deno.test("every chunk message fits 65,536 bytes and the pieces make the whole", () => {
  const long = (n: number) =>
    fc.tuple(fc.nat(n), fc.constantFrom("a", "語", "🦕")).map(([n, c]) =>
      "x".repeat(n % 3) + c.repeat(n)
    );
  const chunk: fc.Arbitrary<ChunkFields> = fc.record({
    index: fc.nat(3),
    text: long(60_000),
    role: fc.constantFrom("assistant", undefined),
    toolCalls: fc.array(
      fc.record({
        index: fc.nat(3),
        id: fc.constant("c"),
        name: fc.constant("n"),
        arguments: long(40_000),
      }),
      { maxLength: 3 },
    ),
    finishReason: fc.constantFrom("stop", undefined),
    extraJson: fc.constantFrom('{"a":[1]}', undefined),
  }, { noNullPrototype: true });
  let split = 0;
  fc.assert(
    fc.property(chunk, (chunk) => {
      const r = reply();
      r.start();
      const messages = r.chunk(chunk, 0);
      if (messages.length > 1) split++;
      const once = new ResponseCollector();
      once.add(chunk);
      const pieces = new ResponseCollector();
      for (const message of messages) {
        assert.ok(message.length <= 65_536, `${message.length} bytes`);
        pieces.add(body("tokenStreamChunk", message));
      }
      assert.deepEqual(pieces.finish(ends), once.finish(ends));
    }),
    { numRuns: 30 },
  );
  assert.ok(split > 5, `${split}`);
});

Deno.test("chunks of several choices and tool calls are put together", () => {
  const c = new ResponseCollector();
  const base = { text: "", toolCalls: [] };
  c.add({ ...base, index: 1, role: "assistant", text: "B" });
  c.add({
    ...base,
    index: 0,
    text: "A",
    extraJson: '{"logprobs":{"content":[1]},"reasoning_content":"so "}',
  });
  c.add({ ...base, index: 0, toolCalls: [{ index: 1, id: "c2", name: "f", arguments: '{"x"' }] });
  c.add({ ...base, index: 0, toolCalls: [{ index: 0, id: "c1", name: "g", arguments: "" }] });
  c.add({
    ...base,
    index: 0,
    toolCalls: [{ index: 1, arguments: ":1}" }],
    finishReason: "tool_calls",
  });
  c.add({
    ...base,
    index: 0,
    text: "a",
    extraJson: '{"logprobs":{"content":[2]},"reasoning_content":"what"}',
  });
  const { choices, ...rest } = c.finish(ends);
  assert.deepEqual(choices, [
    {
      index: 0,
      role: "assistant",
      text: "Aa",
      toolCalls: [{ id: "c1", name: "g", arguments: "" }, {
        id: "c2",
        name: "f",
        arguments: '{"x":1}',
      }],
      finishReason: "tool_calls",
      extraJson: '{"logprobs":{"content":[1,2]},"reasoning_content":"so what"}',
    },
    { index: 1, role: "assistant", text: "B", toolCalls: [], finishReason: "stop" },
  ]);
  assert.equal(rest.latencyMs, 5);
  assert.deepEqual(rest.usage, usage);
});

Deno.test("an answer without chunks is one empty choice", () => {
  const [choice, ...others] = new ResponseCollector().finish(ends).choices;
  assert.deepEqual([choice.text, choice.finishReason, others.length], ["", "stop", 0]);
});

Deno.test("extra JSON that is hostile or broken does not lose the answer", () => {
  const c = new ResponseCollector();
  const base = { index: 0, toolCalls: [] };
  c.add({ ...base, text: "a", extraJson: "{not json" });
  c.add({ ...base, text: "b", extraJson: '{"x":{}}' });
  c.add({
    ...base,
    text: "c",
    extraJson: '{"x":{"__proto__":{"polluted":1}},"__proto__":{"polluted":1}}',
  });
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  assert.deepEqual(c.finish(ends).choices[0].extraJson, '{"x":{}}');
});

Deno.test("a collected answer is bounded", () => {
  const base = { index: 0, text: "", toolCalls: [] };
  const add = (chunk: Partial<ChunkFields>) => () =>
    new ResponseCollector().add({ ...base, ...chunk });
  assert.equal(code(add({ toolCalls: [{ index: 1 << 30, arguments: "" }] })), "INTERNAL_ERROR");
  assert.equal(code(add({ text: "x".repeat(64 * 1024 * 1024 + 1) })), "INTERNAL_ERROR");
  const many = new ResponseCollector();
  assert.equal(
    code(() => {
      for (let index = 0; index < 1000; index++) many.add({ ...base, index });
    }),
    "INTERNAL_ERROR",
  );
});

Deno.test("NA-CL-011: errors that allow a retry by default are those another try can mend", () => {
  const retryable = Object.entries(ApiError)
    .filter(([name]) => new ApiFault(name as keyof typeof ApiError, "x").retryable)
    .map(([name]) => name);
  assert.deepEqual(retryable, ["TIMEOUT", "MODEL_OVERLOADED", "RATE_LIMITED", "INTERNAL_ERROR"]);
});

Deno.test("an ApiFault travels as ERROR and comes back the same", () => {
  const fault = new ApiFault("RATE_LIMITED", "slow", {
    retryable: false,
    retryAfterMs: 5,
    detailJson: "{}",
  });
  const back = faultOf(errorMessageOf(fault));
  const { code, message, apiCode, retryable, retryAfterMs, detailJson } = back;
  assert.deepEqual(
    [code, message, apiCode, retryable, retryAfterMs, detailJson],
    ["RATE_LIMITED", "slow", 10, false, 5, "{}"],
  );
});

Deno.test("a code of a later version is CUSTOM and keeps its number", () => {
  const fault = new ApiFault(77, "new");
  assert.equal(fault.code, "CUSTOM");
  assert.equal(errorMessageOf(fault).code, 77);
  assert.equal(apiErrorName(4), "MODEL_NOT_FOUND");
  assert.ok(isApiErrorName("TIMEOUT") && !isApiErrorName("toString") && !isApiErrorName("NOPE"));
});

Deno.test("what was thrown becomes ERROR without telling secrets of foreign errors", () => {
  const cases: [unknown, number, string][] = [
    [new NexusError("MODEL_NOT_FOUND", "no such model"), ApiError.MODEL_NOT_FOUND, "no such model"],
    [new NexusError("SAD_SYNTAX", "bad term"), ApiError.INVALID_REQUEST, "bad term"],
    [new NexusError("TOO_LARGE", "64 MiB"), ApiError.INVALID_REQUEST, "64 MiB"],
    [new NexusError("CLOSED", "connection lost"), ApiError.INTERNAL_ERROR, "connection lost"],
    [new TypeError("key sk-123 of /home"), ApiError.INTERNAL_ERROR, "internal error"],
    ["text", ApiError.INTERNAL_ERROR, "internal error"],
  ];
  for (const [thrown, expected, text] of cases) {
    const message = errorMessageOf(thrown);
    assert.deepEqual([message.code, message.text], [expected, text]);
  }
});
