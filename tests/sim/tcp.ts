/**
 * A model of TCP with CUBIC for cross traffic: segments of 1,448 bytes numbered in whole segments,
 * cumulative acknowledgements with SACK blocks (RFC 2018), loss recovery by SACK (RFC 6675), RTO
 * (RFC 6298) and CUBIC (RFC 9438), written apart from lib on purpose: it is the other side that
 * ours is compared with. No handshake, no pacing, an endless sender.
 *
 * segment: "T" number u32, padding   ack: "t" next u32, SACK blocks (from u32 until u32), zeroes,
 * which read as empty blocks
 */
import { NEVER } from "../../lib/base/mod.ts";
import type { SimDatagram, SimHost } from "./network.ts";

const SEGMENT = 0x54;
const ACK = 0x74;
const SEGMENT_BYTES = 1_448;
/** IPv4 and TCP with timestamps take 52 bytes, of which a link's `headerBytes` counts 36. */
const EXTRA_HEADER_BYTES = 16;
const SACK_BLOCKS_MAX = 3;
/** RFC 6675 §2, DupThresh. */
const DUP_THRESH = 3;
/** RFC 6928: initial window. */
const INITIAL_WINDOW = 10;
/** Linux's values: least RTO, and how long an acknowledgement may wait. */
const RTO_US_MIN = 200_000;
const DELAYED_ACK_US = 40_000;
const RTO_US_INITIAL = 1_000_000;
const RTO_US_MAX = 60_000_000;
/** RFC 9438 §4.6, §5: multiplicative decrease and the constant C, segments per second cubed. */
const BETA = 0.7;
const C = 0.4;
/** RFC 9438 §4.3: the increase with which AIMD at this β has the average window of Reno. */
const ALPHA = 3 * (1 - BETA) / (1 + BETA);

/** The window of RFC 9438, in segments. */
export class TcpCubic {
  window = INITIAL_WINDOW;
  #threshold = Infinity;
  #windowMax = 0;
  #epochUs = NEVER;
  #epochWindow = 0;
  #k = 0;
  #estimate = 0;

  get inSlowStart(): boolean {
    return this.window < this.#threshold;
  }

