/** `nexus demo` as a user runs it: real processes, a story on standard output, nothing left. */
import assert from "node:assert/strict";
import type { CandidateRow } from "../../lib/ctl/route/candidates.ts";
import { type MarkedOptions, MarkedProcess } from "../support/marked_process.ts";
import { COMPILED_BINARY, testNeeding } from "../support/needs.ts";
import { e2e, Stage, until, within } from "./harness.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** The demo takes four seconds; a machine under load takes its time. */
const DEMO_MS_MAX = 60_000;

const SAD = "cap=code_gen+tool_use,ctx>=32k,latency<500ms";
const MODELS = ["alder-coder", "birch-coder", "birch-mini", "cedar-embed", "cedar-writer"];

/** `deno run … main.ts demo` with exactly the permissions that the task gives it. */
function fromSource(...args: string[]): string[] {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const words: string[] = tasks.demo.command.split(" ");
  const permissions = words.filter((word) => word.startsWith("--allow-"));
  assert.ok(permissions.length > 0 && words.slice(-2).join(" ") === "main.ts demo");
  return [Deno.execPath(), "run", ...permissions, "main.ts", "demo", ...args];
}

/** A demo, and the directory that its temporary files go to. */
interface Run {
  readonly demo: MarkedProcess;
  readonly temporary: string;
}

/** Starts it; whatever it leaves behind is gone when the test is over. */
function start(stage: Stage, command: string[], options: MarkedOptions = {}): Run {
  const temporary = `${stage.dir}/tmp`;
  Deno.mkdirSync(temporary);
  const env = { ...options.env, TMPDIR: temporary };
  const demo = new MarkedProcess(command, { cwd: ROOT, ...options, env });
  stage.onClear(async () => {
    await demo.signalFamily("SIGKILL");
    await demo.ended;
  });
  return { demo, temporary };
}

/** Waits for its end, which must be in order. */
async function succeeds({ demo, temporary }: Run): Promise<string> {
  const { code, stdout, stderr } = await within(DEMO_MS_MAX, "the demo", demo.ended);
  assert.equal(code, 0, stderr);
  await nothingIsLeft({ demo, temporary });
  return stdout;
}

async function nothingIsLeft({ demo, temporary }: Run): Promise<void> {
  assert.deepEqual(await demo.family(), [], "processes are left");
  assert.deepEqual([...Deno.readDirSync(temporary)].map(({ name }) => name), []);
}

/** What must be told, in this order. Where lines break is a matter of width. */
function assertStory(stdout: string): void {
  const story = [
    /private mesh of three processes/,
    /invite nxi1_/,
    /client [0-9a-f]{8} has its certificate and sees 5 models on 3 nodes/,
    SAD,
    /birch-coder 0\.\d{3} [\d. ]+ chosen/,
    /alder-coder 0\.\d{3} [\d. ]+ lost by 0\.\d{3}: cost −0\.\d{3}, latency −0\.\d{3}/,
    /Handshake with birch at 127\.0\.0\.1:\d+, direct/,
    /time [\d.]+ m?s/,
    /suite X25519, Ed25519, (AES-256-GCM|ChaCha20-Poly1305), SHA-256 \(0x000[12]\)/,
    /certificate of node [0-9a-f]{32}/,
    /issued by [0-9a-f]{32}, mesh CA [0-9a-f]{16}…, chain of 2/,
    /says role node, .*code_gen.*birch-coder/,
    /Asked \S/,
    /\/\*\* .* \*\/ export function /, // the answer
    /tokens [1-9]\d* \(prompt [1-9]\d*\), ended by stop/,
    /first token [\d.]+ m?s/,
    /network [\d.]+ kB sent in \d+ frames, [\d.]+ kB received in \d+/,
    /retransmissions \d+/,
    /3 nodes stopped, nothing left behind/,
  ];
  const told = stdout.replaceAll(/\s+/g, " ");
  let at = 0;
  for (const part of story) {
    const rest = told.slice(at);
    const found = typeof part === "string" ? rest.indexOf(part) : rest.search(part);
    assert.ok(found >= 0, `${part} is missing behind character ${at} of:\n${stdout}`);
    at += found;
  }
  for (const model of MODELS) {
    const verdict = new RegExp(` ${model} ([\\d.]+ |- ){7}(chosen|lost by 0\\.\\d+: |rejected: )`);
    assert.match(told, verdict);
  }
}

