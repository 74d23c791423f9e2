/**
 * One path of a connection: a pair of connection ids, the packet-number space that goes with them
 * (numbers, keys' replay window, acknowledgements, loss recovery) and the network address where
 * its frames go. A connection begins with one path, `paths[0]`, the primary one.
 */
import { NEVER, type RandomFill } from "../base/mod.ts";
import { AckTracker } from "./acks.ts";
import { MAX_ACK_DELAY_US_DEFAULT, type StreamConfig } from "./config.ts";
import { createCongestion } from "./congestion/mod.ts";
import { PacketNumbers } from "./packet_numbers.ts";
import { PathMtu } from "./path_mtu.ts";
import type { PacketProtection } from "./protection.ts";
import { EcnValidation } from "./ecn.ts";
import { LossRecovery } from "./recovery.ts";
import { RttEstimator } from "./rtt.ts";
import type { SentFrames } from "./sent_frames.ts";

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

export class Path {
  readonly id: number;
  readonly localConnectionId: number;
  readonly peerConnectionId: number;
  readonly protection: PacketProtection;
  readonly numbers: PacketNumbers;
  readonly acks: AckTracker;
  readonly rtt: RttEstimator;
  readonly recovery: LossRecovery<SentFrames>;
  readonly mtu: PathMtu;
  readonly ecn: EcnValidation;
  /** Network address as the small number that the port has for it; opaque here. */
  peer: number;
  /** Challenges to repeat: high and low half each. */
  readonly pathResponses: number[] = [];
  /** Packets to send whatever the congestion window says (RFC 9002 §6.2.4). */
  probes = 0;
  /** Probe timeouts since the last DATA_ACK of any kind. */
  ptosUnanswered = 0;
  /** Packets sent since the last ack-eliciting one. */
  acksAlone = 0;
  /** When to send the packet that pacing held back. */
  pacingUs = NEVER;

  constructor(options: PathOptions) {
    const { config } = options;
    this.id = options.id;
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
      congestion: createCongestion(config.congestion, { datagramBytes: this.mtu.frameBytes }),
      rtt: this.rtt,
      maxAckDelayUs: MAX_ACK_DELAY_US_DEFAULT,
    });
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

  /** Whether something is to be sent on this path only. */
  get hasWork(): boolean {
    return this.pathResponses.length > 0;
  }

  /** When this path wants to be looked at next; NEVER when nothing is pending. */
  nextTimeoutUs(): number {
    return Math.min(this.pacingUs, this.acks.deadlineUs, this.recovery.timeoutUs());
  }
}
