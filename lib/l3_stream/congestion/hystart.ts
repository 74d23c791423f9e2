/**
 * HyStart++ (RFC 9406): leaves slow start when the round-trip time begins to grow, before the
 * queue overflows. Slow start → conservative slow start (a quarter of the growth) for five rounds
 * → congestion avoidance; back to slow start when the growth of the round trip was a blip.
 * Pacing is always on here, so the limit L of RFC 9406 §4.3 is infinite.
 */

/** RFC 9406 §4.3. */
const RTT_THRESHOLD_US_MIN = 4_000;
const RTT_THRESHOLD_US_MAX = 16_000;
const RTT_DIVISOR_MIN = 8;
const RTT_SAMPLES = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

/** Watches the round trips of the initial slow start. */
export class HyStart {
  /** A round ends when a packet sent after its start is acknowledged. */
  #roundStartUs = -Infinity;
  #lastRoundMinUs = Infinity;
  #roundMinUs = Infinity;
  #samples = 0;
  /** Minimum round trip when conservative slow start was entered; Infinity outside of it. */
  #baselineUs = Infinity;
  #conservativeRounds = 0;

  /** What to divide slow start's growth by: 1, or 4 in conservative slow start. */
  get growthDivisor(): number {
    return this.#baselineUs === Infinity ? 1 : CSS_GROWTH_DIVISOR;
  }

  /** Takes a round-trip sample of a packet sent at `sentUs`; true: leave slow start now. */
  onRtt(sampleUs: number, sentUs: number, nowUs: number): boolean {
    if (sentUs >= this.#roundStartUs) {
      this.#roundStartUs = nowUs;
      this.#lastRoundMinUs = this.#roundMinUs;
      this.#roundMinUs = Infinity;
      this.#samples = 0;
      if (this.#baselineUs !== Infinity && ++this.#conservativeRounds >= CSS_ROUNDS) return true;
    }
    this.#roundMinUs = Math.min(this.#roundMinUs, sampleUs);
    this.#samples++;
    if (this.#samples < RTT_SAMPLES) return false;
    if (this.#baselineUs !== Infinity) {
      if (this.#roundMinUs < this.#baselineUs) this.#baselineUs = Infinity;
    } else if (this.#lastRoundMinUs !== Infinity) {
      const thresholdUs = Math.max(
        RTT_THRESHOLD_US_MIN,
        Math.min(this.#lastRoundMinUs / RTT_DIVISOR_MIN, RTT_THRESHOLD_US_MAX),
      );
      if (this.#roundMinUs >= this.#lastRoundMinUs + thresholdUs) {
        this.#baselineUs = this.#roundMinUs;
        this.#conservativeRounds = 0;
      }
    }
    return false;
  }
}
