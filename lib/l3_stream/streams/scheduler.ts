/**
 * Whose turn it is to send: strict priority classes, round robin inside a class. Streams form one
 * linked list per class, so that thousands of waiting streams cost nothing per packet.
 */
import { PRIORITY_MAX } from "../frames/frame.ts";
import type { Stream } from "./stream.ts";

export class Scheduler {
  readonly #heads: (Stream | undefined)[] = new Array(PRIORITY_MAX + 1).fill(undefined);
  readonly #tails: (Stream | undefined)[] = new Array(PRIORITY_MAX + 1).fill(undefined);
  /** Bit i: class i has streams. */
  #classes = 0;
  /** Streams that have new data but found the connection's credit used up. */
  readonly #blocked = new Set<Stream>();

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
    return this.#classes === 0 ? undefined : this.#heads[31 - Math.clz32(this.#classes)];
  }

  /** The next stream of the most urgent class; undefined when nobody waits. */
  pop(): Stream | undefined {
    if (this.#classes === 0) return undefined;
    const urgent = 31 - Math.clz32(this.#classes);
    const stream = this.#heads[urgent]!;
    this.#heads[urgent] = stream.nextScheduled;
    if (stream.nextScheduled === undefined) {
      this.#tails[urgent] = undefined;
      this.#classes &= ~(1 << urgent);
    }
    stream.nextScheduled = undefined;
    stream.scheduled = false;
    return stream;
  }

  /** Sets a stream aside until the connection has credit again. */
  block(stream: Stream): void {
    this.#blocked.add(stream);
  }

  /** The connection has new credit. */
  unblockAll(): void {
    for (const stream of this.#blocked) this.push(stream);
    this.#blocked.clear();
  }

  /** A stream is forgotten. It may still be in its list; popping it finds nothing to send. */
  forget(stream: Stream): void {
    this.#blocked.delete(stream);
  }
}
