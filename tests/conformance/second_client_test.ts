/**
 * docs/protocol.md is complete and true: a client written from it alone (second_client.mjs, plain
 * Node.js, nothing of lib/) joins a real node, asks it, and cancels.
 */
import assert from "node:assert/strict";
import { type Need, testNeeding } from "../support/needs.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const CLIENT = new URL("second_client.mjs", import.meta.url).pathname;
const BUDGET_MS = 20_000;

const NODE_JS: Need = {
  name: "node on the PATH",
  present: onPath("node"),
  enable: "install Node.js 20 or newer (https://nodejs.org)",
};

const CONFIG = (stateDir: string): string => `
node: { name: a, state_dir: ${JSON.stringify(stateDir)} }
link: { listen: "127.0.0.1:0" }
admin: { listen: "127.0.0.1:0" }
bridge: { listen: "127.0.0.1:0" }
providers:
  - type: embedded
    models: [{ name: echo, capabilities: [text_gen], context: 32768, answer: echo }]
`;

const PROMPT = "Grüße  from\na second client:\t🦕 – “byte for byte”. ".repeat(20) + "end\n";
const CANCELLED = 1;
const STOP = 1;
const CLIENT_ROLE = 2;

/** One line that the client printed. */
interface Said {
  readonly event: string;
  readonly [fact: string]: unknown;
}

testNeeding(
  [NODE_JS],
  "a client written from protocol.md alone joins, asks, streams and cancels",
  async (t) => {
    const deadline = AbortSignal.timeout(BUDGET_MS);
    const node = await startNode(deadline);
    try {
      await t.step("with AES-256-GCM", async () => {
        checkRun(await runClient(["--suites", "1"], node.token, deadline), 1);
      });
      await t.step("with ChaCha20-Poly1305 and lost datagrams", async () => {
        const said = await runClient(["--suites", "2", "--loss", "0.05"], node.token, deadline);
        checkRun(said, 2);
      });
      await t.step("the node stays healthy", async () => {
        assert.equal(node.exited(), false);
        const answer = await fetch(`http://${node.bridge}/v1/models`, { signal: deadline });
        const { data } = await answer.json() as { data: { id: string }[] };
        assert(data.some(({ id }) => id === "echo"), `models: ${JSON.stringify(data)}`);
      });
    } finally {
      await node.stop();
    }
  },
);

/** What every run of the client must have said. */
function checkRun(said: Said[], suite: number): void {
  const find = (event: string): Said => {
    const found = said.find((line) => line.event === event);
    assert(found !== undefined, `no "${event}" in ${JSON.stringify(said)}`);
    return found;
  };
  const { role, nodeId } = find("joined");
  assert.equal(role, CLIENT_ROLE);
  assert.match(String(nodeId), /^[0-9a-f]{32}$/);
  const { server, ...connected } = find("connected");
  assert.equal(connected.suite, suite);
  const advertised = find("advertisement");
  assert.equal(advertised.nodeId, server);
  assert.deepEqual(advertised.models, ["echo"]);
  assert.equal(find("health").draining, false);

  const streamed = find("streamed");
  assert.equal(streamed.error, undefined);
  assert.equal(streamed.text, PROMPT);
  assert.equal(streamed.started, "echo");
  const tokens = said.filter(({ event }) => event === "token").map(({ text }) => text);
  assert.equal(tokens.join(""), PROMPT);
  assert(tokens.length > 64, "more chunks than the first window, so that credit was granted");
  assert.equal(streamed.chunks, tokens.length);

  const whole = find("whole");
  assert.equal(whole.text, PROMPT);
  assert.equal(whole.finishReason, STOP);

  assert.equal(find("cancelled").code, CANCELLED);
  assert.equal(find("after").text, "still there?");
}

/** Runs the client to its end and returns what it printed. */
async function runClient(
  options: string[],
  token: string,
  signal: AbortSignal,
): Promise<Said[]> {
  const args = [CLIENT, ...options, token, "cap=text_gen,ctx>=8k", PROMPT];
  const { code, stdout, stderr } = await new Deno.Command("node", { args, signal }).output();
  const text = new TextDecoder().decode(stdout);
  assert.equal(code, 0, `the client failed: ${new TextDecoder().decode(stderr)}\n${text}`);
  return text.trimEnd().split("\n").map((line) => JSON.parse(line) as Said);
}

interface RunningNode {
  readonly token: string;
  readonly bridge: string;
  exited(): boolean;
  stop(): Promise<void>;
}

async function startNode(signal: AbortSignal): Promise<RunningNode> {
  const dir = await Deno.makeTempDir({ prefix: "nexus-second-client-" });
  const config = `${dir}/node.yaml`;
  await Deno.writeTextFile(config, CONFIG(`${dir}/state`));
  const permissions = ["net", "read", "write", "env", "sys", "ffi"].map((name) =>
    `--allow-${name}`
  );
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, "main.ts", "up", "--config", config, "-o", "json"],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let exited = false;
  const status = child.status.finally(() => exited = true);
  const log = new Response(child.stderr).text();
  const lines = child.stdout.pipeThrough(new TextDecoderStream());
  const reader = lines.getReader();

  const stop = async (): Promise<void> => {
    const signalChild = (name: Deno.Signal) => {
      if (!exited) Deno.kill(child.pid, name);
    };
    signalChild("SIGTERM");
    const killer = setTimeout(() => signalChild("SIGKILL"), 5000);
    await status;
    clearTimeout(killer);
    await reader.cancel();
    await log;
    await Deno.remove(dir, { recursive: true });
  };
  const outOfTime = () => void reader.cancel();
  signal.addEventListener("abort", outOfTime);
  try {
    let text = "";
    while (!text.includes("\n")) {
      const { value, done } = await reader.read();
      assert(!done, "the node ended, or took too long, before it was ready");
      text += value;
    }
    const ready = JSON.parse(text.slice(0, text.indexOf("\n")));
    assert.equal(ready.event, "ready");
    return { token: ready.invite.token, bridge: ready.bridge, exited: () => exited, stop };
  } catch (cause) {
    await stop();
    throw new Error(`the node did not start: ${await log}`, { cause });
  } finally {
    signal.removeEventListener("abort", outOfTime);
  }
}

function onPath(command: string): boolean {
  const folders = Deno.env.get("PATH")?.split(":") ?? [];
  return folders.some((folder) => {
    try {
      return Deno.statSync(`${folder}/${command}`).isFile;
    } catch {
      return false;
    }
  });
}
