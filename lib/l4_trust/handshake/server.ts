/**
 * Server side of the handshake (protocol.md §4), without I/O or clock.
 *
 *   tryAccept ──► accept ──FINISH verified──► done
 *                   └──refused, ALERT, deadline──► failed
 *
 * Call order: `pollMessage` until undefined after `tryAccept`, after each `receive` or
 * `repeatAccept`, and when `nextTimeoutUs` is reached. A failed one answers a repeated FINISH with
 * the same ALERT, so keep it until `deadlineUs`.
 */
import { concat, equalBytes, equalConstantTime, NEVER, NexusError } from "../../base/mod.ts";
import { type CryptoEngine, isAllZero } from "../engine.ts";
import { SIGN_CONTEXT } from "../identity.ts";
import { inviteProof } from "../invite.ts";
import {
  decodeAll,
  endsInRoot,
  isSelfSigned,
  type VerifiedMic,
  verifyChain,
  verifySelfSigned,
} from "../mic/chain.ts";
import { encodeAcceptClear, encodeAcceptSigned, PROOF_BYTES } from "./accept.ts";
import { alertCodeOf, alertPhraseOf, openAlert, sealAlert } from "./alert.ts";
import { checkPeerId, internalError } from "./client.ts";
import {
  freshEphemeral,
  type HandshakeConfig,
  type HandshakeResult,
  ownChain,
  protectionOnce,
  suitesOf,
} from "./config.ts";
import { decodeFinishBox, FINISH_CLEAR_BYTES, type FinishBox, type InviteClaim } from "./finish.ts";
import { decodeHello, type Hello, helloKey, helloTranscript } from "./hello.ts";
import {
  deriveHandshakeKeys,
  deriveTrafficKeys,
  type DirectionKeys,
  extractSecret,
  type HandshakeKeys,
  wipeKeys,
} from "./keys.ts";
import { AMPLIFICATION_MAX, HANDSHAKE_TIMEOUT_US, HELLO_FRAME_BYTES_MIN } from "./limits.ts";
import {
  HANDSHAKE_MESSAGE,
  openBox,
  type OutgoingMessage,
  readMessage,
  sealBox,
} from "./message.ts";
import { checkProofs, makeProofs } from "./proofs.ts";

/** Why a HELLO is dropped without an answer; the values are counters' indices. */
export const HELLO_DROP = {
  malformed: 1,
  /** The frame was shorter than 1,200 bytes. */
  tooShort: 2,
  /** It asks for another node. */
  otherNode: 3,
  otherTenant: 4,
  noCommonSuite: 5,
  /** The key agreement has no secret. */
  weakEphemeral: 6,
  /** The ACCEPT would be more than three times what was received. */
  amplification: 7,
  /** It carries our own node id. */
  ownId: 8,
} as const;

/** One of HELLO_DROP. */
export type HelloDrop = typeof HELLO_DROP[keyof typeof HELLO_DROP];

/** Frame bytes around a fragment: overlay, header, FRAGMENT_INFO, CRC. */
const FRAGMENT_OVERHEAD_BYTES = 8 + 64 + 8 + 4;
/** Message bytes in a fragment of a 1,200-byte frame. */
const FRAGMENT_PAYLOAD_BYTES = 1_200 - FRAGMENT_OVERHEAD_BYTES;

/** One half-open or finished handshake. */
export class ServerHandshake {
  readonly #config: HandshakeConfig;
  readonly #hello: Hello;
  readonly #connectionId: number;
  readonly #suite: number;
  readonly #accept: OutgoingMessage;
  readonly #keys: HandshakeKeys;
  readonly #traffic: DirectionKeys;
  readonly #startUs: number;
  /** T1 ‖ ACCEPT plaintext; emptied when the handshake ends. */
  #t2: Uint8Array;
  #state: "accept" | "done" | "failed" = "accept";
  #result?: HandshakeResult;
  #error?: NexusError;
  #pending?: OutgoingMessage;
  /** What may be sent to the address before FINISH proves it. */
  #creditBytes: number;
  /** The FINISH that was refused, and the answer to it. */
  #refused?: { finish: Uint8Array; alert: OutgoingMessage };
  #dropped = 0;
  /** When this handshake is to be forgotten unless it is done. */
  readonly deadlineUs: number;

