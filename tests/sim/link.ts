/** One direction of a link: what it does to a datagram, decided by its options and generator. */
import { NEVER, type SeededRandom } from "../../lib/base/mod.ts";

/** Faults and limits of one direction. Rates are probabilities per datagram, 0 by default. */
export interface LinkOptions {
  /** Propagation delay. Default 0. */
  delayUs?: number;
  /** Up to so much more delay, uniform; it does not reorder by itself. */
  jitterUs?: number;
  /** Bits per second; absent: no limit and no queue. */
  rateBps?: number;
  /** Datagrams that wait for the rate before the tail is dropped. Default 1,000. */
  queueMax?: number;
  /** Queue length from which ECN-capable datagrams are marked CE; absent: never. */
  markAt?: number;
  lossRate?: number;
  /**
   * Gilbert-Elliott: chance per datagram to enter and to leave the bad state, in which all is
   * lost; it ends after usMax (default 500 ms) too, or a backed-off sender would never outlive it.
   */
  burst?: { enter: number; leave: number; usMax?: number };
  /** Chance to arrive `reorderDelayUs` (default 5 ms) later than its turn. */
  reorderRate?: number;
  reorderDelayUs?: number;
  duplicateRate?: number;
  /** Chance that one bit is flipped. */
  corruptRate?: number;
  /** Larger datagrams vanish. */
  mtuBytes?: number;
  /** All that is sent in fromUs ≤ t < untilUs vanishes. */
  blackholes?: { fromUs: number; untilUs: number }[];
}

/** What happens to one copy of a datagram; atUs NEVER: it is lost. */
export interface Fate {
  atUs: number;
  /** Bit to flip, -1 none. */
  flipBit: number;
  ecn: number;
  /** For the trace. */
  text: string;
}

const QUEUE_MAX_DEFAULT = 1_000;
const REORDER_DELAY_US_DEFAULT = 5_000;
const BURST_US_MAX_DEFAULT = 500_000;
const ECN_CE = 3;

type Burst = NonNullable<LinkOptions["burst"]>;

/** One direction. `options` may be changed while it runs. */
export class Link {
  readonly counts = {
    sent: 0,
    sentBytes: 0,
    delivered: 0,
    lost: 0,
    queueDropped: 0,
    tooLarge: 0,
    blackholed: 0,
    corrupted: 0,
    duplicated: 0,
    reordered: 0,
    marked: 0,
  };
  #bad = false;
  #badSinceUs = 0;
  /** When each waiting datagram has left the queue, ascending; those before `#queueHead` are gone. */
  #leavesUs: number[] = [];
  #queueHead = 0;
  #lastArrivalUs = 0;

  constructor(public options: LinkOptions, readonly random: SeededRandom) {}

  /** Decides on a datagram: one fate for each copy that arrives, or one that tells of its loss. */
  send(bytes: Uint8Array, ecn: number, nowUs: number): Fate[] {
    const { options, random, counts } = this;
    counts.sent++;
    counts.sentBytes += bytes.length;
    if (bytes.length > (options.mtuBytes ?? Infinity)) {
      counts.tooLarge++;
      return lost("larger than the MTU");
    }
    if (options.blackholes?.some(({ fromUs, untilUs }) => nowUs >= fromUs && nowUs < untilUs)) {
      counts.blackholed++;
      return lost("blackhole");
    }
    if (options.burst !== undefined) this.#turnBurst(options.burst, nowUs);
    if (this.#bad || random.chance(options.lossRate ?? 0)) {
      counts.lost++;
      return lost(this.#bad ? "lost in a burst" : "lost");
    }
    const leavesUs = this.#enqueue(bytes.length, nowUs);
    if (leavesUs === NEVER) {
      counts.queueDropped++;
      return lost("queue full");
    }
    const waiting = this.#leavesUs.length - this.#queueHead;
    if (ecn !== 0 && ecn !== ECN_CE && waiting >= (options.markAt ?? Infinity)) {
      ecn = ECN_CE;
      counts.marked++;
    }
    const fates = [this.#arrival(bytes.length, ecn, leavesUs)];
    if (random.chance(options.duplicateRate ?? 0)) {
      counts.duplicated++;
      fates.push({ ...this.#arrival(bytes.length, ecn, leavesUs), text: "duplicate" });
    }
    return fates;
  }

  #turnBurst({ enter, leave, usMax = BURST_US_MAX_DEFAULT }: Burst, nowUs: number): void {
    if (this.#bad) {
      this.#bad = !this.random.chance(leave) && nowUs < this.#badSinceUs + usMax;
    } else if (this.random.chance(enter)) {
      this.#bad = true;
      this.#badSinceUs = nowUs;
    }
  }

  /** When the last bit is on the wire; NEVER when the queue is full. */
  #enqueue(length: number, nowUs: number): number {
    const { rateBps, queueMax = QUEUE_MAX_DEFAULT } = this.options;
    if (rateBps === undefined) return nowUs;
    const queue = this.#leavesUs;
    while (this.#queueHead < queue.length && queue[this.#queueHead] <= nowUs) this.#queueHead++;
    if (this.#queueHead > 1_000) {
      queue.splice(0, this.#queueHead);
      this.#queueHead = 0;
    }
    const waiting = queue.length - this.#queueHead;
    if (waiting > queueMax) return NEVER; // one of them is being sent, the others wait
    const startUs = waiting === 0 ? nowUs : queue[queue.length - 1];
    const leavesUs = startUs + length * 8e6 / rateBps;
    queue.push(leavesUs);
    return leavesUs;
  }

  #arrival(length: number, ecn: number, leavesUs: number): Fate {
    const { options, random, counts } = this;
    counts.delivered++;
    let atUs = leavesUs + (options.delayUs ?? 0) + random.float() * (options.jitterUs ?? 0);
    let text = "sent";
    if (random.chance(options.reorderRate ?? 0)) {
      counts.reordered++;
      atUs += options.reorderDelayUs ?? REORDER_DELAY_US_DEFAULT;
      text = "reordered";
    } else {
      atUs = Math.max(atUs, this.#lastArrivalUs);
      this.#lastArrivalUs = atUs;
    }
    let flipBit = -1;
    if (random.chance(options.corruptRate ?? 0)) {
      counts.corrupted++;
      flipBit = random.below(8 * length);
      text += `, bit ${flipBit} flipped`;
    }
    return { atUs, flipBit, ecn, text };
  }
}

function lost(text: string): Fate[] {
  return [{ atUs: NEVER, flipBit: -1, ecn: 0, text }];
}
