/**
 * Loss detection and the probe timer of one path (RFC 9002 §6, §7.6, App. A), with the gate that
 * congestion control and pacing put before sending. One packet-number space; what was in a lost
 * packet is given back to the connection, which sends it again in a new packet.
 *
 * Order of calls: canSend and pacingDelayUs before a packet, onSent after it; onAck for each
 * DATA_ACK; onTimeout when timeoutUs has come. Times are microseconds.
 */
import { NEVER } from "../base/mod.ts";
import {
  type CongestionController,
  type DeliveryRate,
  initialWindowBytes,
  Pacer,
} from "./congestion/mod.ts";
import { ClearPackets } from "./clear_packets.ts";
import { Fates, type RecoverySink } from "./fates.ts";
import { LossEpisode, NO_EPISODE } from "./loss_episode.ts";
import { LossRun } from "./loss_run.ts";
import { RangeSet } from "./ranges.ts";
import { Repeats } from "./repeats.ts";
import type { RttEstimator } from "./rtt.ts";
import { IN_FLIGHT, SentPackets } from "./sent_packets.ts";

export type { RecoverySink } from "./fates.ts";

/** RFC 9002 §6.1.1, kPacketThreshold: lost when three later packets were acknowledged before it. */
export const PACKET_THRESHOLD = 3;
/** RFC 9002 §7.6.1, kPersistentCongestionThreshold, in PTOs. */
export const PERSISTENT_CONGESTION_THRESHOLD = 3;

/** Ours: the PTO doubles without end in the RFC; a path that heals is tried once a minute. */
export const PTO_US_MAX = 60_000_000;
/** Ours: most packets in flight, however small they are; bounds the ring. */
export const PACKETS_IN_FLIGHT_MAX = 65_536;
/** Ours: lost packets remembered for the case that they arrive after all, by count and in PTOs. */
export const LOST_KEPT_MAX = 1_024;
const LOST_KEPT_PTOS = 2;
/** Ours: in avoidance the window counts as used when less than this many packets were free. */
const FREE_PACKETS_MAX = 3;
/** Ours: round-trip samples in a row that are left out because their ACK waited too long. */
const SAMPLES_LEFT_OUT_MAX = 8;
/** Ours: packet numbers left out on purpose that are remembered, to catch optimistic ACKs. */
const SKIPPED_KEPT = 16;

/** A DATA_ACK as decoded. The arrays belong to the caller and are not kept. */
export interface Acknowledgement {
  largest: number;
  ackDelayUs: number;
  /** Flat high, low pairs (inclusive), descending and disjoint; the first high is `largest`. */
  ranges: ArrayLike<number>;
  rangeCount: number;
  /** Packets the peer saw with CE, over all time; absent when it does not report. */
  ce?: number;
}

/** Counters since the start. */
export interface RecoveryStats {
  sent: number;
  acked: number;
  lost: number;
  /** Declared lost, acknowledged later. */
  spurious: number;
  ptos: number;
  congestionEvents: number;
  persistentCongestions: number;
  /** Congestion events taken back. */
  undone: number;
}

/** Loss recovery of one path; `F` is what the connection keeps per packet. */
export class LossRecovery<F> {
  /** What the peer promised (its max_ack_delay_us parameter); may be set when it becomes known. */
  maxAckDelayUs: number;
  /** Packets from here on leave with an ECN mark. */
  markedFrom = 0;
  congestion: CongestionController;
  readonly rtt: RttEstimator;
  readonly stats: RecoveryStats = {
    sent: 0,
    acked: 0,
    lost: 0,
    spurious: 0,
    ptos: 0,
    congestionEvents: 0,
    persistentCongestions: 0,
    undone: 0,
  };

  readonly #packets = new SentPackets<F>();
  readonly #fates = new Fates<F>(this.#packets);
  readonly #repeats = new Repeats<F>(this.#packets, this.#fates);
  #pacer: Pacer;
  #rate: DeliveryRate | undefined;
  #bytesInFlight = 0;
  #nextPacketNumber = 0;
  #largestAcked = -1;
  #ptoCount = 0;
  /** When the oldest packet in flight is lost by time; NEVER: nothing is overdue. */
  #lossTimeUs = NEVER;
  #lastElicitingSentUs = 0;
  /** The first packet of the current network path. */
  #pathStart = 0;
  /** Packets numbered below this were in a flight that filled the window. */
  #windowUsedBelow = 0;

  readonly #clear = new ClearPackets();
  readonly #skipped = new RangeSet({ rangesMax: SKIPPED_KEPT });

