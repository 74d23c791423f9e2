/**
 * The golden vectors of L4 as one plain object, for tests/vectors/trust.json. The key schedule is
 * written here a second time, from protocol.md §4.5 alone, so that file and code check each other.
 * After a change of the protocol, print anew:
 *
 *   deno eval 'import { trustVectors } from "./tests/l4_trust/vectors.ts";
 *     console.log(JSON.stringify(trustVectors(), null, 2))' > tests/vectors/trust.json
 */
import { concat, toHex, utf8 } from "../../lib/base/mod.ts";
import {
  encodeHeader,
  finishFrame,
  Flag,
  FrameType,
  HeaderFields,
  SEALED_PAYLOAD_OFFSET,
  SEALED_TAG_OFFSET,
} from "../../lib/l1_link/mod.ts";
import {
  createCsr,
  type CryptoEngine,
  encodeChain,
  encodeInvite,
  hkdfExpand,
  hkdfExtract,
  inviteProof,
  nobleEngine,
  type PublisherClaim,
} from "../../lib/l4_trust/mod.ts";
import { exchange, identityOf, rootOf, UNIX_S, VNI } from "./support.ts";

const SEEDS = { root: 0xca, client: 0x11, server: 0x22 };
const EPHEMERALS = { client: 0x33, server: 0x44 };
const ACCEPT_CLEAR_BYTES = 62;
const FINISH_CLEAR_BYTES = 8;
const ALERT_CLEAR_BYTES = 8;
const filled = (byte: number, length = 32) => new Uint8Array(length).fill(byte);

const CLAIMS = {
  architectureHash: filled(0xa1),
  parameterCount: 7_000_000_000,
  trainingDataHash: filled(0xa2),
  capabilities: 0b1000011,
  contextWindow: 131_072,
  benchmarks: [{ name: "mmlu", scoreMilli: 851 }],
  publisher: {
    organisation: "Example",
    contact: "a@example.org",
    site: "https://example.org",
  } satisfies PublisherClaim,
  regions: [276, 250],
  modelNames: ["example-7b", "example-7b-instruct"],
  custom: [Uint8Array.of(1, 2, 3)],
};

/** Everything in tests/vectors/trust.json. */
export function trustVectors(engine: CryptoEngine = nobleEngine) {
  const root = rootOf(SEEDS.root, {}, engine);
  const issued = (byte: number, role: "node" | "client", claims = {}) => {
    const csr = createCsr(identityOf(byte, engine), claims);
    return root.chainOf(root.issue(csr, { unixS: UNIX_S, vni: VNI, role }));
  };
  const serverChain = issued(SEEDS.server, "node", CLAIMS);
  const clientChain = issued(SEEDS.client, "client");
  const server = identityOf(SEEDS.server, engine);
  const invite = {
    vni: VNI,
    expiresS: UNIX_S + 3_600,
    caFingerprint: root.fingerprint,
    id: filled(0xb1, 8),
    secret: filled(0xb2),
    seeds: [{ nodeId: server.nodeId, address: "192.0.2.1:6477" }, {
      nodeId: identityOf(SEEDS.client, engine).nodeId,
      address: "[2001:db8::1]:6477",
    }],
  };
  return {
    about: "Nexus L4, protocol.md §3, §4, §5. Bytes in lower-case hex, times in Unix seconds.",
    unixS: UNIX_S,
    vni: VNI,
    identities: Object.entries(SEEDS).map(([name, byte]) => {
      const { publicKey, nodeId } = identityOf(byte, engine);
      return {
        name,
        seed: toHex(filled(byte)),
        publicKey: toHex(publicKey),
        nodeId: toHex(nodeId),
      };
    }),
    rootFingerprint: toHex(root.fingerprint),
    mic: { serverClaims: plain(CLAIMS), server: toHex(serverChain[0]), root: toHex(root.rootMic) },
    csr: toHex(createCsr(server, CLAIMS)),
    chain: toHex(encodeChain(serverChain)),
    invite: {
      content: {
        ...invite,
        caFingerprint: toHex(invite.caFingerprint),
        id: toHex(invite.id),
        secret: toHex(invite.secret),
        seeds: invite.seeds.map((seed) => ({ ...seed, nodeId: toHex(seed.nodeId) })),
      },
      token: encodeInvite(invite, engine),
    },
    alert: alertVector(engine, clientChain, serverChain),
    handshakes: [1, 2].map((suite) => handshake(engine, suite, clientChain, serverChain)),
  };
}

function handshake(
  engine: CryptoEngine,
  suite: number,
  clientChain: Uint8Array[],
  serverChain: Uint8Array[],
) {
  const sad = Uint8Array.of(1, 0, 0, 4);
  const destId = identityOf(SEEDS.server, engine).nodeId;
  const { wire, client } = exchange(
    { ...config(engine, "client", clientChain), suites: [suite], destId, sad },
    config(engine, "server", serverChain),
  );
  const [hello, accept, finish] = wire.map(({ message }) => message);
  const keys = schedule(engine, suite, hello, accept);
  const finishPlain = opened(engine, suite, finish, FINISH_CLEAR_BYTES, keys.handshake, "client");
  const inviteSecret = filled(0xb2);
  return {
    suite,
    sad: toHex(sad),
    clientEphemeralSecret: toHex(filled(EPHEMERALS.client)),
    serverEphemeralSecret: toHex(filled(EPHEMERALS.server)),
    hello: toHex(hello),
    accept: toHex(accept),
    acceptPlaintext: toHex(keys.acceptPlain),
    finish: toHex(finish),
    finishPlaintext: toHex(finishPlain),
    sharedSecret: toHex(keys.shared),
    t1Hash: toHex(keys.t1Hash),
    t2Hash: toHex(keys.t2Hash),
    handshakeKeys: hexed(keys.handshake),
    trafficKeys: hexed(keys.traffic),
    inviteProof: {
      secret: toHex(inviteSecret),
      proof: toHex(inviteProof(inviteSecret, keys.t2Hash, engine)),
    },
    sealedFrame: sealedFrame(client.result!.protection()),
  };
}

