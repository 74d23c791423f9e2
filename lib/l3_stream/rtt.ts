/** Round-trip time estimation, RFC 9002 §5. All times in microseconds. */

/** RFC 9002 §6.2.2, kInitialRtt: without any knowledge of the path assume 333 ms. */
export const INITIAL_RTT_US = 333_000;
/** RFC 9002 §6.1.2, kGranularity: timers are assumed to be no finer than 1 ms. */
export const GRANULARITY_US = 1_000;
/** RFC 9002 §6.1.2, kTimeThreshold: a packet is late after 9/8 of a round trip. */
export const TIME_THRESHOLD = 9 / 8;

/** Smoothed round-trip time of one path. */
export class RttEstimator {
  #latestUs: number;
  #smoothedUs: number;
  #varianceUs: number;
  #minUs = Infinity;
  #firstSampleAtUs = Infinity;

  /** `initialUs` replaces the 333 ms assumption, e.g. by what the handshake took. */
  constructor(initialUs: number = INITIAL_RTT_US) {
    this.#latestUs = initialUs;
    this.#smoothedUs = initialUs;
    this.#varianceUs = initialUs / 2;
  }

  /** Another network path: nothing is known but, maybe, about how long it takes. */
  reset(initialUs: number): void {
    this.#latestUs = initialUs;
    this.#smoothedUs = initialUs;
    this.#varianceUs = initialUs / 2;
    this.#minUs = this.#firstSampleAtUs = Infinity;
  }

  /** The last sample; the initial assumption before the first. */
  get latestUs(): number {
    return this.#latestUs;
  }
  get smoothedUs(): number {
    return this.#smoothedUs;
  }
  /** Mean deviation (rttvar). */
  get varianceUs(): number {
    return this.#varianceUs;
  }
  /** Smallest sample, without any correction; Infinity before the first. */
  get minUs(): number {
    return this.#minUs;
  }
  get hasSample(): boolean {
    return this.#firstSampleAtUs !== Infinity;
  }
  /** When the first sample was taken; Infinity before. Persistent congestion asks (§7.6.2). */
  get firstSampleAtUs(): number {
    return this.#firstSampleAtUs;
  }

  /**
   * Takes a sample: time from sending the largest newly acknowledged packet until now, the delay
   * the peer reports for it, and the most delay it promised (RFC 9002 §5.3).
   */
  update(sampleUs: number, ackDelayUs: number, maxAckDelayUs: number, nowUs: number): void {
    if (!(sampleUs >= 0)) return; // a clock that ran backwards teaches nothing
    this.#latestUs = sampleUs;
    if (!this.hasSample) {
      this.#firstSampleAtUs = nowUs;
      this.#minUs = sampleUs;
      this.#smoothedUs = sampleUs;
      this.#varianceUs = sampleUs / 2;
      return;
    }
    if (sampleUs < this.#minUs) this.#minUs = sampleUs; // §5.2: before the correction
    const delayUs = Math.min(ackDelayUs, maxAckDelayUs);
    // §5.3: the correction must not bring the sample below the minimum.
    const adjustedUs = sampleUs >= this.#minUs + delayUs ? sampleUs - delayUs : sampleUs;
    this.#varianceUs = 0.75 * this.#varianceUs + 0.25 * Math.abs(this.#smoothedUs - adjustedUs);
    this.#smoothedUs = 0.875 * this.#smoothedUs + 0.125 * adjustedUs;
  }

  /** §5.2: after persistent congestion the path may be another one; the minimum starts anew. */
  resetMin(): void {
    if (this.hasSample) this.#minUs = this.#latestUs;
  }

  /** Probe timeout before backoff: srtt + max(4 · rttvar, granularity) + max_ack_delay (§6.2.1). */
  ptoUs(maxAckDelayUs: number): number {
    return this.#smoothedUs + Math.max(4 * this.#varianceUs, GRANULARITY_US) + maxAckDelayUs;
  }

  /** How long after sending a packet is lost when a later one was acknowledged (§6.1.2). */
  lossDelayUs(): number {
    return Math.max(TIME_THRESHOLD * Math.max(this.#smoothedUs, this.#latestUs), GRANULARITY_US);
  }
}
