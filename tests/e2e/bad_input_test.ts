/** Mistakes and hostile input: one clear line or a counted drop, and the daemon lives. */
import assert from "node:assert/strict";
import { parseSocketAddress, SeededRandom } from "../../lib/base/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { decodeInvite, encodeInvite } from "../../lib/l4_trust/mod.ts";
import { MODE_BEST_EFFORT, MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { encodeMessage } from "../../lib/l5_api/mod.ts";
import { NexusClient } from "../../lib/sdk/mod.ts";
import { e2e, type NodeProcess, until } from "./harness.ts";
import { UdpRelay } from "./udp_relay.ts";

/** EX_CONFIG: a restart cannot mend it. */
const EXIT_CONFIG = 78;
/** Refused, docs/cli.md. */
const EXIT_DENIED = 4;
/** Datagrams that a receive buffer of 200 kB holds many times over. */
const FLOOD_BURST = 50;
const EMBEDDED = [{
  type: "embedded",
  models: [{ name: "echo", capabilities: ["text_gen"], answer: "echo" }],
}];

/** The node answers a question, whole. */
async function answers(node: NodeProcess, question = "are you there?"): Promise<void> {
  const answer = await node.openai().chat.completions.create({
    model: "echo",
    messages: [{ role: "user", content: question }],
  });
  assert.equal(answer.choices[0].message.content, question);
}

e2e("what keeps a node from starting is said in one line", async (stage, t) => {
  const running = await stage.start("running");
  const { ready } = running;

  await t.step("a wrong key: file, line, key, and what was meant", async () => {
    const place = stage.configure("wrong-key");
    Deno.writeTextFileSync(place.configFile, "node:\n  name: x\nlink:\n  listne: 127.0.0.1:0\n");
    const { line, code } = await stage.startFails(place);
    assert.match(line, /nexus\.yaml:4: link\.listne: unknown key, did you mean "listen"\?$/);
    assert.equal(code, EXIT_CONFIG);
  });
  await t.step("a wrong value: file, line, key", async () => {
    const place = stage.configure("wrong-value");
    Deno.writeTextFileSync(place.configFile, "limits:\n  drain_ms: soon\n");
    const { line, code } = await stage.startFails(place);
    assert.match(line, /nexus\.yaml:2: limits\.drain_ms: /);
    assert.equal(code, EXIT_CONFIG);
  });
  const taken: Record<string, [config: Record<string, unknown>, address: string]> = {
    "mesh port": [{ link: { listen: ready.link[0] } }, ready.link[0]],
    "admin API": [{ admin: { listen: ready.admin } }, ready.admin],
    "bridge": [{ bridge: { listen: ready.bridge } }, ready.bridge],
  };
  await t.step("a port in use, of each kind: which address, and whose it is", async () => {
    await Promise.all(
      Object.entries(taken).map(async ([what, [config, address]]) => {
        const { line, code } = await stage.startFails(`taken-${what.split(" ")[0]}`, config);
        assert.match(line, new RegExp(`cannot (open|listen).* ${address}.*(in use|has it)`), what);
        assert.equal(code, 1, "a restart may find it free");
      }),
    );
  });
  await t.step("a state directory that is a file, and one that cannot be made", async () => {
    const place = stage.configure("no-state");
    Deno.writeTextFileSync(place.stateDir, "not a directory");
    const { line, code } = await stage.startFails(place);
    assert.match(line, new RegExp(`cannot use state directory ${place.stateDir}`));
    assert.equal(code, EXIT_CONFIG);
    // Also root cannot write there.
    const other = await stage.startFails("no-write", { node: { state_dir: "/proc/nexus-state" } });
    assert.match(other.line, /cannot use state directory \/proc\/nexus-state: /);
    assert.equal(other.code, EXIT_CONFIG);
  });
  await t.step("a state directory that a running node has, with its pid", async () => {
    const { line } = await stage.startFails("locked", {
      node: { state_dir: running.place.stateDir },
    });
    assert.match(line, new RegExp(`cannot use state directory .*: process ${running.pid} has it`));
  });
  await t.step("the running node noticed nothing", async () => {
    assert.equal(await running.adminStatus("/readyz"), 200);
  });
});

e2e("tokens that admit nobody", async (stage, t) => {
  const [mesh, other] = await stage.startAll({ mesh: { providers: EMBEDDED }, other: {} });
  const refused = async (name: string, token: string, expected: RegExp) => {
    const { line } = await stage.startFails(name, { mesh: { join: token } });
    assert.match(line, expected, name);
  };
  const invite = decodeInvite(mesh.invite, nodeEngine);
  const forged = (change: Partial<typeof invite>) =>
    encodeInvite({ ...invite, ...change }, nodeEngine);

  await t.step("damaged", async () => {
    const at = mesh.invite.length - 20;
    const changed = mesh.invite[at] === "A" ? "B" : "A";
    const damaged = mesh.invite.slice(0, at) + changed + mesh.invite.slice(at + 1);
    await refused("damaged", damaged, /cannot read invite: the invite is incomplete or altered/);
  });
  await t.step(
    "expired: said before anything is sent; a longer life cannot be forged",
    async () => {
      const short = await mesh.adminJson("/api/v1/invites", { uses: 1, lifeS: 1 });
      await until("the token to expire", () => Date.now() / 1000 > short.expiresS + 1);
      await refused("expired", short.token, /cannot use invite: it ended \d+ s ago/);
      const { id, secret } = decodeInvite(short.token, nodeEngine);
      await refused("prolonged", forged({ id, secret }), /invite/);
    },
  );
  await t.step("used up: the second newcomer is refused, the first may come back", async () => {
    const { token } = await mesh.adminJson("/api/v1/invites", { uses: 1, lifeS: 600 });
    const first = await stage.start("first", { mesh: { join: token } });
    const { line, code } = await stage.startFails("second", { mesh: { join: token } });
    assert.match(line, /cannot join the mesh via 127\.0\.0\.1:\d+: .*invite_refused/);
    assert.equal(code, EXIT_DENIED);
    await first.stop();
    await (await stage.start(first.place)).knows("echo");
  });
  await t.step("forged secret, or another mesh's authority", async () => {
    await refused("secret", forged({ secret: new Uint8Array(32).fill(7) }), /invite|FINISH|proof/);
    const { caFingerprint } = decodeInvite(other.invite, nodeEngine);
    await refused("authority", forged({ caFingerprint }), /authority|root|CA/);
  });
  await t.step("a node of one mesh does not enter another one", async () => {
    const place = stage.configure("torn", { mesh: { join: mesh.invite } });
    await (await stage.start(place)).stop();
    stage.rewrite(place, { mesh: { join: other.invite } });
    const { line, code } = await stage.startFails(place);
    assert.match(line, /cannot join: state directory .* belongs to another mesh/);
    assert.equal(code, EXIT_CONFIG);
  });
  await t.step("the mesh is as it was", async () => {
    assert.equal(decodeInvite(mesh.invite, nodeEngine).seeds.length > 0, true);
    await answers(mesh);
    const second = await stage.start("late", { mesh: { join: mesh.invite } });
    await second.knows("echo");
  });
});

e2e("seeds that nobody answers at: the node starts, says so, and serves", async (stage) => {
  const place = stage.configure("alone", { providers: EMBEDDED });
  await (await stage.start(place)).stop(); // It has a mesh of its own now.
  const gone = "127.0.0.1:9"; // discard: nobody speaks Nexus there
  const unknown = "no-such-host.invalid:6477";
  stage.rewrite(place, { providers: EMBEDDED, mesh: { seeds: [gone, unknown] } });
  const node = await stage.start(place);
  for (const seed of [gone, unknown]) {
    assert.match(node.stderr, new RegExp(`cannot reach seed ${seed}`));
  }
  assert.equal(await node.adminStatus("/readyz"), 503);
  assert.equal(await node.adminStatus("/healthz"), 200);
  const { notReady } = await node.adminJson("/api/v1/node");
  assert.equal(notReady.length, 2);
  assert.match(notReady.join("\n"), new RegExp(`seed ${gone}: .*\n?.*seed ${unknown}: `));
  await answers(node);
});

e2e("garbage at the mesh port is dropped and counted", async (stage, t) => {
  const relay = new UdpRelay();
  stage.onClear(() => relay.close());
  const node = await stage.start("node", {
    link: { advertise: [relay.address] },
    providers: EMBEDDED,
  });
  relay.setTarget(node.ready.link[0]);
  const peer = await stage.start("peer", { mesh: { join: node.invite } });
  await peer.knows("echo");
  await answers(peer);
  const real = relay.datagrams.slice();
  const random = new SeededRandom(4711);
  const stranger = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  stage.onClear(() => stranger.close());
  const { host, port } = parseSocketAddress(node.ready.link[0]);
  const target = { transport: "udp" as const, hostname: host, port };
  const dropped = () => node.metric("nexus_frames_dropped_total");
  /** Half of it as if the peer had sent it, and no more at once than the socket's buffer holds. */
  const flood = async (count: number, make: () => Uint8Array) => {
    const before = await dropped();
    for (let sent = 1; sent <= count; sent++) {
      if (sent % 2 === 0) await stranger.send(make(), target);
      else await relay.inject(make());
      if (sent % FLOOD_BURST !== 0) continue;
      // Some of it may be what the node is right to take: a copy of which nothing was hit.
      await until("the drops to be counted", async () => await dropped() - before > 0.8 * sent);
    }
  };

  await t.step("3,000 datagrams of random bytes and lengths", async () => {
    await flood(3_000, () => {
      const bytes = new Uint8Array(random.below(1_500));
      random.fill(bytes);
      return bytes;
    });
  });
  await t.step("3,000 mutated copies of real frames", async () => {
    await flood(3_000, () => {
      const bytes = real[random.below(real.length)].slice();
      const times = 1 + random.below(4);
      for (let i = 0; i < times; i++) bytes[random.below(bytes.length)] ^= 1 << random.below(8);
      return random.chance(0.2) ? bytes.slice(0, random.below(bytes.length)) : bytes;
    });
  });
  await t.step("1,000 real frames again: replays change nothing", async () => {
    const requests = await node.metric("nexus_requests_total", /server/);
    for (let i = 0; i < 1_000; i++) await relay.inject(real[random.below(real.length)]);
    await answers(peer);
    assert.equal(await node.metric("nexus_requests_total", /server/), requests + 1);
  });
  await t.step("the connection between the nodes stands, both answer", async () => {
    await answers(peer, "still on the same connection?");
    await answers(node);
    assert.equal(await node.metric("nexus_connections"), 1);
  });
});

e2e("garbage over HTTP and on authenticated connections", async (stage, t) => {
  const node = await stage.start("node", { providers: EMBEDDED });
  const random = new SeededRandom(815);

  const speak = async (address: string, bytes: Uint8Array, finish = true): Promise<string> => {
    const [hostname, port] = address.split(":");
    const connection = await Deno.connect({ hostname, port: Number(port) });
    const head = new Uint8Array(512);
    try {
      await connection.write(bytes);
      if (finish) await connection.closeWrite();
      return new TextDecoder().decode(head.subarray(0, await connection.read(head) ?? 0));
    } catch {
      return ""; // It hung up.
    } finally {
      connection.close();
    }
  };
  for (const [what, address] of [["admin API", node.ready.admin], ["bridge", node.ready.bridge]]) {
    await t.step(`${what}: bytes that are no HTTP`, async () => {
      for (let i = 0; i < 100; i++) {
        const bytes = new Uint8Array(1 + random.below(2_000));
        random.fill(bytes);
        assert.doesNotMatch(await speak(address, bytes), /^HTTP\/1\.1 2/);
      }
      for (
        const text of [
          "GET / HTTP/9.9\r\n\r\n",
          "GET\r\n\r\n",
          `GET / HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(1 << 20)}\r\n\r\n`,
          "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99\r\n\r\n{",
          "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
          "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", // a TLS ClientHello
        ]
      ) {
        assert.doesNotMatch(await speak(address, new TextEncoder().encode(text)), /^HTTP\/1\.1 2/);
      }
    });
  }
  await t.step("bridge: bodies that are no request get OpenAI's error shape", async () => {
    const bodies = ["", "{", "[]", "null", '"x"', "{}", '{"model":7}', '{"model":"echo"}'];
    bodies.push('{"model":"echo","messages":"hi"}', '{"model":"echo","messages":[{"role":5}]}');
    bodies.push('{"model":"echo","messages":[],"max_tokens":-1}', "[".repeat(100_000));
    for (const body of bodies) {
      const response = await fetch(`http://${node.ready.bridge}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      const { error } = await response.json();
      assert.equal(response.status, 400, body.slice(0, 60));
      assert.ok(typeof error.message === "string" && error.type === "invalid_request_error");
    }
  });
  await t.step("admin API: wrong token 401, wrong host 403, wrong bodies 400", async () => {
    for (const authorization of ["", "Bearer", "Bearer nxa_wrong", `Basic ${node.token}`]) {
      const response = await fetch(`http://${node.ready.admin}/api/v1/node`, {
        headers: { authorization },
      });
      assert.equal(response.status, 401, authorization);
      assert.match(await response.text(), /UNAUTHORIZED/);
    }
    const rebound = await speak(
      node.ready.admin,
      new TextEncoder().encode(
        `GET /api/v1/node HTTP/1.1\r\nhost: evil.example\r\nauthorization: Bearer ${node.token}\r\n\r\n`,
      ),
      false, // A server may take the end of the request for the end of all.
    );
    assert.match(rebound, /^HTTP\/1\.1 403/);
    for (const body of ["{", "[]", '{"sad":5}', '{"sad":"*","more":1}']) {
      const status = await node.adminStatus("/api/v1/routes/resolve", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      assert.equal(status, 400, body);
    }
  });
  await t.step("mesh: nonsense on the streams of an authenticated connection", async () => {
    const client = await NexusClient.join(node.invite);
    try {
      const session = client.pool.sessions.get(node.nodeId);
      assert.ok(session !== undefined);
      const request = encodeMessage("healthCheck", 7, { models: true });
      for (let i = 0; i < 40; i++) {
        const bytes = i % 2 === 0 ? new Uint8Array(1 + random.below(3_000)) : request.slice();
        if (i % 2 === 0) random.fill(bytes);
        else bytes[random.below(bytes.length)] ^= 0xff;
        const channel = session.open(i % 4 < 2 ? MODE_RELIABLE_ORDERED : MODE_BEST_EFFORT);
        await channel.send(bytes).catch(() => {}); // The node may have given the stream up.
        channel.finish();
      }
      // The connection has survived, or a new one is made: the client is served either way.
      const { text } = await client.infer("model=echo", "after the nonsense");
      assert.equal(text, "after the nonsense");
    } finally {
      await client.close();
    }
  });
  await t.step("the node is alive, idle, and logged no fault of its own", async () => {
    await answers(node);
    assert.equal(await node.metric("nexus_requests_active"), 0);
    assert.doesNotMatch(node.stderr, /"level":"(error|fatal)"|Uncaught|invariant/);
  });
});
