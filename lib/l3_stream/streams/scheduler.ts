/**
 * Whose turn it is to send: strict priority classes, inside a class deficit round robin by bytes
 * (Shreedhar and Varghese 1996), so that streams share by weight whatever the size of what they
 * send. Streams form one linked list per class: thousands that wait cost nothing per packet.
 */
import { PRIORITY_MAX } from "../frames/frame.ts";
import type { Stream } from "./stream.ts";

/** Weights of streams, local to each sender. */
export const WEIGHT_MIN = 1;
export const WEIGHT_MAX = 256;
export const WEIGHT_DEFAULT = 16;
/** Bytes of a turn at the default weight: about one train. */
export const TURN_BYTES = 65_536;
const TURN_BYTES_PER_WEIGHT = TURN_BYTES / WEIGHT_DEFAULT;

export class Scheduler {
  readonly #heads: (Stream | undefined)[] = new Array(PRIORITY_MAX + 1).fill(undefined);
  readonly #tails: (Stream | undefined)[] = new Array(PRIORITY_MAX + 1).fill(undefined);
  /** Bit i: class i has streams. */
  #classes = 0;
  /** Streams that have new data but found the connection's credit used up. */
  readonly #blocked = new Set<Stream>();
  /** Streams that keep their turn but add nothing more to the packet in hand. */
  readonly #parked: Stream[] = [];

  get isEmpty(): boolean {
    return this.#classes === 0;
  }

  /** Queues a stream at the end of its class, once. */
  push(stream: Stream): void {
    if (stream.scheduled) return;
    stream.scheduled = true;
    const tail = this.#tails[stream.priority];
    if (tail === undefined) this.#heads[stream.priority] = stream;
    else tail.nextScheduled = stream;
    this.#tails[stream.priority] = stream;
    this.#classes |= 1 << stream.priority;
  }

  /** Puts a stream that pop() gave out back to the front: it keeps its turn. */
  unpop(stream: Stream): void {
    stream.scheduled = true;
    stream.nextScheduled = this.#heads[stream.priority];
    this.#heads[stream.priority] = stream;
    this.#tails[stream.priority] ??= stream;
    this.#classes |= 1 << stream.priority;
  }

  /** What pop() would give. */
  peek(): Stream | undefined {
    return this.#classes === 0 ? undefined : this.#turn(31 - Math.clz32(this.#classes));
  }

  /** The stream of the most urgent class whose turn it is; undefined when nobody waits. */
  pop(): Stream | undefined {
    if (this.#classes === 0) return undefined;
    const urgent = 31 - Math.clz32(this.#classes);
    this.#turn(urgent);
    return this.#shift(urgent);
  }

  /** Bytes that the stream of peek() may send before the next one's turn: no bound when alone. */
  turnBytes(stream: Stream): number {
    return stream.nextScheduled === undefined ? Infinity : stream.turnBytes;
  }

  /** A stream that pop() gave out has more: it is next again until its turn is used up. */
  putBack(stream: Stream): void {
    if (stream.turnBytes > 0) return this.unpop(stream);
    this.#forgive(stream);
    this.push(stream);
  }

  /**
   * A stream that pop() gave out has nothing more: it loses what is left of its turn, so that
   * nobody saves turns up. What it overdrew stays, else ending often would be an advantage.
   */
  endTurn(stream: Stream): void {
    if (stream.turnBytes > 0) stream.turnBytes = 0;
    else this.#forgive(stream);
  }

  /** As putBack, but others fill what is left of this packet. unpark() ends that. */
  park(stream: Stream): void {
    stream.scheduled = true;
    this.#parked.push(stream);
  }

  unpark(): void {
    while (this.#parked.length > 0) {
      const stream = this.#parked.pop()!;
      stream.scheduled = false;
      this.putBack(stream);
    }
  }

  /** The first stream of a class that has bytes of a turn left, after giving turns out. */
  #turn(priority: number): Stream {
    for (;;) {
      const stream = this.#heads[priority]!;
      if (stream.turnBytes > 0) return stream;
      stream.turnBytes += TURN_BYTES_PER_WEIGHT * stream.weight;
      if (stream.turnBytes > 0) return stream;
      this.push(this.#shift(priority)); // it overdrew by more than a turn: a long packet
    }
  }

  #shift(priority: number): Stream {
    const stream = this.#heads[priority]!;
    this.#heads[priority] = stream.nextScheduled;
    if (stream.nextScheduled === undefined) {
      this.#tails[priority] = undefined;
      this.#classes &= ~(1 << priority);
    }
    stream.nextScheduled = undefined;
    stream.scheduled = false;
    return stream;
  }

  /** What a stream overdrew while nobody else waited was nobody's. */
  #forgive(stream: Stream): void {
    if (this.#heads[stream.priority] === undefined) stream.turnBytes = 0;
  }

  /** Sets a stream aside until the connection has credit again; its turn goes on then. */
  block(stream: Stream): void {
    this.#blocked.add(stream);
  }

  /** The connection has new credit: first for those whose turn is not used up. */
  unblockAll(): void {
    for (const stream of this.#blocked) if (stream.turnBytes > 0) this.push(stream);
    for (const stream of this.#blocked) this.push(stream);
    this.#blocked.clear();
  }

  /** A stream is forgotten. It may still be in its list; popping it finds nothing to send. */
  forget(stream: Stream): void {
    this.#blocked.delete(stream);
  }
}
