/** NS-C-004 on whole endpoints: real handshakes and records, hosts that change their address. */
import assert from "node:assert/strict";
import { concat, equalBytes } from "../../lib/base/mod.ts";
import type { EndpointOptions } from "../../lib/endpoint/mod.ts";
import { FrameType } from "../../lib/l1_link/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { type Host, Net, UNIX_S } from "./pair.ts";

const SECOND = 1_000_000;
const BYTES = 2_000_000;

interface Joined {
  net: Net;
  client: Host;
  server: Host;
  id: number;
  serverId: number;
}

function join(seed: number, options: Partial<EndpointOptions> = {}): Joined {
  const net = new Net(seed);
  const authority = net.authority();
  const client = net.host(1, authority, options);
  const server = net.host(2, authority, options);
  const id = client.endpoint.connect({ address: server.address }, net.nowUs, UNIX_S);
  const isReady = () => client.endpoint.connection(id)?.state === "established";
  assert.ok(net.run(isReady, SECOND));
  return { net, client, server, id, serverId: server.of("connected")[0].connection };
}

/** The client sends BYTES on one stream; `change` happens when half has arrived; all must. */
function transferAcross({ net, client, server, id, serverId }: Joined, change: () => void): void {
  const bytes = new Uint8Array(BYTES).map((_, i) => i * 31 >> 3);
  const sender = client.endpoint.connection(id)!;
  const stream = sender.openStream(MODE_RELIABLE_ORDERED);
  const pieces: Uint8Array[] = [];
  let written = 0;
  let arrived = 0;
  let changed = false;
  const done = net.run(() => {
    written += sender.write(stream, bytes.subarray(written));
    client.endpoint.touch(id);
    const receiver = server.endpoint.connection(serverId)!;
    for (let piece = receiver.read(stream); piece; piece = receiver.read(stream)) {
      pieces.push(piece.slice());
      arrived += piece.length;
    }
    server.endpoint.touch(serverId);
    if (!changed && arrived > BYTES / 2) {
      changed = true;
      change();
    }
    return arrived === BYTES;
  }, 20 * SECOND);
  assert.ok(done, `${arrived} of ${BYTES} bytes arrived; seed ${net.random.seed}`);
  assert.ok(equalBytes(concat(...pieces), bytes));
}

const rebinds = {
  "the port": { host: "10.0.0.1", port: 4_711 },
  "the whole address": { host: "10.9.9.9", port: 1 },
};

/** What the server got of the handshake when the NAT rebinds. */
const moments = { "HELLO": 3_000, "nothing but HELLO, its ACCEPT being here": 10_000 };

for (const [what, address] of Object.entries(rebinds)) {
  for (const [moment, atUs] of Object.entries(moments)) {
    Deno.test(`NS-C-004: a NAT changes ${what} of a client when the server has ${moment}`, () => {
      const net = new Net(5);
      const authority = net.authority();
      const client = net.host(1, authority);
      const server = net.host(2, authority);
      const { name } = client;
      net.wire = (_frame, from) => from !== name || net.nowUs < atUs; // FINISH is lost
      const id = client.endpoint.connect({ address: server.address }, 0, UNIX_S);
      net.run(() => false, atUs);
      net.move(client, address);
      const isReady = () => client.endpoint.connection(id)?.state === "established";
      assert.ok(net.run(isReady, SECOND), "sooner than a second attempt would be");
      const [{ connection }] = server.of("connected");
      assert.equal(server.of("connected").length, 1);
      transferAcross({ net, client, server, id, serverId: connection }, () => {});
      assert.deepEqual(server.endpoint.addressOf(connection), address);
      assert.equal(client.of("failed").length, 0);
    });
  }
  Deno.test(`NS-C-004: a NAT changes ${what} of a client in the middle of a stream`, () => {
    const joined = join(1);
    transferAcross(joined, () => joined.net.move(joined.client, address));
    const { server, serverId } = joined;
    assert.deepEqual(server.endpoint.addressOf(serverId), address);
    assert.equal(server.of("connected").length, 1, "still the same connection");
  });

  Deno.test(`NS-C-004: a server that changes ${what} keeps its clients`, () => {
    const joined = join(2);
    const { net, client, server, id, serverId } = joined;
    net.move(server, address);
    server.endpoint.connection(serverId)!.ping();
    server.endpoint.touch(serverId);
    transferAcross(joined, () => {});
    assert.deepEqual(client.endpoint.addressOf(id), address);
  });
}

Deno.test("NS-C-004: a client moves to another address of the server by itself", () => {
  const joined = join(3);
  const { net, client, server, id } = joined;
  const second = { host: "10.2.2.2", port: 2 };
  net.hosts.set(`${second.host}:${second.port}`, server);
  transferAcross(joined, () => client.endpoint.migrate(id, second, net.nowUs));
  assert.deepEqual(client.endpoint.addressOf(id), second);
});

