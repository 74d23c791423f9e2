import assert from "node:assert/strict";
import {
  createRing,
  RING_HEAD_WORD,
  RING_TAIL_WORD,
  RingConsumer,
  RingProducer,
} from "../../lib/l1_link/mod.ts";
import { checkRing, type ModelOptions, RING_ORDER } from "./ring_model.ts";

const sizes: ModelOptions[] = [
  { capacity: 1, items: 4, burstMax: 1 },
  { capacity: 2, items: 5, burstMax: 2 },
  { capacity: 2, items: 4, burstMax: 3 },
  { capacity: 4, items: 7, burstMax: 3 },
];

for (const size of sizes) {
  const { capacity, items, burstMax } = size;
  Deno.test(`NL-R-001: no order of steps breaks a ring of ${capacity} with ${items} items in bursts up to ${burstMax}`, () => {
    const { states, failure } = checkRing(size);
    assert.equal(failure, undefined);
    assert(states > 50, `only ${states} states`);
  });
}

/** Each rule that the ring keeps, left out: the search must find the order that breaks. */
const mutations: [string, Partial<ModelOptions>, RegExp][] = [
  [
    "tail is published before the entries are written",
    { order: { ...RING_ORDER, publishAfterWrite: false } },
    /was read as/,
  ],
  [
    "entries are written before the room is checked",
    { order: { ...RING_ORDER, writeAfterCheck: false } },
    /was read as/,
  ],
  [
    "entries are read before tail is",
    { order: { ...RING_ORDER, readAfterCheck: false } },
    /was read as/,
  ],
  [
    "head is published before the entries are read",
    { order: { ...RING_ORDER, releaseAfterRead: false } },
    /was read as/,
  ],
  ["the producer counts one entry too many", { believedCapacity: 3 }, /was read as/],
  ["the consumer never looks at tail again", { neverReload: true }, /stuck/],
];

for (const [what, mutation, failure] of mutations) {
  Deno.test(`NL-R-001: the ring breaks when ${what}`, () => {
    assert.match(
      checkRing({ capacity: 2, items: 5, burstMax: 2, ...mutation }).failure ?? "nothing",
      failure,
    );
  });
}

/** The real producer, one shared access between two yields. Yields whether it got on. */
function* producerSteps(ring: RingProducer, count: number, burst: number): Generator<boolean> {
  for (let next = 0; next < count;) {
    const granted = ring.reserve(Math.min(burst, count - next));
    yield granted > 0;
    if (granted === 0) continue;
    for (let i = 0; i < granted; i++) {
      ring.words[ring.at(i)] = next++;
      yield true;
    }
    ring.commit(granted);
    yield true;
  }
}

function* consumerSteps(ring: RingConsumer, count: number, burst: number): Generator<boolean> {
  for (let next = 0; next < count;) {
    const granted = ring.reserve(burst);
    yield granted > 0;
    if (granted === 0) continue;
    for (let i = 0; i < granted; i++) {
      assert.equal(ring.words[ring.at(i)], next++);
      yield true;
    }
    ring.commit(granted);
    yield true;
  }
}

/**
 * Runs both sides of the real ring through the schedule that `choices` begins and zeroes continue;
 * `choices` becomes the next one in order. False when there is no next. A side that found nothing
 * waits until the other has taken a step.
 */
function runSchedule(choices: number[], capacity: number, count: number, burst: number): boolean {
  const memory = createRing(capacity, 1);
  memory[RING_TAIL_WORD] = memory[RING_HEAD_WORD] = -2; // The indices wrap on the way.
  const sides = [
    producerSteps(new RingProducer(memory), count, burst),
    consumerSteps(new RingConsumer(memory), count, burst),
  ];
  const ready = [true, true];
  const ended = [false, false];
  const widths: number[] = [];
  for (let step = 0; !(ended[0] && ended[1]); step++) {
    const open = [0, 1].filter((side) => ready[side] && !ended[side]);
    assert(open.length > 0, `both sides wait for each other after ${choices}`);
    widths.push(open.length);
    const side = open[choices[step] ?? 0];
    const { value, done } = sides[side].next();
    if (done) ended[side] = true;
    else ready[side] = value;
    if (done || value) ready[1 - side] = true;
  }
  // Odometer: the last choice that can go up does, what follows starts over.
  while (choices.length < widths.length) choices.push(0);
  choices.length = widths.length;
  while (choices.length > 0 && choices.at(-1)! + 1 >= widths[choices.length - 1]) choices.pop();
  if (choices.length === 0) return false;
  choices[choices.length - 1]++;
  return true;
}

for (const [capacity, count, burst] of [[1, 2, 1], [2, 3, 2]]) {
  Deno.test(`NL-R-001: the real ring of ${capacity} passes ${count} items under every interleaving`, () => {
    const choices: number[] = [];
    let schedules = 1;
    while (runSchedule(choices, capacity, count, burst)) schedules++;
    assert(schedules > 100, `only ${schedules} schedules`);
  });
}