  private constructor(config: HandshakeConfig, parts: AcceptParts) {
    this.#config = config;
    this.#hello = parts.hello;
    this.#connectionId = parts.connectionId;
    this.#suite = parts.suite;
    this.#accept = parts.accept;
    this.#keys = parts.keys;
    this.#traffic = parts.traffic;
    this.#t2 = parts.t2;
    this.#startUs = parts.nowUs;
    this.#creditBytes = AMPLIFICATION_MAX * parts.frameBytes;
    this.#pending = parts.accept;
    this.deadlineUs = parts.nowUs + (config.timeoutUs ?? HANDSHAKE_TIMEOUT_US);
  }

  /**
   * Answers a HELLO that came in a frame of `frameBytes`, or says why it is dropped. The caller has
   * looked for a half-open handshake with the same key (`helloKey`) and source address first.
   */
  static tryAccept(
    config: HandshakeConfig,
    payload: Uint8Array,
    frameBytes: number,
    connectionId: number,
    nowUs: number,
    _unixS: number,
  ): ServerHandshake | HelloDrop {
    if (frameBytes < HELLO_FRAME_BYTES_MIN) return HELLO_DROP.tooShort;
    const incoming = readMessage(payload);
    if (incoming?.type !== HANDSHAKE_MESSAGE.hello) return HELLO_DROP.malformed;
    const message = incoming.message.slice();
    const hello = readHello(message);
    if (hello === undefined) return HELLO_DROP.malformed;
    const suite = chooseSuite(config, hello);
    if (typeof suite !== "object") return suite;
    const parts = answer(config, message, hello, suite.suite, connectionId);
    if (typeof parts === "number") return parts;
    if (wireBytes(parts.accept.message) > AMPLIFICATION_MAX * frameBytes) {
      wipeKeys(parts.keys);
      wipeKeys(parts.traffic);
      return HELLO_DROP.amplification;
    }
    return new ServerHandshake(config, { ...parts, frameBytes, nowUs });
  }

  // In

