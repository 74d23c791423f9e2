/**
 * Client side of the handshake (protocol.md §4), without I/O or clock.
 *
 *   hello ──ACCEPT verified──► finish ──confirm──► done
 *     │  repeats HELLO           │  repeats FINISH
 *     └──────────────────────────┴──refused, ALERT, deadline──► failed
 *
 * Call order: `pollMessage` until undefined after construction, after each `receive`, and when
 * `nextTimeoutUs` is reached. `result` stands from `finish` on: data may follow FINISH at once.
 */
import {
  concat,
  equalBytes,
  formatNodeId,
  NEVER,
  NexusError,
  NODE_ID_BYTES,
} from "../../base/mod.ts";
import { SIGN_CONTEXT } from "../identity.ts";
import { inviteProof } from "../invite.ts";
import { type VerifiedMic, verifyChain } from "../mic/chain.ts";
import { checkRequirements, type MicRequirements } from "../mic/requirements.ts";
import {
  ACCEPT_CLEAR_BYTES,
  type AcceptClear,
  decodeAcceptBox,
  decodeAcceptClear,
  PROOF_BYTES,
} from "./accept.ts";
import { alertCodeOf, alertPhraseOf, openAlert, sealAlert } from "./alert.ts";
import {
  freshEphemeral,
  type HandshakeConfig,
  type HandshakeResult,
  ownChain,
  protectionOnce,
  suitesOf,
} from "./config.ts";
import { encodeFinishClear, encodeFinishSigned } from "./finish.ts";
import { encodeHello, helloTranscript } from "./hello.ts";
import {
  deriveHandshakeKeys,
  deriveTrafficKeys,
  type DirectionKeys,
  extractSecret,
  type HandshakeKeys,
  wipeKeys,
} from "./keys.ts";
import {
  ACCEPT_TRIES_MAX,
  HANDSHAKE_TIMEOUT_US,
  HELLO_FRAME_BYTES_MIN,
  REFUSAL_GRACE_US,
  RETRANSMIT_US,
  RETRANSMIT_US_MAX,
} from "./limits.ts";
import {
  HANDSHAKE_MESSAGE,
  openBox,
  type OutgoingMessage,
  readMessage,
  sealBox,
} from "./message.ts";
import { checkProofs, makeProofs } from "./proofs.ts";

/** What one attempt needs beside the common configuration. */
export interface ClientHandshakeOptions extends HandshakeConfig {
  /** The node that must answer; whoever answers at the address when left out. */
  destId?: Uint8Array;
  /** Ours, not 0: frames to us carry it. */
  connectionId: number;
  /** The whole SAD; travels sealed in FINISH. */
  sad?: Uint8Array;
  /** What the server's certificate must vouch for. */
  requirements?: MicRequirements;
  /** Joining with a self-signed certificate: id and secret of the invite. */
  invite?: { id: Uint8Array; secret: Uint8Array };
  nowUs: number;
  unixS: number;
}

/** One attempt to connect. */
export class ClientHandshake {
  readonly #options: ClientHandshakeOptions;
  readonly #hello: Uint8Array;
  readonly #ownChain: Uint8Array;
  readonly #ephemeralSecret: Uint8Array;
  readonly #startUs: number;
  #deadlineUs: number;
  #state: "hello" | "finish" | "done" | "failed" = "hello";
  #destId: Uint8Array;
  #result?: HandshakeResult;
  #error?: NexusError;
  /** First ACCEPT that authenticated but was refused; the attempt ends with it. */
  #refusal?: NexusError;
  /** Kept from ACCEPT until confirmation, to open an ALERT. */
  #keys?: HandshakeKeys;
  #traffic?: DirectionKeys;
  #suite = 0;
  /** Key agreements since the last HELLO was sent. */
  #acceptTries = 0;
  #dropped = 0;
  /** What is repeated: HELLO, then FINISH; undefined when nothing is. */
  #current?: OutgoingMessage;
  #sendAtUs: number;
  #intervalUs = RETRANSMIT_US;
  #alert?: OutgoingMessage;
  #nextSequence = 0;

