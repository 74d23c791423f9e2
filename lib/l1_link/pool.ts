/**
 * One block of shared memory, allocated once and cut into equal slots (NL-R-005). Layers pass
 * slot numbers instead of bytes. A frame starts HEADROOM_BYTES into its slot, on a 64-byte line,
 * so that the overlay can be written in front of it.
 *
 *     slot × slotBytes        + 64
 *     | headroom … | overlay 8 | frame …            |
 */
import { assert, NexusError } from "../base/mod.ts";
import { FRAME_BYTES_MAX } from "./gen/link.ts";

/** Room before each frame; a cache line, and more than any encapsulation needs. */
export const HEADROOM_BYTES = 64;
/** Slot sizes (NL-R-004): plain Ethernet, jumbo, and the largest frame of a loopback. */
export const SLOT_BYTES = { small: 2048, jumbo: 9216, large: 65536 } as const;
/** Slots of a default pool: 2 MiB of small slots, some 25 ms of a 1 Gbit/s burst. */
const SLOTS_DEFAULT = 1024;
/** Most bytes of one pool: the whole default memory budget of a node (01-link.md, Targets). */
const POOL_BYTES_MAX = 256 * 1024 * 1024;

/** Fixed set of slots. Allocation and release belong to one thread; the bytes may be shared. */
export class Pool {
  /** The whole memory; offsets of slots and frames count from its start. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;
  readonly slotBytes: number;
  readonly slots: number;
  /** Longest frame that fits a slot. */
  readonly frameBytesMax: number;
  /** Free slots as a stack: the slot used last is the warmest in the caches. */
  readonly #free: Int32Array;
  #freeCount: number;
  /** 1 while a slot is handed out: catches a slot freed twice. */
  readonly #taken: Uint8Array;

  constructor({ slotBytes = SLOT_BYTES.small, slots = SLOTS_DEFAULT }: {
    slotBytes?: number;
    slots?: number;
  } = {}) {
    if (slotBytes % HEADROOM_BYTES !== 0 || slotBytes < SLOT_BYTES.small) {
      throw new NexusError(
        "INVALID_POOL",
        `cannot make pool: slot of ${slotBytes} bytes, expected a multiple of ${HEADROOM_BYTES} from ${SLOT_BYTES.small}`,
      );
    }
    if (!Number.isInteger(slots) || slots < 1 || slots * slotBytes > POOL_BYTES_MAX) {
      throw new NexusError(
        "INVALID_POOL",
        `cannot make pool: ${slots} slots of ${slotBytes} bytes, expected 1 slot to ${POOL_BYTES_MAX} bytes`,
      );
    }
    const memory = new SharedArrayBuffer(slots * slotBytes);
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.slotBytes = slotBytes;
    this.slots = slots;
    this.frameBytesMax = Math.min(slotBytes - HEADROOM_BYTES, FRAME_BYTES_MAX);
    this.#free = Int32Array.from({ length: slots }, (_, i) => slots - 1 - i);
    this.#freeCount = slots;
    this.#taken = new Uint8Array(slots);
  }

  /** Slots that alloc can still hand out. */
  get available(): number {
    return this.#freeCount;
  }

  /** A slot, or -1 when none is free. */
  alloc(): number {
    if (this.#freeCount === 0) return -1;
    const slot = this.#free[--this.#freeCount];
    this.#taken[slot] = 1;
    return slot;
  }

  /** Gives a slot back. */
  free(slot: number): void {
    assert(this.#taken[slot] === 1, `pool slot ${slot} freed but not taken`);
    this.#taken[slot] = 0;
    this.#free[this.#freeCount++] = slot;
  }

  /** Where a slot starts in `bytes`. */
  offsetOf(slot: number): number {
    return slot * this.slotBytes;
  }

  /** Where the frame of a slot starts in `bytes`: 64-byte aligned. */
  frameOffsetOf(slot: number): number {
    return slot * this.slotBytes + HEADROOM_BYTES;
  }
}