e2e("the demo tells its story, streams an answer and leaves nothing behind", async (stage) => {
  const run = start(stage, fromSource());
  await until("three nodes", async () => (await run.demo.family()).length === 4, DEMO_MS_MAX);
  const stdout = await succeeds(run);
  assertStory(stdout);
  for (const line of stdout.split("\n")) assert.ok([...line].length <= 80, line);
  assert.equal(run.demo.stderr, "");
});

e2e("`deno task demo` is the demo", async (stage) => {
  const stdout = await succeeds(start(stage, [Deno.execPath(), "task", "demo"]));
  assertStory(stdout);
});

testNeeding([COMPILED_BINARY], "the compiled binary runs the demo without Deno", async () => {
  const stage = new Stage();
  try {
    const env = { PATH: "/usr/bin:/bin", HOME: stage.dir };
    const run = start(stage, [`${ROOT}dist/nexus`, "demo"], {
      clearEnv: true,
      cwd: stage.dir,
      env,
    });
    assertStory(await succeeds(run));
  } finally {
    await stage.clear();
  }
});

e2e("the demo as JSON is one object whose parts agree", async (stage) => {
  const run = start(stage, fromSource("-o", "json"));
  const result = JSON.parse(await succeeds(run));
  assert.match(run.demo.stderr, /Handshake with birch/); // The story, for who watches.
  const { nodes, weights, handshake, text, summary } = result;
  const candidates: CandidateRow[] = result.candidates;

  assert.equal(result.sad, SAD);
  assert.deepEqual(nodes.map(({ name }: { name: string }) => name), ["alder", "birch", "cedar"]);
  assert.deepEqual(candidates.map(({ model }) => model).sort(), MODELS);
  for (const { model, nodeName, nodeId, score, terms, rejected } of candidates) {
    const node = nodes.find(({ name }: { name: string }) => model.startsWith(name));
    assert.deepEqual([nodeName, nodeId], [node.name, node.nodeId]);
    assert.equal(score === undefined, rejected !== undefined, `${model}: a score or a reason`);
    if (score === undefined) continue;
    const sum = Object.entries(terms!).reduce((all, [name, term]) => all + weights[name] * term, 0);
    assert.ok(Math.abs(sum - score) < 1e-9, `${model}: ${sum} is not ${score}`);
  }
  const [chosen, ...more] = candidates.filter((candidate) => candidate.chosen);
  assert.deepEqual([chosen.model, more], ["birch-coder", []]);
  assert.equal(chosen.score, Math.max(...candidates.map(({ score }) => score ?? 0)));

  const { certificate } = handshake;
  assert.equal(handshake.nodeId, chosen.nodeId);
  assert.equal(certificate.subject, chosen.nodeId);
  assert.ok(certificate.models.includes(chosen.model));
  const birch = nodes.find(({ name }: { name: string }) => name === "birch");
  assert.ok(birch.link.includes(handshake.address));
  assert.ok(handshake.durationMs > 0 && !handshake.reused);
  const nowS = Date.now() / 1000;
  assert.ok(certificate.notBeforeS < nowS && nowS < certificate.notAfterS);

  assert.ok(summary.tokens > 10 && text.length >= summary.tokens);
  assert.equal(summary.finishReason, "stop");
  assert.ok(summary.ttftMs > 0 && summary.ttftMs <= summary.latencyMs);
  assert.ok(summary.bytesReceived > text.length, "less came than the answer");
  assert.ok(summary.framesReceived > 0 && summary.framesSent > 0);
  assert.ok(Number.isInteger(summary.retransmissions) && summary.retransmissions >= 0);
});

for (
  const [when, sign] of [
    ["while nodes start", /its invite nxi1_/],
    ["in the middle of the answer", /export function/],
  ] as const
) {
  e2e(`SIGINT ${when} ends the demo with 130 and leaves nothing`, async (stage) => {
    const run = start(stage, fromSource());
    await until(`${sign}`, () => sign.test(run.demo.stdout), DEMO_MS_MAX);
    Deno.kill(run.demo.pid, "SIGINT");
    const { code, stdout, stderr } = await within(DEMO_MS_MAX, "the demo to end", run.demo.ended);
    assert.deepEqual([code, stderr], [130, ""]);
    assert.doesNotMatch(stdout, /Summary/);
    await nothingIsLeft(run);
  });
}

e2e("Ctrl-C in a terminal, which all processes get, leaves nothing either", async (stage) => {
  const run = start(stage, fromSource());
  await until("the answer", () => /export function/.test(run.demo.stdout), DEMO_MS_MAX);
  await run.demo.signalFamily("SIGINT");
  const { code } = await within(DEMO_MS_MAX, "the demo to end", run.demo.ended);
  assert.equal(code, 130);
  await nothingIsLeft(run);
});
