import assert from "node:assert/strict";
import { utf8 } from "../../lib/base/mod.ts";
import { HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE_MAX } from "../../lib/endpoint/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import {
  buildFrame,
  decodeFrame,
  Flag,
  FrameError,
  FrameInfo,
  FrameType,
} from "../../lib/l1_link/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { createCsr, Identity } from "../../lib/l4_trust/mod.ts";
import { type Host, Net, UNIX_S, VNI } from "./pair.ts";

const SECOND = 1_000_000;

function decode(frame: Uint8Array): FrameInfo {
  const info = new FrameInfo();
  const view = new DataView(frame.buffer, frame.byteOffset);
  assert.equal(decodeFrame(frame, view, 0, frame.length, info), FrameError.OK);
  return info;
}

/** A connected pair; the client's connection id first. */
function connectedPair(net: Net): { client: Host; server: Host; id: number; serverId: number } {
  const authority = net.authority();
  const client = net.host(1, authority);
  const server = net.host(2, authority);
  const id = client.endpoint.connect({ address: server.address }, net.nowUs, UNIX_S);
  assert.ok(net.run(() => server.of("connected").length === 1, SECOND));
  return { client, server, id, serverId: server.of("connected")[0].connection };
}

Deno.test("endpoint: a handshake takes one round trip before the client may send", () => {
  const net = new Net(1);
  const authority = net.authority();
  const client = net.host(1, authority);
  const server = net.host(2, authority);
  client.endpoint.connect({ address: server.address }, 0, UNIX_S);
  assert.ok(net.run(() => client.of("connected").length === 1, SECOND));
  assert.equal(net.nowUs, 10_000);
  assert.ok(net.run(() => server.of("connected").length === 1, SECOND));
  assert.equal(net.nowUs, 15_000);
  const [{ handshake }] = server.of("connected");
  assert.deepEqual(handshake.peerNodeId, client.endpoint.nodeId);
});

Deno.test("endpoint: bytes written by one program are read by the other", () => {
  const net = new Net(2);
  const { client, server, id, serverId } = connectedPair(net);
  const connection = client.endpoint.connection(id)!;
  const stream = connection.openStream(MODE_RELIABLE_ORDERED);
  connection.write(stream, utf8("hello"));
  client.endpoint.touch(id);
  let text = "";
  net.run(() => {
    const bytes = server.endpoint.connection(serverId)!.read(stream);
    server.endpoint.touch(serverId);
    if (bytes !== undefined) text += new TextDecoder().decode(bytes);
    return text === "hello";
  }, SECOND);
  assert.equal(text, "hello");
});

Deno.test("endpoint: handshakes get through 30 % loss within their five seconds", () => {
  let connected = 0;
  for (let seed = 0; seed < 40; seed++) {
    const net = new Net(seed);
    const authority = net.authority();
    const client = net.host(1, authority);
    const server = net.host(2, authority);
    net.wire = () => !net.random.chance(0.3);
    client.endpoint.connect({ address: server.address }, 0, UNIX_S);
    const both = () => client.of("connected").length === 1 && server.of("connected").length === 1;
    if (net.run(both, 5 * SECOND)) connected++;
  }
  assert.ok(connected >= 38, `${connected} of 40 connected`);
});

Deno.test("endpoint: nobody answers: failed with CONNECT_TIMEOUT after five seconds, nothing left", () => {
  const net = new Net(3);
  const client = net.host(1, net.authority());
  client.endpoint.connect({ address: { host: "10.0.0.9", port: 9 } }, 0, UNIX_S);
  assert.ok(net.run(() => client.of("failed").length === 1, 6 * SECOND));
  assert.match(client.of("failed")[0].error.code, /TIMEOUT/);
  assert.equal(client.endpoint.connectionCount, 0);
  assert.ok(net.nowUs >= 5 * SECOND && net.nowUs < 5.5 * SECOND);
});

Deno.test("endpoint: a server of another mesh is refused and hears why", () => {
  const net = new Net(4);
  const client = net.host(1, net.authority());
  const server = net.host(2, net.authority());
  client.endpoint.connect({ address: server.address }, 0, UNIX_S);
  net.run(() => client.of("failed").length + server.of("failed").length === 2, 6 * SECOND);
  assert.equal(client.of("failed")[0].error.code, "UNKNOWN_CA");
  assert.equal(server.of("failed")[0].error.code, "ALERT_UNKNOWN_CA");
  assert.equal(server.of("failed").length, 1);
  assert.equal(client.of("connected").length + server.of("connected").length, 0);
});

