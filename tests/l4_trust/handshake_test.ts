/** The handshake between honest ends: what it yields, how it retransmits, what it refuses. */
import assert from "node:assert/strict";
import { SeededRandom, toHex, utf8 } from "../../lib/base/mod.ts";
import {
  ALERT,
  alertError,
  ClientHandshake,
  HANDSHAKE_MESSAGE,
  type HandshakeConfig,
  HELLO_DROP,
  helloKeyOf,
  nobleEngine,
  readMessage,
  ServerHandshake,
  SUITE_AES_256_GCM,
  SUITE_CHACHA20_POLY1305,
} from "../../lib/l4_trust/mod.ts";
import {
  CA,
  CLIENT_BYTE,
  CLIENT_CONNECTION_ID,
  clientConfig,
  contains,
  ENGINE,
  exchange,
  identityOf,
  member,
  newcomer,
  rootOf,
  SERVER_BYTE,
  SERVER_CLAIMS,
  SERVER_CONNECTION_ID,
  serverConfig,
  throwsCode,
  UNIX_S,
  VNI,
} from "./support.ts";

const CLIENT_ID = identityOf(CLIENT_BYTE).nodeId;
const SERVER_ID = identityOf(SERVER_BYTE).nodeId;
const SAD = utf8("sad bytes with secret-model-7b");

Deno.test("NT-HS-001: three messages make both sides know each other", () => {
  const { client, server, wire } = exchange(
    { ...clientConfig(), destId: SERVER_ID, sad: SAD },
    serverConfig(),
  );
  assert.deepEqual([client.state, server!.state], ["done", "done"]);
  assert.deepEqual(wire.map((sent) => sent.message[0]), [
    HANDSHAKE_MESSAGE.hello,
    HANDSHAKE_MESSAGE.accept,
    HANDSHAKE_MESSAGE.finish,
  ]);
  const c = client.result!;
  const s = server!.result!;
  assert.equal(toHex(c.peerNodeId), toHex(SERVER_ID));
  assert.equal(toHex(s.peerNodeId), toHex(CLIENT_ID));
  assert.deepEqual([c.localConnectionId, c.peerConnectionId], [
    CLIENT_CONNECTION_ID,
    SERVER_CONNECTION_ID,
  ]);
  assert.deepEqual([s.localConnectionId, s.peerConnectionId], [
    SERVER_CONNECTION_ID,
    CLIENT_CONNECTION_ID,
  ]);
  assert.deepEqual(c.peerMic.leaf.claims, SERVER_CLAIMS);
  assert.equal(c.peerChain.length, 2);
  assert.equal(s.peerMic.role, "client");
  assert.deepEqual(s.sad, SAD);
  assert.deepEqual([c.invited, s.invited], [false, false]);
  assert.equal(c.suite, SUITE_AES_256_GCM);
});

Deno.test("NT-HS-001: the pure TypeScript engine and node:crypto shake hands with each other", () => {
  for (const [a, b] of [[nobleEngine, ENGINE], [ENGINE, nobleEngine]]) {
    for (const suites of [[SUITE_AES_256_GCM], [SUITE_CHACHA20_POLY1305]]) {
      const { client, server } = exchange(
        { ...member(CLIENT_BYTE, { engine: a }), suites },
        member(SERVER_BYTE, { engine: b }),
      );
      assert.deepEqual([client.state, server!.state], ["done", "done"]);
      assert.equal(server!.result!.suite, suites[0]);
    }
  }
});

Deno.test("NT-HS-001: with no node asked for, whoever answers is proven", () => {
  const { client } = exchange(clientConfig(), serverConfig());
  assert.equal(toHex(client.result!.peerNodeId), toHex(SERVER_ID));
  assert.equal(toHex(client.destId), toHex(SERVER_ID));
});

Deno.test("NT-HS-001: the client's first suite that the server allows is used", () => {
  const client = { ...clientConfig(), suites: [SUITE_CHACHA20_POLY1305, SUITE_AES_256_GCM] };
  assert.equal(exchange(client, serverConfig()).client.result!.suite, SUITE_CHACHA20_POLY1305);
  const server = { ...serverConfig(), suites: [SUITE_AES_256_GCM] };
  assert.equal(exchange(client, server).client.result!.suite, SUITE_AES_256_GCM);
});

