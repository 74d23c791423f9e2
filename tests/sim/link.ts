/**
 * One direction of a link: what it does to a packet, decided by its options and generator.
 *
 *   send → MTU, blackhole, loss → queue (tail drop or CoDel, at the rate) → delay, jitter, reorder,
 *   corrupt, duplicate → carrier
 */
import { NEVER, type SeededRandom } from "../../lib/base/mod.ts";
import { Codel, type CodelQueue } from "./codel.ts";

/** Faults and limits of one direction. Rates are probabilities per packet, 0 by default. */
export interface LinkOptions {
  /** Propagation delay. Default 0. */
  delayUs?: number;
  /** Up to so much more delay, uniform; it does not reorder by itself. */
  jitterUs?: number;
  /** Bits per second; absent: no limit and no queue. */
  rateBps?: number;
  /** Packets that wait for the rate before the tail is dropped. Default 1,000. */
  queueMax?: number;
  /** Bytes of lower layers (IP, UDP) that a datagram takes beside its own, for rate and MTU. */
  headerBytes?: number;
  /** Queue length from which ECN-capable packets are marked CE; absent: never. */
  markAt?: number;
  /** "codel": RFC 8289 decides when a packet leaves the queue; without it only the tail is dropped. */
  aqm?: "codel";
  /** A router writes this over every ECN field that is not 0: 0 bleaches, 3 marks everything. */
  ecnField?: number;
  lossRate?: number;
  /** Most packets in a row that `lossRate` takes (as the QUIC network simulator's "burst"). */
  lossRunMax?: number;
  /**
   * Gilbert-Elliott: chance per packet to enter and to leave the bad state, in which all is
   * lost; it ends after usMax (default 500 ms) too, or a backed-off sender would never outlive it.
   */
  burst?: { enter: number; leave: number; usMax?: number };
  /** Packets, counted from 1, that are lost: for scripts. */
  dropNumbers?: readonly number[];
  /** Chance to arrive `reorderDelayUs` (default 5 ms) later than its turn. */
  reorderRate?: number;
  reorderDelayUs?: number;
  duplicateRate?: number;
  /** Chance that one bit is flipped. */
  corruptRate?: number;
  /** Most packets in a row that `corruptRate` takes. */
  corruptRunMax?: number;
  /** Larger packets vanish without a word. */
  mtuBytes?: number;
  /** The path carries less (or more) from a time on: the MTU black hole. */
  mtuChange?: { atUs: number; mtuBytes: number };
  /** All that is sent in fromUs ≤ t < untilUs vanishes. */
  blackholes?: { fromUs: number; untilUs: number }[];
  /** The same again and again: `onUs` of service, then `offUs` of nothing. */
  outage?: { onUs: number; offUs: number };
}

/** A datagram in the network. */
export interface Packet {
  readonly from: string;
  readonly to: string;
  bytes: Uint8Array;
  /** ECN field of the IP header. */
  ecn: number;
  /** When it came to the queue. */
  enqueuedUs: number;
}

/** What a link needs of its network. */
export interface Carrier {
  readonly nowUs: number;
  at(atUs: number, action: () => void): void;
  /** The packet arrives at a time; NEVER: it is lost. `text` says what happened, for the trace. */
  carry(packet: Packet, atUs: number, text: string): void;
}

const QUEUE_MAX_DEFAULT = 1_000;
const REORDER_DELAY_US_DEFAULT = 5_000;
const BURST_US_MAX_DEFAULT = 500_000;
const ECN_CE = 3;

type Burst = NonNullable<LinkOptions["burst"]>;

/** Counters of one direction. */
export class LinkCounts {
  sent = 0;
  sentBytes = 0;
  delivered = 0;
  lost = 0;
  queueDropped = 0;
  aqmDropped = 0;
  tooLarge = 0;
  blackholed = 0;
  corrupted = 0;
  duplicated = 0;
  reordered = 0;
  /** Sent with an ECN field that is not 0, and marked CE by this link. */
  ecnCapable = 0;
  marked = 0;
  /** Longest time in the queue. */
  waitUsMax = 0;