Deno.test("endpoint: the node that was asked for must answer, no other", () => {
  const net = new Net(5);
  const authority = net.authority();
  const client = net.host(1, authority);
  const server = net.host(2, authority);
  const nodeId = new Uint8Array(16).fill(9);
  client.endpoint.connect({ address: server.address, nodeId }, 0, UNIX_S);
  net.run(() => client.of("failed").length === 1, 6 * SECOND);
  assert.equal(client.of("failed").length, 1);
  assert.equal(server.endpoint.counters.drops.get("wrong_node_id"), 5 + 6);
});

Deno.test("endpoint: a certificate that does not vouch for what was asked is refused", () => {
  const net = new Net(6);
  const authority = net.authority();
  const client = net.host(1, authority);
  const server = net.host(2, authority);
  client.endpoint.connect({ address: server.address, requirements: { model: "gpt" } }, 0, UNIX_S);
  assert.ok(net.run(() => client.of("failed").length === 1, 6 * SECOND));
  assert.equal(client.of("failed")[0].error.code, "CONSTRAINT_NOT_MET");
});

Deno.test("endpoint: a flood of HELLOs is bounded per source and in all, and forgotten", () => {
  const net = new Net(7);
  const authority = net.authority();
  const server = net.host(2, authority);
  const client = net.host(1, authority);
  // Real HELLOs, taken from the wire before they arrive.
  const hellos: Uint8Array[] = [];
  net.wire = (frame, from) => {
    if (from === client.name && hellos.length < 4096) hellos.push(frame.slice());
    return false;
  };
  for (let i = 0; i < HALF_OPEN_PER_SOURCE_MAX + 10; i++) {
    client.endpoint.connect({ address: server.address }, net.nowUs, UNIX_S);
  }
  net.run(() => hellos.length >= HALF_OPEN_PER_SOURCE_MAX + 10, 1);
  for (const hello of hellos) net.inject(hello, "10.9.9.9:1", server);
  net.run(() => false, 100_000);
  assert.equal(server.endpoint.halfOpenCount, HALF_OPEN_PER_SOURCE_MAX);
  for (let source = 0; source < HALF_OPEN_MAX / HALF_OPEN_PER_SOURCE_MAX + 2; source++) {
    for (const hello of hellos) net.inject(hello, `10.8.${source}.1:1`, server);
  }
  net.run(() => false, 100_000);
  assert.equal(server.endpoint.halfOpenCount, HALF_OPEN_MAX);
  assert.ok(server.endpoint.counters.drops.get("half_open_limit")! > 0);
  net.run(() => server.endpoint.halfOpenCount === 0, 6 * SECOND);
  assert.equal(server.endpoint.halfOpenCount, 0);
  assert.equal(server.endpoint.connectionCount, 0);
});

Deno.test("endpoint: at most three times the bytes of an unproven address are sent back", () => {
  const net = new Net(8);
  const authority = net.authority();
  const client = net.host(1, authority);
  const server = net.host(2, authority);
  net.wire = (_frame, from) => from === client.name; // The client never hears anything.
  client.endpoint.connect({ address: server.address }, 0, UNIX_S);
  net.run(() => false, 8 * SECOND);
  const bytes = (name: string) =>
    net.sent.filter(({ from }) => from === name).reduce((sum, { frame }) => sum + frame.length, 0);
  assert.ok(bytes(server.name) > 0);
  assert.ok(bytes(server.name) <= 3 * bytes(client.name));
});

Deno.test("endpoint: a repeated HELLO is answered with the same ACCEPT, not a second handshake", () => {
  const net = new Net(9);
  const authority = net.authority();
  const client = net.host(1, authority);
  const server = net.host(2, authority);
  net.wire = (_frame, from) => from === client.name;
  client.endpoint.connect({ address: server.address }, 0, UNIX_S);
  net.run(() => net.sent.filter(({ from }) => from === server.name).length >= 3, 4 * SECOND);
  const accepts = net.sent.filter(({ from }) => from === server.name).map(({ frame }) =>
    frame.subarray(64, frame.length - 4) // The header's time stamp may differ.
  );
  assert.deepEqual(accepts[0], accepts[1]);
  assert.deepEqual(accepts[0], accepts[2]);
  assert.equal(server.endpoint.halfOpenCount, 1);
});