Deno.test("NT-HS-001: keys are handed out once", () => {
  const { client } = exchange(clientConfig(), serverConfig());
  client.result!.protection();
  throwsCode(() => client.result!.protection(), "KEYS_TAKEN");
});

Deno.test("NT-HS-005: neither certificates nor the SAD travel in clear", () => {
  const { wire, client } = exchange(
    { ...clientConfig(), sad: SAD },
    serverConfig(),
  );
  const secrets = [
    SAD,
    utf8("secret-model-7b"),
    utf8("MIC"),
    identityOf(CLIENT_BYTE).publicKey,
    identityOf(SERVER_BYTE).publicKey,
    client.result!.peerMic.leaf.serial,
  ];
  for (const { message } of wire) {
    for (const secret of secrets) assert(!contains(message, secret), toHex(secret));
  }
});

Deno.test("NT-HS-007: HELLO pays for ACCEPT: at most three times its bytes come back", () => {
  const { wire } = exchange(clientConfig(), serverConfig());
  assert.equal(wire[0].padTo, 1_200);
  const overhead = 8 + 64 + 4;
  assert(wire[1].message.length + overhead <= 3 * wire[0].padTo);
});

Deno.test("NT-HS-007: a server whose certificates exceed the allowance does not answer", () => {
  const big = member(SERVER_BYTE, { claims: { custom: [new Uint8Array(3_000).fill(1)] } });
  const { helloDrop, server } = exchange(clientConfig(), big);
  assert.equal(server, undefined);
  assert.equal(helloDrop, HELLO_DROP.amplification);
});

Deno.test("NT-HS-007: an ACCEPT is sent again only for a HELLO, and never beyond the allowance", () => {
  const config = member(SERVER_BYTE, { claims: { custom: [new Uint8Array(1_300).fill(1)] } });
  const hello = firstHello();
  const server = accepted(config, hello);
  const first = server.pollMessage(0)!;
  assert.equal(server.pollMessage(0), undefined);
  let sent = first.message.length;
  for (let repeats = 1; repeats <= 50; repeats++) {
    server.repeatAccept(1_200);
    for (let out; (out = server.pollMessage(0)) !== undefined;) {
      assert.deepEqual(out, first, "the retransmission is identical");
      sent += out.message.length;
    }
    assert(sent <= 3 * 1_200 * (repeats + 1), `${sent} bytes after ${repeats} repeats`);
  }
  assert(sent > 10 * first.message.length);
});

Deno.test("NT-HS-007: small repetitions of a large HELLO do not buy more than three times their bytes", () => {
  const config = member(SERVER_BYTE, {
    claims: { custom: [new Uint8Array(2_500).fill(1), new Uint8Array(2_500).fill(2)] },
  });
  const made = ServerHandshake.tryAccept(config, firstHello(), 9_000, 1, 0, UNIX_S);
  assert(made instanceof ServerHandshake);
  let sent = 0;
  let received = 9_000;
  for (let repeats = 0; repeats < 60; repeats++) {
    for (let out; (out = made.pollMessage(0)) !== undefined;) sent += out.message.length;
    assert(sent <= 3 * received, `${sent} bytes sent for ${received}`);
    made.repeatAccept(1_200);
    received += 1_200;
  }
  assert(sent > 2 * received, "most of the allowance is used");
});

Deno.test("NT-HS-007: a HELLO in a frame shorter than 1,200 bytes is dropped", () => {
  const hello = firstHello();
  const accept = (frameBytes: number) =>
    ServerHandshake.tryAccept(serverConfig(), hello, frameBytes, 1, 0, UNIX_S);
  assert.equal(accept(1_199), HELLO_DROP.tooShort);
  assert(accept(1_200) instanceof ServerHandshake);
});

