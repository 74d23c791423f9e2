/**
 * One path of a connection: a pair of connection ids, the packet-number space that goes with them
 * (numbers, keys' replay window, acknowledgements, loss recovery) and the network address where
 * its frames go. A connection begins with one path, `paths[0]`, the primary one.
 */
import { NEVER, type RandomFill } from "../base/mod.ts";
import {
  encodeHeader,
  Flag,
  FrameType,
  HEADER_BYTES,
  HeaderFields,
  SEALED_PAYLOAD_OFFSET,
} from "../l1_link/mod.ts";
import { AckTracker } from "./acks.ts";
import { MAX_ACK_DELAY_US_DEFAULT, type StreamConfig } from "./config.ts";
import { type CongestionController, createCongestion } from "./congestion/mod.ts";
import { PacketNumbers } from "./packet_numbers.ts";
import { PathMtu } from "./path_mtu.ts";
import type { PathValidation } from "./path_validation.ts";
import type { PacketProtection } from "./protection.ts";
import { EcnValidation } from "./ecn.ts";
import type { PacketRuns } from "./runs.ts";
import { LossRecovery } from "./recovery.ts";
import { RttEstimator } from "./rtt.ts";
import type { SentFrames } from "./sent_frames.ts";

/** The header that all sealed frames of a direction share, but for what names path and packet. */
export function sealedHeader(source: Uint8Array, dest: Uint8Array): HeaderFields {
  const header = new HeaderFields();
  header.type = FrameType.DATA;
  header.flags = Flag.ENCRYPTED;
  header.source = source;
  header.dest = dest;
  header.optionsLength = SEALED_PAYLOAD_OFFSET - HEADER_BYTES;
  return header;
}

/** What a path is made from. */
export interface PathOptions {
  /** 0 for the first path; never used twice in a connection, as it is part of the nonce. */
  id: number;
  localConnectionId: number;
  peerConnectionId: number;
  protection: PacketProtection;
  /** Where its frames go, see Path.peer. */
  peer: number;
  frameBytesMax: number;
  random: RandomFill;
  config: StreamConfig;
}

/** Path.peer of a path that the peer opened, before its first packet. */
export const PEER_UNKNOWN = -1;

export class Path {
  readonly id: number;
  /** 0: not chosen yet, as on a path that is being opened; so the next. */
  localConnectionId: number;
  peerConnectionId: number;
  /** Whether the peer's address is validated: of the first path by the handshake. */
  isUsable: boolean;
  readonly protection: PacketProtection;
  readonly numbers: PacketNumbers;
  readonly acks: AckTracker;
  readonly rtt: RttEstimator;
  readonly recovery: LossRecovery<SentFrames>;
  readonly mtu: PathMtu;
  readonly ecn: EcnValidation;
  readonly #config: StreamConfig;
  #runs: PacketRuns | null | undefined;
  readonly #random: RandomFill;
  /** Network address as the small number that the port has for it; opaque here. */
  peer: number;
  /**
   * The address that this end left by its own choice, until the peer is seen at the new one. It may
   * go on sending from there, its way to us is its own choice: that is no reason to go back. -1: none.
   */
  leftPeer = -1;
  /** Until then a client that moved by its own choice follows its peer nowhere else. */
  stayUntilUs = -Infinity;
  /** How often the first path tried to fail over. */
  failovers = 0;
  /** The test of an address that frames may go to; they go to `peer` until it is passed. */
  validation: PathValidation | undefined;
  /** Challenges to repeat: high and low half each. */
  readonly pathResponses: number[] = [];
  /** The same for those that came from elsewhere: peer, bytes of the packet, high and low half. */
  readonly strayResponses: number[] = [];
  /** Packets to send whatever the congestion window says (RFC 9002 §6.2.4). */
  probes = 0;
  /** Probe timeouts since the last DATA_ACK of any kind. */
  ptosUnanswered = 0;
  /** Packets sent since the last ack-eliciting one. */
  acksAlone = 0;
  /** What the peer's last CONGESTION said: CE marks that it saw, bytes that it has in flight. */
  peerCe = 0;
  peerBytesInFlight = 0;
  /** CE marks that our last CONGESTION told of, and when it left. */
  toldCe = 0;
  toldCeUs = -Infinity;
  /** When to send the packet that pacing held back. */
  pacingUs = NEVER;

