import assert from "node:assert/strict";
import type { SocketAddress } from "../../lib/base/mod.ts";
import { openUdpNativePort } from "../../lib/io/udp_native_port.ts";
import { openUdpPort } from "../../lib/io/udp_port.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { Driver, type GroupCounters, type Session, WorkerGroup } from "../../lib/sdk/mod.ts";
import { NATIVE_LIBRARY } from "../support/native.ts";
import { testNeeding } from "../support/needs.ts";
import { RebindingRelay } from "./rebinding_relay.ts";
import { type EchoSetup, memberOptions, TestMesh, TRIP, VNI } from "./test_mesh.ts";

const MODULE = new URL("./echo_worker.ts", import.meta.url);
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const LOOPBACK = { host: "127.0.0.1", port: 0 };
const WORKERS = 2;
/** Connections of one test: with the seeds used here both workers get some. */
const CONNECTIONS = 24;
/** The same with handshakes in fragments, all of which one worker puts together. */
const FRAGMENTED = 8;
/** Many packets, so that frames leave in trains. */
const ECHO_BYTES = 60_000;

const openGroup = (mesh: TestMesh, more: Partial<EchoSetup> = {}, listen = LOOPBACK) =>
  WorkerGroup.open({
    module: MODULE,
    setup: { ...mesh.node(), ...more },
    listen,
    workers: WORKERS,
  });

async function client(mesh: TestMesh, kind: "native" | "portable", models: string[] = []) {
  const listen = { listen: LOOPBACK, vni: VNI };
  const port = kind === "native"
    ? await openUdpNativePort({ ...listen, spinUsMax: 0 })
    : await openUdpPort(listen);
  return new Driver({ ...memberOptions(mesh.node(models), mesh.random.fill), port });
}

function dialAll(driver: Driver, address: SocketAddress, count = CONNECTIONS): Promise<Session[]> {
  return Promise.all(Array.from({ length: count }, () => driver.dial(address)));
}

/** Sends bytes through a stream and back; the index of the worker at the other end. */
async function ask(session: Session): Promise<number> {
  const channel = session.open(MODE_RELIABLE_ORDERED);
  const writing = channel.sendBytes(new Uint8Array(ECHO_BYTES).fill(1)).then(() =>
    channel.finish()
  );
  let index = -1, received = 0;
  for (;;) {
    const bytes = await channel.receiveBytes();
    if (bytes === undefined) break;
    if (received === 0) index = bytes[0];
    received += bytes.length;
  }
  await writing;
  assert.equal(received, 1 + ECHO_BYTES);
  return index;
}

/** How many of the sessions are at each worker. */
async function spread(sessions: Session[]): Promise<number[]> {
  const counts = new Array(WORKERS).fill(0);
  for (const index of await Promise.all(sessions.map(ask))) counts[index]++;
  return counts;
}

/**
 * Every sealed frame came to the worker that holds its connection, and each worker made some
 * handshakes. (Other drops are no matter of steering: a machine under load repeats a FINISH.)
 */
function expectSteered({ total, members }: GroupCounters, connections: number): void {
  assert.equal(total.drops.unknown_connection, undefined);
  assert.equal(total.handshakesDone, connections);
  for (const { handshakesDone } of members) assert.ok(handshakesDone > 0, "a worker got nothing");
}

for (const kind of ["native", "portable"] as const) {
  testNeeding(
    [NATIVE_LIBRARY],
    `workers: connections of one ${kind} socket are spread and each frame reaches its owner`,
    async () => {
      const mesh = new TestMesh(1);
      const group = await openGroup(mesh);
      const driver = await client(mesh, kind);
      const counts = await spread(await dialAll(driver, group.address));
      const counters = await group.counters();
      expectSteered(counters, CONNECTIONS);
      assert.deepEqual(counters.members.map((each) => each.sessions), counts);
      assert.equal(counters.total.strays, 0);
      await driver.close();
      await group.close();
    },
  );
}

testNeeding(
  [NATIVE_LIBRARY],
  "workers: connections of different sockets are spread and each frame reaches its owner",
  async () => {
    const mesh = new TestMesh(2);
    const group = await openGroup(mesh);
    const drivers = await Promise.all(
      Array.from({ length: CONNECTIONS }, () => client(mesh, "native")),
    );
    const sessions = await Promise.all(drivers.map((driver) => driver.dial(group.address)));
    await spread(sessions);
    expectSteered(await group.counters(), CONNECTIONS);
    await Promise.all(drivers.map((driver) => driver.close()));
    await group.close();
  },
);

testNeeding(
  [NATIVE_LIBRARY],
  "workers: frames reach their owner after the client's port changed",
  async () => {
    const mesh = new TestMesh(3);
    const group = await openGroup(mesh);
    const driver = await client(mesh, "native");
    await using relay = new RebindingRelay(group.address);
    const sessions = await dialAll(driver, relay.address);
    const before = await spread(sessions);
    // Each new port is another hash of the addresses; steering must not see a difference.
    for (let i = 0; i < 4; i++) {
      relay.rebind();
      assert.deepEqual(await spread(sessions), before);
    }
    expectSteered(await group.counters(), CONNECTIONS);
    await driver.close();
    await group.close();
  },
);

