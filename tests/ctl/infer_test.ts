import assert from "node:assert/strict";
import {
  eventResponse,
  failure,
  FakeNode,
  FakeTerminal,
  NODE_A,
  NODE_B,
  run,
  SHA,
} from "./support.ts";

const RESOLUTION = {
  type: "resolution",
  sad: "cap=code_gen",
  durationUs: 10,
  candidates: [{ nodeId: NODE_A, model: "m", chosen: true, score: 0.9 }],
};
const ATTEMPT = {
  type: "attempt",
  number: 1,
  nodeId: NODE_A,
  model: "m",
  local: false,
  address: "a:1",
};
const HANDSHAKE = {
  type: "handshake",
  nodeId: NODE_A,
  durationMs: 3.25,
  reused: false,
  suite: "AES-256-GCM",
  certificate: {
    serial: SHA,
    nodeId: NODE_A,
    publicKey: SHA,
    fingerprint: SHA,
    issuerNodeId: NODE_B,
    notBeforeS: 1,
    notAfterS: 2,
    role: "node",
    capabilities: [],
    models: [],
    bytes: 1,
  },
  chainLength: 2,
};
const RETRY = {
  type: "retry",
  number: 1,
  nodeId: NODE_A,
  code: "INTERNAL_ERROR",
  message: "it died",
};
const chunk = (sequence: number, text: string) => ({ type: "chunk", sequence, index: 0, text });
const END = {
  type: "end",
  finishReason: "stop",
  nodeId: NODE_A,
  model: "m",
  usage: { promptTokens: 2, completionTokens: 3, cachedTokens: 0 },
  chunks: 2,
  latencyMs: 40,
  ttftMs: 12,
  network: { bytesSent: 100, bytesReceived: 2000, retransmissions: 1 },
};

function answering(events: readonly { type: string }[]): FakeNode {
  return new FakeNode({ "POST /api/v1/infer": () => eventResponse(events) });
}

Deno.test("infer streams the text and nothing else to standard output", async () => {
  await using node = answering([
    RESOLUTION,
    ATTEMPT,
    HANDSHAKE,
    chunk(0, "one "),
    chunk(1, "two"),
    END,
  ]);
  const { code, out, err } = await run(["infer", "cap=code_gen", "hello"], { env: node.env });
  assert.equal(code, 0);
  assert.equal(out, "one two\n");
  assert.equal(err, "");
  assert.deepEqual(node.seen[0].body, { sad: "cap=code_gen", prompt: "hello" });
});

Deno.test("infer passes its flags on, and reads the prompt from standard input", async () => {
  await using node = answering([chunk(0, "x\n"), END]);
  const args = "infer m - --system s --max-tokens 7 --temperature 0.5 --seed 9 --deadline 2m";
  const { out } = await run(args.split(" "), { env: node.env, input: "from stdin\n" });
  assert.equal(out, "x\n"); // Its own line feed is enough.
  assert.deepEqual(node.seen[0].body, {
    sad: "m",
    prompt: "from stdin\n",
    system: "s",
    maxTokens: 7,
    temperature: 0.5,
    seed: 9,
    deadlineMs: 120_000,
  });
});

Deno.test("infer -v tells candidates, attempts, handshake and numbers on standard error", async () => {
  await using node = answering([
    RESOLUTION,
    ATTEMPT,
    RETRY,
    ATTEMPT,
    HANDSHAKE,
    chunk(0, "x"),
    END,
  ]);
  const { out, err } = await run(["infer", "m", "p", "-v"], { env: node.env });
  assert.equal(out, "x\n");
  assert.match(err, /a0a0a0a0 {2}m {6}0\.900 .* chosen/);
  assert.match(err, /attempt {2}1: m on a0a0a0a0 \(a:1\)/);
  assert.match(err, /retry {2}attempt 1 failed: it died \(INTERNAL_ERROR\)/);
  assert.match(err, /handshake in 3\.3 ms, AES-256-GCM; certificate of a0a0/);
  assert.match(err, /3 tokens, first after 12 ms, .* 1 retransmissions, stop/);
});

