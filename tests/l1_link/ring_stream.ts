/**
 * A stream of numbered items through a ring in bursts of changing size, for tests with two threads.
 * Each item carries its number and a word derived from it, so that loss, repetition, disorder and
 * torn entries all show.
 */
import { SeededRandom } from "../../lib/base/mod.ts";
import { RingConsumer, RingProducer } from "../../lib/l1_link/mod.ts";

/** Words of an item; the last one is derived from the number. */
export const ITEM_WORDS = 4;
const BURST_MAX = 48;
/** Empty turns before a side lets the other one run: there may be one core only. */
const SPINS_MAX = 2000;

/** The word that goes with item `n`. */
export function mark(n: number): number {
  return Math.imul(n ^ 0x5bd1e995, 0x9e3779b1) | 0;
}

/** Writes items 0 … count-1. */
export function produce(memory: Int32Array, count: number, seed: number): void {
  const ring = new RingProducer(memory);
  const random = new SeededRandom(seed);
  const pause = new Pause();
  for (let next = 0; next < count;) {
    const wanted = Math.min(1 + random.below(BURST_MAX), count - next);
    const granted = ring.reserve(wanted);
    if (granted === 0) {
      pause.turn();
      continue;
    }
    // Now and then less than was reserved.
    const used = random.chance(0.1) ? granted >> 1 : granted;
    for (let i = 0; i < used; i++, next++) {
      const at = ring.at(i);
      ring.words[at] = next;
      ring.words[at + 1] = ~next;
      ring.words[at + ITEM_WORDS - 1] = mark(next);
    }
    ring.commit(used);
  }
}

/** Reads items 0 … count-1; returns what was wrong with the first bad one, "" when all are right. */
export function consume(memory: Int32Array, count: number, seed: number): string {
  const ring = new RingConsumer(memory);
  const random = new SeededRandom(seed);
  const pause = new Pause();
  for (let next = 0; next < count;) {
    const granted = ring.reserve(1 + random.below(BURST_MAX));
    if (granted === 0) {
      pause.turn();
      continue;
    }
    const used = random.chance(0.1) ? granted >> 1 : granted;
    for (let i = 0; i < used; i++, next++) {
      const at = ring.at(i);
      const [n, inverse, sum] = [ring.words[at], ring.words[at + 1], ring.words[at + 3]];
      if (n !== next || inverse !== ~next || sum !== mark(next)) {
        return `item ${next} is ${n}, ${inverse}, ${sum}`;
      }
    }
    ring.commit(used);
  }
  return "";
}

/** Gives up the processor now and then while there is nothing to do. */
class Pause {
  readonly #never = new Int32Array(new SharedArrayBuffer(4));
  #spins = 0;

  turn(): void {
    if (++this.#spins % SPINS_MAX === 0) Atomics.wait(this.#never, 0, 0, 0.05);
  }
}
