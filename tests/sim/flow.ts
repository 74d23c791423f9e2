/**
 * The smallest transport there can be around LossRecovery: a sender of endless data and a receiver
 * that acknowledges. It shows what recovery and congestion control do on a simulated path, apart
 * from streams and frames.
 *
 * data: "D" number u32, padding   ack: "A" delay u32 ce u32, then high u32 low u32 pairs
 */
import { NEVER } from "../../lib/base/mod.ts";
import { type CongestionController } from "../../lib/l3_stream/congestion/mod.ts";
import { RangeSet } from "../../lib/l3_stream/ranges.ts";
import { LossRecovery } from "../../lib/l3_stream/recovery.ts";
import { RttEstimator } from "../../lib/l3_stream/rtt.ts";
import type { SimDatagram, SimHost } from "./network.ts";

const DATA = 0x44;
const ACK = 0x41;
const ACK_HEADER = 9;
const MAX_ACK_DELAY_US = 25_000;

/** Options of a FlowSender. */
export interface FlowOptions {
  to: string;
  congestion: CongestionController;
  /** Nothing new is sent before this virtual time. */
  startUs?: number;
  /** Datagrams to send before it stops; default: no end. */
  datagramsMax?: number;
  /** ECN field of the datagrams. */
  ecn?: number;
}

/** Sends full packets for as long as window and pacing admit. */
export class FlowSender implements SimHost {
  readonly recovery: LossRecovery<number>;
  /** Datagram payloads known to have arrived, each counted once. */
  acked = 0;
  windowBytesLargest = 0;
  #nextNumber = 0;
  #fresh = 0;
  #again = 0;
  #probes = 0;
  #sendAtUs: number;
  readonly #sink = {
    onAcked: () => this.acked++,
    onLost: () => this.#again++,
    onLateAck: () => {
      this.acked++;
      this.#again = Math.max(0, this.#again - 1);
    },
  };

  constructor(readonly options: FlowOptions) {
    this.#sendAtUs = options.startUs ?? 0;
    this.recovery = new LossRecovery<number>({
      congestion: options.congestion,
      rtt: new RttEstimator(),
      maxAckDelayUs: MAX_ACK_DELAY_US,
    });
  }

  receive(bytes: Uint8Array, _from: string, nowUs: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (bytes[0] !== ACK) return;
    const ranges: number[] = [];
    for (let at = ACK_HEADER; at + 8 <= bytes.length; at += 8) {
      ranges.push(view.getUint32(at), view.getUint32(at + 4));
    }
    const ack = {
      largest: ranges[0],
      ackDelayUs: view.getUint32(1),
      ce: view.getUint32(5),
      ranges,
      rangeCount: ranges.length / 2,
    };
    if (this.recovery.onAck(ack, nowUs, this.#sink) !== 0) throw new Error("bad ACK");
    this.windowBytesLargest = Math.max(
      this.windowBytesLargest,
      this.recovery.congestion.windowBytes,
    );
  }

  poll(nowUs: number): SimDatagram[] {
    const { to, congestion, startUs = 0, datagramsMax = Infinity, ecn } = this.options;
    if (this.recovery.onTimeout(nowUs, this.#sink) === "pto") this.#probes = 2;
    const out: SimDatagram[] = [];
    const size = congestion.datagramBytes;
    this.#sendAtUs = NEVER;
    while (this.#again > 0 || this.#fresh < datagramsMax || this.#probes > 0) {
      if (nowUs < startUs) {
        this.#sendAtUs = startUs;
        break;
      }
      if (this.#probes > 0) this.#probes--;
      else {
        if (!this.recovery.canSend(size)) break;
        const delayUs = this.recovery.pacingDelayUs(size, nowUs);
        if (delayUs > 0) {
          this.#sendAtUs = nowUs + delayUs;
          break;
        }
      }
      if (this.#again > 0) this.#again--;
      else this.#fresh++;
      const bytes = new Uint8Array(size);
      bytes[0] = DATA;
      new DataView(bytes.buffer).setUint32(1, this.#nextNumber);
      this.recovery.onSent(this.#nextNumber, size, true, this.#nextNumber, nowUs);
      this.#nextNumber++;
      out.push({ to, bytes, ecn });
    }
    return out;
  }

  nextTimeoutUs(): number {
    return Math.min(this.#sendAtUs, this.recovery.timeoutUs());
  }
}

/** Acknowledges every second packet, at once when out of order, else within 25 ms. */
export class FlowReceiver implements SimHost {
  readonly received = new RangeSet({ rangesMax: 32 });
  bytes = 0;
  #from = "";
  #pending = 0;
  #largestAtUs = 0;
  #ackAtUs = NEVER;
  #ce = 0;

  receive(bytes: Uint8Array, from: string, nowUs: number, ecn: number): void {
    if (bytes[0] !== DATA) return;
    this.#from = from;
    if (ecn === 3) this.#ce++;
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
    const expected = this.received.largest + 1;
    if (number >= expected) this.#largestAtUs = nowUs;
    if (this.received.insert(number)) this.bytes += bytes.length;
    this.#pending++;
    if (this.#pending >= 2 || number !== expected) this.#ackAtUs = nowUs;
    else if (this.#ackAtUs === NEVER) this.#ackAtUs = nowUs + MAX_ACK_DELAY_US;
  }

  poll(nowUs: number): SimDatagram[] {
    if (nowUs < this.#ackAtUs) return [];
    this.#ackAtUs = NEVER;
    this.#pending = 0;
    const ranges: number[] = [];
    const count = this.received.writeDescending(ranges);
    const bytes = new Uint8Array(ACK_HEADER + 8 * count);
    const view = new DataView(bytes.buffer);
    bytes[0] = ACK;
    view.setUint32(1, nowUs - this.#largestAtUs);
    view.setUint32(5, this.#ce);
    for (let i = 0; i < 2 * count; i++) view.setUint32(ACK_HEADER + 4 * i, ranges[i]);
    return [{ to: this.#from, bytes }];
  }

  nextTimeoutUs(): number {
    return this.#ackAtUs;
  }
}