Deno.test("NT-HS-001: a HELLO for another node, tenant or suite is dropped", () => {
  const drop = (client: Partial<HandshakeConfig & { destId: Uint8Array }>) =>
    exchange({ ...clientConfig(), ...client }, serverConfig()).helloDrop;
  assert.equal(drop({ destId: CLIENT_ID }), HELLO_DROP.otherNode);
  assert.equal(drop({ vni: VNI + 1 }), HELLO_DROP.otherTenant);
  assert.equal(drop({ suites: [3] }), HELLO_DROP.noCommonSuite);
  assert.equal(exchange(serverConfig(), serverConfig()).helloDrop, HELLO_DROP.ownId);
});

Deno.test("NT-HS-001: padding after a message does not matter", () => {
  const { client, server } = exchange(clientConfig(), serverConfig(), {
    tamper: (message) => {
      const padded = new Uint8Array(message.length + 100);
      padded.set(message);
      return padded;
    },
  });
  assert.deepEqual([client.state, server!.state], ["done", "done"]);
});

Deno.test("NT-HS-001: bytes after the known fields of HELLO are part of the transcript", () => {
  const hello = firstHello();
  const longer = new Uint8Array(hello.length + 3);
  longer.set(hello);
  longer[3] += 3;
  const server = accepted(serverConfig(), longer);
  const client = new ClientHandshake(clientOptions());
  client.pollMessage(0);
  client.receive(server.pollMessage(0)!.message, 0, UNIX_S);
  assert.equal(client.state, "hello", "the client sent other bytes");
  assert.equal(client.dropped, 1);
});

// Refusals of one side, told to the other.

interface Refusal {
  name: string;
  code: string;
  alert: string;
  config: HandshakeConfig;
  unixS?: number;
}

/** Wrong certificates; each is tried on the server and on the client. */
function refusals(byte: number): Refusal[] {
  const foreign = member(byte, { authority: rootOf(0x77) });
  const good = member(byte);
  const stolen = member(0x99);
  const forged = [...good.chain];
  forged[0] = forged[0].slice();
  forged[0][forged[0].length - 1] ^= 1;
  const list: Refusal[] = [
    {
      name: "an expired certificate",
      code: "CERTIFICATE_EXPIRED",
      alert: "ALERT_CERTIFICATE_EXPIRED",
      config: member(byte, { lifeS: 60 }),
      unixS: UNIX_S + 1_000,
    },
    {
      name: "a certificate of an unknown authority",
      code: "UNKNOWN_CA",
      alert: "ALERT_UNKNOWN_CA",
      config: { ...foreign, roots: [CA.fingerprint] },
    },
    {
      name: "a forged certificate",
      code: "BAD_SIGNATURE",
      alert: "ALERT_BAD_SIGNATURE",
      config: { ...good, chain: forged },
    },
    {
      name: "the certificate of another node",
      code: "NODE_ID_MISMATCH",
      alert: "ALERT_NODE_ID_MISMATCH",
      config: { ...good, chain: stolen.chain },
    },
    {
      name: "a certificate of another tenant",
      code: "TENANT_MISMATCH",
      alert: "ALERT_TENANT_MISMATCH",
      config: member(byte, { vni: VNI + 1 }),
    },
    {
      name: "a signature by a key that the certificate does not name",
      code: "BAD_SIGNATURE",
      alert: "ALERT_BAD_SIGNATURE",
      config: {
        ...good,
        identity: {
          nodeId: good.identity.nodeId,
          publicKey: good.identity.publicKey,
          sign: (...args) => identityOf(0x98).sign(...args),
        },
      },
    },
    {
      name: "an unreadable certificate",
      code: "MALFORMED",
      alert: "ALERT_BAD_CERTIFICATE",
      config: { ...good, chain: [new Uint8Array(10)] },
    },
  ];
  return list.map((refusal) => ({ ...refusal, config: { ...refusal.config, vni: VNI } }));
}

