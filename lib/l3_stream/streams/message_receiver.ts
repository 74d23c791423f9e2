/**
 * Receiving half of a reliable unordered stream: every message once, as soon as it is complete.
 * Numbers below the stream's limit are bounded, so the set of delivered ones is too: the limit
 * moves by one for each delivered message, hence at most `streamMessages` numbers are missing.
 */
import { RangeSet } from "../ranges.ts";

/** Gaps in one message that arrived in parts; as GAPS_MAX for bytes. */
const PART_GAPS_MAX = 1_024;

/** What became of a part. */
export const PART_STORED = 0;
export const PART_COMPLETED = 1;
/** A copy of something known. */
export const PART_KNOWN = 2;
/** The total differs from what an earlier part said. */
export const PART_CONTRADICTS = 3;
/** Too many gaps: refuse the packet, the peer sends it again. */
export const PART_REFUSED = 4;

const NOTHING = new Uint8Array(0);

interface Partial {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly have: RangeSet;
}

export class MessageReceiver {
  readonly #delivered = new RangeSet();
  readonly #partial = new Map<number, Partial>();
  /** One past the highest message number seen. */
  highest = 0;
  deliveredCount = 0;
  /** Sum of the totals of all messages of which a part arrived: what the connection counted. */
  begunBytes = 0;
  #completed: Uint8Array<ArrayBuffer> = NOTHING;

  get partialCount(): number {
    return this.#partial.size;
  }

  get bytesHeld(): number {
    let bytes = 0;
    for (const partial of this.#partial.values()) bytes += partial.bytes.length;
    return bytes;
  }

  /** Whether nothing of this message arrived yet: its total is to be counted. */
  isNew(message: number): boolean {
    return !this.#partial.has(message) && !this.#delivered.contains(message);
  }

  /** Takes bytes[from, from + length), the part at `offset` of message `message`. */
  take(
    message: number,
    total: number,
    offset: number,
    bytes: Uint8Array,
    from: number,
    length: number,
  ): number {
    let partial = this.#partial.get(message);
    if (partial === undefined) {
      if (this.#delivered.contains(message)) return PART_KNOWN;
      this.highest = Math.max(this.highest, message + 1);
      this.begunBytes += total;
      if (length === total) {
        this.#deliver(message, bytes.slice(from, from + length) as Uint8Array<ArrayBuffer>);
        return PART_COMPLETED;
      }
      partial = { bytes: new Uint8Array(total), have: new RangeSet() };
      this.#partial.set(message, partial);
    }
    if (partial.bytes.length !== total) return PART_CONTRADICTS;
    const { have } = partial;
    if (have.count >= PART_GAPS_MAX && !have.contains(offset - 1)) return PART_REFUSED;
    if (have.insertRange(offset, offset + length - 1) === 0) return PART_KNOWN;
    partial.bytes.set(bytes.subarray(from, from + length), offset);
    if (!have.containsRange(0, total - 1)) return PART_STORED;
    this.#partial.delete(message);
    this.#deliver(message, partial.bytes);
    return PART_COMPLETED;
  }

  /** The message that the last take() completed; it is not kept here. */
  takeCompleted(): Uint8Array<ArrayBuffer> {
    const message = this.#completed;
    this.#completed = NOTHING;
    return message;
  }

  /** Forgets incomplete messages; returns how many bytes nobody will get any more. */
  clear(): number {
    const bytes = this.bytesHeld;
    this.#partial.clear();
    return bytes;
  }

  #deliver(message: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.#delivered.insert(message);
    this.deliveredCount++;
    this.#completed = bytes;
  }
}
