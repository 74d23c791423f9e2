/**
 * Replay window over 64-bit packet numbers (in the manner of RFC 6479): a ring of bits, twice as
 * long as the window so that whole words can be cleared when it moves.
 */

/** Packets behind the largest that may still arrive (protocol.md §5). */
export const REPLAY_WINDOW = 4_096;

const RING_WORDS = 2 * REPLAY_WINDOW / 32;

/**
 * Remembers which packet numbers were authenticated. All of it lies in `state`, laid out as
 * struct nx_replay of ffi/native/nx_io.h: largest number + 1 in two halves, then the ring.
 */
export class ReplayWindow {
  readonly state = new Uint32Array(2 + RING_WORDS);

  /** Largest authenticated packet number; −1 before the first. */
  get largest(): number {
    return this.state[0] * TWO_POW_32 + this.state[1] - 1;
  }

  /** Whether a number is neither too old nor seen. Changes nothing. */
  isNew(packetNumber: number): boolean {
    const { largest } = this;
    if (packetNumber > largest) return true;
    if (packetNumber <= largest - REPLAY_WINDOW) return false;
    const word = Math.floor(packetNumber / 32);
    return (this.state[2 + word % RING_WORDS] & (1 << (packetNumber % 32))) === 0;
  }

  /** Marks an authenticated number for which `isNew` holds. */
  mark(packetNumber: number): void {
    const word = Math.floor(packetNumber / 32);
    if (packetNumber > this.largest) {
      this.#clearUpTo(word);
      this.state[0] = (packetNumber + 1) / TWO_POW_32;
      this.state[1] = packetNumber + 1;
    }
    this.state[2 + word % RING_WORDS] |= 1 << (packetNumber % 32);
  }

  /** Clears the words after the largest number's up to `word`. */
  #clearUpTo(word: number): void {
    const { largest } = this;
    const current = largest < 0 ? -1 : Math.floor(largest / 32);
    if (word - current >= RING_WORDS) {
      this.state.fill(0, 2);
      return;
    }
    for (let w = current + 1; w <= word; w++) this.state[2 + w % RING_WORDS] = 0;
  }
}

const TWO_POW_32 = 4_294_967_296;
const HALF_WINDOW = TWO_POW_32 / 2;

/**
 * The packet number nearest to `largest + 1` that has these low 32 bits (RFC 9000 §A.3 with
 * 32 bits; packet numbers are below 2⁵³).
 */
export function recoverPacketNumber(largest: number, low: number): number {
  const expected = largest + 1;
  const candidate = Math.floor(expected / TWO_POW_32) * TWO_POW_32 + low;
  if (candidate <= expected - HALF_WINDOW) return candidate + TWO_POW_32;
  if (candidate > expected + HALF_WINDOW && candidate >= TWO_POW_32) return candidate - TWO_POW_32;
  return candidate;
}