  /** A handshake payload that names our connection id. What is not authentic changes nothing. */
  receive(payload: Uint8Array, nowUs: number, unixS: number): void {
    const incoming = readMessage(payload);
    if (incoming?.type === HANDSHAKE_MESSAGE.finish && this.#state === "accept") {
      this.#receiveFinish(incoming.message, nowUs, unixS);
    } else if (incoming?.type === HANDSHAKE_MESSAGE.finish && this.#refused !== undefined) {
      if (equalBytes(incoming.message, this.#refused.finish)) this.#pending = this.#refused.alert;
    } else if (incoming?.type === HANDSHAKE_MESSAGE.alert && this.#state === "accept") {
      this.#receiveAlert(incoming.message);
    } else {
      this.#dropped++;
    }
  }

  /** The same HELLO came again, in a frame of `frameBytes`: the same ACCEPT goes out again. */
  repeatAccept(frameBytes = HELLO_FRAME_BYTES_MIN): void {
    if (this.#state !== "accept") return;
    this.#creditBytes += AMPLIFICATION_MAX * frameBytes;
    this.#pending = this.#accept;
  }

  /** Abandons the handshake and forgets its keys. */
  wipe(): void {
    this.#fail(new NexusError("HANDSHAKE_ABORTED", "cannot accept: the handshake was given up"));
  }

  // Out

  /** The next message to send now; call until undefined. Notices the deadline. */
  pollMessage(nowUs: number): OutgoingMessage | undefined {
    if (this.#state === "accept" && nowUs >= this.deadlineUs) {
      this.#fail(
        new NexusError("HANDSHAKE_TIMEOUT", "cannot accept: the client did not finish in time"),
      );
    }
    const message = this.#pending;
    this.#pending = undefined;
    if (message === undefined) return undefined;
    const bytes = wireBytes(message.message);
    if (bytes > this.#creditBytes) return undefined;
    this.#creditBytes -= bytes;
    return message;
  }

  /** When to call `pollMessage` again, microseconds; NEVER when nothing is pending. */
  nextTimeoutUs(): number {
    if (this.#pending !== undefined) return this.#startUs;
    return this.#state === "accept" ? this.deadlineUs : NEVER;
  }

  // Getters

  get state(): "accept" | "done" | "failed" {
    return this.#state;
  }
  /** Set once FINISH is verified. */
  get result(): HandshakeResult | undefined {
    return this.#result;
  }
  get error(): NexusError | undefined {
    return this.#error;
  }
  /** Node id that the client claims; proven once the state is `done`. */
  get clientId(): Uint8Array {
    return this.#hello.clientId;
  }
  /** What a repeated HELLO has in common with the first: client id, connection id, ephemeral. */
  get helloKey(): string {
    return helloKey(this.#hello);
  }
  /** Messages that were not authentic or not expected. */
  get dropped(): number {
    return this.#dropped;
  }

  #receiveFinish(message: Uint8Array, nowUs: number, unixS: number): void {
    const { engine } = this.#config;
    const aead = engine.aead(this.#suite, this.#keys.clientKey);
    const plaintext = openBox(aead, this.#keys.clientIv, message, FINISH_CLEAR_BYTES);
    if (plaintext === undefined) {
      this.#dropped++;
      return;
    }
    this.#creditBytes += AMPLIFICATION_MAX * message.length;
    try {
      const box = decodeFinishBox(plaintext);
      const { mic, invite } = this.#verifyFinish(message, box, unixS);
      this.#finish(mic, invite, box, nowUs);
    } catch (thrown) {
      const error = thrown instanceof NexusError ? thrown : internalError(thrown);
      this.#refuse(error, message);
    }
  }

  /** Checks everything in an authentic FINISH; throws the error to refuse it with. */
  #verifyFinish(
    message: Uint8Array,
    box: FinishBox,
    unixS: number,
  ): { mic: VerifiedMic; invite?: InviteClaim } {
    const { engine, roots, vni } = this.#config;
    const chain = decodeAll(box.chain, engine);
    const joining = isSelfSigned(chain) && !endsInRoot(chain, roots, engine);
    if (joining && box.invite === undefined) {
      throw new NexusError(
        "UNKNOWN_CA",
        "cannot accept: the client's certificate is self-signed, expected a trusted root or an invite",
      );
    }
    const mic = joining
      ? verifySelfSigned(box.chain, { unixS, vni, engine })
      : verifyChain(box.chain, { roots, unixS, vni, engine });
    checkPeerId(mic, this.#hello.clientId);
    checkProofs(
      engine,
      mic.publicKey,
      SIGN_CONTEXT.clientHandshake,
      this.#keys.clientFinished,
      concat(this.#t2, message.subarray(0, FINISH_CLEAR_BYTES), box.signed),
      box,
    );
    if (!joining) return { mic };
    this.#checkInvite(box.invite!, engine);
    return { mic, invite: box.invite };
  }

  #checkInvite(invite: InviteClaim, engine: CryptoEngine): void {
    const secret = this.#config.inviteSecret?.(invite.id);
    const proven = secret !== undefined &&
      equalConstantTime(invite.proof, inviteProof(secret, engine.sha256(this.#t2), engine));
    if (!proven) {
      throw new NexusError(
        "INVITE_REFUSED",
        "cannot accept: the invite is unknown, expired, used up, or its proof is wrong",
      );
    }
  }

  #finish(
    mic: VerifiedMic,
    invite: InviteClaim | undefined,
    box: FinishBox,
    nowUs: number,
  ): void {
    this.#result = {
      peerNodeId: mic.nodeId,
      peerConnectionId: this.#hello.connectionId,
      localConnectionId: this.#connectionId,
      suite: this.#suite,
      peerChain: mic.chain,
      peerMic: mic,
      invited: invite !== undefined,
      inviteId: invite?.id,
      sad: box.sad.length === 0 ? undefined : box.sad,
      durationUs: nowUs - this.#startUs,
      protection: protectionOnce(this.#config, "server", this.#suite, this.#traffic),
    };
    this.#state = "done";
    this.#pending = undefined;
    wipeKeys(this.#keys);
    this.#t2 = EMPTY;
  }

  #refuse(error: NexusError, finish: Uint8Array): void {
    const aead = this.#config.engine.aead(this.#suite, this.#keys.serverKey);
    const message = sealAlert(
      aead,
      this.#keys.serverIv,
      this.#hello.connectionId,
      alertCodeOf(error),
      alertPhraseOf(error),
    );
    const alert = { message, sequence: this.#accept.sequence + 1, padTo: 0 };
    this.#refused = { finish: finish.slice(), alert };
    this.#fail(error);
    this.#pending = alert;
  }

  #receiveAlert(message: Uint8Array): void {
    const aead = this.#config.engine.aead(this.#suite, this.#keys.clientKey);
    const error = openAlert(aead, this.#keys.clientIv, message);
    if (error === undefined) this.#dropped++;
    else this.#fail(error);
  }

  #fail(error: NexusError): void {
    if (this.#state !== "accept") return;
    this.#state = "failed";
    this.#error = error;
    this.#pending = undefined;
    wipeKeys(this.#keys);
    wipeKeys(this.#traffic);
    this.#t2 = EMPTY;
  }
}

const EMPTY = new Uint8Array(0);

/** An ACCEPT and the keys that go with it. */
interface Answer {
  readonly hello: Hello;
  readonly connectionId: number;
  readonly suite: number;
  readonly accept: OutgoingMessage;
  readonly keys: HandshakeKeys;
  readonly traffic: DirectionKeys;
  readonly t2: Uint8Array;
}

interface AcceptParts extends Answer {
  readonly frameBytes: number;
  readonly nowUs: number;
}

function readHello(message: Uint8Array): Hello | undefined {
  try {
    return decodeHello(message);
  } catch {
    return undefined;
  }
}

/** The first suite of the client's list that we allow too; checks that the HELLO is for us. */
function chooseSuite(config: HandshakeConfig, hello: Hello): { suite: number } | HelloDrop {
  const own = config.identity.nodeId;
  if (!isAllZero(hello.destId) && !equalBytes(hello.destId, own)) return HELLO_DROP.otherNode;
  if (equalBytes(hello.clientId, own)) return HELLO_DROP.ownId;
  if (hello.vni !== config.vni) return HELLO_DROP.otherTenant;
  const suite = hello.suites.find((id) => suitesOf(config).includes(id));
  return suite === undefined ? HELLO_DROP.noCommonSuite : { suite };
}

/** Key agreement, keys, certificate, signature, box. */
function answer(
  config: HandshakeConfig,
  message: Uint8Array,
  hello: Hello,
  suite: number,
  connectionId: number,
): Answer | HelloDrop {
  const { engine, identity } = config;
  const signed = encodeAcceptSigned(ownChain(config));
  const ephemeral = freshEphemeral(config);
  let shared: Uint8Array;
  try {
    shared = engine.x25519(ephemeral.secret, hello.ephemeral);
  } catch {
    return HELLO_DROP.weakEphemeral;
  } finally {
    ephemeral.secret.fill(0);
  }
  const clear = encodeAcceptClear({
    serverId: identity.nodeId,
    clientConnectionId: hello.connectionId,
    connectionId,
    ephemeral: ephemeral.publicKey,
    suite,
  }, signed.length + PROOF_BYTES);
  const context = { engine, clientId: hello.clientId, serverId: identity.nodeId };
  const t1 = concat(helloTranscript(message), clear);
  const prk = extractSecret(engine, shared);
  shared.fill(0);
  const keys = deriveHandshakeKeys(context, prk, engine.sha256(t1));
  const plaintext = concat(
    signed,
    makeProofs(
      engine,
      identity,
      SIGN_CONTEXT.serverHandshake,
      keys.serverFinished,
      concat(t1, signed),
    ),
  );
  const t2 = concat(t1, plaintext);
  const traffic = deriveTrafficKeys(context, prk, engine.sha256(t2));
  prk.fill(0);
  const box = sealBox(engine.aead(suite, keys.serverKey), keys.serverIv, clear, plaintext);
  return {
    hello,
    connectionId,
    suite,
    accept: { message: box, sequence: 0, padTo: 0 },
    keys,
    traffic,
    t2,
  };
}

/** What a message takes on the wire in frames of 1,200 bytes. */
function wireBytes(message: Uint8Array): number {
  const fragments = Math.ceil(message.length / FRAGMENT_PAYLOAD_BYTES);
  return message.length + fragments * FRAGMENT_OVERHEAD_BYTES;
}
