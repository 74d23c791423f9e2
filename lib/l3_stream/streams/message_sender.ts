/**
 * Sending half of a message stream. Reliable unordered messages are kept until every byte is
 * acknowledged and lost parts go out again, cut anew to the room of their packet. Best-effort
 * messages are forgotten when they leave.
 */
import { type Mode, MODE_BEST_EFFORT } from "../frames/frame.ts";
import { MESSAGE_HEAD_BYTES } from "../frames/message.ts";
import { Fifo } from "../fifo.ts";
import type { SendBudget, SendCredit } from "../flow.ts";
import { RangeSet } from "../ranges.ts";

/** What a queued message costs beside its bytes, so that empty ones are bounded too. */
export const MESSAGE_OVERHEAD_BYTES = 128;

interface OutMessage {
  readonly number: number;
  readonly bytes: Uint8Array;
  /** Bytes that went out at least once. */
  sent: number;
  /** Made when a part of the message, not all of it, is acknowledged or lost. */
  acked?: RangeSet;
  lost?: RangeSet;
  /** The whole (empty) message was lost: there are no bytes to make a range of. */
  lostEmpty: boolean;
}

export class MessageSender {
  readonly #reliable: boolean;
  /** Messages in order of number until they went out whole; the first may have begun. */
  readonly #unsent = new Fifo<OutMessage>();
  /** Begun and not wholly acknowledged, by number. */
  readonly #live = new Map<number, OutMessage>();
  /** Messages with lost parts, oldest loss first; may name some that recovered since. */
  readonly #repair = new Set<number>();
  #next = 0;
  #bufferedBytes = 0;
  #begunBytes = 0;
  #begunMessages = 0;
  /** What pick() chose. */
  message = 0;
  offset = 0;
  length = 0;
  total = 0;
  /** Whether it went out before. */
  isRepeat = false;
  /** The last pick() found a best-effort message that needs a longer packet. */
  needsRoom = false;
  #picked: Uint8Array = new Uint8Array(0);

  constructor(mode: Mode, readonly budget: SendBudget) {
    this.#reliable = mode !== MODE_BEST_EFFORT;
  }