for (const refusal of refusals(SERVER_BYTE)) {
  Deno.test(`NT-HS-002: a client refuses ${refusal.name} and tells the server`, () => {
    const { client, server } = exchange(clientConfig(), refusal.config, { unixS: refusal.unixS });
    assert.equal(client.state, "failed");
    assert.equal(client.result, undefined);
    assert.equal(client.error!.code, refusal.code, client.error!.message);
    assert.equal(server!.state, "failed");
    assert.equal(server!.error!.code, refusal.alert);
  });
}
for (const refusal of refusals(CLIENT_BYTE)) {
  Deno.test(`NT-HS-002: a server refuses ${refusal.name} and tells the client`, () => {
    const { client, server } = exchange(refusal.config, serverConfig(), {
      unixS: refusal.unixS,
      confirm: false,
    });
    assert.equal(server!.state, "failed");
    assert.equal(server!.result, undefined);
    assert.equal(server!.error!.code, refusal.code, server!.error!.message);
    assert.equal(client.state, "failed");
    assert.equal(client.error!.code, refusal.alert);
  });
}

Deno.test("NT-HS-002: a certificate that is not valid yet is refused as such", () => {
  const early = member(SERVER_BYTE, { unixS: UNIX_S + 5_000 });
  const { client } = exchange(clientConfig(), early);
  assert.equal(client.error!.code, "CERTIFICATE_NOT_YET_VALID");
});

Deno.test("NT-HS-002: a certificate for clients cannot answer as a server", () => {
  const { client, server } = exchange(clientConfig(), member(SERVER_BYTE, { role: "client" }));
  assert.equal(client.error!.code, "CONSTRAINT_VIOLATED");
  assert.equal(server!.error!.code, "ALERT_BAD_CERTIFICATE");
});

Deno.test("NT-HS-006: a server that does not meet the requirements is refused without saying why", () => {
  const requirements = { model: "wanted-model" };
  const { client, server } = exchange(
    { ...clientConfig(), requirements },
    serverConfig(),
  );
  assert.equal(client.error!.code, "CONSTRAINT_NOT_MET");
  assert.match(client.error!.message, /wanted-model/);
  assert.equal(server!.error!.code, "ALERT_CONSTRAINT_NOT_MET");
  assert.doesNotMatch(server!.error!.message, /wanted-model/);
});

Deno.test("NT-HS-006: a server that meets the requirements is accepted", () => {
  const requirements = {
    capabilities: 0b10,
    contextMin: 32_000,
    regionExclude: [840],
    trustMin: 1,
  };
  const config = { ...clientConfig(), requirements };
  assert.equal(exchange(config, serverConfig()).client.state, "done");
});

Deno.test("NT-HS-002: every alert code becomes an error of its own", () => {
  const codes = Object.values(ALERT).map((code) => alertError(code, "words").code);
  assert.equal(new Set(codes).size, 12);
  assert(codes.every((code) => code.startsWith("ALERT_")));
  assert.equal(alertError(ALERT.revoked, "").code, "ALERT_REVOKED");
  assert.equal(alertError(999, "").code, "ALERT_UNKNOWN");
  assert.match(alertError(1, "a\u001bb").message, /a\uFFFDb/, "control characters are shown");
});

// Invites.

const INVITE = { id: new Uint8Array(8).fill(1), secret: new Uint8Array(32).fill(2) };

function inviting(uses = 1): HandshakeConfig {
  let left = uses;
  return {
    ...serverConfig(),
    inviteSecret: (id) => toHex(id) === toHex(INVITE.id) && left-- > 0 ? INVITE.secret : undefined,
  };
}
const joining = (byte: number, invite = INVITE) => ({ ...newcomer(byte), invite });

Deno.test("NT-HS-008: a newcomer with a good invite is let in as invited only", () => {
  const { client, server } = exchange(joining(0x71), inviting());
  assert.deepEqual([client.state, server!.state], ["done", "done"]);
  const result = server!.result!;
  assert.equal(result.invited, true);
  assert.deepEqual(result.inviteId, INVITE.id);
  assert.equal(result.peerMic.trustLevel, 0);
  assert.equal(client.result!.peerMic.trustLevel, 1);
});

