/**
 * One block of memory, allocated once and cut into equal slots (NL-R-005). Layers pass slot numbers
 * instead of bytes. A frame starts HEADROOM_BYTES into its slot, on a 64-byte line, so that the
 * overlay can be written in front of it.
 *
 *     slot × slotBytes        + 64
 *     | headroom … | overlay 8 | frame …            |
 *
 * ffi/native/pool.h is the same pool in C: a native port allocates and frees by the same state.
 */
import { NexusError } from "../base/mod.ts";
import { FRAME_BYTES_MAX } from "./gen/link.ts";
import { type PoolMemory, type PoolPages, sharedPoolMemory } from "./pool_memory.ts";

/** Room before each frame; a cache line, and more than any encapsulation needs. */
export const HEADROOM_BYTES = 64;
/** Slot sizes (NL-R-004): plain Ethernet, jumbo, and the largest frame of a loopback. */
export const SLOT_BYTES = { small: 2048, jumbo: 9216, large: 65536 } as const;
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
   * warmest in the caches. For native ports only.
   */
  readonly state: Int32Array;
  /** 1 while a slot is handed out: catches a slot freed twice. For native ports only. */
  readonly taken: Uint8Array;

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
    this.state = new Int32Array(1 + slots);
    this.state[0] = slots;
    for (let i = 1; i <= slots; i++) this.state[i] = slots - i;
    this.taken = new Uint8Array(slots);
  }

  /** Slots that alloc can still hand out. */
  get available(): number {
    return this.state[0];
  }

  /** The pages that the pool really lies in. */
  get pages(): PoolPages {
    return this.memory.pages;
  }

  /** A slot, or -1 when none is free. */
  alloc(): number {
    const count = this.state[0];
    if (count === 0) return -1;
    const slot = this.state[count];
    this.state[0] = count - 1;
    this.taken[slot] = 1;
    return slot;
  }

  /** Gives a slot back. */
  free(slot: number): void {
    const { state, taken } = this;
    // Not `assert`: its message would be put together for every frame.
    if (taken[slot] !== 1) throw doubleFree(slot);
    taken[slot] = 0;
    const count = state[0] + 1;
    state[count] = slot;
    state[0] = count;
  }

  /** Takes up to `count` slots at once into the front of `slots`; returns how many (NL-R-007). */
  reserve(slots: Int32Array, count: number): number {
    const { state, taken } = this;
    const free = state[0];
    const granted = Math.min(count, free);
    for (let i = 0; i < granted; i++) {
      const slot = state[free - i];
      slots[i] = slot;
      taken[slot] = 1;
    }
    state[0] = free - granted;
    return granted;
  }

  /** Keeps the first `used` of `count` reserved slots and gives the rest back. */
  commit(slots: Int32Array, count: number, used: number): void {
    const { state, taken } = this;
    let free = state[0];
    for (let i = count - 1; i >= used; i--) {
      const slot = slots[i];
      if (taken[slot] !== 1) throw doubleFree(slot);
      taken[slot] = 0;
      state[++free] = slot;
    }
    state[0] = free;
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
