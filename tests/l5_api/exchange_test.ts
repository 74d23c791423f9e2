/** The client's side of a request: order, completeness, contradictions. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { NexusError } from "../../lib/base/mod.ts";
import {
  ApiError,
  ApiFault,
  CHUNK_CHARS_HELD_MAX,
  CHUNKS_HELD_MAX,
  decodeMessage,
  type ExchangeEvent,
  type FinishReason,
  InferenceExchange,
  InferenceReply,
  type Message,
  type TokenStreamChunk,
} from "../../lib/l5_api/mod.ts";

const ID = 7;
const nodeId = new Uint8Array(16).fill(1);
const usage = { prompt: 1, completion: 2, cached: 0 };

const start: Message = { kind: "tokenStreamStart", requestId: ID, body: { model: "m", nodeId } };
function chunk(sequence: number, text = `t${sequence} `): Message {
  return {
    kind: "tokenStreamChunk",
    requestId: ID,
    body: { sequence, index: 0, text, toolCalls: [] },
  };
}
function end(chunks: number): Message {
  const finishReason: FinishReason = "stop";
  const body = {
    chunks,
    finishReason,
    usage,
    model: "m",
    nodeId,
    latencyMs: 1,
    ttftMs: 1,
    costMicros: 0,
  };
  return { kind: "tokenStreamEnd", requestId: ID, body };
}
const response: Message = {
  kind: "inferenceResponse",
  requestId: ID,
  body: { choices: [], usage, model: "m", nodeId, latencyMs: 1, ttftMs: 1, costMicros: 0 },
};
function error(code: number): Message {
  return {
    kind: "error",
    requestId: ID,
    body: { code, text: "no", retryable: true, retryAfterMs: 9 },
  };
}

function drain(exchange: InferenceExchange): ExchangeEvent[] {
  const events: ExchangeEvent[] = [];
  for (let e = exchange.poll(); e !== undefined; e = exchange.poll()) events.push(e);
  return events;
}

/** Events after these messages, as short words: "start", "0", "1", "end", "error CODE". */
function run(messages: Message[], exchange = new InferenceExchange(ID, true)): string[] {
  return messages.flatMap((message) => {
    exchange.receive(message);
    return drain(exchange).map(word);
  });
}
function word(event: ExchangeEvent): string {
  if (event.type === "chunk") return `${event.chunk.sequence}`;
  return event.type === "error" ? `error ${event.error.code}` : event.type;
}

Deno.test("NA-CL-002: chunks in any order, before START and after END, are yielded in order", () => {
  const order = fc.nat(40).chain((n) => {
    const sent = Array.from({ length: n }, (_, i) => chunk(i));
    // START stays before END: both travel on the ordered stream
    return fc.tuple(
      fc.shuffledSubarray(sent, { minLength: n, maxLength: n }),
      fc.nat(n),
      fc.nat(n),
    ).map(([chunks, a, b]) => {
      const out = [...chunks];
      out.splice(Math.max(a, b), 0, end(n));
      out.splice(Math.min(a, b), 0, start);
      return { n, out };
    });
  });
  fc.assert(fc.property(order, fc.boolean(), ({ n, out }, lazy) => {
    const exchange = new InferenceExchange(ID, true);
    const expected = ["start", ...Array.from({ length: n }, (_, i) => `${i}`), "end"];
    let events: string[];
    if (lazy) {
      for (const message of out) exchange.receive(message);
      events = drain(exchange).map(word);
    } else {
      events = run(out, exchange);
    }
    assert.deepEqual(events, expected);
    assert.equal(exchange.state, "done");
    assert.ok(exchange.complete && exchange.finished);
    assert.equal(exchange.chunksHeld, 0);
  }));
});

Deno.test("NA-CL-002: a chunk is yielded as soon as all before it are there", () => {
  const exchange = new InferenceExchange(ID, true);
  assert.deepEqual(run([start, chunk(0)], exchange), ["start", "0"]);
  assert.deepEqual(run([chunk(2), chunk(3)], exchange), []);
  assert.deepEqual(run([chunk(1)], exchange), ["1", "2", "3"]);
});

Deno.test("an exchange is complete only with END and every chunk", () => {
  const exchange = new InferenceExchange(ID, true);
  assert.equal(exchange.state, "waiting");
  exchange.receive(start);
  assert.equal(exchange.state, "streaming");
  exchange.receive(chunk(1));
  exchange.receive(end(2));
  assert.equal(exchange.complete, false);
  exchange.receive(chunk(0));
  assert.equal(exchange.complete, true, "received, not yet taken");
  assert.equal(exchange.finished, false);
  drain(exchange);
  assert.equal(exchange.finished, true);
});

Deno.test("an answer of no chunks is start and end", () => {
  assert.deepEqual(run([start, end(0)]), ["start", "end"]);
});

