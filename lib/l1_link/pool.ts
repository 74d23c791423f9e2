/**
 * One block of memory, allocated once and cut into equal slots (NL-R-005). Layers pass slot numbers
 * instead of bytes. A frame starts HEADROOM_BYTES into its slot, on a 64-byte line, so that the
 * overlay can be written in front of it.
 *
 *     slot × slotBytes        + 64
 *     | headroom … | overlay 8 | frame …            |
 *
 * Several frames may lie in one slot, one behind the other: a train as the kernel takes and gives it.
 * Each has a descriptor, and the slot is free again when all of them were freed.
 *
 * ffi/native/pool.h is the same pool in C, which fills slots that were reserved here.
 */
import { NexusError } from "../base/mod.ts";
import { FRAME_BYTES_MAX } from "./gen/link.ts";
import { type PoolMemory, type PoolPages, sharedPoolMemory } from "./pool_memory.ts";

/** Room before each frame; a cache line, and more than any encapsulation needs. */
export const HEADROOM_BYTES = 64;
/**
 * Slot sizes (NL-R-004): plain Ethernet, jumbo, and the largest datagram or train, 64 KiB, behind its
 * headroom. An odd number of cache lines: the heads of slots spread over the sets of the caches.
 */
export const SLOT_BYTES = { small: 2048, jumbo: 9216, large: 65536 + 9 * HEADROOM_BYTES } as const;
/** Slots of a default pool: 2 MiB of small slots, some 25 ms of a 1 Gbit/s burst. */
const SLOTS_DEFAULT = 1024;
/** Most bytes of one pool: one page of the largest kind. Defaults stay far below. */
const POOL_BYTES_MAX = 1024 * 1024 * 1024;

/** How to make a pool. */
export interface PoolOptions {
  /** A multiple of 64 from 2,048. */
  readonly slotBytes?: number;
  readonly slots?: number;
  /** What the slots lie in, at least slots × slotBytes long. Default: shared memory. */
  readonly memory?: PoolMemory;
}

/** Fixed set of slots. Allocation and release belong to one thread; the bytes may be shared. */
export class Pool {
  /** The whole memory; offsets of slots and frames count from its start. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly slotBytes: number;
  readonly slots: number;
  /** Longest frame that fits a slot. */
  readonly frameBytesMax: number;
  /** What the slots lie in. */
  readonly memory: PoolMemory;
  /**
   * Element 0: number of free slots; then a stack of them, because the slot used last is the
   * warmest in the caches.
   */
  readonly #free: Int32Array;
  /** Descriptors that share each slot, 0 while it is free: also catches a slot freed twice. */
  readonly #owners: Uint16Array;

  constructor(
    { slotBytes = SLOT_BYTES.small, slots = SLOTS_DEFAULT, memory }: PoolOptions = {},
  ) {
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
    this.memory = memory ?? sharedPoolMemory(slots * slotBytes);
    const { bytes } = this.memory;
    if (bytes.length < slots * slotBytes) {
      throw new NexusError(
        "INVALID_POOL",
        `cannot make pool: memory is ${bytes.length} bytes, expected ${slots * slotBytes}`,
      );
    }
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.slotBytes = slotBytes;
    this.slots = slots;
    this.frameBytesMax = Math.min(slotBytes - HEADROOM_BYTES, FRAME_BYTES_MAX);
    this.#free = new Int32Array(1 + slots);
    this.#free[0] = slots;
    for (let i = 1; i <= slots; i++) this.#free[i] = slots - i;
    this.#owners = new Uint16Array(slots);
  }

  /** Slots that alloc can still hand out. */
  get available(): number {
    return this.#free[0];
  }

  /** The pages that the pool really lies in. */
  get pages(): PoolPages {
    return this.memory.pages;
  }

  /** A slot, or -1 when none is free. */
  alloc(): number {
    const free = this.#free;
    const count = free[0];
    if (count === 0) return -1;
    const slot = free[count];
    free[0] = count - 1;
    this.#owners[slot] = 1;
    return slot;
  }

  /** One more descriptor lies in a slot that was handed out; each is freed by itself. */
  share(slot: number): void {
    this.#owners[slot]++;
  }

  /** Gives a slot back, or this descriptor's share of it. */
  free(slot: number): void {
    const owners = this.#owners;
    // Not `assert`: its message would be put together for every frame.
    if (!(owners[slot] > 0)) throw doubleFree(slot);
    if (--owners[slot] > 0) return;
    const free = this.#free;
    free[++free[0]] = slot;
  }

  /** Takes up to `count` slots at once into the front of `slots`; returns how many (NL-R-007). */
  reserve(slots: Int32Array, count: number): number {
    const free = this.#free;
    const owners = this.#owners;
    const left = free[0];
    const granted = Math.min(count, left);
    for (let i = 0; i < granted; i++) {
      const slot = free[left - i];
      slots[i] = slot;
      owners[slot] = 1;
    }
    free[0] = left - granted;
    return granted;
  }

  /** Keeps the first `used` of `count` descriptors or reserved slots and frees the others. */
  commit(slots: Int32Array, count: number, used: number): void {
    const free = this.#free;
    const owners = this.#owners;
    for (let i = count - 1; i >= used; i--) {
      const slot = slots[i];
      if (!(owners[slot] > 0)) throw doubleFree(slot);
      if (--owners[slot] === 0) free[++free[0]] = slot;
    }
  }

  /**
   * After a receive: `reserved` slots (`offered` of them) now hold the frames of `count` descriptors,
   * none, one or several each. Unused ones are free again.
   */
  settle(reserved: Int32Array, offered: number, slots: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) this.#owners[slots[i]]++;
    // The share that reserving took.
    this.commit(reserved, offered, 0);
  }

  /** Where a slot starts in `bytes`. */
  offsetOf(slot: number): number {
    return slot * this.slotBytes;
  }

  /** Where the frame of a slot starts in `bytes`: 64-byte aligned. */
  frameOffsetOf(slot: number): number {
    return slot * this.slotBytes + HEADROOM_BYTES;
  }

  /** Address of a slot for devices and the kernel (NL-R-006); 0 when the memory has none. */
  addressOf(slot: number): number {
    return this.memory.address === 0 ? 0 : this.memory.address + this.offsetOf(slot);
  }
}

function doubleFree(slot: number): Error {
  return new Error(`invariant broken: pool slot ${slot} freed but not taken`);
}