  #samplesLeftOut = 0;
  /** Sum of CE marks the peer reported. */
  #ce = 0;
  readonly #lossRun = new LossRun();
  readonly #episode = new LossEpisode();

  constructor(
    { congestion, rtt, maxAckDelayUs }: {
      congestion: CongestionController;
      rtt: RttEstimator;
      maxAckDelayUs: number;
    },
  ) {
    this.congestion = congestion;
    this.#rate = congestion.rate;
    this.rtt = rtt;
    this.maxAckDelayUs = maxAckDelayUs;
    this.#pacer = new Pacer(initialWindowBytes(congestion.datagramBytes));
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }
  get packetsInFlight(): number {
    return this.#packets.inFlightCount;
  }
  /** Probe timeouts in a row without any acknowledgement of something new. */
  get ptoCount(): number {
    return this.#ptoCount;
  }
  /** Largest packet number acknowledged, -1 before the first. */
  get largestAcked(): number {
    return this.#largestAcked;
  }

  /**
   * Whether the window admits `bytes` more. Ask it only with data at hand: a refusal is also the
   * evidence that the window is in full use and may grow (RFC 9002 §7.8).
   */
  canSend(bytes: number): boolean {
    if (this.#bytesInFlight + bytes > this.congestion.windowBytes) {
      this.#windowUsedBelow = this.#nextPacketNumber;
      return false;
    }
    return this.#packets.inFlightCount < PACKETS_IN_FLIGHT_MAX;
  }

  /**
   * Packets take another network path from now on. What is in flight on the old one is still
   * acknowledged or lost, but says nothing about congestion and round trip (RFC 9000 §9.4).
   */
  onPathChange(congestion: CongestionController): void {
    this.congestion = congestion;
    this.#rate = congestion.rate;
    this.#pacer = new Pacer(initialWindowBytes(congestion.datagramBytes));
    this.#packets.forgetBytes();
    this.#bytesInFlight = 0;
    this.#pathStart = this.#windowUsedBelow = this.#nextPacketNumber;
    this.#ptoCount = 0;
    this.#lossRun.end();
    this.#episode.begin();
  }

  /** Packets become larger or smaller from now on. */
  setDatagramBytes(bytes: number): void {
    this.congestion.setDatagramBytes(bytes);
    this.#pacer.burstBytesMin = initialWindowBytes(bytes);
  }

  /** Microseconds until pacing lets `bytes` leave; 0: now. */
  pacingDelayUs(bytes: number, nowUs: number): number {
    return this.#pacer.delayUs(bytes, this.congestion.pacingRate(this.rtt), nowUs);
  }

  /** Packets of `bytes` each that window and pacing let out now; canSend() was asked for one. */
  packetsAllowed(bytes: number, nowUs: number): number {
    const windowBytes = this.congestion.windowBytes - this.#bytesInFlight;
    const pacedBytes = this.#pacer.budget(this.congestion.pacingRate(this.rtt), nowUs);
    return Math.min(
      Math.floor(Math.min(windowBytes, pacedBytes) / bytes),
      PACKETS_IN_FLIGHT_MAX - this.#packets.inFlightCount,
    );
  }

  /**
   * Records a packet. Packets without ack-eliciting frames count neither in flight nor against
   * window and pacing; their `frames` are dropped. A path MTU probe is recorded with 0 bytes: its
   * loss says nothing about congestion (RFC 9000 §14.4).
   */
  onSent(
    packetNumber: number,
    bytes: number,
    ackEliciting: boolean,
    frames: F | undefined,
    nowUs: number,
  ): void {
    this.#takeNumbers(packetNumber, 1);
    if (!ackEliciting) {
      this.#clear.push(packetNumber, nowUs, this.#largestAcked);
      return;
    }
    const inFlightBytes = this.#takeOff(bytes, nowUs);
    this.#packets.push(packetNumber, nowUs, bytes, frames);
    this.#noteRate(inFlightBytes, nowUs);
  }

  /** Records a packet whose only ack-eliciting content is a range of bytes of a stream (not 0). */
  onSentData(
    packetNumber: number,
    bytes: number,
    stream: number,
    offset: number,
    length: number,
    nowUs: number,
  ): void {
    this.#takeNumbers(packetNumber, 1);
    const inFlightBytes = this.#takeOff(bytes, nowUs);
    this.#packets.pushData(packetNumber, nowUs, bytes, stream, offset, length);
    this.#noteRate(inFlightBytes, nowUs);
  }