Deno.test("a request without stream is answered by one response", () => {
  const exchange = new InferenceExchange(ID, false);
  assert.deepEqual(run([response], exchange), ["response"]);
  assert.equal(exchange.state, "done");
  assert.ok(exchange.complete && exchange.finished);
});

Deno.test("ERROR fails the exchange with its code, text and retry advice", () => {
  for (const stream of [false, true]) {
    const exchange = new InferenceExchange(ID, stream);
    exchange.receive(error(ApiError.RATE_LIMITED));
    const [event] = drain(exchange);
    assert.ok(event.type === "error" && event.error instanceof ApiFault);
    assert.equal(event.error.code, "RATE_LIMITED");
    assert.equal(event.error.message, "no");
    assert.equal(event.error.retryable, true);
    assert.equal(event.error.retryAfterMs, 9);
    assert.equal(exchange.state, "failed");
    assert.equal(exchange.complete, false);
  }
});

Deno.test("ERROR in mid-stream comes after the chunks that are in order", () => {
  const exchange = new InferenceExchange(ID, true);
  for (const m of [start, chunk(0), chunk(1), chunk(3), error(ApiError.INTERNAL_ERROR)]) {
    exchange.receive(m);
  }
  assert.deepEqual(drain(exchange).map(word), ["start", "0", "1", "error INTERNAL_ERROR"]);
  assert.equal(exchange.chunksHeld, 0);
  assert.deepEqual(run([chunk(2), end(4)], exchange), [], "nothing follows the error");
});

Deno.test("ERROR after END changes nothing", () => {
  const exchange = new InferenceExchange(ID, true);
  const messages = [start, end(1), error(ApiError.INTERNAL_ERROR), chunk(0)];
  assert.deepEqual(run(messages, exchange), ["start", "0", "end"]);
});

const contradictions: [string, boolean, Message[]][] = [
  ["a chunk that waits comes again", true, [start, chunk(1), chunk(1)]],
  ["a chunk that was yielded comes again", true, [start, chunk(0), chunk(0)]],
  ["a chunk is beyond END", true, [start, end(2), chunk(2)]],
  ["END says fewer chunks than came", true, [start, chunk(2), end(2)]],
  ["END comes twice", true, [start, end(1), end(1)]],
  ["END comes without START", true, [end(0)]],
  ["START comes twice", true, [start, start]],
  ["RESPONSE answers a request with stream", true, [response]],
  ["START answers a request without stream", false, [start]],
  ["CHUNK answers a request without stream", false, [chunk(0)]],
  ["a message is for another request", true, [{ ...start, requestId: 8 }]],
  ["a message is no answer", true, [{ kind: "cancel", requestId: ID, body: {} }]],
  ["a message is of no known type", true, [{ kind: "unknown", requestId: ID, type: 999 }]],
  ["a chunk is far beyond the next one", true, [start, chunk(CHUNKS_HELD_MAX)]],
];
for (const [name, stream, messages] of contradictions) {
  Deno.test(`PROTOCOL_VIOLATION when ${name}`, () => {
    const exchange = new InferenceExchange(ID, stream);
    for (const message of messages.slice(0, -1)) exchange.receive(message);
    assert.notEqual(exchange.state, "failed");
    if (name.includes("yielded")) drain(exchange);
    exchange.receive(messages[messages.length - 1]);
    assert.equal(exchange.state, "failed");
    assert.equal(drain(exchange).map(word).at(-1), "error PROTOCOL_VIOLATION");
  });
}

Deno.test("chunks held are bounded in number and in characters", () => {
  const exchange = new InferenceExchange(ID, true);
  exchange.receive(start);
  for (let i = 1; i < CHUNKS_HELD_MAX; i++) exchange.receive(chunk(i, ""));
  assert.equal(exchange.state, "streaming");
  assert.equal(exchange.chunksHeld, CHUNKS_HELD_MAX - 1);
  exchange.receive(chunk(CHUNKS_HELD_MAX, ""));
  assert.equal(exchange.state, "failed");

  const large = new InferenceExchange(ID, true);
  const text = "x".repeat(CHUNK_CHARS_HELD_MAX / 4);
  for (let i = 1; i <= 4; i++) large.receive(chunk(i, text));
  assert.equal(large.state, "waiting");
  large.receive(chunk(5, "x"));
  assert.equal(large.state, "failed");
});

Deno.test("taking chunks makes room, and wantsChunks says when to read on", () => {
  const exchange = new InferenceExchange(ID, true);
  exchange.receive(start);
  for (let i = 0; i < CHUNKS_HELD_MAX / 2; i++) exchange.receive(chunk(i, ""));
  assert.equal(exchange.wantsChunks, false, "the application has to take some");
  drain(exchange);
  assert.equal(exchange.wantsChunks, true);
  for (let i = 0; i < CHUNKS_HELD_MAX; i++) {
    exchange.receive(chunk(CHUNKS_HELD_MAX / 2 + i, ""));
    drain(exchange);
  }
  assert.equal(exchange.state, "streaming");
});