  /** Messages accepted so far: the final size once no more are sent. */
  get end(): number {
    return this.#next;
  }
  get begunMessages(): number {
    return this.#begunMessages;
  }
  /** Sum of the totals of all messages of which a part went out: what the connection counted. */
  get begunBytes(): number {
    return this.#begunBytes;
  }
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }
  get allSent(): boolean {
    return this.#unsent.length === 0;
  }
  get allAcked(): boolean {
    return this.#unsent.length === 0 && this.#live.size === 0;
  }
  get hasLost(): boolean {
    return this.#repair.size > 0;
  }

  /** Copies the message; false when the buffer is too full. */
  enqueue(bytes: Uint8Array): boolean {
    const cost = bytes.length + MESSAGE_OVERHEAD_BYTES;
    if (!this.budget.takes(cost, this.#bufferedBytes)) return false;
    this.#hold(cost);
    this.#unsent.push({ number: this.#next++, bytes: bytes.slice(), sent: 0, lostEmpty: false });
    return true;
  }

  /** Whether the credits let something new out. A message counts when its first part leaves. */
  sendable(credit: SendCredit, connection: SendCredit): boolean {
    const first = this.#unsent.peek();
    if (first === undefined) return false;
    if (first.sent > 0 || !this.#reliable) return true;
    return credit.left >= 1 && connection.left >= first.bytes.length;
  }

  /**
   * Chooses the next part, at most `room` bytes with its frame head; false when there is nothing
   * or too little room. Credit is taken here.
   */
  pick(credit: SendCredit, connection: SendCredit, room: number): boolean {
    room -= MESSAGE_HEAD_BYTES;
    this.needsRoom = false;
    if (room < 0) return false;
    if (this.#repair.size > 0 && this.#pickLost(room)) return true;
    if (!this.sendable(credit, connection)) return false;
    const first = this.#unsent.peek()!;
    const left = first.bytes.length - first.sent;
    if (room < 1 && left > 0) return false;
    if (!this.#reliable && left > room) { // §5.3: best effort is never cut
      this.needsRoom = true;
      return false;
    }
    if (first.sent === 0) {
      this.#begunMessages++;
      if (this.#reliable) {
        credit.used++;
        connection.used += first.bytes.length;
        this.#begunBytes += first.bytes.length;
        this.#live.set(first.number, first);
      }
    }
    this.#choose(first, first.sent, Math.min(room, left));
    this.isRepeat = false;
    first.sent += this.length;
    if (first.sent === first.bytes.length) {
      this.#unsent.shift();
      if (!this.#reliable) this.#hold(-first.bytes.length - MESSAGE_OVERHEAD_BYTES);
    }
    return true;
  }

  /** Copies the part that pick() chose last. */
  copyPicked(into: Uint8Array, at: number): void {
    const { offset, length } = this;
    const whole = length === this.#picked.length;
    into.set(whole ? this.#picked : this.#picked.subarray(offset, offset + length), at);
  }

  /** Gives up the message that needs more room than any packet has. */
  dropFirst(): void {
    const first = this.#unsent.shift();
    if (first !== undefined) this.#hold(-first.bytes.length - MESSAGE_OVERHEAD_BYTES);
  }

  onAcked(number: number, offset: number, length: number): void {
    const message = this.#live.get(number);
    if (message === undefined) return;
    const total = message.bytes.length;
    if (length < total) {
      message.acked ??= new RangeSet();
      message.acked.insertRange(offset, offset + length - 1);
      message.lost?.removeRange(offset, offset + length - 1);
      if (!message.acked.containsRange(0, total - 1)) return;
    }
    this.#live.delete(number);
    this.#repair.delete(number);
    this.#hold(-total - MESSAGE_OVERHEAD_BYTES);
  }

  onLost(number: number, offset: number, length: number): void {
    const message = this.#live.get(number);
    if (message === undefined) return;
    if (message.bytes.length === 0) {
      message.lostEmpty = true;
    } else {
      const lost = message.lost ??= new RangeSet();
      lost.insertRange(offset, offset + length - 1);
      const { acked } = message;
      if (acked !== undefined) {
        for (let i = 0; i < acked.count; i++) lost.removeRange(acked.lows[i], acked.highs[i]);
      }
      if (lost.count === 0) return;
    }
    this.#repair.add(number);
  }

  /** Forgets everything: the stream was reset, or the peer said that it has all. */
  clear(): void {
    this.#unsent.clear();
    this.#live.clear();
    this.#repair.clear();
    this.#hold(-this.#bufferedBytes);
    this.#picked = new Uint8Array(0);
  }

  #hold(bytes: number): void {
    this.#bufferedBytes += bytes;
    this.budget.used += bytes;
  }

  #pickLost(room: number): boolean {
    for (const number of this.#repair) {
      const message = this.#live.get(number);
      if (message !== undefined && message.lostEmpty) {
        message.lostEmpty = false;
        this.#repair.delete(number);
        this.#choose(message, 0, 0);
        return true;
      }
      const lost = message?.lost;
      if (message === undefined || lost === undefined || lost.count === 0) {
        this.#repair.delete(number);
        continue;
      }
      if (room < 1) return false;
      const offset = lost.lows[0];
      this.#choose(message, offset, Math.min(room, lost.highs[0] - offset + 1));
      lost.removeRange(offset, offset + this.length - 1);
      if (lost.count === 0) this.#repair.delete(number);
      return true;
    }
    return false;
  }

  #choose(message: OutMessage, offset: number, length: number): void {
    this.message = message.number;
    this.total = message.bytes.length;
    this.offset = offset;
    this.length = length;
    this.isRepeat = true;
    this.#picked = message.bytes;
  }
}
