/**
 * What the mesh adds to an upstream that speaks the OpenAI API: the same request straight to
 * the upstream, and through bridge → node → node → upstream. Upstream and both nodes are processes
 * of their own, and both ways take turns, so that noise hits them alike.
 */
import { type Bench, median, type Row } from "./row.ts";

const ROUNDS = 30;
const WARM_UP = 5;
const TOKENS = 400;
const MODEL = "bench-model";

export const e2eBench: Bench = {
  name: "e2e",
  about: "bridge and mesh over calling the upstream directly",
  async *run(): AsyncGenerator<Row> {
    const dir = await Deno.makeTempDir({ prefix: "nexus-bench-" });
    const children: Deno.ChildProcess[] = [];
    try {
      const upstream = await start(children, ["bench/upstream.ts"]);
      const far = await startNode(children, dir, "far", [
        `providers:`,
        `  - { type: openai, url: "http://127.0.0.1:${upstream.port}/v1", models: [${MODEL}] }`,
      ]);
      const near = await startNode(children, dir, "near", [
        `mesh: { join: "${far.invite.token}" }`,
      ]);
      await known(near.bridge);
      const direct: Timing[] = [];
      const meshed: Timing[] = [];
      for (let i = 0; i < WARM_UP + ROUNDS; i++) {
        const a = await ask(`http://127.0.0.1:${upstream.port}`);
        const b = await ask(`http://${near.bridge}`);
        if (i < WARM_UP) continue;
        direct.push(a);
        meshed.push(b);
      }
      const first = (timings: Timing[]) => median(timings.map((each) => each.firstMs));
      const rest = (timings: Timing[]) => median(timings.map((each) => each.restMs));
      yield {
        bench: "e2e",
        name: "ttft_overhead_ms",
        value: first(meshed) - first(direct),
        unit: "ms",
        peer: "direct",
        ratio: first(direct) / first(meshed),
      };
      yield {
        bench: "e2e",
        name: "token_overhead_us",
        value: (rest(meshed) - rest(direct)) * 1000 / (TOKENS - 1),
        unit: "us",
        peer: "direct",
        ratio: rest(direct) / rest(meshed),
      };
    } finally {
      for (const child of children.reverse()) {
        child.kill("SIGTERM");
        await child.status;
      }
      await Deno.remove(dir, { recursive: true });
    }
  },
};

interface Timing {
  /** Request sent → first token. */
  firstMs: number;
  /** First token → last. */
  restMs: number;
}

async function ask(base: string): Promise<Timing> {
  const started = performance.now();
  const response = await fetch(`${base}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: MODEL,
      stream: true,
      max_tokens: TOKENS,
      messages: [{ role: "user", content: "count" }],
    }),
  });
  let firstAt = 0;
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body!) {
    text += decoder.decode(bytes, { stream: true });
    if (firstAt === 0 && text.includes("tok")) firstAt = performance.now();
  }
  const tokens = text.split('"content":"tok').length - 1;
  if (tokens !== TOKENS) throw new Error(`${base}: ${tokens} tokens, expected ${TOKENS}`);
  return { firstMs: firstAt - started, restMs: performance.now() - firstAt };
}

/** Waits until the bridge lists the model. */
async function known(bridge: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const models = await (await fetch(`http://${bridge}/v1/models`)).text();
    if (models.includes(MODEL)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the model did not spread to the near node");
}

async function startNode(
  children: Deno.ChildProcess[],
  dir: string,
  name: string,
  lines: string[],
) {
  const config = [
    `node: { name: ${name}, state_dir: ${dir}/${name} }`,
    `link: { listen: "127.0.0.1:0" }`,
    `admin: { enabled: false }`,
    `bridge: { listen: "127.0.0.1:0" }`,
    `log: { level: warning }`,
    ...lines,
  ].join("\n");
  await Deno.writeTextFile(`${dir}/${name}.yaml`, config);
  return await start(children, ["main.ts", "up", "--config", `${dir}/${name}.yaml`, "-o", "json"]);
}

/** Starts a process and reads the JSON line by which it says that it is ready. */
async function start(children: Deno.ChildProcess[], args: string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys",
      "--allow-ffi",
      ...args,
    ],
    cwd: new URL("../", import.meta.url),
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  children.push(child);
  let line = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    line += text;
    if (line.includes("\n")) return JSON.parse(line.slice(0, line.indexOf("\n")));
  }
  throw new Error(`${args[0]} ended before it was ready`);
}