  constructor(options: PathOptions) {
    const { config } = options;
    this.#config = config;
    this.#random = options.random;
    this.id = options.id;
    this.isUsable = options.id === 0;
    this.localConnectionId = options.localConnectionId;
    this.peerConnectionId = options.peerConnectionId;
    this.protection = options.protection;
    this.peer = options.peer;
    this.ecn = new EcnValidation(config.ecn);
    this.mtu = new PathMtu(options.frameBytesMax, config.searchMtu);
    this.numbers = new PacketNumbers(options.random);
    this.acks = new AckTracker(config.maxAckDelayUs);
    this.rtt = new RttEstimator(config.initialRttUs);
    this.recovery = new LossRecovery<SentFrames>({
      congestion: this.#newCongestion(),
      rtt: this.rtt,
      maxAckDelayUs: MAX_ACK_DELAY_US_DEFAULT,
    });
  }

  /**
   * Runs of the first path's packets, made when first asked for; undefined where there are none. `local`
   * and `remote` are the node ids of both ends.
   */
  runs(local: Uint8Array, remote: Uint8Array): PacketRuns | undefined {
    // Further paths carry no bulk; a peer may open and close them as it likes.
    if (this.id !== 0) return undefined;
    if (this.#runs !== undefined) return this.#runs ?? undefined;
    const runs = this.protection.openRuns?.(
      this.#header(this.peerConnectionId, local, remote),
      this.#header(this.localConnectionId, remote, local),
    );
    this.#runs = runs ?? null;
    return runs;
  }

  #header(connectionId: number, source: Uint8Array, dest: Uint8Array): Uint8Array {
    const fields = sealedHeader(source, dest);
    fields.streamId = connectionId;
    fields.keyPhase = this.protection.keyPhase;
    const bytes = new Uint8Array(HEADER_BYTES);
    encodeHeader(bytes, new DataView(bytes.buffer), 0, fields);
    return bytes;
  }

  /** Largest frame to send, header and CRC included. */
  get frameBytes(): number {
    return this.mtu.frameBytes;
  }

  onMtuProbeAcked(bytes: number): void {
    if (this.mtu.onProbeAcked(bytes)) this.recovery.setDatagramBytes(bytes);
  }

  /** A packet above the base size is lost: a black hole makes frames small again. */
  onLargeLost(packetNumber: number): void {
    if (this.mtu.onLargeLost(packetNumber, this.numbers.next)) {
      this.recovery.setDatagramBytes(this.frameBytes);
    }
  }

  /**
   * Frames go to another address from now on. `isSameWay`: only the port differs, the way there
   * is the same (RFC 9000 §9.4); otherwise all that was learned about it starts anew, the round
   * trip with `rttUs`.
   */
  moveTo(peer: number, isOwnChoice: boolean, isSameWay: boolean, rttUs: number): void {
    this.leftPeer = isOwnChoice && peer !== this.peer ? this.peer : -1;
    this.peer = peer;
    this.probes = this.ptosUnanswered = 0;
    this.pacingUs = NEVER;
    const { recovery, mtu } = this;
    if (isSameWay) return recovery.onPathChange(recovery.congestion);
    mtu.reset();
    this.rtt.reset(rttUs);
    recovery.onPathChange(this.#newCongestion());
    recovery.markedFrom = this.numbers.next;
    this.ecn.reset(this.#config.ecn, this.numbers.next);
  }

  #newCongestion(): CongestionController {
    const { frameBytes } = this.mtu;
    const options = { datagramBytes: frameBytes, random: this.#random };
    return createCongestion(this.#config.congestion, options);
  }

  /** Whether something is to be sent on this path only. */
  get hasWork(): boolean {
    return this.pathResponses.length > 0;
  }

  /**
   * Whether a packet of `frameBytes` that asks for an acknowledgement may leave now: there is
   * something for it, and window and pacing let it out. Sets `pacingUs` when pacing does not.
   */
  maySend(frameBytes: number, hasWork: boolean, nowUs: number): boolean {
    const { recovery } = this;
    this.pacingUs = NEVER;
    // A peer that does not know yet where we are cannot acknowledge what fills the window: answers
    // to its challenges do not wait for it. There is one for each packet of the peer at most.
    if (this.probes > 0 || this.pathResponses.length > 0) return true;
    if (!hasWork) {
      recovery.onNothingToSend();
      return false;
    }
    if (!recovery.canSend(frameBytes)) return false;
    const delayUs = recovery.pacingDelayUs(frameBytes, nowUs);
    if (delayUs <= 0) return true;
    this.pacingUs = nowUs + delayUs;
    return false;
  }

  /** When this path wants to be looked at next; NEVER when nothing is pending. */
  nextTimeoutUs(): number {
    if (!this.isUsable) return this.validation?.nextTimeoutUs() ?? NEVER;
    const ownUs = Math.min(
      this.pacingUs,
      this.acks.deadlineUs,
      this.recovery.timeoutUs(),
      this.mtu.nextTimeoutUs(),
    );
    return this.validation === undefined ? ownUs : Math.min(ownUs, this.validation.nextTimeoutUs());
  }
}
