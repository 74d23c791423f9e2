/**
 * CUBIC (RFC 9438). After a congestion event at window W_max the window falls to β · W_max and
 * then follows W_cubic(t) = C · (t − K)³ + W_max (Fig. 1): fast towards W_max, flat around it
 * (concave), then faster and faster away from it (convex). Where Reno would have more, it follows
 * the estimate of Reno's window W_est (§4.3). RFC units are segments and seconds; here windows
 * are bytes, so C is multiplied by the packet size.
 */
import type { RttEstimator } from "../rtt.ts";
import {
  type CongestionController,
  type CongestionOptions,
  initialWindowBytes,
  minimumWindowBytes,
  WINDOW_BYTES_MAX,
  windowPacingRate,
} from "./controller.ts";
import { HyStart } from "./hystart.ts";

/** RFC 9438 §4.6: multiplicative decrease. */
export const CUBIC_BETA = 0.7;
/** RFC 9438 §5.1: aggressiveness, segments per second cubed. */
export const CUBIC_C = 0.4;
/** RFC 9438 §4.3: Reno's additive increase that yields the same average window with β = 0.7. */
export const CUBIC_ALPHA = 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA);

/** Options of Cubic. */
export interface CubicOptions extends CongestionOptions {
  /** Leave the first slow start by HyStart++ (RFC 9406). Default true. */
  hystart?: boolean;
}

/** All that a congestion event changes, kept to be taken back (RFC 9438 §4.9). */
interface CubicState {
  windowBytes: number;
  thresholdBytes: number;
  /** W_max in bytes; 0: none yet, the next epoch begins flat (K = 0, §4.8 and §4.10). */
  windowMaxBytes: number;
  /** Window when the threshold was last set (cwnd_prior). */
  priorWindowBytes: number;
  /** When the congestion avoidance stage began (t_epoch); NaN: it begins with the next ACK. */
  epochStartUs: number;
  /** K in seconds. */
  k: number;
  /** W_est in bytes. */
  renoBytes: number;
  /** Packets sent up to here belong to the round trip that was answered already. */
  recoveryStartUs: number;
}

/** The default congestion controller. */
export class Cubic implements CongestionController {
  readonly name = "cubic";
  datagramBytes: number;
  readonly #windowBytesMax: number;
  readonly #now: CubicState;
  #undo: CubicState | undefined;
  /** For the initial slow start only (RFC 9406 §4.3), i.e. while the threshold is infinite. */
  readonly #hystart: HyStart | undefined;
  /** End of the time that counts as t; gaps without a full window are left out (§5.8). */
  #clockedUs = 0;

