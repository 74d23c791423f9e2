/** Whole nodes in this process, with real sockets and state directories. */
import assert from "node:assert/strict";
import { openLibc } from "../../ffi/libc.ts";
import "../support/native.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { createCsr, decodeMic } from "../../lib/l4_trust/mod.ts";
import { loadConfig, Node } from "../../lib/node/mod.ts";
import { NexusClient, requestCertificate } from "../../lib/sdk/mod.ts";

// Nodes open libraries; opened here they are not the tests' leaks.
openLibc();

interface Running {
  node: Node;
  token: string;
}

async function withNode(
  config: Record<string, unknown>,
  body: (running: Running, dir: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "nexus-node-test-" });
  const running: Partial<Running> = {};
  try {
    running.node = await start(config, dir);
    running.token = invite(running.node);
    await body(running as Running, dir);
  } finally {
    await running.node?.stop(0);
    await Deno.remove(dir, { recursive: true });
  }
}

function start(config: Record<string, unknown>, dir: string): Promise<Node> {
  const text = JSON.stringify({
    node: { name: "n", state_dir: dir },
    link: { listen: "127.0.0.1:0" },
    admin: { enabled: false },
    bridge: { enabled: false },
    ...config,
  });
  return Node.start(loadConfig({ text }));
}

const invite = (node: Node) =>
  node.membership.invite(node.advertised, { uses: 5, lifeS: 60 }).token;

const embedded = (names: string[]) => [
  { type: "embedded", models: names.map((name) => ({ name, answer: "echo" })) },
];

/** Looks again until it holds; the test's own time limit bounds it. */
async function until(condition: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => condition() && resolve(), 5);
  await promise;
  clearInterval(timer);
}

Deno.test("node: one request at once means one, though it passes several layers here", async () => {
  await withNode(
    { providers: embedded(["m"]), limits: { requests_max: 1 } },
    async ({ node, token }) => {
      const client = await NexusClient.join(token);
      assert.equal((await client.infer("model=m", "hello")).text, "hello");
      const { signal } = new AbortController();
      const model = (await import("../../lib/l2_route/mod.ts")).encodeSad({ model: "m" });
      const { inferenceRequest } = await import("../../lib/l5_api/mod.ts");
      const request = inferenceRequest({
        model,
        messages: [{ role: "user", parts: [{ type: "text", text: "here" }] }],
        stream: true,
      });
      let text = "";
      for await (const event of node.service.route(request, signal)) {
        if (event.type === "chunk") text += event.text;
      }
      assert.equal(text, "here");
      assert.equal(node.service.active, 0);
      await client.close();
    },
  );
});

Deno.test("node: with hundreds of models it still answers handshakes, and requests by name", async () => {
  const names = Array.from({ length: 250 }, (_, i) => `a-model-with-a-rather-long-name-${i}`);
  await withNode({ providers: embedded(names) }, async ({ node, token }) => {
    assert.deepEqual(node.membership.mic!.claims.modelNames, ["*"]);
    const client = await NexusClient.join(token);
    const { model, text } = await client.infer(names[200], "hello");
    assert.deepEqual([model, text], [names[200], "hello"]);
    await client.close();
  });
});

Deno.test("node: a client is certified without claims, and not as often as it likes", async () => {
  await withNode({ providers: embedded(["m"]) }, async ({ token }) => {
    const client = await NexusClient.join(token);
    const session = [...client.pool.sessions.values()][0];
    const csr = createCsr(client.identity, { capabilities: 0x7ff, modelNames: ["gpt"] }, {});
    const [mic] = await requestCertificate(session, csr, "");
    assert.deepEqual(decodeMic(mic, nodeEngine).claims, {});
    assert.equal(decodeMic(mic, nodeEngine).extensions.role, "client");
    await assert.rejects(async () => {
      for (let i = 0; i < 20; i++) await requestCertificate(session, csr, "");
    }, /RATE_LIMITED/);
    await client.close();
  });
});

Deno.test("node: a client follows the mesh again after its node was restarted", async () => {
  await withNode({ providers: embedded(["m"]) }, async (running, dir) => {
    const client = await NexusClient.join(running.token);
    const { port } = running.node.port.localAddress;
    const { nodeId } = running.node;
    await running.node.stop(0);
    await until(() => client.pool.sessions.size === 0);
    running.node = await start(
      { link: { listen: `127.0.0.1:${port}` }, providers: embedded(["m2"]) },
      dir,
    );
    assert.equal(running.node.nodeId, nodeId);
    await until(() => client.resolve("model=m2").chosen !== undefined);
    assert.equal((await client.infer("model=m2", "again")).text, "again");
    await client.close();
  });
});

Deno.test("node: the built-in model answers while no other node offers one", async () => {
  await withNode({}, async ({ node, token }, dir) => {
    assert.deepEqual(node.service.models().map(({ name }) => name), ["nexus-demo"]);
    const other = await start({
      node: { name: "o", state_dir: `${dir}/other` },
      mesh: { join: token },
      providers: embedded(["real"]),
    }, `${dir}/other`);
    await until(() => node.service.models().map(({ name }) => name).join() === "real");
    await other.stop(0);
    await until(() => node.service.models().map(({ name }) => name).join() === "nexus-demo");
  });
});
