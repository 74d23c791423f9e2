/**
 * Token bucket that spreads packets over the round trip (RFC 9002 §7.7). The bucket holds at
 * least an initial window, so that short exchanges leave at once, and at least what the rate
 * yields in two ms, so that a driver woken by a coarse timer still reaches the rate.
 */

/** Ours: how coarse a driver's wake-up may be without costing throughput. */
const WAKE_UP_US = 2_000;

/** Paces the packets of one path. */
export class Pacer {
  /** What may always leave in one burst. */
  burstBytesMin: number;
  #tokenBytes: number;
  #refilledUs: number = -Infinity;

  /** `burstBytesMin`: what may always leave in one burst; the initial window (§7.7). */
  constructor(burstBytesMin: number) {
    this.burstBytesMin = burstBytesMin;
    this.#tokenBytes = burstBytesMin;
  }

  /** Microseconds until `bytes` may be sent at `rate` bytes per second; 0: now. */
  delayUs(bytes: number, rate: number, nowUs: number): number {
    this.#refill(rate, nowUs);
    // A byte of tolerance: floating point must not make a caller wake for nothing.
    if (this.#tokenBytes + 1 >= bytes) return 0;
    return Math.ceil((bytes - this.#tokenBytes) * 1e6 / rate);
  }

  /** Bytes that may be sent now. */
  budget(rate: number, nowUs: number): number {
    this.#refill(rate, nowUs);
    return this.#tokenBytes + 1;
  }

  /** Takes what was sent out of the bucket. Probes may leave it in debt of at most one burst. */
  onSent(bytes: number, rate: number, nowUs: number): void {
    this.#refill(rate, nowUs);
    this.#tokenBytes = Math.max(this.#tokenBytes - bytes, -this.burstBytesMin);
  }

  #refill(rate: number, nowUs: number): void {
    const elapsedUs = Math.max(0, nowUs - this.#refilledUs);
    this.#refilledUs = Math.max(nowUs, this.#refilledUs);
    const capacity = Math.max(this.burstBytesMin, rate * WAKE_UP_US / 1e6);
    this.#tokenBytes = Math.min(capacity, this.#tokenBytes + rate * elapsedUs / 1e6);
  }
}