Deno.test("endpoint: a HELLO that comes again after its handshake starts nothing", () => {
  const net = new Net(18);
  const { client, server, id } = connectedPair(net);
  const hello = net.sent.find(({ from }) => from === client.name)!.frame;
  const answers = () =>
    net.sent.filter(({ from, frame }) =>
      from === server.name && decode(frame).type === FrameType.TRUST_HANDSHAKE
    ).length;
  const before = answers();
  const repeat = (from: string) => {
    net.inject(hello, from, server);
    net.run(() => false, 100_000);
    assert.equal(server.endpoint.halfOpenCount, 0);
  };
  repeat(client.name);
  repeat("10.9.9.9:7"); // by another way, or from an observer
  assert.equal(server.endpoint.connectionCount, 1);
  client.endpoint.connection(id)!.close(0, "bye", net.nowUs);
  client.endpoint.touch(id);
  assert.ok(net.run(() => server.endpoint.connectionCount === 0, 4 * SECOND));
  repeat(client.name);
  assert.equal(answers(), before);
  assert.equal(server.endpoint.counters.drops.get("hello_repeated"), 3);
  assert.equal(server.endpoint.connectionCount, 0);
});

Deno.test("NL-F-006: endpoint: fragments of handshakes at once between two nodes do not mix", () => {
  const net = new Net(17);
  const authority = net.authority();
  // So many names do not fit one frame: ACCEPT and FINISH go in fragments.
  const modelNames = Array.from({ length: 40 }, (_, i) => `a-model-with-quite-a-long-name-${i}`);
  const [client, server] = [1, 2].map((port) => {
    const identity = Identity.generate(net.random.fill, nodeEngine);
    const csr = createCsr(identity, { modelNames });
    const mic = authority.issue(csr, { unixS: UNIX_S, vni: VNI, role: "node" });
    return net.host(port, authority, { identity, chain: authority.chainOf(mic) });
  });
  // The network brings first fragments first, those of all messages, and so on.
  const held: [frame: Uint8Array, offset: number][] = [];
  net.wire = (frame) => {
    const { fragmentTotal, fragmentOffset } = decode(frame);
    if (fragmentTotal > 0) held.push([frame.slice(), fragmentOffset]);
    return fragmentTotal === 0;
  };
  const ids = [0, 1].map(() => client.endpoint.connect({ address: server.address }, 0, UNIX_S));
  for (const [from, to] of [[server, client], [client, server]]) {
    assert.ok(!net.run(() => false, 20_000));
    const messages = new Set(held.map(([, offset]) => offset));
    assert.ok(messages.size > 1 && held.length === 2 * messages.size);
    held.sort(([, a], [, b]) => a - b);
    for (const [frame] of held.splice(0)) net.inject(frame, from.name, to);
  }
  // Sooner than anything is repeated.
  assert.ok(net.run(() => server.of("connected").length === 2, 20_000));
  assert.deepEqual(
    new Set(client.of("connected").map(({ connection }) => connection)),
    new Set(ids),
  );
});

Deno.test("endpoint: replayed handshake and data frames change nothing", () => {
  const net = new Net(10);
  const { client, server, id } = connectedPair(net);
  client.endpoint.connection(id)!.ping();
  client.endpoint.touch(id);
  net.run(() => false, SECOND);
  const recorded = net.sent.filter(({ to }) => to === server.name);
  const received = server.endpoint.connection(server.of("connected")[0].connection)!.stats();
  for (const { frame } of recorded) net.inject(frame, client.name, server);
  net.run(() => false, 10 * SECOND);
  assert.equal(server.of("connected").length, 1);
  const after = server.endpoint.connection(server.of("connected")[0].connection)!.stats();
  assert.equal(after.packetsReceived, received.packetsReceived);
  assert.ok(after.framesDropped > received.framesDropped);
});

