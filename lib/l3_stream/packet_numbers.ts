/** Numbers for the packets of one path: ascending, never used twice, some left out. */
import type { RandomFill } from "../base/mod.ts";

/**
 * RFC 9000 §21.4: now and then a packet number is left out, so that a peer that acknowledges
 * what it cannot have is found out. The distance is random in 1…SKIP_PACKETS_MAX.
 */
const SKIP_PACKETS_MAX = 65_536;

export class PacketNumbers {
  readonly #random: RandomFill;
  readonly #word = new Uint8Array(2);
  #next = 0;
  #skipAt = 0;

  constructor(random: RandomFill) {
    this.#random = random;
    this.#chooseSkip();
  }

  /** Number of the packet to be sent next. */
  get next(): number {
    return this.#next;
  }

  /** Packets that may be numbered in sequence from `next` on. */
  get inSequence(): number {
    return this.#skipAt - this.#next;
  }

  /** Packets from `next` on were sealed, at most `inSequence` of them. */
  advance(count = 1): void {
    this.#next += count;
    if (this.#next < this.#skipAt) return;
    this.#next++;
    this.#chooseSkip();
  }

  #chooseSkip(): void {
    const word = this.#word;
    this.#random(word);
    this.#skipAt = this.#next + 1 + (word[0] << 8 | word[1]) % SKIP_PACKETS_MAX;
  }
}
