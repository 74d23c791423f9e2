import assert from "node:assert/strict";
import fc from "fast-check";
import {
  createRing,
  RING_CAPACITY_WORD,
  RING_ENTRIES_WORD,
  RING_HEAD_WORD,
  RING_MAGIC_WORD,
  RING_TAIL_WORD,
  RING_VERSION_WORD,
  ringBytes,
  RingConsumer,
  RingProducer,
} from "../../lib/l1_link/mod.ts";
import { consume, ITEM_WORDS, produce } from "./ring_stream.ts";
import type { RingJob } from "./ring_worker.ts";

/** A ring and both sides, with the indices starting anywhere. */
function ringAt(start: number, capacity = 4) {
  const memory = createRing(capacity, 1);
  memory[RING_TAIL_WORD] = start;
  memory[RING_HEAD_WORD] = start;
  return { memory, producer: new RingProducer(memory), consumer: new RingConsumer(memory) };
}

function put(ring: RingProducer, ...values: number[]): number {
  const granted = ring.reserve(values.length);
  for (let i = 0; i < granted; i++) ring.words[ring.at(i)] = values[i];
  ring.commit(granted);
  return granted;
}

function take(ring: RingConsumer, count: number): number[] {
  const granted = ring.reserve(count);
  const values = Array.from({ length: granted }, (_, i) => ring.words[ring.at(i)]);
  ring.commit(granted);
  return values;
}

Deno.test("NL-R-001: entries come out once, in the order they went in", () => {
  const { producer, consumer } = ringAt(0);
  assert.deepEqual(take(consumer, 4), []);
  assert.equal(put(producer, 1, 2, 3), 3);
  assert.deepEqual(take(consumer, 2), [1, 2]);
  assert.equal(put(producer, 4, 5, 6, 7), 3);
  assert.deepEqual(take(consumer, 9), [3, 4, 5, 6]);
  assert.deepEqual(take(consumer, 1), []);
});

Deno.test("NL-R-007: what is reserved but not committed is not seen, and is reserved again", () => {
  const { producer, consumer } = ringAt(0);
  assert.equal(producer.reserve(3), 3);
  for (let i = 0; i < 3; i++) producer.words[producer.at(i)] = 10 + i;
  assert.equal(consumer.reserve(3), 0);
  producer.commit(1);
  assert.equal(consumer.reserve(3), 1);
  consumer.commit(0);
  assert.deepEqual(take(consumer, 3), [10]);
  assert.equal(put(producer, 20), 1);
  assert.deepEqual(take(consumer, 3), [20]);
});

Deno.test("NL-R-001: a ring works the same across every wrap of its indices", () => {
  for (const start of [-3, -1, 0x7ffffffd, 0x7fffffff, -0x80000000, 12_345]) {
    const { producer, consumer } = ringAt(start);
    for (let n = 0; n < 40; n += 4) {
      assert.equal(put(producer, n, n + 1, n + 2, n + 3, n + 4), 4);
      assert.deepEqual(take(consumer, 5), [n, n + 1, n + 2, n + 3]);
    }
  }
});

Deno.test("NL-R-001: any order of calls behaves as a bounded queue", () => {
  const calls = fc.array(fc.tuple(fc.boolean(), fc.nat(6), fc.nat(6)), { maxLength: 80 });
  fc.assert(
    fc.property(calls, fc.integer(), fc.constantFrom(1, 2, 4, 8), (calls, start, capacity) => {
      const { producer, consumer } = ringAt(start, capacity);
      const queue: number[] = [];
      let next = 0;
      for (const [isPut, wanted, used] of calls) {
        if (isPut) {
          const granted = producer.reserve(wanted);
          assert.equal(granted, Math.min(wanted, capacity - queue.length));
          const kept = Math.min(used, granted);
          for (let i = 0; i < kept; i++) queue.push(producer.words[producer.at(i)] = next++);
          producer.commit(kept);
        } else {
          const granted = consumer.reserve(wanted);
          assert.equal(granted, Math.min(wanted, queue.length));
          const kept = Math.min(used, granted);
          for (let i = 0; i < kept; i++) {
            assert.equal(consumer.words[consumer.at(i)], queue.shift());
          }
          consumer.commit(kept);
        }
      }
    }),
  );
});