  /** So many segments were newly acknowledged, outside of recovery. */
  onAck(segments: number, rttUs: number, nowUs: number): void {
    if (this.inSlowStart) {
      this.window += segments;
      return;
    }
    if (this.#epochUs === NEVER) this.#begin(nowUs);
    const seconds = (nowUs - this.#epochUs) / 1e6;
    const cubic = C * (seconds + rttUs / 1e6 - this.#k) ** 3 + this.#windowMax;
    const cubicNow = C * (seconds - this.#k) ** 3 + this.#windowMax;
    // §4.3: past the last maximum the estimate grows as Reno's window does.
    const alpha = this.#estimate >= this.#windowMax ? 1 : ALPHA;
    this.#estimate += alpha * segments / this.window;
    if (cubicNow < this.#estimate) {
      this.window = Math.max(this.window, this.#estimate);
    } else {
      // §4.4, §4.5: towards the target, which is at most half as much again.
      const target = Math.min(Math.max(cubic, this.window), 1.5 * this.window);
      this.window += segments * (target - this.window) / this.window;
    }
  }

  /** §4.6, §4.7: less on a loss, and fast convergence when the maximum sinks. */
  onLoss(): void {
    this.#windowMax = this.window < this.#windowMax ? this.window * (1 + BETA) / 2 : this.window;
    this.window = this.#threshold = Math.max(2, this.window * BETA);
    this.#epochUs = NEVER;
  }

  /** §4.8: a retransmission timeout begins again with one segment. */
  onTimeout(): void {
    this.onLoss();
    this.window = 1;
  }

  #begin(nowUs: number): void {
    this.#epochUs = nowUs;
    this.#epochWindow = this.window;
    this.#estimate = this.window;
    if (this.#windowMax < this.window) this.#windowMax = this.window;
    this.#k = Math.cbrt((this.#windowMax - this.#epochWindow) / C);
  }
}

/** Sends without end, from a time on. */
export class TcpSender implements SimHost {
  readonly cubic = new TcpCubic();
  /** Segments acknowledged in order. */
  acked = 0;
  retransmitted = 0;
  timeouts = 0;
  /** For the average window: its sum over acknowledgements, and how many. */
  windowSum = 0;
  windowSamples = 0;
  #next = 0;
  /** When each outstanding segment was sent first; only those never sent again give samples. */
  readonly #sentUs = new Map<number, number>();
  readonly #sacked = new Set<number>();
  /** Sent again since. */
  readonly #again = new Set<number>();
  /** Known as lost and not sent again yet. */
  readonly #lost = new Set<number>();
  #highestSacked = -1;
  /** Recovery ends when everything sent before it began is acknowledged. */
  #recoverAt = -1;
  #srttUs = 0;
  #varianceUs = 0;
  #backoff = 1;
  #timerUs = NEVER;

  constructor(readonly to: string, readonly startUs = 0) {}

  get #rtoUs(): number {
    if (this.#srttUs === 0) return RTO_US_INITIAL * this.#backoff;
    const rtoUs = this.#srttUs + Math.max(4 * this.#varianceUs, 0);
    return Math.min(Math.max(rtoUs, RTO_US_MIN) * this.#backoff, RTO_US_MAX);
  }

  receive(bytes: Uint8Array, _from: string, nowUs: number): void {
    if (bytes[0] !== ACK) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const next = view.getUint32(1);
    let delivered = 0;
    for (let at = 5; at + 8 <= bytes.length; at += 8) {
      for (let n = view.getUint32(at); n < view.getUint32(at + 4); n++) {
        if (n < this.acked || this.#sacked.has(n)) continue;
        this.#sacked.add(n);
        this.#lost.delete(n);
        delivered++;
        this.#highestSacked = Math.max(this.#highestSacked, n);
        this.#sample(n, nowUs);
      }
    }
    const advanced = next - this.acked;
    for (; this.acked < next; this.acked++) {
      if (!this.#sacked.delete(this.acked)) delivered++;
      this.#sample(this.acked, nowUs);
      this.#lost.delete(this.acked);
      this.#again.delete(this.acked);
    }
    this.#findLost();
    const inRecovery = this.acked <= this.#recoverAt;
    if (!inRecovery && delivered > 0) this.cubic.onAck(delivered, this.#srttUs, nowUs);
    if (advanced > 0) {
      this.#backoff = 1;
      this.#timerUs = nowUs + this.#rtoUs;
    }
    this.windowSum += this.cubic.window;
    this.windowSamples++;
  }

  /** RFC 6298 §2 with Karn's rule: a segment sent again tells nothing. */
  #sample(n: number, nowUs: number): void {
    const sentUs = this.#sentUs.get(n);
    this.#sentUs.delete(n);
    if (sentUs === undefined || this.#again.has(n)) return;
    const rttUs = nowUs - sentUs;
    if (this.#srttUs === 0) {
      this.#srttUs = rttUs;
      this.#varianceUs = rttUs / 2;
    } else {
      this.#varianceUs += (Math.abs(this.#srttUs - rttUs) - this.#varianceUs) / 4;
      this.#srttUs += (rttUs - this.#srttUs) / 8;
    }
  }

  /** RFC 6675 §4, IsLost: three segments above were received. Begins recovery when it is new. */
  #findLost(): void {
    let above = this.#sacked.size;
    let found = false;
    for (let n = this.acked; n <= this.#highestSacked && above >= DUP_THRESH; n++) {
      if (this.#sacked.has(n)) {
        above--;
      } else if (!this.#lost.has(n) && !this.#again.has(n)) {
        this.#lost.add(n);
        found = true;
      }
    }
    if (!found || this.acked <= this.#recoverAt) return;
    this.#recoverAt = this.#next - 1;
    this.cubic.onLoss();
  }

  /** Segments in the network, as far as we know (RFC 6675 §4, pipe). */
  get #pipe(): number {
    return this.#next - this.acked - this.#sacked.size - this.#lost.size;
  }

  poll(nowUs: number): SimDatagram[] {
    if (nowUs < this.startUs) return [];
    if (nowUs >= this.#timerUs) this.#onTimeout(nowUs);
    const out: SimDatagram[] = [];
    while (this.#pipe < Math.floor(this.cubic.window)) {
      const [lost] = this.#lost;
      let n = this.#next;
      if (lost !== undefined) {
        n = lost;
        this.#lost.delete(n);
        this.#again.add(n);
        this.retransmitted++;
      } else {
        this.#next++;
        this.#sentUs.set(n, nowUs);
      }
      const bytes = new Uint8Array(EXTRA_HEADER_BYTES + SEGMENT_BYTES);
      bytes[0] = SEGMENT;
      new DataView(bytes.buffer).setUint32(1, n);
      out.push({ to: this.to, bytes });
      if (this.#timerUs === NEVER) this.#timerUs = nowUs + this.#rtoUs;
    }
    return out;
  }

  /** RFC 6298 §5: all that is not known to have arrived counts as lost. */
  #onTimeout(nowUs: number): void {
    this.timeouts++;
    this.#backoff *= 2;
    this.#again.clear();
    this.#lost.clear();
    for (let n = this.acked; n < this.#next; n++) if (!this.#sacked.has(n)) this.#lost.add(n);
    this.#recoverAt = -1;
    this.cubic.onTimeout();
    this.#timerUs = nowUs + this.#rtoUs;
  }

  nextTimeoutUs(): number {
    return this.#next === 0 ? this.startUs : this.#timerUs;
  }
}

/** Acknowledges every second segment, at once when one is missing, else within 40 ms. */
export class TcpReceiver implements SimHost {
  /** Bytes received in order. */
  bytes = 0;
  #next = 0;
  readonly #early = new Set<number>();
  #latest = 0;
  #pending = 0;
  #ackUs = NEVER;
  #from = "";

  receive(bytes: Uint8Array, from: string, nowUs: number): void {
    if (bytes[0] !== SEGMENT) return;
    this.#from = from;
    const n = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
    this.#latest = n;
    const inOrder = n === this.#next && this.#early.size === 0;
    if (n >= this.#next) this.#early.add(n);
    for (; this.#early.delete(this.#next); this.#next++) this.bytes += SEGMENT_BYTES;
    this.#ackUs = inOrder && ++this.#pending < 2
      ? Math.min(this.#ackUs, nowUs + DELAYED_ACK_US)
      : nowUs;
  }

  poll(nowUs: number): SimDatagram[] {
    if (nowUs < this.#ackUs) return [];
    this.#ackUs = NEVER;
    this.#pending = 0;
    const blocks = this.#blocks();
    const bytes = new Uint8Array(EXTRA_HEADER_BYTES + 5 + 8 * blocks.length);
    const view = new DataView(bytes.buffer);
    bytes[0] = ACK;
    view.setUint32(1, this.#next);
    blocks.forEach(([from, until], i) => {
      view.setUint32(5 + 8 * i, from);
      view.setUint32(9 + 8 * i, until);
    });
    return [{ to: this.#from, bytes }];
  }

  /** RFC 2018 §4: the block of the newest segment first, then others, the highest ones. */
  #blocks(): [number, number][] {
    const numbers = [...this.#early].sort((a, b) => a - b);
    const blocks: [number, number][] = [];
    for (const n of numbers) {
      const last = blocks.at(-1);
      if (last !== undefined && last[1] === n) last[1]++;
      else blocks.push([n, n + 1]);
    }
    const isNewest = ([from, until]: [number, number]) =>
      from <= this.#latest && this.#latest < until;
    return [...blocks.filter(isNewest), ...blocks.filter((b) => !isNewest(b)).reverse()]
      .slice(0, SACK_BLOCKS_MAX);
  }

  nextTimeoutUs(): number {
    return this.#ackUs;
  }
}