Deno.test("infer -o json gives one object at the end", async () => {
  await using node = answering([
    RESOLUTION,
    ATTEMPT,
    RETRY,
    ATTEMPT,
    HANDSHAKE,
    chunk(0, "one "),
    chunk(1, "two"),
    END,
  ]);
  const { code, out } = await run(["infer", "m", "p", "-o", "json"], { env: node.env });
  assert.equal(code, 0);
  const answer = JSON.parse(out);
  assert.equal(answer.text, "one two");
  assert.equal(answer.finishReason, "stop");
  assert.equal(answer.attempts.length, 2);
  assert.equal(answer.retries[0].code, "INTERNAL_ERROR");
  assert.equal(answer.handshake.durationMs, 3.25);
  assert.equal(answer.resolution.candidates.length, 1);
  assert.deepEqual(answer.usage, END.usage);
});

Deno.test("infer ends with the exit code of what failed", async () => {
  const failing = async (event: { type: string }, ...before: { type: string }[]) => {
    await using node = answering([...before, event]);
    return await run(["infer", "m", "p"], { env: node.env });
  };
  const error = (code: string) => ({ type: "error", code, message: "cannot", retryable: false });
  const none = await failing(error("MODEL_NOT_FOUND"));
  assert.equal(none.code, 3);
  assert.equal(none.err, "nexus: cannot\n");
  assert.equal((await failing(error("TRUST_FAILURE"))).code, 4);
  const late = await failing(error("TIMEOUT"), chunk(0, "half"));
  assert.equal(late.code, 1);
  assert.equal(late.out, "half"); // A file shows what came; the error says that it is not all.
});

Deno.test("infer takes a refusal before the stream for what it is", async () => {
  await using node = new FakeNode({
    "POST /api/v1/infer": () => failure(400, "SAD_SYNTAX", "cannot read SAD"),
  });
  assert.equal((await run(["infer", "=", "p"], { env: node.env })).code, 2);
});

Deno.test("an answer without its end is a failure", async () => {
  await using node = answering([chunk(0, "half")]);
  const { code, err } = await run(["infer", "m", "p"], { env: node.env });
  assert.equal(code, 1);
  assert.match(err, /closed the connection before the end/);
});

Deno.test("an empty prompt and numbers out of range are usage mistakes", async () => {
  for (
    const args of [["m", " "], ["m", "-"], ["m", "p", "--max-tokens", "0"], [
      "m",
      "p",
      "--seed",
      "x",
    ], [
      "m",
      "p",
      "--temperature",
      "3",
    ], ["m", "p", "-o", "name"]]
  ) assert.equal((await run(["infer", ...args])).code, 2, args.join(" "));
});

Deno.test("a terminal gets no control characters of the model, a file gets all", async () => {
  await using node = answering([chunk(0, "a\x1b[2Jb\n"), END]);
  const { env } = node;
  const terminal = await run(["infer", "m", "p"], { env, outIsTerminal: true });
  assert.equal(terminal.out, "a\uFFFD[2Jb\n");
  assert.equal((await run(["infer", "m", "p"], { env })).out, "a\x1b[2Jb\n");
});

Deno.test("Ctrl-C ends the request at the node and exits with 130", async () => {
  const cancelled = Promise.withResolvers<void>();
  await using node = new FakeNode({
    "POST /api/v1/infer": () =>
      new Response(
        new ReadableStream({
          start: (controller) =>
            controller.enqueue(
              new TextEncoder().encode(`data: ${JSON.stringify(chunk(0, "half"))}\n\n`),
            ),
          cancel: () => cancelled.resolve(),
        }),
      ),
  });
  const setup = {
    env: node.env,
    onOut: (_: string, terminal: FakeTerminal) => queueMicrotask(() => terminal.stop()),
  };
  const terminal = new FakeTerminal(setup);
  const { code, out, err } = await run(["infer", "m", "p"], setup, terminal);
  assert.equal(code, 130);
  assert.equal(out, "half");
  assert.equal(err, "");
  assert.ok(!terminal.isWatched);
  await cancelled.promise; // The node saw the connection close.
});