testNeeding(
  [NATIVE_LIBRARY],
  "workers: a handshake in fragments reaches the worker that began it",
  async () => {
    const mesh = new TestMesh(4);
    const group = await openGroup(mesh);
    // So many names do not fit one frame of FINISH. The kernel brings its fragments to one worker,
    // whoever they are for.
    const models = Array.from({ length: 40 }, (_, i) => `a-model-with-quite-a-long-name-${i}`);
    const driver = await client(mesh, "native", models);
    await spread(await dialAll(driver, group.address, FRAGMENTED));
    const counters = await group.counters();
    expectSteered(counters, FRAGMENTED);
    assert.ok(counters.total.strays > 0);
    await driver.close();
    await group.close();
  },
);

testNeeding(
  [NATIVE_LIBRARY],
  "workers: closing says goodbye on every session and returns the last counters",
  async () => {
    const mesh = new TestMesh(5);
    const group = await openGroup(mesh);
    const driver = await client(mesh, "native");
    const sessions = await dialAll(driver, group.address);
    await spread(sessions); // Now the server's ends are there as well.
    const { total, members } = await group.close();
    await Promise.all(sessions.map((session) => session.closed));
    assert.equal(total.handshakesDone, CONNECTIONS);
    assert.equal(total.port.rxFrames, members.reduce((sum, { port }) => sum + port.rxFrames, 0));
    assert.equal(total.sessions, 0);
    assert.equal(await group.ended, undefined);
    await assert.rejects(group.counters(), { code: "CLOSED" });
    await driver.close();
  },
);

testNeeding(
  [NATIVE_LIBRARY],
  "workers: an address that is taken is refused and nothing stays open",
  async () => {
    const mesh = new TestMesh(6);
    const first = await openGroup(mesh);
    await assert.rejects(openGroup(mesh, {}, first.address), { code: "ADDRESS_IN_USE" });
    await first.close();
    const second = await openGroup(mesh, {}, first.address);
    assert.deepEqual(second.address, first.address);
    await second.close();
  },
);

Deno.test("workers: what a worker throws while it opens is the group's error", async () => {
  await assert.rejects(openGroup(new TestMesh(7), { broken: true }), {
    code: "WORKER_FAILED",
    message: "worker failed: no models",
  });
});

Deno.test("workers: a module that is not there is an error", async () => {
  const module = new URL("./no_such_worker.ts", import.meta.url);
  await assert.rejects(
    WorkerGroup.open({ module, setup: {}, listen: LOOPBACK, workers: WORKERS }),
    { code: "WORKER_FAILED" },
  );
});

Deno.test("workers: whichever worker fails first, its error is the group's", async () => {
  const module = new URL("data:text/javascript,throw new Error('no models')");
  for (let round = 0; round < 20; round++) {
    await assert.rejects(
      WorkerGroup.open({ module, setup: {}, listen: LOOPBACK, workers: WORKERS }),
      { code: "WORKER_FAILED", message: /no models/ },
    );
  }
});

testNeeding([NATIVE_LIBRARY], "workers: an error that nobody catches ends the group", async () => {
  const mesh = new TestMesh(8);
  const group = await openGroup(mesh);
  const driver = await client(mesh, "native");
  const sessions = await dialAll(driver, group.address);
  await sessions[0].open(MODE_RELIABLE_ORDERED).sendBytes(Uint8Array.of(TRIP));
  const error = await group.ended;
  assert.equal(error?.message, "worker failed: tripped");
  await Promise.all(sessions.map((session) => session.closed));
  await driver.close();
});

Deno.test("workers: a number of workers that makes no sense is refused", async () => {
  for (const workers of [0, -1, 1.5, 257, NaN]) {
    await assert.rejects(
      WorkerGroup.open({ module: MODULE, setup: {}, listen: LOOPBACK, workers }),
      { code: "INVALID_WORKERS" },
    );
  }
});

Deno.test("workers: without the native library there is one, and the reason is said", async () => {
  const code = `
    import { WorkerGroup } from "${new URL("../../lib/sdk/mod.ts", import.meta.url)}";
    import { TestMesh } from "${new URL("./test_mesh.ts", import.meta.url)}";
    const group = await WorkerGroup.open({
      module: new URL("${MODULE}"), setup: new TestMesh(9).node(),
      listen: { host: "127.0.0.1", port: 0 }, workers: 2,
    });
    console.log(JSON.stringify({ size: group.size, reason: group.reason, ...await group.close() }));
  `;
  // Deno runs it without --allow-ffi.
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, code);
    const args = [
      "run",
      "--no-check",
      "--allow-net",
      "--allow-read",
      "--allow-env",
      "--config",
      CONFIG,
      script,
    ];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
    const { size, reason, members } = JSON.parse(new TextDecoder().decode(stdout));
    assert.equal(size, 1);
    assert.match(reason, /^one worker, because frames cannot be steered: native library: /);
    assert.equal(members.length, 1);
  } finally {
    await Deno.remove(script);
  }
});
