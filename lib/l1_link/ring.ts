/**
 * A ring of small records between two threads, one that writes and one that reads (NL-R-001): two
 * Workers, or a Worker and native code (ffi/native/nx_ring.h has the same layout). Lock-free: each
 * side owns one index and only reads the other's.
 *
 *     line 0   magic, version, capacity, words per entry      never changes
 *     line 1   tail: entries ever published                   written by the producer only
 *     line 2   head: entries ever taken                       written by the consumer only
 *     line 3…  the entries, capacity × words × 4 bytes
 *
 * The indices stand on cache lines of their own (NL-R-003), count up, and wrap at 2³²; the capacity
 * is a power of two, so an entry's place is its count under a mask. A side keeps a private copy of
 * the other's index and reads the shared one only when the copy does not suffice, so that a burst
 * costs at most one line from the other core.
 *
 * Why it is safe: the producer stores `tail` after the entries (Atomics are sequentially consistent,
 * C uses release), so who sees the new tail sees the entries; the consumer stores `head` after it
 * has read them, so who sees the new head may overwrite them. tests/l1_link/ring_model_test.ts
 * explores every order of these steps and shows that no other order of stores would do.
 *
 *     const n = producer.reserve(burst.count);
 *     for (let i = 0; i < n; i++) producer.words[producer.at(i)] = burst.slot[i];
 *     producer.commit(n);
 */
import { NexusError } from "../base/mod.ts";

const WORD_BYTES = 4;
/** A cache line of the machines we know. */
const LINE_WORDS = 64 / WORD_BYTES;

/** "NXRG", so that a ring is not read from anything else. */
export const RING_MAGIC = 0x4e585247;
export const RING_VERSION = 1;
/** Places of the words, counted in words from the start. */
export const RING_MAGIC_WORD = 0;
export const RING_VERSION_WORD = 1;
export const RING_CAPACITY_WORD = 2;
export const RING_ENTRY_WORDS_WORD = 3;
export const RING_TAIL_WORD = LINE_WORDS;
export const RING_HEAD_WORD = 2 * LINE_WORDS;
export const RING_ENTRIES_WORD = 3 * LINE_WORDS;

/** Most entries of a ring: a power of two far below the 2³¹ that keeps differences unambiguous. */
export const RING_CAPACITY_MAX = 1 << 20;
/** Most words of one entry: a cache line. */
export const RING_ENTRY_WORDS_MAX = LINE_WORDS;

/** Bytes of a ring. Throws INVALID_RING unless both numbers are powers of two within the limits. */
export function ringBytes(capacity: number, entryWords: number): number {
  if (!isPowerOfTwo(capacity) || capacity > RING_CAPACITY_MAX) {
    throw new NexusError(
      "INVALID_RING",
      `cannot make ring: capacity is ${capacity}, expected a power of two up to ${RING_CAPACITY_MAX}`,
    );
  }
  if (!isPowerOfTwo(entryWords) || entryWords > RING_ENTRY_WORDS_MAX) {
    throw new NexusError(
      "INVALID_RING",
      `cannot make ring: an entry is ${entryWords} words, expected a power of two up to ${RING_ENTRY_WORDS_MAX}`,
    );
  }
  return WORD_BYTES * (RING_ENTRIES_WORD + capacity * entryWords);
}

/**
 * Makes a ring in new shared memory, or in `memory` (zeroed or not; nobody uses it yet). Hand the memory to both threads; each makes its side of it.
 */
export function createRing(
  capacity: number,
  entryWords: number,
  memory: Int32Array = new Int32Array(
    new SharedArrayBuffer(ringBytes(capacity, entryWords)),
  ),
): Int32Array {
  const bytes = ringBytes(capacity, entryWords);
  if (memory.byteLength < bytes) {
    throw new NexusError(
      "INVALID_RING",
      `cannot make ring: memory is ${memory.byteLength} bytes, expected ${bytes}`,
    );
  }
  memory[RING_VERSION_WORD] = RING_VERSION;
  memory[RING_CAPACITY_WORD] = capacity;
  memory[RING_ENTRY_WORDS_WORD] = entryWords;
  Atomics.store(memory, RING_TAIL_WORD, 0);
  Atomics.store(memory, RING_HEAD_WORD, 0);
  // Last: whoever sees the magic sees the rest.
  Atomics.store(memory, RING_MAGIC_WORD, RING_MAGIC);
  return memory;
}

