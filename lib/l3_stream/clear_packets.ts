/**
 * When the newest packets without ack-eliciting frames were sent. They are not in flight and need
 * no more, but one of them may be the largest that an acknowledgement covers, which is what the
 * round trip is measured by (RFC 9002 §5.1).
 */

/** Powers of two. Small first, as most connections of a node are idle. */
const CAPACITY_MIN = 8;
/** Ours: most that are remembered. */
const CAPACITY_MAX = 256;

export class ClearPackets {
  #mask = CAPACITY_MIN - 1;
  #number = new Float64Array(CAPACITY_MIN).fill(-1);
  #sentUs = new Float64Array(CAPACITY_MIN);

  /** Notes a packet; those up to `largestAcked` need not be remembered. */
  push(packetNumber: number, sentUs: number, largestAcked: number): void {
    while (
      this.#number[packetNumber & this.#mask] > largestAcked && this.#mask < CAPACITY_MAX - 1
    ) {
      this.#grow();
    }
    this.#number[packetNumber & this.#mask] = packetNumber;
    this.#sentUs[packetNumber & this.#mask] = sentUs;
  }

  /** When it was sent; NaN: it is not known, or was none of these. */
  sentUs(packetNumber: number): number {
    const slot = packetNumber & this.#mask;
    return this.#number[slot] === packetNumber ? this.#sentUs[slot] : NaN;
  }

  #grow(): void {
    const [number, sentUs] = [this.#number, this.#sentUs];
    const capacity = 2 * number.length;
    this.#mask = capacity - 1;
    this.#number = new Float64Array(capacity).fill(-1);
    this.#sentUs = new Float64Array(capacity);
    for (let slot = 0; slot < number.length; slot++) {
      if (number[slot] < 0) continue;
      this.#number[number[slot] & this.#mask] = number[slot];
      this.#sentUs[number[slot] & this.#mask] = sentUs[slot];
    }
  }
}
