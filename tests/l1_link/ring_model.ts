/**
 * A model checker for the ring: its steps as a small machine, and a search through every order in
 * which two threads can take them and in which their stores can become visible.
 *
 * A thread works in bursts. Each burst has three kinds of steps, as in ring.ts and nx_ring.h:
 *
 *     producer: check (load head when the copy does not suffice), write entry i …, publish tail
 *     consumer: check (load tail when the copy does not suffice), read entry i …,  publish head
 *
 * On a weakly ordered machine the steps of a burst may take place in any order that nothing
 * forbids. What forbids is listed in Order: acquire keeps entries behind the check, release keeps
 * the publication behind the entries. Leaving one out is what the tests call a mutation. A
 * published index becomes visible at once or any time later (a store buffer).
 */

/** Which steps of a burst must wait for which. All true is the ring. */
export interface Order {
  /** The producer writes entries only after it has seen the room: acquire of head. */
  readonly writeAfterCheck: boolean;
  /** The producer publishes tail only after its entries: release of tail. */
  readonly publishAfterWrite: boolean;
  /** The consumer reads entries only after it has seen them published: acquire of tail. */
  readonly readAfterCheck: boolean;
  /** The consumer publishes head only after it has read: release of head. */
  readonly releaseAfterRead: boolean;
}

export const RING_ORDER: Order = {
  writeAfterCheck: true,
  publishAfterWrite: true,
  readAfterCheck: true,
  releaseAfterRead: true,
};

/** A run that is small enough to search through. */
export interface ModelOptions {
  readonly capacity: number;
  readonly items: number;
  readonly burstMax: number;
  readonly order?: Order;
  /** Entries that the producer believes the ring to have; more than capacity is a mutation. */
  readonly believedCapacity?: number;
  /** The consumer takes a copy of the tail as truth for ever: a mutation of the caching. */
  readonly neverReload?: boolean;
}

export interface ModelResult {
  readonly states: number;
  /** The first wrong thing that some order leads to; undefined when none does. */
  readonly failure?: string;
}

/** One side between two steps. Indices count up and never wrap here. */
interface Side {
  own: number;
  seen: number;
  /** Burst wanted now, 0 between bursts. */
  wanted: number;
  /** What the check granted, -1 before it. */
  granted: number;
  /** Entries done, as bits. */
  done: number;
  /** Published or not, in this burst. */
  published: boolean;
  /** Published values of the own index that are not visible yet, oldest first. */
  buffered: number[];
}

interface State {
  tail: number;
  head: number;
  slots: number[];
  producer: Side;
  consumer: Side;
  /** What the consumer read in this burst, by entry. */
  read: number[];
}

const side = (): Side => ({
  own: 0,
  seen: 0,
  wanted: 0,
  granted: -1,
  done: 0,
  published: false,
  buffered: [],
});

/** Searches every reachable state: no wrong read, and from each the end can still be reached. */
export function checkRing(options: ModelOptions): ModelResult {
  const start: State = {
    tail: 0,
    head: 0,
    slots: Array(options.capacity).fill(-1),
    producer: side(),
    consumer: side(),
    read: [],
  };
  const before = new Map<string, string[]>([[JSON.stringify(start), []]]);
  const ends: string[] = [];
  const open = [start];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const key = JSON.stringify(state);
    if (state.consumer.own === options.items) ends.push(key);
    for (const next of successors(state, options)) {
      if (typeof next === "string") return { states: before.size, failure: next };
      const nextKey = JSON.stringify(next);
      const known = before.get(nextKey);
      if (known === undefined) {
        before.set(nextKey, [key]);
        open.push(next);
      } else known.push(key);
    }
  }
  const finishing = new Set(ends);
  for (let key = ends.pop(); key !== undefined; key = ends.pop()) {
    for (const earlier of before.get(key)!) {
      if (finishing.has(earlier)) continue;
      finishing.add(earlier);
      ends.push(earlier);
    }
  }
  for (const key of before.keys()) {
    if (!finishing.has(key)) return { states: before.size, failure: `stuck for ever in ${key}` };
  }
  return { states: before.size };
}

function* successors(state: State, options: ModelOptions): Generator<State | string> {
  const { producer, consumer } = state;
  if (producer.buffered.length > 0) {
    yield changed(state, (next) => next.tail = next.producer.buffered.shift()!);
  }
  if (consumer.buffered.length > 0) {
    yield changed(state, (next) => next.head = next.consumer.buffered.shift()!);
  }
  yield* producerSteps(state, options);
  yield* consumerSteps(state, options);
}

