/** What somebody on the path, or a member with bad intent, cannot do. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, equalBytes, toHex } from "../../lib/base/mod.ts";
import {
  ClientHandshake,
  type CryptoEngine,
  HANDSHAKE_MESSAGE,
  type HandshakeConfig,
  HELLO_DROP,
  hkdfExpand,
  hkdfExtract,
  ServerHandshake,
  SUITE_AES_256_GCM,
  SUITE_CHACHA20_POLY1305,
} from "../../lib/l4_trust/mod.ts";
import {
  CLIENT_BYTE,
  CLIENT_CONNECTION_ID,
  clientConfig,
  ENGINE,
  exchange,
  flipped,
  identityOf,
  member,
  SERVER_BYTE,
  SERVER_CONNECTION_ID,
  serverConfig,
  UNIX_S,
} from "./support.ts";

const CLIENT_ID = identityOf(CLIENT_BYTE).nodeId;
const SERVER_ID = identityOf(SERVER_BYTE).nodeId;
const ATTACKER_BYTE = 0x66;
const CLIENT = clientConfig();
const SERVER = serverConfig();

// HELLO body offsets (protocol.md §4.2) within the message.
const HELLO_CLIENT_ID_AT = 4;
const HELLO_DEST_ID_AT = 20;
const HELLO_EPHEMERAL_AT = 44;
const HELLO_SUITE_COUNT_AT = 76;
// ACCEPT (§4.3).
const ACCEPT_SERVER_ID_AT = 4;
const ACCEPT_EPHEMERAL_AT = 28;

function newClient(config: HandshakeConfig, more: object = {}): ClientHandshake {
  return new ClientHandshake({
    ...config,
    connectionId: CLIENT_CONNECTION_ID,
    nowUs: 0,
    unixS: UNIX_S,
    ...more,
  });
}
function newServer(config: HandshakeConfig, hello: Uint8Array): ServerHandshake {
  const made = ServerHandshake.tryAccept(config, hello, 1_200, SERVER_CONNECTION_ID, 0, UNIX_S);
  assert(made instanceof ServerHandshake, `dropped: ${made}`);
  return made;
}
const next = (side: { pollMessage(nowUs: number): { message: Uint8Array } | undefined }) =>
  side.pollMessage(0)!.message;

for (
  const [name, type, from] of [
    ["HELLO", HANDSHAKE_MESSAGE.hello, "client"],
    ["ACCEPT", HANDSHAKE_MESSAGE.accept, "server"],
    ["FINISH", HANDSHAKE_MESSAGE.finish, "client"],
  ] as const
) {
  Deno.test(`NT-HS-004: ${name} with any byte flipped never establishes anything`, () => {
    const length = exchange(CLIENT, SERVER).wire.find(({ message }) => message[0] === type)!
      .message.length;
    for (let at = 0; at < length; at++) {
      const { client, server } = exchange(CLIENT, SERVER, {
        untilUs: 0,
        tamper: (message) => message[0] === type ? flipped(message, at, 1 << (at % 8)) : message,
      });
      assert.equal(server?.result, undefined, `server, byte ${at}`);
      if (from === "server" || type === HANDSHAKE_MESSAGE.hello) {
        assert.equal(client.result, undefined, `client, byte ${at}`);
      }
    }
  });
}

Deno.test("NT-HS-004: a tampered message is dropped and the untouched one still works", () => {
  for (const type of [HANDSHAKE_MESSAGE.accept, HANDSHAKE_MESSAGE.finish]) {
    let tampered = 0;
    const { client, server } = exchange(CLIENT, SERVER, {
      tamper: (message) =>
        message[0] === type && tampered++ === 0 ? flipped(message, message.length - 1) : message,
    });
    assert.equal(tampered, 2);
    assert.deepEqual([client.state, server!.state], ["done", "done"]);
  }
});

Deno.test("NT-HS-004: a shortened suite list is noticed", () => {
  const { client, server } = exchange(CLIENT, SERVER, {
    untilUs: 0,
    tamper: (message) => {
      if (message[0] !== HANDSHAKE_MESSAGE.hello) return message;
      assert.equal(message[HELLO_SUITE_COUNT_AT], 2);
      const out = concat(message.subarray(0, 77), message.subarray(79));
      out[HELLO_SUITE_COUNT_AT] = 1;
      out[3] -= 2;
      return out;
    },
  });
  // The server took what was left of the list; the client does not open its answer.
  assert.equal(server!.state, "accept");
  assert.equal(client.state, "hello");
  assert.equal(client.dropped, 1);
});

Deno.test("NT-HS-004: a suite that was not offered is not accepted", () => {
  const client = newClient({ ...CLIENT, suites: [SUITE_AES_256_GCM] });
  const hello = next(client);
  const other = hello.slice();
  other[HELLO_SUITE_COUNT_AT + 2] = SUITE_CHACHA20_POLY1305;
  client.receive(next(newServer(SERVER, other)), 0, UNIX_S);
  assert.deepEqual([client.state, client.dropped], ["hello", 1]);
});

Deno.test("NT-HS-004: another node's answer to a HELLO for one node is dropped", () => {
  const client = newClient(CLIENT, { destId: SERVER_ID });
  const hello = next(client).slice();
  hello.fill(0, HELLO_DEST_ID_AT, HELLO_DEST_ID_AT + 16);
  client.receive(next(newServer(member(ATTACKER_BYTE), hello)), 0, UNIX_S);
  assert.deepEqual([client.state, client.dropped], ["hello", 1]);
});

Deno.test("NT-HS-002: a server that claims the wanted id with its own certificate is refused", () => {
  const attacker = member(ATTACKER_BYTE);
  const config = {
    ...attacker,
    identity: {
      nodeId: SERVER_ID,
      publicKey: attacker.identity.publicKey,
      sign: (...args: Parameters<typeof attacker.identity.sign>) => attacker.identity.sign(...args),
    },
  };
  const { client } = exchange({ ...CLIENT, destId: SERVER_ID }, config);
  assert.equal(client.error!.code, "NODE_ID_MISMATCH");
});

Deno.test("NT-HS-004: a member that answers as itself for another node is dropped", () => {
  // It takes the HELLO as if it were the node asked for, then answers under its own id.
  const attacker = member(ATTACKER_BYTE);
  let reads = 0;
  const config: HandshakeConfig = {
    ...attacker,
    identity: {
      get nodeId() {
        return reads++ === 0 ? SERVER_ID : attacker.identity.nodeId;
      },
      publicKey: attacker.identity.publicKey,
      sign: (...args) => attacker.identity.sign(...args),
    },
  };
  const client = newClient(CLIENT, { destId: SERVER_ID });
  const accept = next(newServer(config, next(client)));
  assert(equalBytes(accept.subarray(4, 20), attacker.identity.nodeId));
  client.receive(accept, 0, UNIX_S);
  assert.deepEqual([client.state, client.dropped], ["hello", 1]);
});

for (const side of ["client", "server"] as const) {
  Deno.test(`NT-HS-004: a wrong finished value of the ${side} is refused`, () => {
    // The HMAC after the signature is the finished value.
    const good = side === "client" ? CLIENT : SERVER;
    let signed = false;
    const config: HandshakeConfig = {
      ...good,
      identity: {
        nodeId: good.identity.nodeId,
        publicKey: good.identity.publicKey,
        sign: (...args) => (signed = true, good.identity.sign(...args)),
      },
      engine: {
        ...ENGINE,
        hmacSha256: (key, bytes) => {
          const mac = ENGINE.hmacSha256(key, bytes);
          if (signed) mac[31] ^= 1;
          signed = false;
          return mac;
        },
      },
    };
    const { client, server } = side === "client"
      ? exchange(config, SERVER, { confirm: false })
      : exchange(CLIENT, config);
    const [refusing, refused] = side === "client" ? [server!, client] : [client, server!];
    assert.equal(refusing.error!.code, "BAD_FINISHED");
    assert.equal(refusing.result, undefined);
    assert.equal(refused.error!.code, "ALERT_BAD_FINISHED");
  });
}

// Identity misbinding, unknown key share.

Deno.test("NT-HS-004: a relay cannot put its own id on a client's HELLO", () => {
  const attacker = identityOf(ATTACKER_BYTE);
  const client = newClient(CLIENT);
  const hello = next(client).slice();
  hello.set(attacker.nodeId, HELLO_CLIENT_ID_AT);
  const server = newServer(SERVER, hello);
  client.receive(next(server), 0, UNIX_S);
  assert.deepEqual([client.state, client.result, client.dropped], ["hello", undefined, 1]);
});

Deno.test("NT-HS-004: a relay cannot put its own id on a server's ACCEPT", () => {
  const attacker = identityOf(ATTACKER_BYTE);
  const client = newClient(CLIENT);
  const server = newServer(SERVER, next(client));
  const accept = next(server).slice();
  accept.set(attacker.nodeId, ACCEPT_SERVER_ID_AT);
  client.receive(accept, 0, UNIX_S);
  assert.deepEqual([client.state, client.dropped], ["hello", 1]);
});

Deno.test("NT-HS-004: a member in the middle, itself on both sides, cannot splice the two", () => {
  // The client asks for anybody; the attacker answers as itself and opens to the server with the
  // client's messages where it can.
  const attacker = member(ATTACKER_BYTE);
  const client = newClient(CLIENT);
  const hello = next(client);
  const front = newServer(attacker, hello);
  client.receive(next(front), 0, UNIX_S);
  assert.equal(toHex(client.result!.peerNodeId), toHex(attacker.identity.nodeId));
  const finish = next(client);
  // The client's FINISH proves nothing to the real server, though that answered the same HELLO.
  const server = newServer(SERVER, hello);
  server.receive(finish, 0, UNIX_S);
  assert.deepEqual([server.state, server.result, server.dropped], ["accept", undefined, 1]);
});

Deno.test("NT-HS-004: both ends derive different keys for different peers from the same ephemerals", () => {
  const keys = [ATTACKER_BYTE, SERVER_BYTE].map((byte) => {
    const server = { ...member(byte), random: (into: Uint8Array) => void into.fill(5) };
    const client = { ...clientConfig(), random: (into: Uint8Array) => void into.fill(6) };
    const { wire } = exchange(client, server);
    return toHex(wire[2].message);
  });
  assert.notEqual(keys[0], keys[1]);
});

// Replay.

Deno.test("NT-HS-004: a replayed HELLO gets an answer that the replayer cannot use", () => {
  const { wire } = exchange(CLIENT, SERVER);
  const [hello, accept, finish] = wire.map(({ message }) => message);
  const server = newServer(SERVER, hello);
  const again = next(server);
  assert.notDeepEqual(again, accept, "a fresh ephemeral");
  server.receive(finish, 0, UNIX_S);
  assert.deepEqual([server.state, server.dropped], ["accept", 1]);
});

Deno.test("NT-HS-004: a replayed ACCEPT or ALERT does nothing to another attempt", () => {
  const { wire } = exchange(CLIENT, SERVER);
  const client = newClient(CLIENT);
  next(client);
  client.receive(wire[1].message, 0, UNIX_S);
  assert.deepEqual([client.state, client.dropped], ["hello", 1]);
});

Deno.test("NT-HS-004: a FINISH that comes twice changes nothing", () => {
  const { server, wire } = exchange(CLIENT, SERVER);
  const before = server!.result;
  server!.receive(wire[2].message, 1, UNIX_S);
  assert.deepEqual([server!.state, server!.result], ["done", before]);
  assert.equal(server!.pollMessage(1), undefined);
});

Deno.test("NT-HS-004: a client's messages sent back to it do nothing", () => {
  const client = newClient(CLIENT);
  const server = newServer(SERVER, next(client));
  client.receive(next(server), 0, UNIX_S);
  const finish = next(client);
  client.receive(finish, 0, UNIX_S);
  assert.deepEqual([client.state, client.dropped], ["finish", 1]);
});

// Weak keys.

const SMALL_ORDER_POINTS = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map((hex) => Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16)));

Deno.test("NT-HS-004: an ephemeral of small order is refused by the server", () => {
  for (const point of SMALL_ORDER_POINTS) {
    const hello = next(newClient(CLIENT)).slice();
    hello.set(point, HELLO_EPHEMERAL_AT);
    const drop = ServerHandshake.tryAccept(SERVER, hello, 1_200, 1, 0, UNIX_S);
    assert.equal(drop, HELLO_DROP.weakEphemeral);
  }
});

Deno.test("NT-HS-004: an ephemeral of small order is refused by the client", () => {
  for (const point of SMALL_ORDER_POINTS) {
    const client = newClient(CLIENT);
    const accept = next(newServer(SERVER, next(client))).slice();
    accept.set(point, ACCEPT_EPHEMERAL_AT);
    client.receive(accept, 0, UNIX_S);
    assert.deepEqual([client.state, client.dropped], ["hello", 1]);
  }
});

// Stolen static keys.

Deno.test("NT-HS-002: who stole the client's key cannot pose as a server to it", () => {
  // Key compromise impersonation: the thief knows the client's seed and the server's certificate.
  const thief: HandshakeConfig = {
    ...SERVER,
    identity: {
      nodeId: SERVER_ID,
      publicKey: SERVER.identity.publicKey,
      sign: (...args) => identityOf(CLIENT_BYTE).sign(...args),
    },
  };
  const { client } = exchange({ ...CLIENT, destId: SERVER_ID }, thief);
  assert.equal(client.error!.code, "BAD_SIGNATURE");
});

Deno.test("NT-HS-002: who stole the server's key cannot pose as a client to it", () => {
  const thief: HandshakeConfig = {
    ...CLIENT,
    identity: {
      nodeId: CLIENT_ID,
      publicKey: CLIENT.identity.publicKey,
      sign: (...args) => identityOf(SERVER_BYTE).sign(...args),
    },
  };
  const { server } = exchange(thief, SERVER);
  assert.deepEqual([server!.error!.code, server!.result], ["BAD_SIGNATURE", undefined]);
});

Deno.test("NT-HS-002: a server's signature is none of a client, even with the same key and transcript", () => {
  // The contexts differ: a thief of nothing who reflects signatures gets nowhere.
  const confused: HandshakeConfig = {
    ...CLIENT,
    identity: {
      nodeId: CLIENT_ID,
      publicKey: CLIENT.identity.publicKey,
      sign: (_context, content) => CLIENT.identity.sign("nexus server handshake", content),
    },
  };
  assert.equal(exchange(confused, SERVER).server!.error!.code, "BAD_SIGNATURE");
});

Deno.test("NT-HS-005: the ephemeral secrets are gone as soon as each side has its keys", () => {
  const kept: Uint8Array[] = [];
  const keep = (engine: CryptoEngine): CryptoEngine => ({
    ...engine,
    x25519PublicKey: (secret) => (kept.push(secret), engine.x25519PublicKey(secret)),
    x25519: (secret, publicKey) => {
      const shared = engine.x25519(secret, publicKey);
      kept.push(shared);
      return shared;
    },
  });
  const { client } = exchange(
    { ...CLIENT, engine: keep(ENGINE) },
    { ...SERVER, engine: keep(ENGINE) },
    { confirm: false, untilUs: 0 },
  );
  assert.equal(client.state, "finish");
  assert.equal(kept.length, 4, "two secrets and the shared one twice");
  for (const secret of kept) assert.deepEqual(secret, new Uint8Array(32));
});

Deno.test("NT-HS-005: every derived key is wiped once records are done with it", () => {
  const keys: Uint8Array[] = [];
  const watch = (engine: CryptoEngine): CryptoEngine => ({
    ...engine,
    aead: (suite, key) => (keys.push(key), engine.aead(suite, key)),
  });
  const { client, server } = exchange(
    { ...CLIENT, engine: watch(ENGINE) },
    { ...SERVER, engine: watch(ENGINE) },
  );
  const [a, b] = [client.result!.protection(), server!.result!.protection()];
  assert(keys.some((key) => key.some((byte) => byte !== 0)), "live while in use");
  a.wipe();
  b.wipe();
  assert.equal(keys.length, 4 + 4);
  for (const key of keys) assert.deepEqual(key, new Uint8Array(32));
});

Deno.test("NT-HS-005: recorded messages and both static seeds do not give the keys", () => {
  // Everything a later thief has: the wire, and secrets in the place of Z. Only the ephemeral
  // secret opens the recorded ACCEPT.
  const secret = new Uint8Array(32).fill(6);
  const client = { ...clientConfig(), random: (into: Uint8Array) => void into.set(secret) };
  const { wire } = exchange(client, SERVER);
  const [hello, accept] = wire.map(({ message }) => message);
  const serverEphemeral = accept.subarray(ACCEPT_EPHEMERAL_AT, ACCEPT_EPHEMERAL_AT + 32);
  const clientEphemeral = hello.subarray(HELLO_EPHEMERAL_AT, HELLO_EPHEMERAL_AT + 32);
  const seeds = [CLIENT_BYTE, SERVER_BYTE].map((byte) => new Uint8Array(32).fill(byte));
  assert(openAccept(hello, accept, ENGINE.x25519(secret, serverEphemeral)), "the check can open");
  for (const seed of seeds) {
    for (const point of [serverEphemeral, clientEphemeral]) {
      assert(!openAccept(hello, accept, ENGINE.x25519(seed, point)));
    }
    assert(!openAccept(hello, accept, seed));
  }
});

/** Opens the box of an ACCEPT from a shared secret, written from protocol.md §4.5 alone. */
function openAccept(hello: Uint8Array, accept: Uint8Array, shared: Uint8Array): boolean {
  const clearBytes = 62;
  const hash = ENGINE.sha256(concat(hello, accept.subarray(0, clearBytes)));
  const ids = concat(hello.subarray(4, 20), accept.subarray(4, 20), hash);
  const prk = hkdfExtract(ENGINE, new Uint8Array(32), shared);
  const label = (text: string) => concat(new TextEncoder().encode(text), ids);
  const hs = hkdfExpand(ENGINE, prk, label("nexus handshake"), 32);
  const key = hkdfExpand(ENGINE, hs, label("server write key"), 32);
  const iv = hkdfExpand(ENGINE, hs, label("server write iv"), 12);
  const box = accept.slice(clearBytes);
  return ENGINE.aead(SUITE_AES_256_GCM, key).open(
    iv,
    accept.subarray(0, clearBytes),
    box,
    0,
    box.length - 16,
    box.length - 16,
  );
}

