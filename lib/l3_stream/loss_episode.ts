/**
 * The current congestion event: how many packets it lost, and how many of them arrived after all.
 * When all did there was no congestion, and what it did to the window is undone.
 */

/** Of lost packets that say nothing about congestion. */
export const NO_EPISODE = -1;

export class LossEpisode {
  #number = 0;
  #lost = 0;
  #arrived = 0;

  /** A congestion event begins; earlier ones cannot be undone any more. */
  begin(): void {
    this.#number++;
    this.#lost = this.#arrived = 0;
  }

  /** A packet is lost; the number to remember with it. */
  onLost(): number {
    this.#lost++;
    return this.#number;
  }

  /** A packet lost in episode `number` arrived. True: it was the last of the current one. */
  onLateAck(number: number): boolean {
    if (number !== this.#number || this.#lost === 0) return false;
    if (++this.#arrived < this.#lost) return false;
    this.#lost = this.#arrived = 0;
    return true;
  }
}