Deno.test("NT-HS-008: an invite that is used up is refused, for the second newcomer", () => {
  const server = inviting(1);
  assert.equal(exchange(joining(0x71), server).client.state, "done");
  const second = exchange(joining(0x72), server, { confirm: false });
  assert.equal(second.server!.error!.code, "INVITE_REFUSED");
  assert.equal(second.client.error!.code, "ALERT_INVITE_REFUSED");
});

Deno.test("NT-HS-008: an unknown or expired invite and a wrong secret are refused", () => {
  const unknown = { ...INVITE, id: new Uint8Array(8).fill(9) };
  const wrong = { ...INVITE, secret: new Uint8Array(32).fill(9) };
  for (const invite of [unknown, wrong]) {
    const { client } = exchange(joining(0x71, invite), inviting(), { confirm: false });
    assert.equal(client.error!.code, "ALERT_INVITE_REFUSED");
  }
  const { client } = exchange(joining(0x71), serverConfig(), { confirm: false });
  assert.equal(client.error!.code, "ALERT_INVITE_REFUSED", "a server without invites");
});

Deno.test("NT-HS-008: a newcomer without an invite is refused", () => {
  const { client } = exchange(newcomer(0x71), inviting(), { confirm: false });
  assert.equal(client.error!.code, "ALERT_UNKNOWN_CA");
});

Deno.test("NT-HS-008: an expired self-signed certificate is refused in spite of a good invite", () => {
  const config = { ...newcomer(0x71, 60), invite: INVITE };
  const { client } = exchange(config, inviting(), { confirm: false, unixS: UNIX_S + 1_000 });
  assert.equal(client.error!.code, "ALERT_CERTIFICATE_EXPIRED");
});

Deno.test("NT-HS-008: a member that shows an invite is a member, and the invite is not used", () => {
  let asked = 0;
  const server = { ...serverConfig(), inviteSecret: () => (asked++, INVITE.secret) };
  const result = exchange({ ...clientConfig(), invite: INVITE }, server);
  assert.equal(result.server!.result!.invited, false);
  assert.equal(asked, 0);
});

// Time and loss.

Deno.test("NT-HS-003: HELLO repeats identically after 250 ms, then every 500 ms, for 5 s", () => {
  const client = new ClientHandshake(clientOptions());
  const sentMs: number[] = [];
  let first: Uint8Array | undefined;
  for (let nowUs = 0; client.state === "hello"; nowUs = client.nextTimeoutUs()) {
    for (let out; (out = client.pollMessage(nowUs)) !== undefined;) {
      sentMs.push(nowUs / 1_000);
      assert.deepEqual(out.message, first ??= out.message);
      assert.deepEqual([out.sequence, out.padTo], [0, 1_200]);
    }
  }
  assert.deepEqual(sentMs, [
    0,
    250,
    750,
    1_250,
    1_750,
    2_250,
    2_750,
    3_250,
    3_750,
    4_250,
    4_750,
  ]);
  assert.equal(client.error!.code, "HANDSHAKE_TIMEOUT");
  assert.equal(client.nextTimeoutUs(), Infinity);
});

Deno.test("NT-HS-003: FINISH repeats until the server's first sealed frame, with the next number", () => {
  const finishes: number[] = [];
  const { client, wire, nowUs } = exchange(clientConfig(), serverConfig(), { confirm: false });
  for (const { message } of wire) if (message[0] === HANDSHAKE_MESSAGE.finish) finishes.push(1);
  assert.equal(finishes.length, 11);
  assert.equal(client.error!.code, "HANDSHAKE_TIMEOUT");
  assert.equal(nowUs, 5_000_000);
});

Deno.test("NT-HS-003: a server forgets a client that does not finish in 5 s", () => {
  const { server } = exchange(clientConfig(), serverConfig(), {
    tamper: (message) => message[0] === HANDSHAKE_MESSAGE.finish ? undefined : message,
    confirm: false,
  });
  assert.equal(server!.state, "failed");
  assert.equal(server!.error!.code, "HANDSHAKE_TIMEOUT");
  assert.equal(server!.deadlineUs, 5_000_000);
});