// Denial of service.

Deno.test("NT-HS-004: an observer who answers first cannot end the attempt", () => {
  // Whoever sees the HELLO can make an ACCEPT that opens, but not one that verifies.
  const observer = { ...member(ATTACKER_BYTE, { lifeS: 60 }), chain: [new Uint8Array(9)] };
  const client = newClient(CLIENT);
  const hello = next(client);
  client.receive(next(newServer(observer, hello)), 1_000, UNIX_S);
  assert.equal(client.state, "hello");
  assert.equal(client.pollMessage(1_000)!.message[0], HANDSHAKE_MESSAGE.alert);
  client.receive(next(newServer(SERVER, hello)), 100_000, UNIX_S);
  assert.equal(client.state, "finish");
  assert(equalBytes(client.result!.peerNodeId, SERVER_ID));
  assert.equal(client.pollMessage(100_000)!.message[0], HANDSHAKE_MESSAGE.finish);
  assert.equal(client.pollMessage(400_000)!.message[0], HANDSHAKE_MESSAGE.finish);
});

Deno.test("NT-HS-004: an honest answer that comes late, to a repeated HELLO, still wins", () => {
  const observer = { ...member(ATTACKER_BYTE), chain: [new Uint8Array(9)] };
  const client = newClient(CLIENT);
  client.receive(next(newServer(observer, next(client))), 1_000, UNIX_S);
  client.pollMessage(1_000);
  const repeated = client.pollMessage(250_000)!;
  assert.equal(repeated.message[0], HANDSHAKE_MESSAGE.hello);
  client.receive(next(newServer(SERVER, repeated.message)), 1_900_000, UNIX_S);
  assert.equal(client.state, "finish");
});

