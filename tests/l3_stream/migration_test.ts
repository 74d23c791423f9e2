/** NS-C-004: the network address of an end changes, no stream is broken. */
import assert from "node:assert/strict";
import { ByteWriter, SeededRandom } from "../../lib/base/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import {
  drain,
  establishedPair,
  eventTypes,
  give as giveFrame,
  Pair,
  pattern,
  pollSent,
  readAll,
  ScriptedPeer,
  WIDE,
  wire,
} from "./harness.ts";

const AMPLIFICATION_MAX = 3;
const BYTES = 600_000;
const config = WIDE;

const response = (token: Uint8Array) => new ByteWriter().u8(0x06).put(token).finish();

/** Both ends have much to send when `change` happens in the middle; all of it must arrive. */
function transferAcross(pair: Pair, change: () => void): void {
  const bytes = pattern(BYTES);
  const up = pair.client.openStream(MODE_RELIABLE_ORDERED);
  const down = pair.server.openStream(MODE_RELIABLE_ORDERED);
  pair.client.write(up, bytes);
  pair.server.write(down, bytes);
  let frames = 0;
  const drop = pair.drop;
  pair.drop = (...args) => {
    if (++frames === 40) change();
    return drop(...args);
  };
  pair.advance(5_000_000);
  assert(frames > 80);
  assert.deepEqual(readAll(pair.server, up), bytes);
  assert.deepEqual(readAll(pair.client, down), bytes);
}

Deno.test("NS-C-004: a client that is seen at another address is followed, streams go on", () => {
  const pair = establishedPair(config);
  transferAcross(pair, () => pair.address.client = 5);
  assert.equal(pair.server.peer, 5);
  assert.deepEqual(drain(pair.server).filter(({ type }) => type === "migrated"), [
    { type: "migrated", peer: 5 },
  ]);
  assert.equal(pair.client.peer, 0);
});

Deno.test("NS-C-004: so is a server, and both ends at once", () => {
  const pair = establishedPair(config);
  pair.reachable.client = pair.reachable.server = [0, 5, 6]; // old addresses still work for a while
  transferAcross(pair, () => {
    pair.address.client = 5;
    pair.address.server = 6;
  });
  assert.equal(pair.server.peer, 5);
  assert.equal(pair.client.peer, 6);
});

Deno.test("NS-C-004: an address that changes again and again is followed to the last", () => {
  const pair = establishedPair(config);
  for (const address of [1, 2, 3, 4]) {
    pair.address.client = address;
    pair.client.ping();
    pair.advance(200_000);
    assert.equal(pair.server.peer, address);
  }
  transferAcross(pair, () => {});
});

Deno.test("NS-C-004: frames go to the old address until the new one has answered", () => {
  const pair = establishedPair();
  pair.address.client = 5;
  pair.client.ping();
  const [{ frame }] = pollSent(pair.client, pair.nowUs);
  pair.drop = (from, _n, _frame, peer) => from === "client" || peer === 0;
  const before = pair.server.stats().packetsSent;
  give(pair, frame, 5);
  pair.server.ping();
  const to = pollSent(pair.server, pair.nowUs).map(({ peer }) => peer);
  assert(pair.server.stats().packetsSent - before >= 2);
  assert.equal(to.filter((peer) => peer === 5).length, 1, "the challenge");
  assert(to.includes(0));
});

Deno.test("NS-C-004: an address that does not answer gets at most three times what it sent", () => {
  const pair = establishedPair();
  pair.client.ping();
  const [{ frame }] = pollSent(pair.client, pair.nowUs);
  give(pair, frame, 9); // somebody took the packet and sent it from elsewhere
  let bytes = 0;
  let challenges = 0;
  pair.drop = (from, _n, sent, peer) => {
    if (from === "server" && peer === 9) {
      bytes += sent.length;
      challenges++;
    }
    return false;
  };
  pair.advance(20_000_000);
  assert(challenges >= 1);
  assert(bytes <= AMPLIFICATION_MAX * frame.length, `${bytes} for ${frame.length}`);
  assert.equal(pair.server.peer, 0);
  assert.deepEqual(eventTypes(pair.server), []);
});

Deno.test("NS-C-004: packets of the true address win over a copy from elsewhere", () => {
  const pair = establishedPair(config);
  pair.client.ping();
  const [{ frame }] = pollSent(pair.client, pair.nowUs);
  give(pair, frame, 9);
  transferAcross(pair, () => {});
  assert.equal(pair.server.peer, 0);
  assert.equal(pollSent(pair.server, pair.nowUs).filter(({ peer }) => peer === 9).length, 0);
});

Deno.test("NS-C-004: the challenge is padded as far as three times the packet allows", () => {
  const peer = new ScriptedPeer("server").establish();
  const long = peer.seal(wire.ping(1), new Uint8Array(500));
  giveTo(peer, long, 5);
  const [challenge] = pollSent(peer.connection, peer.nowUs).filter((sent) => sent.peer === 5);
  assert.equal(challenge.frame.length, 1_200);
});

