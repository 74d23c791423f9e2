/** Binary heap of actions by time; those of one instant run in the order they were added. */
import { NEVER } from "../../lib/base/mod.ts";

interface Event {
  atUs: number;
  order: number;
  action: () => void;
}

/** Events by (time, order of adding). */
export class EventQueue {
  readonly #heap: Event[] = [];
  #order = 0;

  get length(): number {
    return this.#heap.length;
  }
  /** Time of the next event, NEVER when there is none. */
  get nextUs(): number {
    return this.#heap.length === 0 ? NEVER : this.#heap[0].atUs;
  }

  push(atUs: number, action: () => void): void {
    const heap = this.#heap;
    const event = { atUs, order: this.#order++, action };
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!before(event, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = event;
  }

  /** Takes the next action out. Only when length > 0. */
  pop(): () => void {
    const heap = this.#heap;
    const { action } = heap[0];
    const last = heap.pop()!;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[at] = heap[child];
        at = child;
      }
      heap[at] = last;
    }
    return action;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}