Deno.test("endpoint: clear frames, strange connection ids and foreign nodes are counted drops", () => {
  const net = new Net(11);
  const { client, server, serverId } = connectedPair(net);
  const ids = { source: client.endpoint.nodeId, dest: server.endpoint.nodeId };
  const tag = { type: 3, tag: new Uint8Array(16) };
  const sealed = { flags: Flag.ENCRYPTED, keyPhase: 1, ...ids };
  net.inject(buildFrame({ type: FrameType.DATA, ...ids }), client.name, server);
  net.inject(buildFrame({ ...sealed, streamId: 99 }, [tag as never]), client.name, server);
  net.inject(
    buildFrame({ ...sealed, streamId: serverId, source: new Uint8Array(16) }, [tag as never]),
    client.name,
    server,
  );
  net.inject(
    buildFrame({ ...sealed, sequence: 50, streamId: serverId }, [tag as never]),
    client.name,
    server,
  );
  net.run(() => false, 100_000);
  const { drops } = server.endpoint.counters;
  assert.equal(drops.get("clear_text"), 1);
  assert.equal(drops.get("unknown_connection"), 1);
  assert.equal(drops.get("wrong_node_id"), 1);
  assert.equal(drops.get("record_unauthentic"), 1);
  assert.equal(server.endpoint.connectionCount, 1);
});

Deno.test("endpoint: random and mutated datagrams never throw and never break a connection", () => {
  const net = new Net(12);
  const { client, server, id, serverId } = connectedPair(net);
  const recorded = net.sent.map(({ frame }) => frame);
  for (let i = 0; i < 3_000; i++) {
    const frame = net.random.chance(0.3)
      ? new Uint8Array(net.random.below(1_300))
      : recorded[net.random.below(recorded.length)].slice();
    if (frame.length > 0) {
      for (let k = 0; k < 3; k++) frame[net.random.below(frame.length)] = net.random.below(256);
    }
    net.inject(frame, `10.0.${net.random.below(9)}.7:1`, net.random.chance(0.5) ? client : server);
  }
  net.run(() => false, SECOND);
  assert.ok(server.endpoint.connection(serverId) !== undefined);
  assert.ok(client.endpoint.connection(id) !== undefined);
  assert.equal(client.pool.available, client.pool.slots);
});

Deno.test("endpoint: a draining endpoint answers no new HELLO", () => {
  const net = new Net(13);
  const authority = net.authority();
  const client = net.host(1, authority);
  const server = net.host(2, authority);
  server.endpoint.drain();
  client.endpoint.connect({ address: server.address }, 0, UNIX_S);
  net.run(() => client.of("failed").length === 1, 6 * SECOND);
  assert.equal(net.sent.filter(({ from }) => from === server.name).length, 0);
  assert.ok(server.endpoint.counters.drops.get("hello_not_accepted")! > 0);
});

Deno.test("endpoint: a closed connection is forgotten on both ends", () => {
  const net = new Net(14);
  const { client, server, id } = connectedPair(net);
  client.endpoint.connection(id)!.close(0, "bye", net.nowUs);
  client.endpoint.touch(id);
  net.run(
    () => client.endpoint.connectionCount + server.endpoint.connectionCount === 0,
    4 * SECOND,
  );
  assert.equal(client.endpoint.connectionCount + server.endpoint.connectionCount, 0);
  const closed = server.of("connection").map(({ event }) => event).find((e) => e.type === "closed");
  assert.ok(closed?.type === "closed" && closed.byPeer && closed.phrase === "bye");
});

Deno.test("endpoint: another tenant's HELLO is dropped", () => {
  const net = new Net(15);
  const authority = net.authority();
  const client = net.host(1, authority, { vni: VNI + 1 });
  const server = net.host(2, authority);
  client.endpoint.connect({ address: server.address }, 0, UNIX_S);
  net.run(() => client.of("failed").length === 1, 6 * SECOND);
  assert.equal(server.of("connected").length, 0);
  assert.ok(server.endpoint.counters.drops.get("hello_other_tenant")! > 0);
});

Deno.test("NT-HS: the ephemeral key of an attempt that is given up is wiped", () => {
  const net = new Net(16);
  const secrets: Uint8Array[] = [];
  const random = (into: Uint8Array) => {
    net.random.fill(into);
    if (into.length === 32) secrets.push(into);
  };
  const client = net.host(1, net.authority(), { random });
  const id = client.endpoint.connect({ address: { host: "10.0.0.9", port: 9 } }, 0, UNIX_S);
  assert.equal(secrets.length, 1);
  assert.ok(secrets[0].some((byte) => byte !== 0));
  client.endpoint.abandon(id);
  assert.ok(secrets[0].every((byte) => byte === 0));
  assert.equal(client.endpoint.connectionCount, 0);
});
