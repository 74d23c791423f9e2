/**
 * Bytes of a stream by offset, in blocks of one size: what a sender keeps until acknowledged and
 * what a receiver holds until it is in order. Memory follows the offsets in use, not the number
 * or size of the writes, so that a peer gains nothing by sending single bytes.
 */

/** Small enough for thousands of streams, large enough that a bulk packet seldom crosses one. */
export const BLOCK_BYTES = 8_192;

export class BlockBuffer {
  /** Blocks from #first on; undefined where nothing was put yet. */
  readonly #blocks: (Uint8Array<ArrayBuffer> | undefined)[] = [];
  /** Block number (offset / BLOCK_BYTES) of #blocks[0]. */
  #first = 0;

  /** Copies bytes[from, to) to stream offset `offset`, which is not below the last dropBelow. */
  put(offset: number, bytes: Uint8Array, from: number, to: number): void {
    while (from < to) {
      const number = Math.floor(offset / BLOCK_BYTES);
      const inBlock = offset - number * BLOCK_BYTES;
      const length = Math.min(to - from, BLOCK_BYTES - inBlock);
      const block = this.#block(number);
      if (from === 0 && length === bytes.length) block.set(bytes, inBlock);
      else block.set(bytes.subarray(from, from + length), inBlock);
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
    return this.#block(number).subarray(inBlock, Math.min(BLOCK_BYTES, inBlock + length));
  }

  /** Lets go of every block that lies wholly below `offset`. */
  dropBelow(offset: number): void {
    const number = Math.floor(offset / BLOCK_BYTES);
    const gone = Math.min(number - this.#first, this.#blocks.length);
    if (gone > 0) this.#blocks.splice(0, gone);
    this.#first = Math.max(this.#first, number);
  }

  /** Lets go of everything; what comes next is not below `offset`. */
  clear(offset: number): void {
    this.#blocks.length = 0;
    this.#first = Math.floor(offset / BLOCK_BYTES);
  }

  get bytesHeld(): number {
    let blocks = 0;
    for (const block of this.#blocks) if (block !== undefined) blocks++;
    return blocks * BLOCK_BYTES;
  }

  #block(number: number): Uint8Array<ArrayBuffer> {
    const index = number - this.#first;
    while (this.#blocks.length <= index) this.#blocks.push(undefined);
    return this.#blocks[index] ??= new Uint8Array(BLOCK_BYTES);
  }
}