function* producerSteps(state: State, options: ModelOptions): Generator<State> {
  const { order = RING_ORDER, capacity, items, burstMax, believedCapacity = capacity } = options;
  const { producer } = state;
  if (producer.wanted === 0) {
    for (let wanted = 1; wanted <= Math.min(burstMax, items - producer.own); wanted++) {
      yield changed(state, (next) => next.producer.wanted = wanted);
    }
    return;
  }
  if (producer.granted < 0) {
    yield changed(state, ({ producer: p, head }) => {
      let room = believedCapacity - (p.own - p.seen);
      if (room < p.wanted) {
        p.seen = head;
        room = believedCapacity - (p.own - p.seen);
      }
      p.granted = Math.min(room, p.wanted);
      if (p.granted === 0) endBurst(p);
    });
  }
  const entries = entriesOpen(producer, order.writeAfterCheck);
  for (const i of entries) {
    yield changed(state, ({ producer: p, slots }) => {
      slots[(p.own + i) % capacity] = p.own + i;
      p.done |= 1 << i;
      finishBurst(p);
    });
  }
  if (mayPublish(producer, order.publishAfterWrite)) {
    yield changed(state, ({ producer: p }) => {
      p.published = true;
      p.buffered.push(p.own + p.granted);
      finishBurst(p);
    });
  }
}

function* consumerSteps(state: State, options: ModelOptions): Generator<State | string> {
  const { order = RING_ORDER, capacity, items, burstMax, neverReload } = options;
  const { consumer } = state;
  if (consumer.wanted === 0) {
    for (let wanted = 1; wanted <= Math.min(burstMax, items - consumer.own); wanted++) {
      yield changed(state, (next) => next.consumer.wanted = wanted);
    }
    return;
  }
  if (consumer.granted < 0) {
    const next = changed(state, ({ consumer: c, tail, read }) => {
      let filled = c.seen - c.own;
      if (filled < c.wanted && !(neverReload && c.seen > 0)) {
        c.seen = tail;
        filled = c.seen - c.own;
      }
      c.granted = Math.min(filled, c.wanted);
      if (c.granted === 0) {
        endBurst(c);
        read.length = 0;
      }
    });
    yield wrongRead(next) ?? next;
  }
  for (const i of entriesOpen(consumer, order.readAfterCheck)) {
    const next = changed(state, ({ consumer: c, slots, read }) => {
      read[i] = slots[(c.own + i) % capacity];
      c.done |= 1 << i;
    });
    yield wrongRead(next) ?? closed(next);
  }
  if (mayPublish(consumer, order.releaseAfterRead)) {
    yield closed(changed(state, ({ consumer: c }) => {
      c.published = true;
      c.buffered.push(c.own + c.granted);
    }));
  }
}

/** Entries that may be touched now: before the check only where nothing forbids it. */
function entriesOpen(one: Side, afterCheck: boolean): number[] {
  if (afterCheck && one.granted < 0) return [];
  const count = one.granted < 0 ? one.wanted : one.granted;
  return Array.from({ length: count }, (_, i) => i).filter((i) => (one.done & (1 << i)) === 0);
}

function mayPublish(one: Side, afterEntries: boolean): boolean {
  return one.granted > 0 && !one.published && (!afterEntries || entriesDone(one));
}

function entriesDone({ granted, done }: Side): boolean {
  const all = (1 << granted) - 1;
  return (done & all) === all;
}

/** A burst ends when its entries and its publication are done. */
function finishBurst(one: Side): boolean {
  if (one.granted < 0 || !one.published || !entriesDone(one)) return false;
  one.own += one.granted;
  endBurst(one);
  return true;
}

function endBurst(one: Side): void {
  one.wanted = 0;
  one.granted = -1;
  one.done = 0;
  one.published = false;
}

function closed(state: State): State {
  if (finishBurst(state.consumer)) state.read.length = 0;
  return state;
}

/** Names an entry that was granted, read, and is not the item that belongs there. */
function wrongRead({ consumer, read }: State): string | undefined {
  for (let i = 0; i < consumer.granted; i++) {
    if ((consumer.done & (1 << i)) === 0 || read[i] === consumer.own + i) continue;
    return `item ${consumer.own + i} was read as ${read[i]}`;
  }
  return undefined;
}

function changed(state: State, change: (next: State) => void): State {
  const next = copyOf(state);
  change(next);
  return next;
}

function copyOf(state: State): State {
  return {
    ...state,
    slots: [...state.slots],
    read: [...state.read],
    producer: { ...state.producer, buffered: [...state.producer.buffered] },
    consumer: { ...state.consumer, buffered: [...state.consumer.buffered] },
  };
}
