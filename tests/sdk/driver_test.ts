import assert from "node:assert/strict";
import { NexusError } from "../../lib/base/mod.ts";
import { formatNodeId } from "../../lib/base/mod.ts";
import { CloseReason, MODE_PROBABILISTIC, MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { type Session, SessionPool } from "../../lib/sdk/mod.ts";
import { benchAuthority, benchDriver } from "../../bench/mesh.ts";

/** More than any handshake takes, less than the 5 s after which a client gives up by itself. */
const GRACE_MS = 4_000;

const codeOf = (error: unknown) => error instanceof NexusError ? error.code : String(error);

Deno.test("sdk: a callback that throws ends its own session, not the loop", async () => {
  const authority = benchAuthority();
  const faults: unknown[] = [];
  let calls = 0;
  const onSession = (session: Session) => {
    if (calls++ === 0) throw new Error("boom");
    session.onChannel = async (channel) => {
      await channel.sendBytes((await channel.receiveBytes())!);
      channel.finish();
    };
  };
  const server = await benchDriver(authority, { onSession });
  server.driver.onFault = (error) => faults.push(error);
  const client = await benchDriver(authority);
  const first = await client.driver.dial(server.address);
  await first.closed;
  assert.equal(faults.length, 1);
  const second = await client.driver.dial(server.address);
  const channel = second.open(MODE_RELIABLE_ORDERED);
  await channel.sendBytes(new Uint8Array([7]));
  assert.deepEqual([...(await channel.receiveBytes())!], [7]);
  await Promise.all([client.driver.close(), server.driver.close()]);
});

Deno.test("sdk: a dial that begins while the driver closes is refused", async () => {
  const { driver, address } = await benchDriver(benchAuthority());
  const closing = driver.close();
  await assert.rejects(driver.dial(address), (error) => codeOf(error) === "CLOSED");
  await closing;
});

Deno.test("sdk: a session whose handshake was under way when the driver closes hears GOING_AWAY", async () => {
  const authority = benchAuthority();
  let offered = 0;
  const server = await benchDriver(authority, { onSession: () => offered++ });
  const client = await benchDriver(authority);
  const { port } = server.driver;
  const txBurst = port.txBurst.bind(port);
  let closing: Promise<void> | undefined;
  port.txBurst = (burst) => {
    closing ??= server.driver.close(GRACE_MS); // ACCEPT is leaving; FINISH is yet to come.
    return txBurst(burst);
  };
  const session = await client.driver.dial(server.address);
  const { byPeer, reason } = await session.closed;
  assert.deepEqual({ byPeer, reason }, { byPeer: true, reason: CloseReason.GOING_AWAY });
  await closing;
  assert.equal(offered, 0);
  await client.driver.close();
});

Deno.test("sdk: a signal that has fired already gives a dial up without losing its failure", async () => {
  const authority = benchAuthority();
  const { driver } = await benchDriver(authority);
  const pool = new SessionPool(driver);
  const nodeId = formatNodeId(new Uint8Array(16).fill(1));
  // Nobody listens there; a failure without a handler would end this process.
  await assert.rejects(
    pool.get(nodeId, ["127.0.0.1:9"], {}, AbortSignal.abort()),
    (error) => codeOf(error) === "CANCELLED",
  );
  const other = formatNodeId(new Uint8Array(16).fill(2));
  await assert.rejects(pool.get(other, [], {}), (error) => codeOf(error) === "UNREACHABLE");
  await driver.close();
});

Deno.test("sdk: those who ask the same share a dial, those who ask more have their own", async () => {
  const authority = benchAuthority();
  const server = await benchDriver(authority, { onSession: () => {} });
  const client = await benchDriver(authority);
  const pool = new SessionPool(client.driver);
  const nodeId = formatNodeId(server.driver.endpoint.nodeId);
  const endpoints = [`127.0.0.1:${server.address.port}`];
  const [a, b, strict] = await Promise.allSettled([
    pool.get(nodeId, endpoints, {}),
    pool.get(nodeId, endpoints, {}),
    pool.get(nodeId, endpoints, { model: "not certified" }),
  ]);
  assert.ok(a.status === "fulfilled" && b.status === "fulfilled");
  assert.equal(a.value.session, b.value.session);
  assert.ok(strict.status === "rejected");
  assert.equal(codeOf(strict.reason), "CONSTRAINT_NOT_MET");
  await Promise.all([client.driver.close(), server.driver.close()]);
});

Deno.test("sdk: of two sessions opened at once the HELLO of the smaller node id survives", async () => {
  const authority = benchAuthority();
  const ends = await Promise.all([0, 1].map(async () => {
    const sessions: Session[] = [];
    const end = await benchDriver(authority, { onSession: (session) => void pool.add(session) });
    const pool = new SessionPool(end.driver);
    pool.onSession = (session) => sessions.push(session);
    return { ...end, pool, sessions, id: formatNodeId(end.driver.endpoint.nodeId) };
  }));
  const [a, b] = ends;
  await Promise.all([
    a.pool.dialAddress(b.address, b.driver.endpoint.nodeId),
    b.pool.dialAddress(a.address, a.driver.endpoint.nodeId),
  ]);
  // Each end has both; the larger one ends what it opened.
  const [smaller, larger] = a.id < b.id ? [a, b] : [b, a];
  const lost = larger.sessions.find((session) => session.initiator)!;
  assert.equal((await lost.closed).reason, CloseReason.REPLACED);
  assert.deepEqual([smaller.sessions.length, larger.sessions.length], [2, 2]);
  for (const [end, initiator] of [[smaller, true], [larger, false]] as const) {
    const peer = end === a ? b : a;
    const kept = end.pool.sessions.get(peer.id)!;
    assert.ok(kept.isOpen);
    assert.equal(kept.initiator, initiator);
    const { session, reused } = await end.pool.get(peer.id, [], {});
    assert.ok(reused && session === kept);
  }
  await Promise.all(ends.map(({ driver }) => driver.close()));
});

Deno.test("sdk: when the session in use ends, an older one that is open takes its place", async () => {
  const authority = benchAuthority();
  const server = await benchDriver(authority, { onSession: () => {} });
  const client = await benchDriver(authority);
  const pool = new SessionPool(client.driver);
  const first = await pool.dialAddress(server.address);
  const second = await pool.dialAddress(server.address);
  assert.equal(pool.sessions.get(first.peerNodeId), second);
  second.close();
  await second.closed;
  assert.equal(pool.sessions.get(first.peerNodeId), first);
  first.close();
  await first.closed;
  assert.equal(pool.sessions.size, 0);
  await Promise.all([client.driver.close(), server.driver.close()]);
});

Deno.test("NS-PR-001: a channel carries messages with an asked probability, both ways", async () => {
  const authority = benchAuthority();
  const onSession = (session: Session) => {
    session.onChannel = async (channel) => {
      assert.equal(channel.mode, MODE_PROBABILISTIC);
      for (let m = await channel.receive(); m; m = await channel.receive()) await channel.send(m);
      channel.finish();
    };
  };
  const server = await benchDriver(authority, { onSession });
  const client = await benchDriver(authority);
  const session = await client.driver.dial(server.address);
  assert.throws(
    () => session.open(MODE_PROBABILISTIC, undefined, 1),
    (error) => codeOf(error) === "INVALID_PROBABILITY",
  );
  const channel = session.open(MODE_PROBABILISTIC, undefined, 0.999);
  for (const size of [10, 5_000, 20_000]) {
    await channel.send(new Uint8Array(size).fill(size));
    const back = await channel.receive();
    assert.deepEqual([back?.length, back?.[size - 1]], [size, size & 0xff]);
  }
  channel.finish();
  assert.equal(await channel.receive(), undefined);
  await Promise.all([client.driver.close(), server.driver.close()]);
});
