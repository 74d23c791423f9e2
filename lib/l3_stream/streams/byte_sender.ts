/**
 * Sending half of a reliable ordered stream: bytes are kept from write() until acknowledged. What
 * a packet carries is an (offset, length) into them; a lost range is queued again and goes out in
 * new packets, before new bytes.
 */
import type { SendBudget, SendCredit } from "../flow.ts";
import { RangeSet } from "../ranges.ts";
import { BlockBuffer } from "./block_buffer.ts";
import type { BlockSource } from "./blocks.ts";

export class ByteSender {
  readonly #buffer: BlockBuffer;
  /** Everything below was acknowledged and is forgotten. */
  #base = 0;
  /** First byte that never went out. */
  #sent = 0;
  /** End of what was written. */
  #end = 0;
  /** Acknowledged above #base. */
  readonly #acked = new RangeSet();
  /** Lost and not yet sent again; disjoint from #acked. */
  readonly #lost = new RangeSet();
  /** What pick() chose. */
  offset = 0;
  length = 0;
  /** Whether it went out before. */
  isRepeat = false;

  constructor(readonly budget: SendBudget, blocks: BlockSource) {
    this.#buffer = new BlockBuffer(blocks);
  }

  /** Bytes written so far: the final size once no more are written. */
  get end(): number {
    return this.#end;
  }
  /** Bytes that went out at least once. */
  get sent(): number {
    return this.#sent;
  }
  get bufferedBytes(): number {
    return this.#end - this.#base;
  }
  get allSent(): boolean {
    return this.#sent === this.#end;
  }
  get allAcked(): boolean {
    return this.#base === this.#end;
  }
  get hasLost(): boolean {
    return this.#lost.count > 0;
  }

  /** Copies as much as the buffer takes; returns how much. */
  write(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, this.budget.room(this.bufferedBytes));
    if (taken <= 0) return 0;
    this.#buffer.put(this.#end, bytes, 0, taken);
    this.#end += taken;
    this.budget.used += taken;
    return taken;
  }

  /** New bytes that the stream's credit lets out now. */
  sendable(credit: SendCredit): number {
    return Math.min(this.#end, credit.limit) - this.#sent;
  }

  /**
   * Chooses what goes next: lost bytes, else new ones within both credits, at most `room`. Sets
   * `offset` and `length`; false when there is nothing. Credit is taken here.
   */
  pick(credit: SendCredit, connection: SendCredit, room: number): boolean {
    if (room <= 0) return false;
    if (this.#lost.count > 0) {
      this.offset = this.#lost.lows[0];
      this.length = Math.min(room, this.#lost.highs[0] - this.offset + 1);
      this.#lost.removeRange(this.offset, this.offset + this.length - 1);
      this.isRepeat = true;
      return true;
    }
    const length = Math.min(room, this.sendable(credit), connection.left);
    if (length <= 0) return false;
    this.offset = this.#sent;
    this.length = length;
    this.isRepeat = false;
    this.#sent += length;
    credit.used += length;
    connection.used += length;
    return true;
  }

  /** Copies a range that pick() chose to where the frame is written. */
  copyTo(offset: number, length: number, into: Uint8Array, at: number): void {
    this.#buffer.copyTo(offset, length, into, at);
  }

  /** The memory of a range that pick() chose, good until it is acknowledged (BlockBuffer.pieces). */
  pieces(offset: number, length: number, addresses: Float64Array, lengths: Uint32Array): number {
    return this.#buffer.pieces(offset, length, addresses, lengths);
  }

  onAcked(offset: number, length: number): void {
    const end = offset + length;
    if (end <= this.#base) return;
    this.#lost.removeRange(offset, end - 1);
    if (offset > this.#base) {
      this.#acked.insertRange(offset, end - 1);
      return;
    }
    const base = Math.max(end, this.#acked.nextMissing(end));
    this.budget.used -= base - this.#base;
    this.#base = base;
    this.#acked.dropBelow(base);
    if (base === this.#end) this.#buffer.clear(base);
    else this.#buffer.dropBelow(base);
  }

  onLost(offset: number, length: number): void {
    let at = Math.max(offset, this.#base);
    const end = offset + length;
    // Only what no other packet delivered in the meantime.
    while (at < end) {
      const from = this.#acked.nextMissing(at);
      if (from >= end) return;
      const acked = this.#acked.nextPresent(from);
      const to = acked < 0 ? end : Math.min(end, acked);
      this.#lost.insertRange(from, to - 1);
      at = to;
    }
  }

  /** Forgets everything: the stream was reset, or the peer said that it has all. */
  clear(): void {
    this.budget.used -= this.bufferedBytes;
    this.#base = this.#sent = this.#end;
    this.#acked.clear();
    this.#lost.clear();
    this.#buffer.clear(this.#end);
  }
}
