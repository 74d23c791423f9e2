/** A small mesh and a wire for handshake tests; all keys come from seeds. */
import assert from "node:assert/strict";
import { NexusError, SeededRandom } from "../../lib/base/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import {
  CertificateAuthority,
  ClientHandshake,
  type ClientHandshakeOptions,
  createCsr,
  type CryptoEngine,
  type HandshakeConfig,
  HELLO_FRAME_BYTES_MIN,
  Identity,
  type IssueOptions,
  type MicClaims,
  selfSignedMic,
  ServerHandshake,
} from "../../lib/l4_trust/mod.ts";

export const UNIX_S = 1_800_000_000;
export const VNI = 7;
export const ENGINE = nodeEngine;
export const CLIENT_CONNECTION_ID = 0x0c0c0c01;
export const SERVER_CONNECTION_ID = 0x05050501;

/** An identity whose seed is one repeated byte. */
export function identityOf(byte: number, engine: CryptoEngine = ENGINE): Identity {
  return Identity.fromSeed(new Uint8Array(32).fill(byte), engine);
}

/** A root authority whose seed is one repeated byte. */
export function rootOf(
  byte: number,
  options: Partial<Parameters<typeof CertificateAuthority.root>[2]> = {},
  engine: CryptoEngine = ENGINE,
): CertificateAuthority {
  return CertificateAuthority.root(identityOf(byte, engine), engine, {
    unixS: UNIX_S,
    ...options,
  });
}

export const CA = rootOf(0xca);

export const SERVER_CLAIMS: MicClaims = {
  capabilities: 0b11,
  contextWindow: 32_768,
  regions: [276],
  modelNames: ["secret-model-7b"],
};

/** A handshake configuration with an issued certificate. */
export function member(
  byte: number,
  { claims = {}, authority = CA, engine = ENGINE, ...issue }: {
    claims?: MicClaims;
    authority?: CertificateAuthority;
    engine?: CryptoEngine;
  } & Partial<IssueOptions> = {},
): HandshakeConfig {
  const identity = identityOf(byte, engine);
  const mic = authority.issue(createCsr(identity, claims), {
    unixS: UNIX_S,
    vni: VNI,
    role: "node",
    ...issue,
  });
  return {
    identity,
    chain: authority.chainOf(mic),
    roots: [authority.fingerprint],
    vni: VNI,
    engine,
    random: new SeededRandom(byte).fill,
  };
}

/** A configuration with a self-signed certificate, as a newcomer has it. */
export function newcomer(byte: number, lifeS = 3_600): HandshakeConfig {
  const identity = identityOf(byte);
  return {
    identity,
    chain: [selfSignedMic(identity, { unixS: UNIX_S, lifeS }, ENGINE)],
    roots: [CA.fingerprint],
    vni: VNI,
    engine: ENGINE,
    random: new SeededRandom(byte).fill,
  };
}

export const CLIENT_BYTE = 0x11;
export const SERVER_BYTE = 0x22;

export function clientConfig(): HandshakeConfig {
  return member(CLIENT_BYTE, { role: "client" });
}
export function serverConfig(): HandshakeConfig {
  return member(SERVER_BYTE, { claims: SERVER_CLAIMS });
}

/** What changes a message on its way; undefined drops it. */
export type Tamper = (
  message: Uint8Array,
  from: "client" | "server",
  index: number,
) => Uint8Array | undefined;

export interface Exchange {
  readonly client: ClientHandshake;
  readonly server?: ServerHandshake;
  /** The drop reason when the server did not answer at all. */
  readonly helloDrop?: number;
  /** Every message that was sent, in order, before tampering. */
  readonly wire: { from: "client" | "server"; message: Uint8Array; padTo: number }[];
  readonly nowUs: number;
}

/** Lets both sides talk until nothing moves any more; time then jumps to the next deadline. */
export function exchange(
  client: HandshakeConfig & Partial<ClientHandshakeOptions>,
  server: HandshakeConfig,
  { tamper = (message) => message, untilUs = 20_000_000, confirm = true, unixS = UNIX_S }: {
    tamper?: Tamper;
    untilUs?: number;
    confirm?: boolean;
    unixS?: number;
  } = {},
): Exchange {
  const options = { connectionId: CLIENT_CONNECTION_ID, nowUs: 0, unixS, ...client };
  const c = new ClientHandshake(options);
  let s: ServerHandshake | undefined;
  let helloDrop: number | undefined;
  const wire: Exchange["wire"] = [];
  let nowUs = 0;
  const toServer = (message: Uint8Array) => {
    if (message[0] === 1 && s !== undefined) return s.repeatAccept();
    if (message[0] !== 1) return s?.receive(message, nowUs, unixS);
    const frameBytes = Math.max(message.length + 76, HELLO_FRAME_BYTES_MIN);
    const made = ServerHandshake.tryAccept(
      server,
      message,
      frameBytes,
      SERVER_CONNECTION_ID,
      nowUs,
      unixS,
    );
    if (typeof made === "number") helloDrop = made;
    else s = made;
  };
  while (nowUs <= untilUs) {
    for (let moved = true; moved;) {
      moved = false;
      for (let out; (out = c.pollMessage(nowUs)) !== undefined; moved = true) {
        wire.push({ from: "client", message: out.message, padTo: out.padTo });
        const passed = tamper(out.message.slice(), "client", wire.length - 1);
        if (passed !== undefined) toServer(passed);
      }
      for (let out; (out = s?.pollMessage(nowUs)) !== undefined; moved = true) {
        wire.push({ from: "server", message: out.message, padTo: out.padTo });
        const passed = tamper(out.message.slice(), "server", wire.length - 1);
        if (passed !== undefined) c.receive(passed, nowUs, unixS);
      }
      // The server's first sealed frame confirms FINISH.
      if (confirm && s?.state === "done") c.confirm(nowUs);
    }
    const next = Math.min(c.nextTimeoutUs(), s?.nextTimeoutUs() ?? Infinity);
    if (next === Infinity) break;
    nowUs = Math.max(next, nowUs + 1);
  }
  return { client: c, server: s, helloDrop, wire, nowUs };
}

/** Asserts that `run` throws a NexusError with this code. */
export function throwsCode(run: () => unknown, code: string): void {
  assert.throws(run, (thrown) => {
    assert(thrown instanceof NexusError, `not a NexusError: ${thrown}`);
    assert.equal(thrown.code, code, thrown.message);
    return true;
  });
}

/** A copy with bit 0 of one byte changed. */
export function flipped(bytes: Uint8Array, at: number, mask = 1): Uint8Array {
  const copy = bytes.slice();
  copy[at] ^= mask;
  return copy;
}

/** Whether `needle` stands anywhere in `hay`. */
export function contains(hay: Uint8Array, needle: Uint8Array): boolean {
  outer: for (let at = 0; at + needle.length <= hay.length; at++) {
    for (let i = 0; i < needle.length; i++) if (hay[at + i] !== needle[i]) continue outer;
    return true;
  }
  return false;
}