Deno.test("NL-R-003: both indices and the entries stand on lines of their own", () => {
  const lines = [0, RING_TAIL_WORD, RING_HEAD_WORD, RING_ENTRIES_WORD].map((word) => word * 4 / 64);
  assert.deepEqual(lines, [0, 1, 2, 3]);
  assert.equal(ringBytes(8, 4), 192 + 8 * 16);
});

Deno.test("NL-R-001: a burst reads the other side's index at most once and stores its own once", () => {
  const { producer, consumer } = ringAt(0, 64);
  const trace: string[] = [];
  const real = { load: Atomics.load, store: Atomics.store };
  Atomics.load = ((array: Int32Array, at: number) => {
    trace.push(`load ${at}`);
    return real.load(array, at);
  }) as typeof Atomics.load;
  Atomics.store = ((array: Int32Array, at: number, value: number) => {
    trace.push(`store ${at}`);
    return real.store(array, at, value);
  }) as typeof Atomics.store;
  try {
    put(producer, ...Array(32).fill(1));
    take(consumer, 32);
    put(producer, ...Array(32).fill(2));
    put(producer, ...Array(32).fill(3));
    take(consumer, 32);
  } finally {
    Object.assign(Atomics, real);
  }
  const [tail, head] = [RING_TAIL_WORD, RING_HEAD_WORD];
  assert.deepEqual(trace, [
    `store ${tail}`, // Room was known: nothing to load.
    `load ${tail}`,
    `store ${head}`,
    `store ${tail}`,
    `load ${head}`, // The room as first seen is used up.
    `store ${tail}`,
    `load ${tail}`,
    `store ${head}`,
  ]);
});

Deno.test("NL-R-001: a ring that cannot be, and memory that holds none, are refused", () => {
  for (const [capacity, words] of [[0, 1], [3, 1], [2 ** 21, 1], [4, 0], [4, 3], [4, 32]]) {
    assert.throws(() => createRing(capacity, words), { code: "INVALID_RING" });
  }
  assert.throws(() => createRing(64, 4, new Int32Array(100)), { code: "INVALID_RING" });
  assert.throws(() => new RingProducer(new Int32Array(4)), { code: "INVALID_RING" });
  const damage: [number, number][] = [
    [RING_MAGIC_WORD, 1],
    [RING_VERSION_WORD, 2],
    [RING_CAPACITY_WORD, 8],
    [RING_CAPACITY_WORD, 3],
    [RING_CAPACITY_WORD, -4],
  ];
  for (const [word, value] of damage) {
    const memory = createRing(4, 4);
    memory[word] = value;
    assert.throws(() => new RingConsumer(memory), { code: "INVALID_RING" });
    assert.throws(() => new RingProducer(memory), { code: "INVALID_RING" });
  }
});

Deno.test("NL-R-001: a ring in memory of its owner starts empty whatever was there", () => {
  const memory = new Int32Array(new SharedArrayBuffer(ringBytes(4, 1) + 64)).fill(-1);
  createRing(4, 1, memory);
  const producer = new RingProducer(memory);
  assert.equal(put(producer, 7, 8), 2);
  assert.deepEqual(take(new RingConsumer(memory), 4), [7, 8]);
});

const COUNT = 4_000_000;

for (const side of ["produce", "consume"] as const) {
  Deno.test(`NL-R-001: millions of items pass between two threads in order, the other one ${side}s`, async () => {
    // The indices wrap on the way.
    const memory = createRing(256, ITEM_WORDS);
    memory[RING_TAIL_WORD] = memory[RING_HEAD_WORD] = -COUNT / 2;
    const worker = new Worker(new URL("./ring_worker.ts", import.meta.url), { type: "module" });
    try {
      const messages = inbox(worker);
      const job: RingJob = { side, memory, count: COUNT, seed: 1 };
      worker.postMessage(job);
      assert.equal(await messages(), "started");
      if (side === "consume") produce(memory, COUNT, 2);
      else assert.equal(consume(memory, COUNT, 2), "");
      assert.equal(await messages(), "");
    } finally {
      worker.terminate();
    }
  });
}

/** The worker's messages, one per call. */
function inbox(worker: Worker): () => Promise<string> {
  const waiting: string[] = [];
  let wake = () => {};
  worker.onmessage = ({ data }) => {
    waiting.push(data);
    wake();
  };
  return async () => {
    while (waiting.length === 0) await new Promise<void>((resolve) => wake = resolve);
    return waiting.shift()!;
  };
}
