/** Paths beside the first: opened, accepted, validated, given up. */
import assert from "node:assert/strict";
import { ByteWriter, SeededRandom } from "../../lib/base/mod.ts";
import {
  CloseReason,
  MODE_PROBABILISTIC,
  MODE_RELIABLE_ORDERED,
  type StreamConfig,
} from "../../lib/l3_stream/mod.ts";
import {
  drain,
  establishedPair,
  eventTypes,
  type Pair,
  parsePayload,
  pattern,
  readAll,
  ScriptedPeer,
  type Side,
  WIDE,
} from "./harness.ts";

/** Numbers of the second addresses: the server's for the client, the client's for the server. */
const SERVER_SECOND = 7;
const CLIENT_SECOND = 8;

/** Both ends have a second address; what goes to the one comes from the other. */
function twoWays(config: Partial<StreamConfig> = {}, frameBytesMax = 1_200): Pair {
  const pair = establishedPair(config, config, { frameBytesMax });
  pair.reachable.server = [0, SERVER_SECOND];
  pair.reachable.client = [0, CLIENT_SECOND];
  const second = { client: CLIENT_SECOND, server: SERVER_SECOND };
  const isSecond = (peer: number) => peer === SERVER_SECOND || peer === CLIENT_SECOND;
  pair.seenAs = (from, peer) => isSecond(peer) ? second[from] : 0;
  return pair;
}

/** Lets both ends talk; path requests of either are answered as an endpoint does. */
function settle(pair: Pair, forUs = 500_000): Record<Side, string[]> {
  const seen: Record<Side, string[]> = { client: [], server: [] };
  for (const until = pair.nowUs + forUs; pair.nowUs < until;) {
    pair.advance(10_000);
    for (const side of ["client", "server"] as const) {
      for (const event of drain(pair[side])) {
        seen[side].push(event.type);
        if (event.type === "pathRequested") {
          pair[side].acceptPath(event.path, 1_000 + event.path);
        }
      }
    }
  }
  return seen;
}

const opened = (path: number, connectionId: number, type = 0x07) =>
  new ByteWriter().u8(type).u32(path).u32(connectionId).finish();
const closed = (path: number) => new ByteWriter().u8(0x09).u32(path).finish();

Deno.test("NS-PR-003: a client opens a second path, both ends validate and may use it", () => {
  const pair = twoWays();
  assert.equal(pair.client.openPath(SERVER_SECOND, 501), 1);
  const seen = settle(pair);
  assert.deepEqual(seen.client, ["pathUsable"]);
  assert.deepEqual(seen.server, ["pathRequested", "pathUsable"]);
  for (const [side, peer] of [["client", SERVER_SECOND], ["server", CLIENT_SECOND]] as const) {
    const [first, second] = pair[side].pathStats();
    assert.equal(first.peer, 0);
    assert.deepEqual([second.id, second.peer, second.isUsable], [1, peer, true]);
  }
});

Deno.test("NS-PR-003: a server opens one too; ids never meet and never come again", () => {
  const pair = twoWays();
  assert.equal(pair.server.openPath(CLIENT_SECOND, 601), 2);
  assert.equal(pair.client.openPath(SERVER_SECOND, 501), 1);
  settle(pair);
  assert.deepEqual(pair.client.pathStats().map(({ id, isUsable }) => [id, isUsable]), [
    [0, true],
    [1, true],
    [2, true],
  ]);
  pair.client.closePath(1);
  settle(pair);
  assert.equal(pair.server.pathStats().length, 2);
  assert.equal(pair.client.openPath(SERVER_SECOND, 502), 3);
});

Deno.test("NS-PR-003: paths open under 30 % loss, seeds 1…20", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const pair = twoWays();
    pair.drop = () => random.chance(0.3);
    pair.client.openPath(SERVER_SECOND, 501);
    const seen = settle(pair, 5_000_000);
    assert(seen.client.includes("pathUsable"), `seed ${seed}`);
    assert(seen.server.includes("pathUsable"), `seed ${seed}`);
  }
});

Deno.test("NS-PR-003: streams keep to the first path", () => {
  const pair = twoWays(WIDE);
  pair.client.openPath(SERVER_SECOND, 501);
  settle(pair);
  const before = pair.client.pathStats()[1].packetsSent;
  const bytes = pattern(300_000);
  const stream = pair.client.openStream(MODE_RELIABLE_ORDERED);
  pair.client.write(stream, bytes);
  settle(pair, 200_000);
  assert.deepEqual(readAll(pair.server, stream), bytes);
  assert.equal(pair.client.pathStats()[1].packetsSent, before);
});

Deno.test("NS-PR-003: repairs that are too long for a new path go over one that carries them", () => {
  const repairsSent = (hasSecond: boolean) => {
    const pair = twoWays({}, 1_464);
    pair.advance(100_000);
    assert.equal(pair.client.stats().frameBytes, 1_464);
    let repairs = 0;
    pair.drop = (from, _n, frame, peer) => {
      const frames = parsePayload(frame.subarray(82, frame.length - 4));
      if (from === "client") repairs += frames.filter(({ type }) => type === 0x52).length;
      return peer === SERVER_SECOND && frame.length > 1_200;
    };
    const stream = pair.client.openStream(MODE_PROBABILISTIC, 7, 0.999_999);
    for (let i = 0; i < 8; i++) pair.client.sendMessage(stream, pattern(1_200, i));
    pair.pump();
    assert.equal(repairs, 0, "the block is open still");
    if (hasSecond) {
      pair.client.openPath(SERVER_SECOND, 501);
      pair.pump();
      pair.server.acceptPath(1, 1_001);
      pair.pump();
      assert.ok(pair.client.pathStats()[1].isUsable);
    }
    pair.advance(100_000);
    return repairs;
  };
  assert.ok(repairsSent(false) >= 2);
  assert.equal(repairsSent(true), repairsSent(false));
});