/** Reads the header of a ring; throws INVALID_RING when the memory holds none. */
function openRing(memory: Int32Array): { capacity: number; entryWords: number } {
  const magic = memory.length < RING_ENTRIES_WORD ? 0 : Atomics.load(memory, RING_MAGIC_WORD);
  const version = memory[RING_VERSION_WORD];
  const capacity = memory[RING_CAPACITY_WORD];
  const entryWords = memory[RING_ENTRY_WORDS_WORD];
  if (magic !== RING_MAGIC || version !== RING_VERSION) {
    throw new NexusError("INVALID_RING", "cannot open ring: the memory holds none of version 1");
  }
  if (ringBytes(capacity, entryWords) > memory.byteLength) {
    throw new NexusError(
      "INVALID_RING",
      `cannot open ring: ${capacity} entries do not fit its ${memory.byteLength} bytes`,
    );
  }
  return { capacity, entryWords };
}

/** The writing side. Belongs to one thread. */
export class RingProducer {
  readonly capacity: number;
  readonly entryWords: number;
  /** The ring's memory; entries are written here, at `at(i)`. */
  readonly words: Int32Array;
  readonly #mask: number;
  /** Our own index: nobody else writes it. */
  #tail: number;
  /** The consumer's index as last seen: it can only have moved on since. */
  #headSeen: number;

  constructor(memory: Int32Array) {
    const { capacity, entryWords } = openRing(memory);
    this.capacity = capacity;
    this.entryWords = entryWords;
    this.words = memory;
    this.#mask = capacity - 1;
    this.#tail = Atomics.load(memory, RING_TAIL_WORD);
    this.#headSeen = Atomics.load(memory, RING_HEAD_WORD);
  }

  /** How many entries of the `count` wanted may be written now; nothing is visible before commit. */
  reserve(count: number): number {
    let room = this.capacity - ((this.#tail - this.#headSeen) | 0);
    if (room < count) {
      this.#headSeen = Atomics.load(this.words, RING_HEAD_WORD);
      room = this.capacity - ((this.#tail - this.#headSeen) | 0);
    }
    return room < count ? room : count;
  }

  /** Where the words of the `i`th reserved entry start in `words`. */
  at(i: number): number {
    return RING_ENTRIES_WORD + ((this.#tail + i) & this.#mask) * this.entryWords;
  }

  /** Publishes the first `count` reserved entries; the rest is forgotten. */
  commit(count: number): void {
    this.#tail = (this.#tail + count) | 0;
    Atomics.store(this.words, RING_TAIL_WORD, this.#tail);
  }
}

/** The reading side. Belongs to one thread. */
export class RingConsumer {
  readonly capacity: number;
  readonly entryWords: number;
  /** The ring's memory; entries are read here, at `at(i)`. */
  readonly words: Int32Array;
  readonly #mask: number;
  #head: number;
  /** The producer's index as last seen. */
  #tailSeen: number;

  constructor(memory: Int32Array) {
    const { capacity, entryWords } = openRing(memory);
    this.capacity = capacity;
    this.entryWords = entryWords;
    this.words = memory;
    this.#mask = capacity - 1;
    this.#head = Atomics.load(memory, RING_HEAD_WORD);
    this.#tailSeen = Atomics.load(memory, RING_TAIL_WORD);
  }

  /** How many entries of the `count` wanted are there; they stay the ring's until commit. */
  reserve(count: number): number {
    let filled = (this.#tailSeen - this.#head) | 0;
    if (filled < count) {
      this.#tailSeen = Atomics.load(this.words, RING_TAIL_WORD);
      filled = (this.#tailSeen - this.#head) | 0;
    }
    return filled < count ? filled : count;
  }

  /** Where the words of the `i`th reserved entry start in `words`. */
  at(i: number): number {
    return RING_ENTRIES_WORD + ((this.#head + i) & this.#mask) * this.entryWords;
  }

  /** Gives the first `count` reserved entries back to the producer. */
  commit(count: number): void {
    this.#head = (this.#head + count) | 0;
    Atomics.store(this.words, RING_HEAD_WORD, this.#head);
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && (value & (value - 1)) === 0;
}
