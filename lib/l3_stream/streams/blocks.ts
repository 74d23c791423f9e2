/**
 * Blocks: the memory that streams keep their bytes in, all of one size. The pool cuts them from
 * slabs, takes used ones back and lets go of slabs that are wholly unused. One pool serves all
 * connections of an endpoint, so that an idle connection holds none.
 */
import { Fifo } from "../fifo.ts";

/** Small enough for thousands of streams, large enough that a bulk packet seldom crosses one. */
export const BLOCK_BYTES = 8_192;
/** 32 blocks: few enough allocations for a fast sender, little enough to hold for a slow one. */
export const SLAB_BYTES = 262_144;
/**
 * Unused memory that a pool keeps. A fast sender's buffer swings by about its window's update
 * step: below this, fresh (zeroed, page-faulting) slabs would be made all the time.
 */
export const SPARE_BYTES_MAX = 4 * 1_048_576;

/** Memory of BLOCK_BYTES. Its content is whatever the last user left. */
export interface Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What `bytes` was cut from, and where: a block may go on in the next one. */
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly at: number;
  /** Where `bytes` begins in the process, for native code; 0: unknown. */
  readonly address: number;
}

/** Where blocks come from. A block is given back at most once, to where it was taken. */
export interface BlockSource {
  take(): Block;
  give(block: Block): void;
}

/** Memory that blocks are cut from, and its address (0: unknown). */
export interface SlabMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly address: number;
  /** Called once when no block of it is in use any more; for memory that is not collected. */
  release?(): void;
}

interface Slab {
  readonly memory: SlabMemory;
  /**
   * Unused blocks, given out in the order in which they came back: a stream that goes through its
   * bytes from front to back gets blocks that stand side by side.
   */
  readonly free: Fifo<PoolBlock>;
  /** Its place in the pool's list of slabs with unused blocks; -1: it has none. */
  place: number;
}

interface PoolBlock extends Block {
  readonly slab: Slab;
}

/** How a pool may be made. */
export interface BlockPoolOptions {
  /** Makes `length` bytes of memory. Default: an ordinary array. */
  makeSlab?: (length: number) => SlabMemory;
  spareBytesMax?: number;
}

export class BlockPool implements BlockSource {
  readonly #makeSlab: (length: number) => SlabMemory;
  readonly #spareBlocksMax: number;
  /** Slabs with unused blocks, in no order. */
  readonly #open: Slab[] = [];
  #blocksFree = 0;
  #blocksTotal = 0;

  constructor({ makeSlab = plainSlab, spareBytesMax = SPARE_BYTES_MAX }: BlockPoolOptions = {}) {
    this.#makeSlab = makeSlab;
    this.#spareBlocksMax = spareBytesMax / BLOCK_BYTES;
  }

  /** Bytes of all slabs. */
  get bytesHeld(): number {
    return this.#blocksTotal * BLOCK_BYTES;
  }
  /** Bytes of the blocks that are out. */
  get bytesUsed(): number {
    return (this.#blocksTotal - this.#blocksFree) * BLOCK_BYTES;
  }

  take(): Block {
    if (this.#open.length === 0) this.#addSlab();
    const slab = this.#open[this.#open.length - 1];
    const block = slab.free.shift()!;
    this.#blocksFree--;
    if (slab.free.length === 0) this.#close(slab);
    return block;
  }

  give(block: Block): void {
    const { slab } = block as PoolBlock;
    slab.free.push(block as PoolBlock);
    this.#blocksFree++;
    if (slab.place < 0) this.#openSlab(slab);
    const blocks = SLAB_BYTES / BLOCK_BYTES;
    if (slab.free.length < blocks || this.#blocksFree <= this.#spareBlocksMax) return;
    this.#close(slab);
    this.#blocksFree -= blocks;
    this.#blocksTotal -= blocks;
    slab.memory.release?.();
  }

  #addSlab(): void {
    const memory = this.#makeSlab(SLAB_BYTES);
    const slab: Slab = { memory, free: new Fifo(), place: -1 };
    for (let at = 0; at < SLAB_BYTES; at += BLOCK_BYTES) {
      const bytes = memory.bytes.subarray(at, at + BLOCK_BYTES);
      const address = memory.address === 0 ? 0 : memory.address + at;
      slab.free.push({ bytes, memory: memory.bytes, at, address, slab });
    }
    this.#blocksFree += slab.free.length;
    this.#blocksTotal += slab.free.length;
    this.#openSlab(slab);
  }

  #openSlab(slab: Slab): void {
    slab.place = this.#open.length;
    this.#open.push(slab);
  }

  #close(slab: Slab): void {
    const last = this.#open.pop()!;
    if (last !== slab) {
      this.#open[slab.place] = last;
      last.place = slab.place;
    }
    slab.place = -1;
  }
}

/** Blocks that the collector frees: for bytes whose views leave the connection (read()). */
export const COLLECTED_BLOCKS: BlockSource = {
  take() {
    const bytes = new Uint8Array(BLOCK_BYTES);
    return { bytes, memory: bytes, at: 0, address: 0 };
  },
  give: () => {},
};

function plainSlab(length: number): SlabMemory {
  return { bytes: new Uint8Array(length), address: 0 };
}