  /**
   * Records a train: `count` packets with ascending numbers and offsets, each like onSentData. The
   * last one carries `lengthLast` and is as much shorter.
   */
  onSentRun(
    firstPacketNumber: number,
    count: number,
    bytesEach: number,
    stream: number,
    offset: number,
    lengthEach: number,
    nowUs: number,
    lengthLast: number = lengthEach,
  ): void {
    this.#takeNumbers(firstPacketNumber, count);
    const inFlightBytes = this.#takeOff(count * bytesEach - (lengthEach - lengthLast), nowUs);
    for (let i = 0; i < count; i++) {
      const length = i < count - 1 ? lengthEach : lengthLast;
      const bytes = bytesEach - (lengthEach - length);
      const at = offset + i * lengthEach;
      this.#packets.pushData(firstPacketNumber + i, nowUs, bytes, stream, at, length);
      this.#noteRate(inFlightBytes + i * bytesEach, nowUs);
    }
  }

  #takeNumbers(first: number, count: number): void {
    if (first > this.#nextPacketNumber) {
      this.#skipped.insertRange(this.#nextPacketNumber, first - 1);
    }
    this.#nextPacketNumber = first + count;
    this.stats.sent += count;
  }

  /** `bytes` of ack-eliciting packets leave now; how many were in flight before. */
  #takeOff(bytes: number, nowUs: number): number {
    const inFlightBytes = this.#bytesInFlight;
    this.congestion.onSent(bytes, inFlightBytes, nowUs);
    this.#pacer.onSent(bytes, this.congestion.pacingRate(this.rtt), nowUs);
    this.#bytesInFlight = inFlightBytes + bytes;
    this.#lastElicitingSentUs = nowUs;
    return inFlightBytes;
  }

  /** For the newest packet, `inFlightBytes` being there before it. */
  #noteRate(inFlightBytes: number, nowUs: number): void {
    if (this.#rate === undefined) return;
    const { head, tail } = this.#packets;
    const bytes = this.#packets.bytes(tail - 1);
    this.#rate.onSent(tail - 1, head, bytes, inFlightBytes, nowUs);
  }

  /**
   * There is nothing to send though window and pacing would let it out: rates measured now say
   * what the application did, not what the path can (draft-ietf-ccwg-bbr §4.1.2.4).
   */
  onNothingToSend(): void {
    if (this.#rate === undefined || this.#bytesInFlight >= this.congestion.windowBytes) return;
    this.#rate.markAppLimited(this.#bytesInFlight);
  }

  /** Takes an acknowledgement; 0: good, -1: it acknowledges a packet that was never sent. */
  onAck(ack: Acknowledgement, nowUs: number, sink: RecoverySink<F>): number {
    if (ack.largest >= this.#nextPacketNumber || this.#touchesSkipped(ack)) return -1;
    const isNewLargest = ack.largest > this.#largestAcked;
    if (isNewLargest) this.#largestAcked = ack.largest;

    this.#rate?.begin();
    // The round-trip sample comes first: window growth and loss delay below use it.
    const largestSentUs = this.#sampleRtt(ack, isNewLargest, nowUs);
    const newlyAcked = this.#takeAcked(ack, nowUs, sink);
    if (
      ack.ce !== undefined && ack.ce > this.#ce && isNewLargest && !Number.isNaN(largestSentUs)
    ) {
      const marks = ack.ce - this.#ce;
      this.#ce = ack.ce;
      if (this.congestion.onEcnCe(largestSentUs, nowUs, marks)) this.#beginEpisode();
    }
    if (newlyAcked > 0 || isNewLargest) {
      this.#detectLost(ack, nowUs, sink);
      if (newlyAcked > 0) this.#finishRate(nowUs);
      this.#ptoCount = 0;
      this.#packets.forgetLost(
        LOST_KEPT_MAX,
        nowUs - LOST_KEPT_PTOS * this.rtt.ptoUs(this.maxAckDelayUs),
      );
    }
    return 0;
  }

  #finishRate(nowUs: number): void {
    const rate = this.#rate;
    if (rate === undefined) return;
    rate.finish(this.rtt.minUs);
    if (rate.sample.hasData) {
      this.congestion.onSample!(rate.sample, this.#bytesInFlight, nowUs);
    }
  }

  /** When onTimeout wants to be called; NEVER when no ack-eliciting packet is in flight. */
  timeoutUs(): number {
    if (this.#packets.inFlightCount === 0) return NEVER;
    if (this.#lossTimeUs !== NEVER) return this.#lossTimeUs;
    return this.#lastElicitingSentUs + this.ptoUs();
  }

  /** The probe timeout with its backoff (§6.2.1). */
  ptoUs(): number {
    return Math.min(this.rtt.ptoUs(this.maxAckDelayUs) * 2 ** this.#ptoCount, PTO_US_MAX);
  }

  /**
   * The time of timeoutUs came. After "pto" the connection sends one or two ack-eliciting probes,
   * whatever the window says, preferably with new data or data in flight; nothing is lost yet
   * (§6.2.4). "none": called too early.
   */
  onTimeout(nowUs: number, sink: RecoverySink<F>): "loss" | "pto" | "none" {
    if (nowUs < this.timeoutUs()) return "none";
    if (this.#lossTimeUs !== NEVER) {
      this.#detectLost(undefined, nowUs, sink);
      return "loss";
    }
    this.#ptoCount++;
    this.stats.ptos++;
    return "pto";
  }

  /** Has at most `packetsMax` of the oldest packets in flight repeated, for probes. */
  repeatOldest(packetsMax: number, sink: RecoverySink<F>): void {
    this.#repeats.oldest(packetsMax, sink);
  }

  /** The peer misses packets low … high (§5.4). */
  onNack(low: number, high: number, sink: RecoverySink<F>): void {
    this.#repeats.missing(low, Math.min(high, this.#largestAcked - 1), sink);
  }

  #touchesSkipped({ ranges, rangeCount }: Acknowledgement): boolean {
    if (this.#skipped.count === 0) return false;
    for (let i = 0; i < rangeCount; i++) {
      const skipped = this.#skipped.nextPresent(ranges[2 * i + 1]);
      if (skipped >= 0 && skipped <= ranges[2 * i]) return true;
    }
    return false;
  }

  /** When the largest packet was sent, NaN if that is no longer known; updates the estimator. */
  #sampleRtt(ack: Acknowledgement, isNewLargest: boolean, nowUs: number): number {
    if (!isNewLargest || ack.largest < this.#pathStart) return NaN;
    const at = this.#packets.search(ack.largest);
    let sentUs = NaN;
    if (at < this.#packets.tail && this.#packets.packetNumber(at) === ack.largest) {
      sentUs = this.#packets.sentUs(at);
    } else if (this.#hasLiving(ack)) {
      // §5.1 wants an ack-eliciting packet among the newly acknowledged ones, not as the largest.
      sentUs = this.#clear.sentUs(ack.largest);
    }
    if (!Number.isNaN(sentUs) && !this.#isRepeatedAck(ack.ackDelayUs)) {
      this.rtt.update(nowUs - sentUs, ack.ackDelayUs, this.maxAckDelayUs, nowUs);
      this.congestion.onRtt(this.rtt, sentUs, nowUs);
    }
    return sentUs;
  }

  /**
   * An ACK held longer than the peer promised is mostly one that was lost and came again with a
   * probe; §5.3 would put the wait into the round-trip time, and at high loss the PTO would grow
   * with every such ACK. Such samples are left out, but not for ever: the peer may just be slow.
   */
  #isRepeatedAck(ackDelayUs: number): boolean {
    const isRepeated = this.rtt.hasSample && ackDelayUs > this.maxAckDelayUs &&
      this.#samplesLeftOut < SAMPLES_LEFT_OUT_MAX;
    this.#samplesLeftOut = isRepeated ? this.#samplesLeftOut + 1 : 0;
    return isRepeated;
  }

  #hasLiving({ ranges, rangeCount }: Acknowledgement): boolean {
    const packets = this.#packets;
    for (let i = 0; i < rangeCount; i++) {
      const at = packets.living(packets.search(ranges[2 * i + 1]));
      if (at < packets.tail && packets.packetNumber(at) <= ranges[2 * i]) return true;
    }
    return false;
  }

  /** Takes what the ranges cover out of the ring; how many packets that were. */
  #takeAcked(ack: Acknowledgement, nowUs: number, sink: RecoverySink<F>): number {
    const packets = this.#packets;
    const { windowBytes, datagramBytes, inSlowStart } = this.congestion;
    const free = windowBytes - this.#bytesInFlight;
    const windowUsed = free <= FREE_PACKETS_MAX * datagramBytes ||
      (inSlowStart && 2 * this.#bytesInFlight >= windowBytes);
    let newly = 0;
    let bytesLargest = 0;
    let marked = 0;
    // Packets of one train are one call to the controller.
    let ackedBytes = 0;
    let ackedSentUs = 0;
    let ackedUsed = false;
    for (let i = 0; i < ack.rangeCount; i++) {
      const high = ack.ranges[2 * i];
      let at = packets.living(packets.search(ack.ranges[2 * i + 1]));
      while (at < packets.tail) {
        const packetNumber = packets.packetNumber(at);
        if (packetNumber > high) break;
        newly++;
        const bytes = packets.bytes(at);
        if (packetNumber >= this.markedFrom) marked++;
        if (bytes > bytesLargest) bytesLargest = bytes;
        const isLate = packets.state(at) !== IN_FLIGHT;
        if (isLate) {
          this.#rate?.onLateAcked(bytes);
          this.#onLateAck(at);
        } else {
          const sentUs = packets.sentUs(at);
          const used = windowUsed || packetNumber < this.#windowUsedBelow;
          if (sentUs !== ackedSentUs || used !== ackedUsed) {
            if (ackedBytes > 0) {
              this.congestion.onAck(ackedBytes, ackedSentUs, ackedUsed, this.rtt, nowUs);
            }
            ackedBytes = 0;
            ackedSentUs = sentUs;
            ackedUsed = used;
          }
          ackedBytes += bytes;
          if (bytes > 0) this.#rate?.onAcked(at, packetNumber, bytes, sentUs, nowUs);
          this.#bytesInFlight -= bytes;
          this.stats.acked++;
        }
        this.#fates.acked(at, isLate, sink);
        packets.kill(at);
        at = packets.living(at + 1);
      }
    }
    if (newly === 0) return 0;
    packets.settle();
    if (ackedBytes > 0) this.congestion.onAck(ackedBytes, ackedSentUs, ackedUsed, this.rtt, nowUs);
    this.#fates.flushAcked(sink);
    sink.onPacketsAcked?.(bytesLargest, marked);
    return newly;
  }

  /** A lost packet arrived; when all of a congestion event did, the event was none. */
  #onLateAck(at: number): void {
    this.stats.spurious++;
    this.#lossRun.end(); // something did arrive between
    if (!this.#episode.onLateAck(this.#packets.episode(at))) return;
    this.congestion.onSpuriousLoss();
    this.stats.undone++;
  }

  /**
   * RFC 9002 §6.1: losses are a prefix of what is in flight, as sending times ascend. `ack` is the
   * acknowledgement that leads to it, if one does.
   */
  #detectLost(ack: Acknowledgement | undefined, nowUs: number, sink: RecoverySink<F>): void {
    const packets = this.#packets;
    const lossDelayUs = this.rtt.lossDelayUs();
    const from = packets.flight;
    let lostBytes = 0;
    let largestLostSentUs = -Infinity;
    let persistent = false;
    this.#lossTimeUs = NEVER;
    while (packets.flight < packets.tail) {
      const at = packets.flight;
      const packetNumber = packets.packetNumber(at);
      if (packetNumber > this.#largestAcked) break;
      const sentUs = packets.sentUs(at);
      if (
        packetNumber + PACKET_THRESHOLD > this.#largestAcked && sentUs + lossDelayUs > nowUs
      ) {
        this.#lossTimeUs = sentUs + lossDelayUs;
        break;
      }
      const bytes = packets.bytes(at);
      packets.lose(nowUs);
      if (bytes === 0) {
        this.#lossRun.pass(at, packetNumber);
        continue;
      }
      if (sentUs > this.rtt.firstSampleAtUs) {
        const runUs = this.#lossRun.extend(at, packetNumber, sentUs, ack);
        if (runUs > PERSISTENT_CONGESTION_THRESHOLD * this.rtt.ptoUs(this.maxAckDelayUs)) {
          persistent = true;
        }
      }
      lostBytes += bytes;
      if (this.#rate !== undefined) {
        const packet = this.#rate.onLost(at, packetNumber, bytes, sentUs);
        this.congestion.onPacketLost!(packet, nowUs);
      }
      largestLostSentUs = sentUs;
      this.stats.lost++;
    }
    const to = packets.flight;
    if (lostBytes > 0) {
      this.#bytesInFlight -= lostBytes;
      this.#answerLoss(lostBytes, largestLostSentUs, persistent, nowUs);
    }
    for (let at = packets.living(from); at < to; at = packets.living(at + 1)) {
      const counts = packets.bytes(at) > 0;
      packets.setEpisode(at, counts ? this.#episode.onLost() : NO_EPISODE);
      if (counts) {
        sink.onPacketLost?.(packets.packetNumber(at), packets.bytes(at));
      }
      this.#fates.lost(at, sink);
    }
    this.#fates.flushLost(sink);
  }

  #answerLoss(lostBytes: number, largestSentUs: number, persistent: boolean, nowUs: number): void {
    if (this.congestion.onLoss(lostBytes, largestSentUs, nowUs, persistent)) this.#beginEpisode();
    if (persistent) {
      this.stats.persistentCongestions++;
      this.rtt.resetMin();
      this.#lossRun.end(); // answered; a new run must be as long again
    }
  }

  #beginEpisode(): void {
    this.stats.congestionEvents++;
    this.#episode.begin();
  }
}
