/**
 * Bytes of a stream by offset, in blocks of one size: what a sender keeps until acknowledged and
 * what a receiver holds until it is in order. Memory follows the offsets in use, not the number
 * or size of the writes, so that a peer gains nothing by sending single bytes. Without bytes
 * there is no memory.
 */
import { type Block, BLOCK_BYTES, type BlockSource } from "./blocks.ts";

/** Gone places at the front of the list that are kept before it is cut: amortizes the cut. */
const GONE_MAX = 64;

export class BlockBuffer {
  readonly #source: BlockSource;
  /** Blocks from #first on; undefined where nothing was put yet, or that are gone. */
  #blocks: (Block | undefined)[] | undefined;
  /** Block number (offset / BLOCK_BYTES) of #blocks[0]. */
  #first = 0;
  /** Places at the front of #blocks that were dropped. */
  #gone = 0;

  constructor(source: BlockSource) {
    this.#source = source;
  }

  /** Copies bytes[from, to) to stream offset `offset`, which is not below the last dropBelow. */
  put(offset: number, bytes: Uint8Array, from: number, to: number): void {
    while (from < to) {
      const number = Math.floor(offset / BLOCK_BYTES);
      const inBlock = offset - number * BLOCK_BYTES;
      const { memory, at } = this.#block(number);
      let length = Math.min(to - from, BLOCK_BYTES - inBlock);
      // Blocks that stand side by side take one copy.
      for (let i = 1; length < to - from; i++) {
        const next = this.#block(number + i);
        if (next.memory !== memory || next.at !== at + i * BLOCK_BYTES) break;
        length = Math.min(to - from, length + BLOCK_BYTES);
      }
      const isAll = from === 0 && length === bytes.length;
      memory.set(isAll ? bytes : bytes.subarray(from, from + length), at + inBlock);
      offset += length;
      from += length;
    }
  }

  /** Copies `length` bytes at stream offset `offset` into `into` at `at`. */
  copyTo(offset: number, length: number, into: Uint8Array, at: number): void {
    while (length > 0) {
      const piece = this.view(offset, length);
      into.set(piece, at);
      offset += piece.length;
      at += piece.length;
      length -= piece.length;
    }
  }

  /** The bytes at `offset` up to `length` or the end of their block, without a copy. */
  view(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const number = Math.floor(offset / BLOCK_BYTES);
    const inBlock = offset - number * BLOCK_BYTES;
    return this.#block(number).bytes.subarray(inBlock, Math.min(BLOCK_BYTES, inBlock + length));
  }

  /**
   * Names the memory of a range for native code: piece i is lengths[i] bytes at addresses[i]. How
   * many pieces; 0 when an address is unknown or the lists are too short: copyTo() always works.
   * Good until the range is dropped.
   */
  pieces(offset: number, length: number, addresses: Float64Array, lengths: Uint32Array): number {
    let count = 0;
    let end = 0;
    while (length > 0) {
      const number = Math.floor(offset / BLOCK_BYTES);
      const inBlock = offset - number * BLOCK_BYTES;
      const { address } = this.#block(number);
      if (address === 0) return 0;
      const pieceBytes = Math.min(length, BLOCK_BYTES - inBlock);
      if (count > 0 && address === end) {
        lengths[count - 1] += pieceBytes;
      } else {
        if (count >= addresses.length || count >= lengths.length) return 0;
        addresses[count] = address + inBlock;
        lengths[count++] = pieceBytes;
      }
      end = address + BLOCK_BYTES;
      offset += pieceBytes;
      length -= pieceBytes;
    }
    return count;
  }

  /** Lets go of every block that lies wholly below `offset`. */
  dropBelow(offset: number): void {
    const number = Math.floor(offset / BLOCK_BYTES);
    if (number - this.#first <= this.#gone) return;
    const blocks = this.#blocks;
    if (blocks === undefined || number - this.#first >= blocks.length) return this.clear(offset);
    this.#gone = this.#give(blocks, this.#gone, number - this.#first);
    if (this.#gone < GONE_MAX) return;
    blocks.splice(0, this.#gone);
    this.#first = number;
    this.#gone = 0;
  }

  /** Lets go of everything; what comes next is not below `offset`. */
  clear(offset: number): void {
    if (this.#blocks !== undefined) this.#give(this.#blocks, this.#gone, this.#blocks.length);
    this.#blocks = undefined;
    this.#first = Math.floor(offset / BLOCK_BYTES);
    this.#gone = 0;
  }

  get bytesHeld(): number {
    let blocks = 0;
    for (const block of this.#blocks ?? []) if (block !== undefined) blocks++;
    return blocks * BLOCK_BYTES;
  }

  /** Gives blocks [from, to) of the list back; returns `to`. */
  #give(blocks: (Block | undefined)[], from: number, to: number): number {
    for (let i = from; i < to; i++) {
      const block = blocks[i];
      if (block !== undefined) this.#source.give(block);
      blocks[i] = undefined;
    }
    return to;
  }

  #block(number: number): Block {
    const blocks = this.#blocks ??= [];
    const index = number - this.#first;
    while (blocks.length <= index) blocks.push(undefined);
    return blocks[index] ??= this.#source.take();
  }
}