Deno.test("wantsChunks stays true while the next chunk is missing, or nothing would move", () => {
  const exchange = new InferenceExchange(ID, true);
  exchange.receive(start);
  for (let i = 1; i < CHUNKS_HELD_MAX; i++) exchange.receive(chunk(i, ""));
  assert.equal(exchange.wantsChunks, true);
});

Deno.test("done is final: whatever comes after a complete answer is ignored", () => {
  for (const late of [start, chunk(0), chunk(9), end(3), error(11)]) {
    const exchange = new InferenceExchange(ID, true);
    for (const message of [start, chunk(0), end(1), late]) exchange.receive(message);
    assert.equal(exchange.state, "done");
    assert.deepEqual(drain(exchange).map(word), ["start", "0", "end"]);
  }
  assert.deepEqual(run([response, response], new InferenceExchange(ID, false)), ["response"]);
});

Deno.test("a chunk stream that ends short of END's count fails, whichever is known first", () => {
  for (const closedFirst of [true, false]) {
    const exchange = new InferenceExchange(ID, true);
    exchange.receive(start);
    exchange.receive(chunk(0));
    if (closedFirst) exchange.chunkStreamClosed();
    assert.equal(exchange.state, "streaming");
    exchange.receive(end(2));
    if (!closedFirst) exchange.chunkStreamClosed();
    assert.deepEqual(drain(exchange).map(word), ["start", "0", "error PROTOCOL_VIOLATION"]);
  }
});

Deno.test("streams that close after everything arrived change nothing", () => {
  const exchange = new InferenceExchange(ID, true);
  for (const message of [start, chunk(0), end(1)]) exchange.receive(message);
  exchange.chunkStreamClosed();
  exchange.answerStreamClosed();
  exchange.fail(new NexusError("CLOSED", "connection lost"));
  assert.deepEqual(drain(exchange).map(word), ["start", "0", "end"]);
});

Deno.test("an answer stream that ends without END or RESPONSE fails", () => {
  for (const before of [[], [start], [start, chunk(0)]]) {
    const exchange = new InferenceExchange(ID, true);
    for (const message of before) exchange.receive(message);
    exchange.answerStreamClosed();
    assert.equal(drain(exchange).map(word).at(-1), "error INTERNAL_ERROR");
  }
});

Deno.test("a failure from outside (lost connection, deadline) is the last event", () => {
  const exchange = new InferenceExchange(ID, true);
  exchange.receive(start);
  exchange.fail(new NexusError("TIMEOUT", "deadline passed"));
  exchange.fail(new NexusError("CLOSED", "too late"));
  assert.deepEqual(drain(exchange).map(word), ["start", "error TIMEOUT"]);
});

Deno.test("any messages in any order give events and at most one last event", () => {
  const any = fc.oneof(
    fc.constantFrom(start, response, error(1), error(11)),
    fc.nat(6).map((n) => chunk(n)),
    fc.nat(6).map((n) => end(n)),
  );
  const last = /^(end|response|error .*)$/;
  fc.assert(
    fc.property(fc.array(any), fc.boolean(), (messages, stream) => {
      const exchange = new InferenceExchange(ID, stream);
      const words = run(messages, exchange);
      assert.ok(words.filter((w) => last.test(w)).length <= 1);
      if (words.some((w) => last.test(w))) assert.match(words.at(-1)!, last);
      const chunks = words.filter((w) => /^\d+$/.test(w));
      assert.deepEqual(chunks, chunks.map((_, i) => `${i}`));
      assert.equal(exchange.finished, words.some((w) => last.test(w)));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("NA-SV-001: what a reply makes, an exchange understands", () => {
  const reply = new InferenceReply(ID, { model: "m", nodeId }, 1_000_000);
  const texts = ["Hel", "lo", "", "🦕"];
  const bytes = [
    reply.start(),
    ...texts.flatMap((text, i) => reply.chunk({ text }, 1_250_000 + i)),
    reply.end({ finishReason: "stop", usage }, 3_000_000),
  ];
  const exchange = new InferenceExchange(ID, true);
  for (const one of bytes) exchange.receive(decodeMessage(one));
  const events = drain(exchange);
  const chunks = events.flatMap((e): TokenStreamChunk[] => e.type === "chunk" ? [e.chunk] : []);
  assert.deepEqual(chunks.map((c) => c.text), texts);
  const last = events.at(-1)!;
  assert.ok(last.type === "end");
  assert.equal(last.end.chunks, 4);
  assert.equal(last.end.ttftMs, 250);
  assert.equal(last.end.latencyMs, 2000);
  assert.deepEqual(last.end.usage, usage);
  assert.ok(reply.over && exchange.complete);
});