  constructor(options: ClientHandshakeOptions) {
    this.#options = options;
    this.#destId = options.destId ?? new Uint8Array(NODE_ID_BYTES);
    this.#ownChain = ownChain(options);
    const { secret, publicKey } = freshEphemeral(options);
    this.#ephemeralSecret = secret;
    this.#hello = encodeHello({
      clientId: options.identity.nodeId,
      destId: this.#destId,
      vni: options.vni,
      connectionId: options.connectionId,
      ephemeral: publicKey,
      suites: suitesOf(options),
      wantedLevel: options.requirements?.trustMin ?? 0,
      sad: EMPTY,
      cookie: EMPTY,
      ticket: EMPTY,
    });
    this.#startUs = options.nowUs;
    this.#sendAtUs = options.nowUs;
    this.#deadlineUs = options.nowUs + (options.timeoutUs ?? HANDSHAKE_TIMEOUT_US);
    this.#current = {
      message: this.#hello,
      sequence: this.#nextSequence++,
      padTo: HELLO_FRAME_BYTES_MIN,
    };
  }

  // In

  /** A handshake payload that names our connection id. What is not authentic changes nothing. */
  receive(payload: Uint8Array, nowUs: number, unixS: number): void {
    const incoming = readMessage(payload);
    if (incoming?.type === HANDSHAKE_MESSAGE.accept && this.#state === "hello") {
      this.#receiveAccept(incoming.message, nowUs, unixS);
    } else if (incoming?.type === HANDSHAKE_MESSAGE.alert && this.#state === "finish") {
      this.#receiveAlert(incoming.message);
    } else {
      this.#dropped++;
    }
  }

  /** The server's first sealed frame opened: FINISH arrived and was accepted. */
  confirm(_nowUs: number): void {
    if (this.#state !== "finish") return;
    this.#state = "done";
    this.#stop();
  }

  /** Abandons the attempt and forgets its keys. */
  wipe(): void {
    this.#fail(new NexusError("HANDSHAKE_ABORTED", "cannot connect: the attempt was given up"));
  }

  // Out

  /** The next message to send now; call until undefined. Notices the deadline. */
  pollMessage(nowUs: number): OutgoingMessage | undefined {
    if (this.#alert !== undefined) {
      const alert = this.#alert;
      this.#alert = undefined;
      return alert;
    }
    if (nowUs >= this.#deadlineUs && (this.#state === "hello" || this.#state === "finish")) {
      this.#fail(this.#refusal ?? this.#timeoutError());
    }
    if (this.#current === undefined || nowUs < this.#sendAtUs) return undefined;
    this.#acceptTries = 0;
    this.#sendAtUs = nowUs + this.#intervalUs;
    this.#intervalUs = Math.min(2 * this.#intervalUs, RETRANSMIT_US_MAX);
    return this.#current;
  }

  /** When to call `pollMessage` again, microseconds; NEVER when nothing is pending. */
  nextTimeoutUs(): number {
    if (this.#alert !== undefined) return this.#startUs;
    if (this.#state === "done" || this.#state === "failed") return NEVER;
    return this.#current === undefined
      ? this.#deadlineUs
      : Math.min(this.#sendAtUs, this.#deadlineUs);
  }

  // Getters

  get state(): "hello" | "finish" | "done" | "failed" {
    return this.#state;
  }
  /** Set once ACCEPT is verified. */
  get result(): HandshakeResult | undefined {
    return this.#result;
  }
  get error(): NexusError | undefined {
    return this.#error;
  }
  /** dest_node_id of our frames: the node asked for, later the one that answered. */
  get destId(): Uint8Array {
    return this.#destId;
  }
  /** Messages that were not authentic or not expected. */
  get dropped(): number {
    return this.#dropped;
  }

  #receiveAccept(message: Uint8Array, nowUs: number, unixS: number): void {
    const opened = this.#openAccept(message);
    if (opened === undefined) {
      this.#dropped++;
      return;
    }
    try {
      this.#acceptVerified(opened, nowUs, unixS);
    } catch (thrown) {
      const error = thrown instanceof NexusError ? thrown : internalError(thrown);
      this.#refuse(error, opened, nowUs);
    } finally {
      opened.prk.fill(0);
    }
  }

  /** The ACCEPT's box under the keys that follow from it; undefined when it is not authentic. */
  #openAccept(message: Uint8Array): OpenedAccept | undefined {
    const clear = this.#clearPart(message);
    if (clear === undefined || ++this.#acceptTries > ACCEPT_TRIES_MAX) return undefined;
    const { engine, identity } = this.#options;
    let shared: Uint8Array;
    try {
      shared = engine.x25519(this.#ephemeralSecret, clear.ephemeral);
    } catch {
      return undefined;
    }
    const context = { engine, clientId: identity.nodeId, serverId: clear.serverId };
    const t1 = concat(helloTranscript(this.#hello), message.subarray(0, ACCEPT_CLEAR_BYTES));
    const prk = extractSecret(engine, shared);
    shared.fill(0);
    const keys = deriveHandshakeKeys(context, prk, engine.sha256(t1));
    const aead = engine.aead(clear.suite, keys.serverKey);
    const plaintext = openBox(aead, keys.serverIv, message, ACCEPT_CLEAR_BYTES);
    if (plaintext === undefined) {
      prk.fill(0);
      wipeKeys(keys);
      return undefined;
    }
    return { clear, context, t1, prk, keys, plaintext };
  }

  /** The clear part, when it is an answer to our HELLO. */
  #clearPart(message: Uint8Array): AcceptClear | undefined {
    let clear: AcceptClear;
    try {
      clear = decodeAcceptClear(message);
    } catch {
      return undefined;
    }
    const { destId, connectionId } = this.#options;
    if (clear.clientConnectionId !== connectionId) return undefined;
    if (!suitesOf(this.#options).includes(clear.suite)) return undefined;
    if (destId !== undefined && !equalBytes(destId, clear.serverId)) return undefined;
    return clear;
  }

  /** Checks everything in an authentic ACCEPT; throws the error to refuse it with. */
  #acceptVerified(opened: OpenedAccept, nowUs: number, unixS: number): void {
    const { clear, context, t1, prk, keys, plaintext } = opened;
    const { engine, roots, vni, requirements } = this.#options;
    const box = decodeAcceptBox(plaintext);
    const mic = verifyChain(box.chain, { roots, unixS, vni, engine });
    checkPeerId(mic, clear.serverId);
    checkMayAnswer(mic);
    checkProofs(
      engine,
      mic.publicKey,
      SIGN_CONTEXT.serverHandshake,
      keys.serverFinished,
      concat(t1, box.signed),
      box,
    );
    if (requirements !== undefined) checkRequirements(mic, requirements);

    const t2 = concat(t1, plaintext);
    const traffic = deriveTrafficKeys(context, prk, engine.sha256(t2));
    this.#ephemeralSecret.fill(0);
    this.#keys = keys;
    this.#traffic = traffic;
    this.#forgetRefusal();
    this.#suite = clear.suite;
    this.#destId = clear.serverId.slice();
    this.#sendFinish(clear, t2, keys, nowUs);
    this.#result = {
      peerNodeId: this.#destId,
      peerConnectionId: clear.connectionId,
      localConnectionId: this.#options.connectionId,
      suite: clear.suite,
      peerChain: mic.chain,
      peerMic: mic,
      invited: this.#options.invite !== undefined,
      inviteId: this.#options.invite?.id,
      durationUs: nowUs - this.#startUs,
      protection: protectionOnce(this.#options, "client", clear.suite, traffic),
    };
    this.#state = "finish";
  }

  #sendFinish(clear: AcceptClear, t2: Uint8Array, keys: HandshakeKeys, nowUs: number): void {
    const { engine, identity, sad, invite } = this.#options;
    const claim = invite && {
      id: invite.id,
      proof: inviteProof(invite.secret, engine.sha256(t2), engine),
    };
    const signed = encodeFinishSigned(this.#ownChain, sad ?? EMPTY, claim);
    const prefix = encodeFinishClear(clear.connectionId, signed.length + PROOF_BYTES);
    const proofs = makeProofs(
      engine,
      identity,
      SIGN_CONTEXT.clientHandshake,
      keys.clientFinished,
      concat(t2, prefix, signed),
    );
    const aead = engine.aead(clear.suite, keys.clientKey);
    this.#current = {
      message: sealBox(aead, keys.clientIv, prefix, concat(signed, proofs)),
      sequence: this.#nextSequence++,
      padTo: 0,
    };
    this.#sendAtUs = nowUs;
    this.#intervalUs = RETRANSMIT_US;
  }

  /**
   * Tells the server once and waits a moment for a better answer: whoever sees the HELLO can make
   * an ACCEPT that opens, only the right server one that verifies.
   */
  #refuse(error: NexusError, { clear, keys }: OpenedAccept, nowUs: number): void {
    if (this.#refusal === undefined) {
      this.#refusal = error;
      const aead = this.#options.engine.aead(clear.suite, keys.clientKey);
      this.#alert = {
        message: sealAlert(
          aead,
          keys.clientIv,
          clear.connectionId,
          alertCodeOf(error),
          alertPhraseOf(error),
        ),
        sequence: this.#nextSequence++,
        padTo: 0,
      };
      this.#deadlineUs = Math.min(this.#deadlineUs, nowUs + REFUSAL_GRACE_US);
    }
    wipeKeys(keys);
  }

  /** A valid ACCEPT came after a refused one. */
  #forgetRefusal(): void {
    this.#refusal = undefined;
    this.#alert = undefined;
    this.#deadlineUs = this.#startUs + (this.#options.timeoutUs ?? HANDSHAKE_TIMEOUT_US);
  }

  #receiveAlert(message: Uint8Array): void {
    const keys = this.#keys!;
    const aead = this.#options.engine.aead(this.#suite, keys.serverKey);
    const error = openAlert(aead, keys.serverIv, message);
    if (error === undefined) this.#dropped++;
    else this.#fail(error);
  }

  #fail(error: NexusError): void {
    if (this.#state === "done" || this.#state === "failed") return;
    this.#state = "failed";
    this.#error = error;
    // Where records took the keys these are only zeroes.
    wipeKeys(this.#traffic);
    this.#stop();
  }

  #stop(): void {
    this.#current = undefined;
    this.#ephemeralSecret.fill(0);
    wipeKeys(this.#keys);
    this.#keys = undefined;
  }

  #timeoutError(): NexusError {
    const waitedMs = Math.round((this.#deadlineUs - this.#startUs) / 1_000);
    return new NexusError(
      "HANDSHAKE_TIMEOUT",
      `cannot connect: no ${this.#state === "hello" ? "answer" : "sealed frame"} from ` +
        `${formatNodeId(this.#destId)} after ${waitedMs} ms`,
    );
  }
}

interface OpenedAccept {
  readonly clear: AcceptClear;
  readonly context: {
    engine: HandshakeConfig["engine"];
    clientId: Uint8Array;
    serverId: Uint8Array;
  };
  readonly t1: Uint8Array;
  readonly prk: Uint8Array;
  readonly keys: HandshakeKeys;
  readonly plaintext: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** Throws NODE_ID_MISMATCH unless the certificate is that of the id in the clear part. */
export function checkPeerId(mic: VerifiedMic, claimedId: Uint8Array): void {
  if (!equalBytes(mic.nodeId, claimedId)) {
    throw new NexusError(
      "NODE_ID_MISMATCH",
      `cannot connect: the peer claims ${formatNodeId(claimedId)}, ` +
        `its certificate is for ${formatNodeId(mic.nodeId)}`,
    );
  }
}

/** Throws CONSTRAINT_VIOLATED for a certificate that may only ask (NODE_ROLE 2). */
function checkMayAnswer(mic: VerifiedMic): void {
  if (mic.role === "client") {
    throw new NexusError(
      "CONSTRAINT_VIOLATED",
      `cannot connect: ${formatNodeId(mic.nodeId)} is certified as client, expected a node`,
    );
  }
}

/** An error of ours that must not end the caller. */
export function internalError(thrown: unknown): NexusError {
  return new NexusError("INTERNAL", "cannot connect: the handshake failed inside", {
    cause: thrown,
  });
}
