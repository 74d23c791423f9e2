/**
 * Receiving half of a reliable ordered stream. Bytes lie in blocks at their offset; everything
 * below #contiguous can be read, ranges above it wait for the gap to fill.
 *
 * What comes in order out of a landing stays there and is read from there; it moves to blocks only
 * when it is not read before the landing is needed. So the unread bytes below #contiguous are those
 * in blocks, then those landed.
 */
import { RangeSet } from "../ranges.ts";
import type { Landing, LandingHolder } from "../runs.ts";
import { BlockBuffer } from "./block_buffer.ts";
import { COLLECTED_BLOCKS } from "./blocks.ts";

/**
 * Gaps in what arrived of one stream. A window of full packets cannot have more; only a peer that
 * sends confetti does, and its packet is then refused (not acknowledged) instead of remembered.
 */
export const GAPS_MAX = 4_096;

/** A piece of a landing. */
interface Landed {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly at: number;
  length: number;
}

export class ByteReceiver implements LandingHolder {
  readonly #buffer = new BlockBuffer(COLLECTED_BLOCKS);
  /** Everything below was handed out. */
  #read = 0;
  /** Everything below has arrived. */
  #contiguous = 0;
  /** Highest offset seen: what flow control counts. */
  #highest = 0;
  readonly #ahead = new RangeSet();
  /** Unread bytes before #contiguous that lie in landings, piece by piece. */
  readonly #landed: Landed[] = [];
  #landedBytes = 0;
  /** The last read() gave out a view of the landing. */
  #isLent = false;
  /** The landing knows of this stream. */
  #isHolder = false;

  get contiguous(): number {
    return this.#contiguous;
  }
  get highest(): number {
    return this.#highest;
  }
  get readOffset(): number {
    return this.#read;
  }
  get readable(): boolean {
    return this.#read < this.#contiguous;
  }
  get bytesHeld(): number {
    return this.#buffer.bytesHeld + this.#landedBytes;
  }

  /** Whether one more range could be remembered. */
  canTake(offset: number): boolean {
    return offset <= this.#contiguous || this.#ahead.count < GAPS_MAX;
  }

  /** Takes `length` bytes that were opened at `at` of the landing, as take(). */
  takeLanded(landing: Landing, offset: number, at: number, length: number): void {
    if (offset !== this.#contiguous || this.#ahead.count > 0 || length === 0) {
      return this.take(offset, landing.bytes, at, length);
    }
    const last = this.#landed.at(-1);
    if (last?.bytes === landing.bytes && last.at + last.length === at) last.length += length;
    else this.#landed.push({ bytes: landing.bytes, at, length });
    this.#landedBytes += length;
    this.#contiguous = this.#highest = offset + length;
    if (this.#isHolder) return;
    this.#isHolder = true;
    landing.hold(this);
  }

  get holdsLanding(): boolean {
    return this.#landedBytes > 0 || this.#isLent;
  }

  leaveLanding(): boolean {
    const isFree = !this.#isLent;
    this.#moveLanded();
    this.#isLent = this.#isHolder = false;
    return isFree;
  }

  #moveLanded(): void {
    let offset = this.#contiguous - this.#landedBytes;
    for (const { bytes, at, length } of this.#landed) {
      this.#buffer.put(offset, bytes, at, at + length);
      offset += length;
    }
    this.#dropLanded();
  }

  #dropLanded(): void {
    this.#landed.length = 0;
    this.#landedBytes = 0;
  }

  /** Takes bytes[from, from + length) at `offset`; what is known already is left as it was. */
  take(offset: number, bytes: Uint8Array, from: number, length: number): void {
    if (this.#landedBytes > 0) this.#moveLanded();
    const end = offset + length;
    if (end > this.#highest) this.#highest = end;
    if (offset < this.#contiguous) {
      from += this.#contiguous - offset;
      offset = this.#contiguous;
    }
    if (offset >= end) return;
    if (this.#ahead.count === 0) {
      this.#buffer.put(offset, bytes, from, from + end - offset);
      if (offset === this.#contiguous) this.#contiguous = end;
      else this.#ahead.insertRange(offset, end - 1);
      return;
    }
    for (let at = offset; at < end;) {
      const missing = this.#ahead.nextMissing(at);
      if (missing >= end) break;
      const present = this.#ahead.nextPresent(missing);
      const to = present < 0 ? end : Math.min(end, present);
      this.#buffer.put(missing, bytes, from + missing - offset, from + to - offset);
      at = to;
    }
    this.#ahead.insertRange(offset, end - 1);
    if (offset === this.#contiguous) {
      this.#contiguous = this.#ahead.nextMissing(offset);
      this.#ahead.dropBelow(this.#contiguous);
    }
  }

  /**
   * The next bytes in order, as many as lie together: a view, valid until the next call. undefined
   * when there are none.
   */
  read(): Uint8Array<ArrayBuffer> | undefined {
    this.#isLent = false;
    const length = this.#contiguous - this.#landedBytes - this.#read;
    if (length <= 0) return this.#readLanded();
    const piece = this.#buffer.view(this.#read, length);
    this.#read += piece.length;
    if (this.#read === this.#highest) this.#buffer.clear(this.#read);
    else this.#buffer.dropBelow(this.#read);
    return piece;
  }

  #readLanded(): Uint8Array<ArrayBuffer> | undefined {
    const landed = this.#landed.shift();
    if (landed === undefined) return undefined;
    const { bytes, at, length } = landed;
    this.#isLent = true;
    this.#landedBytes -= length;
    this.#read += length;
    this.#buffer.clear(this.#read); // blocks, which come first, hold nothing
    return bytes.subarray(at, at + length);
  }

  /** Forgets what was not read; returns how many bytes nobody will read any more. */
  clear(): number {
    const unread = this.#highest - this.#read;
    this.#dropLanded();
    this.#read = this.#contiguous = this.#highest;
    this.#ahead.clear();
    this.#buffer.clear(this.#read);
    return unread;
  }
}
