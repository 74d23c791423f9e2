/**
 * A cheap model of flows through one bottleneck: LossRecovery and its congestion controller for
 * real, packets as numbers. Millions of packets take seconds, where the network of network.ts
 * would take minutes; it has no faults but those below. Virtual time, seeded.
 *
 *   sender → loss, policer → queue (tail drop, marks) at the rate → delay → receiver → delay, bunches
 */
import { NEVER, SeededRandom } from "../../lib/base/mod.ts";
import type { CongestionController } from "../../lib/l3_stream/congestion/mod.ts";
import { RangeSet } from "../../lib/l3_stream/ranges.ts";
import { LossRecovery } from "../../lib/l3_stream/recovery.ts";
import { RttEstimator } from "../../lib/l3_stream/rtt.ts";

const MAX_ACK_DELAY_US = 25_000;

export interface BottleneckOptions {
  rateBps: number;
  /** One way; the other way is as long. */
  delayUs: number;
  queueBytes: number;
  /** Chance of each packet to vanish before the queue. */
  lossRate?: number;
  /** Every so manieth packet vanishes: the deterministic loss of RFC 9438 §5.1. */
  dropEvery?: number;
  /** Vanishes what exceeds a token bucket, before the queue. */
  policer?: { rateBps: number; burstBytes: number };
  /** Queue above which packets are marked CE. */
  markAtBytes?: number;
  /** What is sent before this time arrives at that time, all at once. */
  hold?: { untilUs: number; arriveUs: number };
  /** Acknowledgements reach the sender at multiples of this only. */
  bunchUs?: number;
  /** Chance of each packet to arrive so much later than its turn. */
  reorderRate?: number;
  reorderDelayUs?: number;
}

interface Ack {
  atUs: number;
  largest: number;
  ackDelayUs: number;
  ranges: number[];
  rangeCount: number;
  ce: number;
}

/** One sender with its receiver. */
export class ModelFlow {
  readonly recovery: LossRecovery<never>;
  /** Bytes that arrived. */
  arrivedBytes = 0;
  /** Called after each ACK was taken. */
  onAck: ((nowUs: number) => void) | undefined;

  wakeUs: number;
  readonly acks: Ack[] = [];
  readonly arrivals: { atUs: number; packet: number; isMarked: boolean }[] = [];
  ackAtUs = NEVER;
  #appRate = Infinity;
  #next = 0;
  #probes = 0;
  #writtenBytes = 0;
  #writtenUs = 0;
  readonly #received = new RangeSet({ rangesMax: 16 });
  #pending = 0;
  #largestAtUs = 0;
  #ce = 0;
  readonly #sink = { onAcked: () => {}, onLost: () => {} };

  constructor(readonly congestion: CongestionController, startUs = 0) {
    this.wakeUs = startUs;
    this.#writtenUs = startUs;
    this.recovery = new LossRecovery<never>({
      congestion,
      rtt: new RttEstimator(),
      maxAckDelayUs: MAX_ACK_DELAY_US,
    });
  }

  /** Bytes per second that the application writes from now on; Infinity: as much as may be sent. */
  setAppRate(rate: number, nowUs: number): void {
    this.#appRate = rate;
    this.#writtenBytes = 0;
    this.#writtenUs = this.wakeUs = nowUs;
  }

  /** Bytes that the application has ready; what it did not write while idle is gone. */
  #readyBytes(nowUs: number): number {
    if (this.#appRate === Infinity) return Infinity;
    this.#writtenBytes += this.#appRate * (nowUs - this.#writtenUs) / 1e6;
    this.#writtenUs = nowUs;
    return this.#writtenBytes;
  }