Deno.test("NS-C-004: an old packet from another address moves nothing", () => {
  const peer = new ScriptedPeer("server").establish();
  const old = peer.seal(wire.ping(1));
  peer.send(wire.ping(2));
  giveTo(peer, old, 5);
  assert(pollSent(peer.connection, peer.nowUs).every((sent) => sent.peer === 0));
});

Deno.test("NS-C-004: a challenge alone is answered where it came from and moves nothing", () => {
  const peer = new ScriptedPeer("server").establish();
  const token = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  const probe = peer.seal(wire.challenge(token), new Uint8Array(800));
  giveTo(peer, probe, 5);
  const sent = pollSent(peer.connection, peer.nowUs).filter((one) => one.peer === 5);
  assert.equal(sent.length, 1);
  assert.equal(sent[0].frame.length, probe.length, "no longer than what it answers");
  assert.deepEqual(sent[0].frame.slice(82, 91), response(token));
  peer.send(wire.ping(1));
  peer.nowUs += 1_000_000;
  peer.connection.handleTimeout(peer.nowUs);
  assert(pollSent(peer.connection, peer.nowUs).every((one) => one.peer === 0));
});

Deno.test("NS-C-004: only the answer to our challenge validates an address", () => {
  const peer = new ScriptedPeer("server").establish();
  giveTo(peer, peer.seal(wire.ping(1)), 5);
  const [{ frame }] = pollSent(peer.connection, peer.nowUs).filter((sent) => sent.peer === 5);
  const token = frame.slice(83, 91);
  const wrong = token.slice();
  wrong[7] ^= 1;
  giveTo(peer, peer.seal(response(wrong)), 5);
  assert.equal(peer.connection.peer, 0);
  giveTo(peer, peer.seal(response(token)), 5);
  assert.equal(peer.connection.peer, 5);
});

Deno.test("NS-C-004: migrate() moves a client to another address of the server", () => {
  const pair = establishedPair(config);
  pair.reachable.server = [0, 7];
  transferAcross(pair, () => pair.client.migrate(7, pair.nowUs));
  assert.equal(pair.client.peer, 7);
  assert(eventTypes(pair.client).includes("migrated"));
});

Deno.test("NS-C-004: migrate() to where nobody answers changes nothing and says so", () => {
  const pair = establishedPair(config);
  transferAcross(pair, () => pair.client.migrate(7, pair.nowUs));
  assert.equal(pair.client.peer, 0);
  assert(eventTypes(pair.client).includes("migrationFailed"));
  assert.equal(pair.client.state, "established");
});

Deno.test("NS-C-004: an end that moved by itself follows its peer back only from the new address", () => {
  const pair = establishedPair(config);
  pair.reachable.client = [0, 7];
  pair.server.migrate(7, pair.nowUs);
  transferAcross(pair, () => {});
  assert.equal(pair.server.peer, 7, "the client's way to us is its own choice");
  for (const address of [7, 0]) {
    pair.address.client = address;
    transferAcross(pair, () => {});
    assert.equal(pair.server.peer, address);
  }
});

Deno.test("NS-C-004: migration at half of all packets lost, seeds 1…20", async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    await t.step(`seed ${seed}`, () => {
      const random = new SeededRandom(seed);
      const pair = establishedPair({ keepAliveMs: 1_000, idleTimeoutMs: 0 });
      pair.drop = () => random.chance(0.5);
      pair.address.client = 5;
      pair.client.ping();
      for (let i = 0; i < 60 && pair.server.peer !== 5; i++) pair.advance(1_000_000);
      assert.equal(pair.server.peer, 5);
      assert.equal(pair.client.state, "established");
    });
  }
});

Deno.test("NS-C-004: another host starts window, round trip and path MTU anew; a port does not", () => {
  for (const isSameHost of [false, true]) {
    const pair = establishedPair(config, config, {
      frameBytesMax: 9_000,
      isSameHost: () => isSameHost,
    });
    transferAcross(pair, () => {});
    const before = pair.server.stats();
    assert.equal(before.frameBytes, 9_000);
    pair.address.client = 5;
    pair.drop = (from, _n, frame) => from === "server" && frame.length > 1_200;
    pair.client.ping();
    pair.pump();
    assert.equal(pair.server.peer, 5);
    const after = pair.server.stats();
    assert.equal(after.windowBytes === before.windowBytes, isSameHost);
    assert.equal(after.frameBytes, isSameHost ? 9_000 : 1_200);
    assert.equal(after.minRttUs === Infinity, !isSameHost);
  }
});

/** Hands a frame of the client to the server as if it came from `peer`. */
function give(pair: Pair, frame: Uint8Array, peer: number): void {
  giveFrame(pair.server, frame, pair.nowUs, 0, peer);
}

function giveTo(peer: ScriptedPeer, frame: Uint8Array, from: number): void {
  giveFrame(peer.connection, frame, peer.nowUs, 0, from);
}