function config(engine: CryptoEngine, name: "client" | "server", chain: Uint8Array[]) {
  return {
    identity: identityOf(SEEDS[name], engine),
    chain,
    roots: [rootOf(SEEDS.root, {}, engine).fingerprint],
    vni: VNI,
    engine,
    random: (into: Uint8Array) => void into.fill(EPHEMERALS[name]),
  };
}

/** A client that trusts another root refuses the server's ACCEPT. */
function alertVector(engine: CryptoEngine, clientChain: Uint8Array[], serverChain: Uint8Array[]) {
  const { wire } = exchange(
    { ...config(engine, "client", clientChain), suites: [1], roots: [filled(0)] },
    config(engine, "server", serverChain),
  );
  const [hello, accept, alert] = wire.map(({ message }) => message);
  const { handshake } = schedule(engine, 1, hello, accept);
  handshake["client write iv"][11] ^= 1;
  const plaintext = opened(engine, 1, alert, ALERT_CLEAR_BYTES, handshake, "client");
  return {
    hello: toHex(hello),
    accept: toHex(accept),
    alert: toHex(alert),
    plaintext: toHex(plaintext),
    code: plaintext[0] << 8 | plaintext[1],
  };
}

/** protocol.md §4.5 in a straight line. */
function schedule(engine: CryptoEngine, suite: number, hello: Uint8Array, accept: Uint8Array) {
  const t1 = concat(hello, accept.subarray(0, ACCEPT_CLEAR_BYTES));
  const t1Hash = engine.sha256(t1);
  const ids = concat(hello.subarray(4, 20), accept.subarray(4, 20));
  const shared = engine.x25519(filled(EPHEMERALS.client), accept.subarray(28, 60));
  const prk = hkdfExtract(engine, filled(0), shared);
  const expand = (secret: Uint8Array, label: string, hash: Uint8Array, length: number) =>
    hkdfExpand(engine, secret, concat(utf8(label), ids, hash), length);
  const directions = (secret: Uint8Array, hash: Uint8Array) => ({
    "client write key": expand(secret, "client write key", hash, 32),
    "server write key": expand(secret, "server write key", hash, 32),
    "client write iv": expand(secret, "client write iv", hash, 12),
    "server write iv": expand(secret, "server write iv", hash, 12),
  });
  const hs = expand(prk, "nexus handshake", t1Hash, 32);
  const handshake = {
    ...directions(hs, t1Hash),
    "client finished": expand(hs, "client finished", t1Hash, 32),
    "server finished": expand(hs, "server finished", t1Hash, 32),
  };
  const acceptPlain = opened(engine, suite, accept, ACCEPT_CLEAR_BYTES, handshake, "server");
  const t2Hash = engine.sha256(concat(t1, acceptPlain));
  return { shared, t1Hash, t2Hash, handshake, traffic: directions(prk, t2Hash), acceptPlain };
}

function opened(
  engine: CryptoEngine,
  suite: number,
  message: Uint8Array,
  clearBytes: number,
  keys: Record<string, Uint8Array>,
  from: "client" | "server",
): Uint8Array {
  const box = message.slice(clearBytes);
  const length = box.length - 16;
  const aead = engine.aead(suite, keys[`${from} write key`]);
  const clear = message.subarray(0, clearBytes);
  if (!aead.open(keys[`${from} write iv`], clear, box, 0, length, length)) {
    throw new Error(`the box of message ${message[0]} does not open`);
  }
  return box.subarray(0, length);
}

/** A client's frame with packet number 5 and an 11-byte payload. */
function sealedFrame(protection: import("../../lib/l3_stream/mod.ts").PacketProtection) {
  const payload = utf8("hello nexus");
  const packetNumber = 5;
  const length = SEALED_PAYLOAD_OFFSET + payload.length + 4;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const fields = new HeaderFields();
  fields.type = FrameType.DATA;
  fields.flags = Flag.ENCRYPTED;
  fields.length = length;
  fields.streamId = 0x05050501;
  fields.sequence = packetNumber;
  fields.source = filled(0xd1, 16);
  fields.dest = filled(0xd2, 16);
  fields.keyPhase = 1;
  fields.optionsLength = 18;
  fields.timestampHigh = 0x17979cfe;
  fields.timestampLow = 0x362a0000;
  encodeHeader(bytes, view, 0, fields);
  bytes.set([0x03, 16], SEALED_TAG_OFFSET - 2);
  bytes.set(payload, SEALED_PAYLOAD_OFFSET);
  protection.seal(bytes, view, 0, SEALED_PAYLOAD_OFFSET, payload.length, packetNumber);
  finishFrame(bytes, view, 0, length);
  return { packetNumber, payload: toHex(payload), frame: toHex(bytes) };
}

function hexed(keys: Record<string, Uint8Array>): Record<string, string> {
  return Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, toHex(key)]));
}

/** Byte arrays as hex, everything else as it is. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