  /** Hands out what may leave now and says when to be asked again. */
  send(nowUs: number, link: (flow: ModelFlow, packet: number, bytes: number) => void): void {
    const { recovery } = this;
    const bytes = this.congestion.datagramBytes;
    if (recovery.onTimeout(nowUs, this.#sink) === "pto") this.#probes = 2;
    this.wakeUs = NEVER;
    const ready = this.#readyBytes(nowUs);
    let sent = 0;
    for (;;) {
      if (this.#probes > 0) this.#probes--;
      else {
        if (ready - sent < bytes) {
          recovery.onNothingToSend();
          if (this.#appRate > 0) this.wakeUs = nowUs + (bytes - ready + sent) * 1e6 / this.#appRate;
          break;
        }
        if (!recovery.canSend(bytes)) break;
        const delayUs = recovery.pacingDelayUs(bytes, nowUs);
        if (delayUs > 0) {
          this.wakeUs = nowUs + delayUs;
          break;
        }
      }
      recovery.onSent(this.#next, bytes, true, undefined, nowUs);
      link(this, this.#next++, bytes);
      sent += bytes;
    }
    if (ready !== Infinity) this.#writtenBytes = Math.max(0, ready - sent);
    else this.#writtenUs = nowUs;
    this.wakeUs = Math.min(this.wakeUs, recovery.timeoutUs());
  }

  takeAck(ack: Ack): void {
    if (this.recovery.onAck(ack, ack.atUs, this.#sink) !== 0) throw new Error("bad ACK");
    this.onAck?.(ack.atUs);
  }

  /** As a receiver: every second packet is acknowledged, at once when out of order. */
  arrive(packet: number, isMarked: boolean, nowUs: number): void {
    const expected = this.#received.largest + 1;
    if (packet >= expected) this.#largestAtUs = nowUs;
    if (this.#received.insert(packet)) this.arrivedBytes += this.congestion.datagramBytes;
    if (isMarked) this.#ce++;
    if (++this.#pending >= 2 || packet !== expected) this.ackAtUs = nowUs;
    else if (this.ackAtUs === NEVER) this.ackAtUs = nowUs + MAX_ACK_DELAY_US;
  }

  writeAck(nowUs: number, atUs: number): void {
    this.ackAtUs = NEVER;
    this.#pending = 0;
    const ranges: number[] = [];
    const rangeCount = this.#received.writeDescending(ranges);
    const ackDelayUs = nowUs - this.#largestAtUs;
    this.acks.push({ atUs, largest: ranges[0], ackDelayUs, ranges, rangeCount, ce: this.#ce });
  }
}

/** Runs flows through the bottleneck, whose options may be changed on the way. */
export class Bottleneck {
  nowUs = 0;
  dropped = 0;
  carried = 0;
  readonly flows: ModelFlow[] = [];
  readonly #random: SeededRandom;
  #busyUntilUs = 0;
  #tokens = 0;
  #tokensUs = 0;

  constructor(readonly options: BottleneckOptions, seed = 1) {
    this.#random = new SeededRandom(seed);
    this.#tokens = options.policer?.burstBytes ?? 0;
  }

  add(congestion: CongestionController, startUs = 0): ModelFlow {
    const flow = new ModelFlow(congestion, startUs);
    this.flows.push(flow);
    return flow;
  }

  /** Bytes that wait. */
  get queuedBytes(): number {
    return Math.max(0, this.#busyUntilUs - this.nowUs) * this.options.rateBps / 8e6;
  }

  /** Until a time, or until `isDone` holds (asked after each event). True when it came to hold. */
  run(untilUs: number, isDone?: () => boolean): boolean {
    for (;;) {
      let flow = this.flows[0];
      let atUs = NEVER;
      for (const each of this.flows) {
        const nextUs = Math.min(
          each.wakeUs,
          each.ackAtUs,
          each.acks.length > 0 ? each.acks[0].atUs : NEVER,
          each.arrivals.length > 0 ? each.arrivals[0].atUs : NEVER,
        );
        if (nextUs < atUs) {
          atUs = nextUs;
          flow = each;
        }
      }
      if (atUs > untilUs) {
        this.nowUs = untilUs;
        return false;
      }
      this.nowUs = Math.max(this.nowUs, atUs);
      this.#turn(flow);
      if (isDone?.()) return true;
    }
  }

  #turn(flow: ModelFlow): void {
    const { nowUs } = this;
    const { delayUs, bunchUs = 0 } = this.options;
    if (flow.arrivals.length > 0 && flow.arrivals[0].atUs <= nowUs) {
      const { packet, isMarked } = flow.arrivals.shift()!;
      flow.arrive(packet, isMarked, nowUs);
    } else if (flow.acks.length > 0 && flow.acks[0].atUs <= nowUs) {
      flow.takeAck(flow.acks.shift()!);
      // What comes in one bunch is taken before anything is sent.
      if (flow.acks.length === 0 || flow.acks[0].atUs > nowUs) this.#send(flow);
    } else if (flow.wakeUs <= nowUs) this.#send(flow);
    if (flow.ackAtUs > nowUs) return;
    const backUs = nowUs + delayUs;
    flow.writeAck(nowUs, bunchUs > 0 ? Math.ceil(backUs / bunchUs) * bunchUs : backUs);
  }

  #send(flow: ModelFlow): void {
    flow.send(this.nowUs, this.#carry);
  }

  readonly #carry = (flow: ModelFlow, packet: number, bytes: number): void => {
    const { nowUs, options } = this;
    const isLost = (options.lossRate !== undefined && this.#random.chance(options.lossRate)) ||
      (packet + 1) % (options.dropEvery ?? Infinity) === 0;
    const exceeds = this.queuedBytes + bytes > options.queueBytes;
    if (isLost || !this.#conforms(bytes) || exceeds) {
      this.dropped++;
      return;
    }
    this.carried++;
    const isMarked = options.markAtBytes !== undefined && this.queuedBytes > options.markAtBytes;
    this.#busyUntilUs = Math.max(nowUs, this.#busyUntilUs) + bytes * 8e6 / options.rateBps;
    let atUs = this.#busyUntilUs + options.delayUs;
    const { hold } = options;
    if (hold !== undefined && nowUs < hold.untilUs) atUs = hold.arriveUs;
    if (options.reorderRate !== undefined && this.#random.chance(options.reorderRate)) {
      atUs += options.reorderDelayUs ?? 0;
    }
    let place = flow.arrivals.length;
    while (place > 0 && flow.arrivals[place - 1].atUs > atUs) place--;
    flow.arrivals.splice(place, 0, { atUs, packet, isMarked });
  };

  #conforms(bytes: number): boolean {
    const { policer } = this.options;
    if (policer === undefined) return true;
    const earned = (this.nowUs - this.#tokensUs) * policer.rateBps / 8e6;
    this.#tokens = Math.min(policer.burstBytes, this.#tokens + earned);
    this.#tokensUs = this.nowUs;
    if (this.#tokens < bytes) return false;
    this.#tokens -= bytes;
    return true;
  }
}

/** Jain's fairness index: 1 when all have the same. */
export function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, x) => total + x, 0);
  return sum * sum / (shares.length * shares.reduce((total, x) => total + x * x, 0));
}