  constructor(
    { datagramBytes, windowBytesMax = WINDOW_BYTES_MAX, hystart = true }: CubicOptions,
  ) {
    this.datagramBytes = datagramBytes;
    this.#windowBytesMax = windowBytesMax;
    this.#hystart = hystart ? new HyStart() : undefined;
    this.#now = {
      windowBytes: initialWindowBytes(datagramBytes),
      thresholdBytes: Infinity,
      windowMaxBytes: 0,
      priorWindowBytes: 0,
      epochStartUs: NaN,
      k: 0,
      renoBytes: 0,
      recoveryStartUs: -Infinity,
    };
  }

  get windowBytes(): number {
    return this.#now.windowBytes;
  }
  get slowStartThresholdBytes(): number {
    return this.#now.thresholdBytes;
  }
  get inSlowStart(): boolean {
    return this.#now.windowBytes < this.#now.thresholdBytes;
  }
  /** W_max in bytes, 0 when no congestion event set it. */
  get windowMaxBytes(): number {
    return this.#now.windowMaxBytes;
  }
  /** K of the current epoch in seconds: when the curve reaches W_max. */
  get k(): number {
    return this.#now.k;
  }

  setDatagramBytes(bytes: number): void {
    this.datagramBytes = bytes;
    const isInitial = this.#now.thresholdBytes === Infinity;
    const least = isInitial ? initialWindowBytes(bytes) : minimumWindowBytes(bytes);
    this.#now.windowBytes = Math.max(this.#now.windowBytes, least);
  }

  onSent(_bytes: number, inFlightBytes: number, nowUs: number): void {
    // §5.8: time that passed with nothing in flight is not time since the last congestion.
    if (inFlightBytes === 0) this.#skipUntil(nowUs);
  }

  onRtt(rtt: RttEstimator, sentUs: number, nowUs: number): void {
    const now = this.#now;
    if (now.thresholdBytes !== Infinity) return;
    if (this.#hystart?.onRtt(rtt.latestUs, sentUs, nowUs)) {
      now.thresholdBytes = now.windowBytes;
      now.priorWindowBytes = now.windowBytes;
    }
  }

  onAck(
    bytes: number,
    sentUs: number,
    windowUsed: boolean,
    rtt: RttEstimator,
    nowUs: number,
  ): void {
    const now = this.#now;
    if (sentUs <= now.recoveryStartUs) return;
    if (!windowUsed) return this.#skipUntil(nowUs);
    if (this.inSlowStart) {
      const isInitial = now.thresholdBytes === Infinity;
      now.windowBytes += bytes / (isInitial ? this.#hystart?.growthDivisor ?? 1 : 1);
    } else {
      this.#avoidCongestion(bytes, rtt, nowUs);
    }
    now.windowBytes = Math.min(now.windowBytes, this.#windowBytesMax);
  }

  onLoss(
    _lostBytes: number,
    largestLostSentUs: number,
    nowUs: number,
    persistent: boolean,
  ): boolean {
    const now = this.#now;
    const began = largestLostSentUs > now.recoveryStartUs;
    if (began) {
      this.#undo = { ...now };
      this.#reduce(nowUs);
    }
    if (persistent) {
      // As after a retransmission timeout (§4.8): slow start, then an epoch with K = 0. The recovery
      // period goes on, so that the rest of the same flight does not lower the threshold again.
      now.windowBytes = minimumWindowBytes(this.datagramBytes);
      now.windowMaxBytes = 0;
      now.epochStartUs = NaN;
    }
    return began;
  }

  onSpuriousLoss(): void {
    const undo = this.#undo;
    this.#undo = undefined;
    // §4.9: a window that has grown past the old one since then stays.
    if (undo !== undefined && this.#now.windowBytes < undo.windowBytes) {
      Object.assign(this.#now, undo);
    }
  }

  onEcnCe(sentUs: number, nowUs: number): boolean {
    if (sentUs <= this.#now.recoveryStartUs) return false;
    this.#undo = undefined; // a mark is never spurious
    this.#reduce(nowUs);
    return true;
  }

  pacingRate(rtt: RttEstimator): number {
    return windowPacingRate(this.#now.windowBytes, rtt);
  }

  /** §4.6 multiplicative decrease and §4.7 fast convergence. */
  #reduce(nowUs: number): void {
    const now = this.#now;
    // A flow that stopped short of its last W_max is losing ground to a new one: release more.
    now.windowMaxBytes = now.windowBytes < now.windowMaxBytes
      ? now.windowBytes * (1 + CUBIC_BETA) / 2
      : now.windowBytes;
    now.priorWindowBytes = now.windowBytes;
    now.windowBytes = Math.max(
      now.windowBytes * CUBIC_BETA,
      minimumWindowBytes(this.datagramBytes),
    );
    now.thresholdBytes = now.windowBytes;
    now.epochStartUs = NaN;
    now.recoveryStartUs = nowUs;
  }

  #beginEpoch(nowUs: number): void {
    const now = this.#now;
    now.epochStartUs = nowUs;
    this.#clockedUs = nowUs;
    now.renoBytes = now.windowBytes;
    if (now.windowMaxBytes <= now.windowBytes) {
      now.windowMaxBytes = now.windowBytes;
      now.k = 0;
    } else {
      // §4.2, Fig. 2: K = ∛((W_max − cwnd_epoch) / C).
      const segments = (now.windowMaxBytes - now.windowBytes) / this.datagramBytes;
      now.k = Math.cbrt(segments / CUBIC_C);
    }
  }

  /** §4.2-4.5: one acknowledged packet in congestion avoidance. */
  #avoidCongestion(bytes: number, rtt: RttEstimator, nowUs: number): void {
    const now = this.#now;
    if (Number.isNaN(now.epochStartUs)) this.#beginEpoch(nowUs);
    this.#clockedUs = nowUs;
    const t = (nowUs - now.epochStartUs) / 1e6;

    // §4.3, Fig. 4: what Reno would have by now; its true slope once it reached the old window.
    const alpha = now.renoBytes < now.priorWindowBytes ? CUBIC_ALPHA : 1;
    now.renoBytes += alpha * this.datagramBytes * bytes / now.windowBytes;

    if (this.#curve(t) < now.renoBytes) {
      now.windowBytes = Math.max(now.windowBytes, now.renoBytes);
      return;
    }
    // §4.4, §4.5: head for where the curve is one round trip from now, at most half more.
    const target = Math.min(this.#curve(t + rtt.smoothedUs / 1e6), 1.5 * now.windowBytes);
    if (target > now.windowBytes) {
      now.windowBytes += (target - now.windowBytes) * bytes / now.windowBytes;
    }
  }

  /** W_cubic(t) in bytes, Fig. 1. */
  #curve(t: number): number {
    const x = t - this.#now.k;
    return CUBIC_C * x * x * x * this.datagramBytes + this.#now.windowMaxBytes;
  }

  /** Leaves the time since the last full-window ACK out of t. */
  #skipUntil(nowUs: number): void {
    if (Number.isNaN(this.#now.epochStartUs) || nowUs <= this.#clockedUs) return;
    this.#now.epochStartUs += nowUs - this.#clockedUs;
    this.#clockedUs = nowUs;
  }
}
