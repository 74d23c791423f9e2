/** NewReno as RFC 9002 §7.3 and App. B describe it: the reference that others are held against. */
import type { RttEstimator } from "../rtt.ts";
import {
  type CongestionController,
  type CongestionOptions,
  initialWindowBytes,
  minimumWindowBytes,
  WINDOW_BYTES_MAX,
  windowPacingRate,
} from "./controller.ts";

/** RFC 9002 App. B.1, kLossReductionFactor. */
const LOSS_REDUCTION_FACTOR = 0.5;

/** Additive increase of one packet per round trip, halved on congestion. */
export class NewReno implements CongestionController {
  readonly name = "newreno";
  datagramBytes: number;
  readonly #windowBytesMax: number;
  #windowBytes: number;
  #thresholdBytes = Infinity;
  /** Packets sent up to here belong to the round trip that was answered already (§7.3.2). */
  #recoveryStartUs = -Infinity;
  #undo: { windowBytes: number; thresholdBytes: number; recoveryStartUs: number } | undefined;

  constructor({ datagramBytes, windowBytesMax = WINDOW_BYTES_MAX }: CongestionOptions) {
    this.datagramBytes = datagramBytes;
    this.#windowBytesMax = windowBytesMax;
    this.#windowBytes = initialWindowBytes(datagramBytes);
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }
  get slowStartThresholdBytes(): number {
    return this.#thresholdBytes;
  }
  get inSlowStart(): boolean {
    return this.#windowBytes < this.#thresholdBytes;
  }

  setDatagramBytes(bytes: number): void {
    this.datagramBytes = bytes;
    const isInitial = this.#thresholdBytes === Infinity;
    const least = isInitial ? initialWindowBytes(bytes) : minimumWindowBytes(bytes);
    this.#windowBytes = Math.max(this.#windowBytes, least);
  }

  onSent(_bytes: number, _inFlightBytes: number, _nowUs: number): void {}

  onRtt(_rtt: RttEstimator, _sentUs: number, _nowUs: number): void {}

  onAck(bytes: number, sentUs: number, windowUsed: boolean): void {
    if (sentUs <= this.#recoveryStartUs || !windowUsed) return;
    this.#windowBytes += this.inSlowStart ? bytes : this.datagramBytes * bytes / this.#windowBytes;
    this.#windowBytes = Math.min(this.#windowBytes, this.#windowBytesMax);
  }

  onLoss(
    _lostBytes: number,
    largestLostSentUs: number,
    nowUs: number,
    persistent: boolean,
  ): boolean {
    const began = largestLostSentUs > this.#recoveryStartUs;
    if (began) {
      this.#undo = {
        windowBytes: this.#windowBytes,
        thresholdBytes: this.#thresholdBytes,
        recoveryStartUs: this.#recoveryStartUs,
      };
      this.#reduce(nowUs);
    }
    // §7.6.2. Unlike App. B.8 the recovery period goes on, or what is still lost of the flight that
    // was answered here would halve the threshold again.
    if (persistent) this.#windowBytes = minimumWindowBytes(this.datagramBytes);
    return began;
  }

  onSpuriousLoss(): void {
    if (this.#undo === undefined) return;
    this.#windowBytes = Math.max(this.#windowBytes, this.#undo.windowBytes);
    this.#thresholdBytes = this.#undo.thresholdBytes;
    this.#recoveryStartUs = this.#undo.recoveryStartUs;
    this.#undo = undefined;
  }

  onEcnCe(sentUs: number, nowUs: number): boolean {
    if (sentUs <= this.#recoveryStartUs) return false;
    this.#undo = undefined; // a mark is never spurious
    this.#reduce(nowUs);
    return true;
  }

  pacingRate(rtt: RttEstimator): number {
    return windowPacingRate(this.#windowBytes, rtt);
  }

  #reduce(nowUs: number): void {
    this.#recoveryStartUs = nowUs;
    this.#windowBytes = Math.max(
      this.#windowBytes * LOSS_REDUCTION_FACTOR,
      minimumWindowBytes(this.datagramBytes),
    );
    this.#thresholdBytes = this.#windowBytes;
  }
}