Deno.test("NS-PR-003: an idle path wants no wake-up", () => {
  const pair = twoWays({ idleTimeoutMs: 0 });
  pair.client.openPath(SERVER_SECOND, 501);
  settle(pair, 2_000_000);
  assert.equal(pair.client.nextTimeoutUs(), Infinity);
  assert.equal(pair.server.nextTimeoutUs(), Infinity);
});

Deno.test("NS-PR-003: a path that nobody answers on is given up, the connection goes on", () => {
  const pair = twoWays();
  pair.reachable.server = [0];
  pair.client.openPath(SERVER_SECOND, 501);
  const seen = settle(pair, 10_000_000);
  assert(seen.client.includes("pathClosed"));
  assert(seen.server.includes("pathClosed"), "the other end hears of it");
  assert.equal(pair.client.state, "established");
  assert.equal(pair.client.pathStats().length, 1);
  assert.equal(pair.server.pathStats().length, 1);
});

Deno.test("NS-PR-003: each path searches its own MTU", () => {
  const pair = twoWays({}, 9_000);
  pair.drop = (_from, _n, frame, peer) => peer === SERVER_SECOND && frame.length > 1_464;
  pair.client.openPath(SERVER_SECOND, 501);
  settle(pair, 3_000_000);
  assert.deepEqual(pair.client.pathStats().map(({ frameBytes }) => frameBytes), [9_000, 1_464]);
});

Deno.test("NS-PR-003: a path that dies in use is given up after ten probe timeouts, no more is", () => {
  const pair = twoWays({ idleTimeoutMs: 0 }, 9_000);
  pair.drop = (_from, _n, frame, peer) => peer === SERVER_SECOND && frame.length > 1_464;
  pair.client.openPath(SERVER_SECOND, 501);
  settle(pair, 60_000); // usable, and in the middle of its search
  assert(pair.client.pathStats()[1].isUsable);
  pair.reachable.server = [0];
  pair.reachable.client = [0];
  const seen = settle(pair, 120_000_000);
  assert(seen.client.includes("pathClosed"));
  assert.equal(pair.client.state, "established");
  assert.equal(pair.client.pathStats()[0].frameBytes, 9_000);
});

Deno.test("NS-PR-003: no more paths than the peer accepts", () => {
  const pair = twoWays({ maxPaths: 2 });
  pair.client.openPath(SERVER_SECOND, 501);
  pair.client.openPath(SERVER_SECOND, 502);
  assert.throws(() => pair.client.openPath(SERVER_SECOND, 503), { code: "PATH_LIMIT" });
  settle(pair);
  assert.throws(() => pair.client.openPath(SERVER_SECOND, 503), { code: "PATH_LIMIT" });
});

Deno.test("NS-PR-003: a peer that announced no paths gets no PATH_ frame", () => {
  const peer = new ScriptedPeer("client").establish();
  assert.throws(() => peer.connection.openPath(7, 501), { code: "PATH_LIMIT" });
});

Deno.test("NS-PR-003: what a peer opens beyond the limit is refused", () => {
  const peer = new ScriptedPeer("server", { maxPaths: 1 }).establish();
  peer.send(opened(1, 91));
  assert.deepEqual(eventTypes(peer.connection), ["pathRequested"]);
  peer.send(opened(3, 93));
  assert.deepEqual(eventTypes(peer.connection), []);
  assert.deepEqual(peer.received().map(({ type, path }) => [type, path]), [[0x09, 3]]);
});

Deno.test("NS-PR-003: a PATH_OPEN that comes again asks for nothing new", () => {
  const peer = new ScriptedPeer("server").establish();
  peer.send(opened(1, 91));
  peer.send(opened(1, 91));
  assert.deepEqual(eventTypes(peer.connection), ["pathRequested"]);
  peer.send(closed(1));
  peer.send(opened(1, 91)); // nor does one that was overtaken by its end
  assert.deepEqual(eventTypes(peer.connection), ["pathClosed"]);
});

for (
  const [what, frame] of [
    ["a path id of our kind", opened(2, 91)],
    ["path 0", opened(0, 91)],
    ["connection id 0", opened(1, 0)],
    ["an answer to what was never opened", opened(2, 91, 0x08)],
  ] as const
) {
  Deno.test(`NS-PR-003: ${what} in a PATH_ frame is a protocol violation`, () => {
    const peer = new ScriptedPeer("server").establish();
    peer.send(frame);
    assert.equal(peer.closeReason(), CloseReason.PROTOCOL_VIOLATION);
  });
}

Deno.test("NS-PR-003: frames with the connection id of a closed path are dropped", () => {
  const pair = twoWays();
  pair.client.openPath(SERVER_SECOND, 501);
  settle(pair);
  pair.server.closePath(1);
  const seen = settle(pair);
  assert.deepEqual(seen.client, ["pathClosed"]);
  assert.equal(pair.client.state, "established");
});