Deno.test("NT-HS-004: a refused answer ends the attempt two seconds later with its error", () => {
  const client = newClient(CLIENT);
  const observer = { ...member(ATTACKER_BYTE), chain: [new Uint8Array(9)] };
  client.receive(next(newServer(observer, next(client))), 1_000, UNIX_S);
  while (client.nextTimeoutUs() < 2_001_000) client.pollMessage(client.nextTimeoutUs());
  assert.equal(client.nextTimeoutUs(), 2_001_000);
  assert.equal(client.pollMessage(2_001_000), undefined);
  assert.deepEqual([client.state, client.error!.code], ["failed", "MALFORMED"]);
});

Deno.test("NT-HS-004: forged ACCEPTs cost at most eight key agreements between two HELLOs", () => {
  let agreements = 0;
  const engine: CryptoEngine = {
    ...ENGINE,
    x25519: (...args) => (agreements++, ENGINE.x25519(...args)),
  };
  const client = newClient({ ...CLIENT, engine });
  const good = next(newServer(SERVER, next(client)));
  const forged = flipped(good, good.length - 1);
  for (let i = 0; i < 100; i++) client.receive(forged, 0, UNIX_S);
  assert.equal(agreements, 8);
  client.pollMessage(250_000);
  client.receive(good, 250_000, UNIX_S);
  assert.equal(client.state, "finish", "the next HELLO opens the door again");
});

Deno.test("NT-HS-004: no bytes whatsoever make a handshake throw or succeed", () => {
  const { wire } = exchange(CLIENT, SERVER);
  const seeds = wire.map(({ message }) => message);
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(700), fc.integer({ min: 1, max: 255 })), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.nat(700),
      fc.uint8Array({ maxLength: 300 }),
      (seed, edits, cut, noise) => {
        const bytes = seed.slice(0, cut % 4 === 0 ? cut % seed.length : seed.length);
        for (const [at, mask] of edits) if (bytes.length > 0) bytes[at % bytes.length] ^= mask;
        const client = newClient(CLIENT);
        const server = newServer(SERVER, next(client));
        const typed = concat(Uint8Array.of(1 + cut % 5, 1, 0, noise.length & 0xff), noise);
        for (const message of [bytes, noise, typed]) {
          const made = ServerHandshake.tryAccept(SERVER, message, 1_200, 1, 0, UNIX_S);
          assert(typeof made === "number" || made.result === undefined);
          client.receive(message, 0, UNIX_S);
          server.receive(message, 0, UNIX_S);
        }
        assert.deepEqual([client.state, server.state], ["hello", "accept"]);
      },
    ),
    { numRuns: 300 },
  );
});