Deno.test("NT-HS-003: a lost first message of each kind costs one retransmission", () => {
  for (const type of [1, 3, 4]) {
    let lost = false;
    const { client, nowUs } = exchange(clientConfig(), serverConfig(), {
      tamper: (message) => {
        if (message[0] !== type || lost) return message;
        lost = true;
        return undefined;
      },
    });
    assert.equal(client.state, "done");
    assert.equal(nowUs, 250_000);
  }
});

const CLIENT = clientConfig();
const SERVER = serverConfig();

Deno.test("NT-HS-003: of 300 handshakes under 30 % loss nearly all end well within 5 s", () => {
  let done = 0;
  for (let seed = 0; seed < 300; seed++) {
    const random = new SeededRandom(seed);
    const { client, server } = exchange(CLIENT, SERVER, {
      tamper: (message) => random.chance(0.3) ? undefined : message,
    });
    if (client.state === "done" && server!.state === "done") done++;
  }
  assert(done >= 297, `${done} of 300`);
});
Deno.test("NT-HS-003: a lost alert is repeated when the refused FINISH is", () => {
  let lost = false;
  const foreign = { ...member(CLIENT_BYTE, { authority: rootOf(0x77) }), roots: [CA.fingerprint] };
  const { client } = exchange(foreign, serverConfig(), {
    confirm: false,
    tamper: (message) => {
      if (message[0] !== HANDSHAKE_MESSAGE.alert || lost) return message;
      lost = true;
      return undefined;
    },
  });
  assert(lost);
  assert.equal(client.error!.code, "ALERT_UNKNOWN_CA");
});

Deno.test("NT-HS-003: an abandoned attempt hands out no keys and sends nothing", () => {
  const { client } = exchange(clientConfig(), serverConfig(), { confirm: false, untilUs: 0 });
  assert.equal(client.state, "finish");
  client.wipe();
  assert.equal(client.error!.code, "HANDSHAKE_ABORTED");
  assert.equal(client.pollMessage(10_000_000), undefined);
  throwsCode(() => client.result!.protection(), "KEYS_TAKEN");
});

Deno.test("NT-HS-003: a confirmed client ignores what comes late", () => {
  const { client, wire } = exchange(clientConfig(), serverConfig());
  const before = client.result;
  client.receive(wire[1].message, 1, UNIX_S);
  client.confirm(2);
  assert.equal(client.state, "done");
  assert.equal(client.result, before);
});

Deno.test("NT-HS-001: an attempt is known by client id, connection id and ephemeral", () => {
  const hello = firstHello();
  const server = accepted(serverConfig(), hello);
  assert.equal(helloKeyOf(hello), server.helloKey);
  assert.match(server.helloKey, new RegExp(toHex(CLIENT_ID)));
  for (const at of [4, 40 + 3, 44 + 20]) {
    const other = hello.slice();
    other[at] ^= 1;
    assert.notEqual(helloKeyOf(other), server.helloKey, `byte ${at}`);
  }
  assert.equal(helloKeyOf(hello.subarray(0, 60)), undefined);
  assert.equal(helloKeyOf(server.pollMessage(0)!.message), undefined);
});

Deno.test("NT-HS-001: a chain that no message could carry is an error at the start", () => {
  const mics = new Array(3).fill(new Uint8Array(8_000));
  throwsCode(
    () => new ClientHandshake({ ...clientOptions(), chain: mics }),
    "TOO_LARGE",
  );
});

function clientOptions() {
  return {
    ...clientConfig(),
    connectionId: CLIENT_CONNECTION_ID,
    nowUs: 0,
    unixS: UNIX_S,
  };
}
function firstHello(): Uint8Array {
  const { message } = new ClientHandshake(clientOptions()).pollMessage(0)!;
  assert.equal(readMessage(message)!.type, HANDSHAKE_MESSAGE.hello);
  return message;
}
function accepted(config: HandshakeConfig, hello: Uint8Array): ServerHandshake {
  const made = ServerHandshake.tryAccept(config, hello, 1_200, SERVER_CONNECTION_ID, 0, UNIX_S);
  assert(made instanceof ServerHandshake, `dropped: ${made}`);
  return made;
}