  /** All that never arrived. */
  get dropped(): number {
    return this.lost + this.queueDropped + this.aqmDropped + this.tooLarge + this.blackholed;
  }
}

/** One direction. `options` may be changed while it runs. */
export class Link implements CodelQueue<Packet> {
  readonly counts = new LinkCounts();
  readonly #codel = new Codel();
  #bad = false;
  #badSinceUs = 0;
  #lossRun = 0;
  #corruptRun = 0;
  #queue: Packet[] = [];
  #queueHead = 0;
  #queueBytes = 0;
  /** When the line is free again. */
  #busyUntilUs = 0;
  /** The packet after the one on the line is taken at #busyUntilUs. */
  #scheduled = false;
  #lastArrivalUs = 0;

  constructor(
    public options: LinkOptions,
    readonly random: SeededRandom,
    readonly carrier: Carrier,
  ) {}

  /** Packets that wait, without the one on the line. */
  get waiting(): number {
    return this.#queue.length - this.#queueHead;
  }

  /** Takes a packet in. */
  send(packet: Packet): void {
    const { counts, carrier } = this;
    counts.sent++;
    counts.sentBytes += packet.bytes.length;
    if (packet.ecn !== 0) {
      counts.ecnCapable++;
      packet.ecn = this.options.ecnField ?? packet.ecn;
    }
    const why = this.#fault(packet);
    if (why !== "") return carrier.carry(packet, NEVER, why);
    packet.enqueuedUs = carrier.nowUs;
    if (this.waiting === 0 && this.#busyUntilUs <= carrier.nowUs) return this.#transmit(packet);
    this.#enqueue(packet);
  }

  /** What happens to it before the queue; "": nothing. */
  #fault(packet: Packet): string {
    const { options, random, counts, carrier: { nowUs } } = this;
    const { mtuChange, outage, lossRate = 0 } = options;
    const mtuBytes = mtuChange !== undefined && nowUs >= mtuChange.atUs
      ? mtuChange.mtuBytes
      : options.mtuBytes ?? Infinity;
    if (this.#wireBytes(packet) > mtuBytes) {
      counts.tooLarge++;
      return "larger than the MTU";
    }
    if (
      options.blackholes?.some(({ fromUs, untilUs }) => nowUs >= fromUs && nowUs < untilUs) ||
      (outage !== undefined && nowUs % (outage.onUs + outage.offUs) >= outage.onUs)
    ) {
      counts.blackholed++;
      return "blackhole";
    }
    if (options.burst === undefined) this.#bad = false;
    else this.#turnBurst(options.burst, nowUs);
    if (this.#bad) {
      counts.lost++;
      return "lost in a burst";
    }
    const isLost = lossRate > 0 && this.#lossRun < (options.lossRunMax ?? Infinity) &&
      random.chance(lossRate);
    this.#lossRun = isLost ? this.#lossRun + 1 : 0;
    if (isLost || options.dropNumbers?.includes(counts.sent)) {
      counts.lost++;
      return "lost";
    }
    return "";
  }

