/**
 * Pools of each slot size in one block of memory (NL-R-004): small frames do not waste 64 KiB, and
 * whoever registers the memory (a native library, AF_XDP, a device) registers it once.
 */
import { NexusError } from "../base/mod.ts";
import { Pool, SLOT_BYTES } from "./pool.ts";
import { type PoolMemory, type PoolMemorySource, sharedPoolMemory } from "./pool_memory.ts";

/** Slots of each class. */
export interface SlotCounts {
  readonly small: number;
  readonly jumbo: number;
  readonly large: number;
}

/**
 * Default counts: 16 MiB for 8,192 plain frames (some 80 ms of 1 Gbit/s), 18 MiB of jumbo and
 * 16 MiB of large slots. With rings a node stays far below its 256 MiB (01-link.md, Targets).
 */
export const SLOT_COUNTS_DEFAULT: SlotCounts = { small: 8192, jumbo: 2048, large: 256 };

/** One pool per slot size, side by side in the same memory; offsets count from each pool's start. */
export class PoolSet {
  readonly memory: PoolMemory;
  /** By rising slot size; classes without slots are left out. */
  readonly pools: readonly Pool[];

  constructor({ counts = SLOT_COUNTS_DEFAULT, source = sharedPoolMemory }: {
    counts?: SlotCounts;
    source?: PoolMemorySource;
  } = {}) {
    const classes = (["small", "jumbo", "large"] as const)
      .map((name) => ({ slots: counts[name], slotBytes: SLOT_BYTES[name] }))
      .filter(({ slots }) => slots > 0);
    if (classes.length === 0) {
      throw new NexusError("INVALID_POOL", "cannot make pool set: no class has slots, expected 1");
    }
    const bytes = classes.reduce((sum, { slots, slotBytes }) => sum + slots * slotBytes, 0);
    const memory = source(bytes);
    let base = 0;
    this.memory = memory;
    this.pools = classes.map(({ slots, slotBytes }) => {
      const part = {
        bytes: memory.bytes.subarray(base, base + slots * slotBytes),
        pages: memory.pages,
        address: memory.address === 0 ? 0 : memory.address + base,
      };
      base += slots * slotBytes;
      return new Pool({ slots, slotBytes, memory: part });
    });
  }

  /** The pool of the smallest class that holds a frame of that length; undefined past the largest. */
  poolFor(frameBytes: number): Pool | undefined {
    for (const pool of this.pools) if (frameBytes <= pool.frameBytesMax) return pool;
    return undefined;
  }

  /** As poolFor, but the next larger class when the right one is empty; undefined when all are. */
  poolWithRoomFor(frameBytes: number): Pool | undefined {
    for (const pool of this.pools) {
      if (frameBytes <= pool.frameBytesMax && pool.available > 0) return pool;
    }
    return undefined;
  }
}
