import assert from "node:assert/strict";
import fc from "fast-check";
import { z } from "zod";
import { NexusError } from "../../lib/base/mod.ts";
import { INVITE_LIFE_S_MAX, INVITE_USES_MAX } from "../../lib/admin_api/mod.ts";
import { AdminClient } from "../../lib/ctl/admin/client.ts";
import { eventData } from "../../lib/ctl/admin/events.ts";
import {
  ADMIN_PORT_DEFAULT,
  findNode,
  isLoopback,
  readEndpoint,
  stateDirOf,
} from "../../lib/ctl/admin/find_node.ts";
import * as limits from "../../lib/ctl/invite/limits.ts";
import { ADMIN_PORT } from "../../lib/node/config/mod.ts";
import { eventResponse, failure, FakeNode, TOKEN } from "./support.ts";

const Any = z.object({ ok: z.boolean() });

function client(node: FakeNode, token: string | NexusError = TOKEN): AdminClient {
  return new AdminClient({ endpoint: readEndpoint(node.endpoint), token });
}

Deno.test("the CLI's defaults and limits are the node's", () => {
  assert.equal(ADMIN_PORT_DEFAULT, ADMIN_PORT);
  assert.equal(limits.INVITE_LIFE_S_MAX, INVITE_LIFE_S_MAX);
  assert.equal(limits.INVITE_USES_MAX, INVITE_USES_MAX);
});

Deno.test("an endpoint is a host, host:port or a URL", () => {
  assert.equal(readEndpoint("10.0.0.1:7000").href, "http://10.0.0.1:7000/");
  assert.equal(readEndpoint("node7").href, "http://node7:6478/");
  assert.equal(readEndpoint("[::1]:7000").href, "http://[::1]:7000/");
  assert.equal(readEndpoint("https://mesh.example/").href, "https://mesh.example/");
  assert.equal(readEndpoint("host:80").href, "http://host/");
  for (const text of ["", "ftp://a", "http://", "a b", "host:99999"]) {
    assert.throws(() => readEndpoint(text), { code: "USAGE" }, text);
  }
});

Deno.test("only loopback counts as this machine", () => {
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"]) assert.ok(isLoopback(host));
  for (const host of ["10.0.0.1", "127.0.0.1.example.org", "localhost.evil"]) {
    assert.ok(!isLoopback(host));
  }
});

Deno.test("the state directory is the flag's, then the environment's, then the default", () => {
  const env = (name: string) => ({ NEXUS_NODE_STATE_DIR: "/e", HOME: "/h" })[name];
  assert.equal(stateDirOf({ stateDir: "/f" }, env), "/f");
  assert.equal(stateDirOf({}, env), "/e");
});