  #turnBurst({ enter, leave, usMax = BURST_US_MAX_DEFAULT }: Burst, nowUs: number): void {
    if (this.#bad) {
      this.#bad = !this.random.chance(leave) && nowUs < this.#badSinceUs + usMax;
    } else if (this.random.chance(enter)) {
      this.#bad = true;
      this.#badSinceUs = nowUs;
    }
  }

  #wireBytes({ bytes }: Packet): number {
    return bytes.length + (this.options.headerBytes ?? 0);
  }

  // ---- queue ------------------------------------------------------------------------------

  #enqueue(packet: Packet): void {
    const { options, carrier, counts } = this;
    if (this.waiting >= (options.queueMax ?? QUEUE_MAX_DEFAULT)) {
      counts.queueDropped++;
      return carrier.carry(packet, NEVER, "queue full");
    }
    this.#queue.push(packet);
    this.#queueBytes += this.#wireBytes(packet);
    if (this.waiting + 1 >= (options.markAt ?? Infinity)) this.mark(packet);
    if (this.#scheduled) return;
    this.#scheduled = true;
    carrier.at(this.#busyUntilUs, this.#next);
  }

  /** The line is free: takes the next packet. */
  readonly #next = (): void => {
    this.#scheduled = false;
    const { carrier, counts, options } = this;
    const packet = options.aqm === "codel"
      ? this.#codel.dequeue<Packet>(this, carrier.nowUs)
      : this.shift();
    if (packet === undefined) return;
    counts.waitUsMax = Math.max(counts.waitUsMax, carrier.nowUs - packet.enqueuedUs);
    this.#transmit(packet);
    if (this.waiting === 0) return;
    this.#scheduled = true;
    carrier.at(this.#busyUntilUs, this.#next);
  };

  #transmit(packet: Packet): void {
    const lineUs = this.#wireBytes(packet) * 8e6 / (this.options.rateBps ?? Infinity);
    this.#busyUntilUs = this.carrier.nowUs + lineUs;
    this.#depart(packet, this.#busyUntilUs);
  }

  /** The head of the queue. */
  shift(): Packet | undefined {
    if (this.waiting === 0) return undefined;
    const packet = this.#queue[this.#queueHead++];
    this.#queueBytes -= this.#wireBytes(packet);
    if (this.#queueHead > 1_000 || this.#queueHead === this.#queue.length) {
      this.#queue.splice(0, this.#queueHead);
      this.#queueHead = 0;
    }
    return packet;
  }
  /** Bytes that wait. */
  get bytes(): number {
    return this.#queueBytes;
  }
  enqueuedUs(packet: Packet): number {
    return packet.enqueuedUs;
  }
  /** Marks CE what says that it can be marked. */
  mark(packet: Packet): boolean {
    if (packet.ecn === 0) return false;
    if (packet.ecn !== ECN_CE) this.counts.marked++;
    packet.ecn = ECN_CE;
    return true;
  }
  drop(packet: Packet): void {
    this.counts.aqmDropped++;
    this.carrier.carry(packet, NEVER, "dropped by CoDel");
  }

  // ---- line -------------------------------------------------------------------------------

  /** The last bit is on the line at `leavesUs`. */
  #depart(packet: Packet, leavesUs: number): void {
    const { options: { duplicateRate = 0 }, random, counts } = this;
    const isTwice = duplicateRate > 0 && random.chance(duplicateRate);
    const copy = isTwice ? { ...packet, bytes: packet.bytes.slice() } : undefined;
    this.#arrive(packet, leavesUs, "sent");
    if (copy === undefined) return;
    counts.duplicated++;
    this.#arrive(copy, leavesUs, "duplicate");
  }

  #arrive(packet: Packet, leavesUs: number, text: string): void {
    const { options, random, counts } = this;
    const { jitterUs = 0, reorderRate = 0, corruptRate = 0 } = options;
    counts.delivered++;
    let atUs = leavesUs + (options.delayUs ?? 0);
    if (jitterUs > 0) atUs += random.float() * jitterUs;
    if (reorderRate > 0 && random.chance(reorderRate)) {
      counts.reordered++;
      atUs += options.reorderDelayUs ?? REORDER_DELAY_US_DEFAULT;
      text += ", reordered";
    } else {
      atUs = Math.max(atUs, this.#lastArrivalUs);
      this.#lastArrivalUs = atUs;
    }
    const isCorrupt = corruptRate > 0 && this.#corruptRun < (options.corruptRunMax ?? Infinity) &&
      random.chance(corruptRate);
    this.#corruptRun = isCorrupt ? this.#corruptRun + 1 : 0;
    if (isCorrupt) {
      counts.corrupted++;
      const bit = random.below(8 * packet.bytes.length);
      packet.bytes[bit >>> 3] ^= 1 << (bit & 7);
      text += `, bit ${bit} flipped`;
    }
    this.carrier.carry(packet, atUs, text);
  }
}