Deno.test("NS-C-004: frames that somebody else repeats from elsewhere do not move a connection", () => {
  const joined = join(4);
  const { net, server, serverId } = joined;
  const home = server.endpoint.addressOf(serverId);
  let copies = 0;
  let bytesIn = 0;
  let bytesOut = 0;
  net.wire = (frame, from, to) => {
    if (to === "6.6.6.6:6") bytesOut += frame.length;
    // Faster than the true one, so that the server sees the copy first.
    if (from === "10.0.0.1:1" && ++copies % 50 === 0) {
      net.inject(frame, "6.6.6.6:6", server);
      bytesIn += frame.length;
      return false;
    }
    return true;
  };
  transferAcross(joined, () => {});
  assert.ok(copies > 50);
  assert.deepEqual(server.endpoint.addressOf(serverId), home);
  assert.ok(bytesOut <= 3 * bytesIn, `${bytesOut} sent to a stranger for ${bytesIn}`);
});

Deno.test("NS-C-004: a connection that moved is closed at its new address", () => {
  const joined = join(5);
  const { net, client, server, id, serverId } = joined;
  transferAcross(joined, () => net.move(joined.client, rebinds["the port"]));
  server.endpoint.connection(serverId)!.close(0, "done", net.nowUs);
  server.endpoint.touch(serverId);
  assert.ok(net.run(() => client.of("closed").length === 1, SECOND));
  assert.equal(client.of("closed")[0].connection, id);
});

Deno.test("NS-PR-003: a second path between endpoints, under the same keys, until both close", () => {
  const joined = join(8);
  const { net, client, server, id, serverId } = joined;
  const second = { host: "10.2.2.2", port: 2 };
  net.hosts.set(`${second.host}:${second.port}`, server);
  assert.equal(client.endpoint.openPath(id, second), 1);
  const usable = () =>
    [client, server].every((host) =>
      host.of("connection").some(({ event }) => event.type === "pathUsable")
    );
  assert.ok(net.run(usable, SECOND));
  assert.ok(server.of("connection").every(({ event }) => event.type !== "pathRequested"));
  assert.equal(server.endpoint.connection(serverId)!.pathStats().length, 2);
  transferAcross(joined, () => {});
  client.endpoint.connection(id)!.close(0, "done", net.nowUs);
  client.endpoint.touch(id);
  const done = () => client.of("closed").length === 1 && server.of("closed").length === 1;
  assert.ok(net.run(done, 5 * SECOND));
});

Deno.test("NS-PR-003: a second path to nowhere is closed on both ends, the first goes on", () => {
  const joined = join(9);
  const { net, client, server, id, serverId } = joined;
  client.endpoint.openPath(id, { host: "10.2.2.2", port: 2 });
  const closed = () =>
    [client, server].every((host) =>
      host.of("connection").some(({ event }) => event.type === "pathClosed")
    );
  assert.ok(net.run(closed, 10 * SECOND));
  assert.equal(server.endpoint.connection(serverId)!.pathStats().length, 1);
  transferAcross(joined, () => {});
});

Deno.test("endpoint: frames grow to what the wire carries, and shrink when it carries less", () => {
  const joined = join(6, { frameBytesMax: 1_900 });
  const { net, client, id } = joined;
  let carries = 1_800;
  net.wire = (frame) => frame.length <= carries;
  transferAcross(joined, () => carries = 1_422);
  const { frameBytes } = client.endpoint.connection(id)!.stats();
  assert.ok(frameBytes <= 1_422 && frameBytes > 1_300, `${frameBytes}`);
});

Deno.test("endpoint: handshake frames never exceed 1,200 bytes", () => {
  const { net } = join(7, { frameBytesMax: 1_900 });
  const typeOf = (frame: Uint8Array) => (new DataView(frame.buffer).getUint32(0) >>> 4) & 0xffff;
  const handshake = net.sent.filter(({ frame }) => typeOf(frame) === FrameType.TRUST_HANDSHAKE);
  assert.ok(handshake.length >= 3);
  assert.ok(handshake.every(({ frame }) => frame.length <= 1_200));
});

Deno.test("NS-C-004: paths that are opened and closed at once leave no connection id behind", () => {
  const { net, client, server, id } = join(6);
  const connection = client.endpoint.connection(id)!;
  const before = server.endpoint.connectionIdCount;
  for (let i = 0; i < 20; i++) {
    const path = client.endpoint.openPath(id, { host: "10.3.3.3", port: 1 });
    connection.closePath(path);
    client.endpoint.touch(id);
    net.run(() => false, 100_000);
  }
  assert.equal(client.endpoint.connectionIdCount, 1);
  assert.equal(server.endpoint.connectionIdCount, before);
});
