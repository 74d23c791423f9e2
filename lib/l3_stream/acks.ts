/**
 * What to acknowledge and when (docs/protocol.md §5.4, RFC 9000 §13.2): within max_ack_delay; at
 * once for the second unacknowledged ack-eliciting packet, one out of order, or a CE mark.
 */
import { NEVER } from "../base/mod.ts";
import type { AckSource } from "./frames/ack.ts";
import { NACK_PACKETS_MAX, NACK_RANGES_MAX } from "./frames/nack.ts";
import { RangeSet } from "./ranges.ts";

/** Ranges remembered; older ones are forgotten, their packets then count as lost to the sender. */
export const ACK_RANGES_KEPT = 32;
/** RFC 9000 §13.2.2: acknowledge at least every second ack-eliciting packet. */
const ELICITING_PACKETS_MAX = 2;

/**
 * Ours: after a packet out of order or repeated data the acknowledgement is given again so many times, max_ack_delay
 * apart. Where packets get lost acknowledgements do too, and the sender's next chance is a probe
 * after a doubled timeout. Under steady traffic the next regular acknowledgements are the repeats.
 */
const REPEATS = 2;

/** ECN codepoints as the IP header has them (RFC 3168 §5). */
export const ECN_ECT1 = 1;
export const ECN_ECT0 = 2;
export const ECN_CE = 3;

export class AckTracker implements AckSource {
  readonly #ranges = new RangeSet({ rangesMax: ACK_RANGES_KEPT });
  #largestUs = 0;
  #unacknowledged = 0;
  #deadlineUs = NEVER;
  #repeatsLeft = 0;
  /** When the newest packet that left a gap behind it arrived; NEVER: the gap was told of. */
  #gapUs = NEVER;
  ect0 = 0;
  ect1 = 0;
  ce = 0;

  constructor(readonly maxAckDelayUs: number) {}

  get count(): number {
    return this.#ranges.count;
  }
  highAt(i: number): number {
    return this.#ranges.highs[this.#ranges.count - 1 - i];
  }
  lowAt(i: number): number {
    return this.#ranges.lows[this.#ranges.count - 1 - i];
  }

  /** When an acknowledgement must leave; NEVER when none is owed. */
  get deadlineUs(): number {
    return this.#deadlineUs;
  }
  /** Whether one is owed, so that it may ride along with other frames. */
  get owed(): boolean {
    return this.#unacknowledged > 0;
  }
  get largest(): number {
    return this.#ranges.largest;
  }
  /** How long the largest packet has waited. */
  delayUs(nowUs: number): number {
    return nowUs - this.#largestUs;
  }

  /** Records a packet whose frames were all taken. */
  onPacket(packetNumber: number, ackEliciting: boolean, ecn: number, nowUs: number): void {
    this.onPackets(packetNumber, 1, ackEliciting, ecn, nowUs);
  }

  /** The same for `count` packets with successive numbers. */
  onPackets(
    packetNumber: number,
    count: number,
    ackEliciting: boolean,
    ecn: number,
    nowUs: number,
  ): void {
    const expected = this.#ranges.largest + 1;
    if (packetNumber >= expected) this.#largestUs = nowUs;
    if (count === 1) this.#ranges.insert(packetNumber);
    else this.#ranges.insertRange(packetNumber, packetNumber + count - 1);
    if (packetNumber > expected) this.#gapUs = nowUs;
    if (ecn === ECN_ECT0) this.ect0 += count;
    else if (ecn === ECN_ECT1) this.ect1 += count;
    else if (ecn === ECN_CE) this.ce += count;
    if (!ackEliciting) return;
    this.#unacknowledged += count;
    if (packetNumber !== expected) this.#repeatsLeft = REPEATS;
    const atOnce = packetNumber !== expected || ecn === ECN_CE ||
      this.#unacknowledged >= ELICITING_PACKETS_MAX;
    this.#deadlineUs = Math.min(this.#deadlineUs, atOnce ? nowUs : nowUs + this.maxAckDelayUs);
  }

  /** Sends what is owed now: a peer waits for its first round-trip sample. */
  hurry(nowUs: number): void {
    this.#deadlineUs = Math.min(this.#deadlineUs, nowUs);
  }

  /** The peer sent again what is here already: our acknowledgement got lost. */
  onRepeatedData(nowUs: number): void {
    this.#repeatsLeft = REPEATS;
    this.hurry(nowUs);
  }

  /**
   * §5.4: packets to name in a DATA_NACK with the acknowledgement that is being written, as flat
   * highest, lowest pairs; how many ranges. That is once for each gap, when it is max_ack_delay
   * old: by then the packets were not just overtaken, and too few came behind them for the sender
   * to know by itself.
   */
  takeMissing(ranges: number[], nowUs: number): number {
    if (nowUs < this.#gapUs + this.maxAckDelayUs) return 0;
    this.#gapUs = NEVER;
    let count = 0;
    for (let i = 1; i < this.count && count < NACK_RANGES_MAX; i++) {
      const high = this.lowAt(i - 1) - 1;
      if (high < this.largest - NACK_PACKETS_MAX) break; // so old that the sender knows
      ranges[2 * count] = high;
      ranges[2 * count + 1] = Math.max(this.highAt(i) + 1, high - NACK_PACKETS_MAX + 1);
      count++;
    }
    return count;
  }

  /** An acknowledgement of everything left; it may be owed again when packets get lost here. */
  onSent(nowUs: number): void {
    this.#unacknowledged = 0;
    this.#deadlineUs = this.#repeatsLeft > 0 ? nowUs + this.maxAckDelayUs : NEVER;
    if (this.#repeatsLeft > 0) this.#repeatsLeft--;
  }

  /**
   * The peer has our acknowledgement up to `largest`: older ranges need not be repeated (RFC 9000
   * §13.2.4). The newest value stays, so that order can still be told.
   */
  onAckAcked(largest: number): void {
    this.#ranges.dropBelow(Math.min(largest, this.#ranges.largest));
  }
}