Deno.test("this machine's token is not sent to another one unless named", async () => {
  const dir = await Deno.makeTempDir();
  await using node = new FakeNode({ "GET /x": () => Response.json({ ok: true }) });
  try {
    const tokenFile = `${dir}/admin.token`;
    await Deno.writeTextFile(tokenFile, TOKEN + "\n", { mode: 0o600 });
    const env = (name: string) => ({ NEXUS_NODE_STATE_DIR: dir })[name];
    const warnings: string[] = [];
    const warn = (text: string) => void warnings.push(text);
    // This address leads to the fake node, but does not look like this machine.
    const endpoint = node.endpoint.replace("127.0.0.1", "0.0.0.0");
    await assert.rejects(findNode({ endpoint }, env, warn).get("/x", Any), {
      code: "TOKEN_MISSING",
    });
    assert.equal(node.seen[0].authorization, null);
    assert.equal(warnings.length, 0);
    await findNode({ endpoint, tokenFile }, env, warn).get("/x", Any);
    assert.match(warnings[0], /unencrypted/);
    await findNode({ endpoint: node.endpoint }, env, warn).get("/x", Any);
    assert.equal(warnings.length, 1);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("an answer is checked against its schema", async () => {
  await using node = new FakeNode({
    "GET /good": () => Response.json({ ok: true, more: 1 }),
    "GET /form": () => Response.json({ ok: "yes" }),
    "GET /text": () => new Response("<html>"),
    "GET /moved": () => new Response(null, { status: 302, headers: { location: "/good" } }),
  });
  const admin = client(node);
  assert.deepEqual(await admin.get("/good", Any), { ok: true });
  for (const path of ["/form", "/text", "/moved"]) {
    await assert.rejects(admin.get(path, Any), { code: "BAD_ANSWER" }, path);
  }
});

Deno.test("a node's error arrives with its code, message and hint", async () => {
  await using node = new FakeNode({
    "POST /x": () => failure(400, "SAD_SYNTAX", "cannot read SAD", "write cap=…"),
    "POST /y": () => new Response("gateway", { status: 502 }),
  });
  await assert.rejects(client(node).post("/x", {}, Any), {
    code: "SAD_SYNTAX",
    message: "cannot read SAD",
    hint: "write cap=…",
  });
  await assert.rejects(client(node).post("/y", {}, Any), { code: "BAD_ANSWER" });
});

Deno.test("the bridge and other servers are not taken for the admin API", async () => {
  const openai = { error: { message: "Unknown", type: "x", param: null, code: "unknown_url" } };
  await using node = new FakeNode({
    "GET /bridge": () => Response.json(openai, { status: 404 }),
    "GET /keys": () => Response.json(openai, { status: 401 }),
    "GET /html": () => new Response("<html>", { status: 401 }),
  });
  const none = client(node); // Its answers come behind the token here; a bridge needs none.
  for (const path of ["/bridge", "/keys", "/html"]) {
    await assert.rejects(none.get(path, Any), (error: NexusError) => {
      assert.equal(error.code, "BAD_ANSWER", path);
      assert.match(error.hint!, /not the admin API.*bridge.*6478/);
      return true;
    });
  }
});

Deno.test("why there is no token is told when the node insists on one", async () => {
  await using node = new FakeNode({});
  const why = new NexusError("TOKEN_UNREADABLE", "cannot read admin.token");
  await assert.rejects(client(node, why).get("/x", Any), { code: "TOKEN_UNREADABLE" });
  assert.equal(node.seen[0].authorization, null);
  await assert.rejects(client(node, "wrong-token").get("/x", Any), { code: "UNAUTHORIZED" });
});

Deno.test("a node that does not answer is unreachable", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // Accepts and says nothing.
  const endpoint = readEndpoint(`127.0.0.1:${(listener.addr as Deno.NetAddr).port}`);
  const silent = new AdminClient({ endpoint, token: TOKEN, answerMsMax: 50 });
  await assert.rejects(silent.get("/x", Any), { code: "UNREACHABLE", message: /within 50 ms/ });
  listener.close();
  await assert.rejects(silent.get("/x", Any), { code: "UNREACHABLE", message: /refused/ });
});

Deno.test("events come in order and their form is checked", async () => {
  const Event = z.object({ type: z.string(), n: z.number() });
  await using node = new FakeNode({
    "POST /e": () => eventResponse([{ type: "a", n: 1 }, { type: "b", n: 2 }] as never),
    "POST /bad": () => eventResponse([{ type: "a" }]),
  });
  const events = [];
  const { signal } = new AbortController();
  for await (const event of client(node).events("/e", {}, Event, signal)) events.push(event.n);
  assert.deepEqual(events, [1, 2]);
  await assert.rejects(
    Array.fromAsync(client(node).events("/bad", {}, Event, signal)),
    { code: "BAD_ANSWER" },
  );
});

Deno.test("event data does not depend on how the bytes were cut", async () => {
  const text = ': hi\nevent: x\ndata: {"a":"ä"}\n\ndata:1\r\ndata: 2\r\n\r\nid: 7\n\ndata: lost';
  const bytes = new TextEncoder().encode(text);
  const expected = ['{"a":"ä"}', "1\n2"];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 8 }), async (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const parts = at.slice(1).map((end, i) => bytes.slice(at[i], end));
      const data = await Array.fromAsync(eventData(ReadableStream.from(parts)));
      assert.deepEqual(data, expected);
    }),
  );
});
