/**
 * Packets lost in a row, for persistent congestion (RFC 9002 §7.6.2): the time between two lost
 * packets counts when nothing that was sent between them is acknowledged, be it ack-eliciting or
 * not.
 */

interface AckedRanges {
  /** Flat high, low pairs (inclusive). */
  ranges: ArrayLike<number>;
  rangeCount: number;
}

export class LossRun {
  #startUs = NaN;
  /** Entry of SentPackets and packet number of the last one. */
  #lastEntry = -1;
  #lastNumber = -1;

  /**
   * Takes the next lost packet; microseconds since the first of its run was sent. `ack` is the
   * acknowledgement that showed it: an acknowledged packet between that is in no entry is in
   * there, if it is anywhere, as receivers repeat their ranges.
   */
  extend(at: number, packetNumber: number, sentUs: number, ack: AckedRanges | undefined): number {
    const first = this.#lastNumber + 1;
    const isNext = at === this.#lastEntry + 1 &&
      (packetNumber === first || (ack !== undefined && !covers(ack, first, packetNumber - 1)));
    if (!isNext || Number.isNaN(this.#startUs)) this.#startUs = sentUs;
    this.#lastEntry = at;
    this.#lastNumber = packetNumber;
    return sentUs - this.#startUs;
  }

  /** A lost packet that says nothing about congestion neither begins nor ends a run. */
  pass(at: number, packetNumber: number): void {
    if (at !== this.#lastEntry + 1) return;
    this.#lastEntry = at;
    this.#lastNumber = packetNumber;
  }

  /** Something of the run arrived, or the run was answered. */
  end(): void {
    this.#startUs = NaN;
  }
}

function covers({ ranges, rangeCount }: AckedRanges, low: number, high: number): boolean {
  for (let i = 0; i < rangeCount; i++) {
    if (ranges[2 * i + 1] <= high && ranges[2 * i] >= low) return true;
  }
  return false;
}
