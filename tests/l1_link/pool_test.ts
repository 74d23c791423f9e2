import assert from "node:assert/strict";
import {
  Burst,
  BURST_FRAMES_MAX,
  FrameQueue,
  Pool,
  type PoolMemory,
  PoolSet,
  sharedPoolMemory,
  SLOT_BYTES,
} from "../../lib/l1_link/mod.ts";

Deno.test("NL-R-005: a pool hands out each slot once and then -1", () => {
  const pool = new Pool({ slots: 5 });
  const slots = Array.from({ length: 5 }, () => pool.alloc());
  assert.deepEqual([...slots].sort(), [0, 1, 2, 3, 4]);
  assert.equal(pool.alloc(), -1);
  assert.equal(pool.available, 0);
  pool.free(slots[2]);
  assert.equal(pool.alloc(), slots[2]);
});

Deno.test("NL-R-005: freeing a slot twice is caught", () => {
  const pool = new Pool({ slots: 2 });
  const slot = pool.alloc();
  pool.free(slot);
  assert.throws(() => pool.free(slot), /invariant/);
  assert.throws(() => pool.free(-1), /invariant/);
});

Deno.test("NL-R-004: frames start on 64-byte lines with headroom, for each slot size", () => {
  for (const slotBytes of Object.values(SLOT_BYTES)) {
    const pool = new Pool({ slotBytes, slots: 3 });
    assert(pool.bytes.buffer instanceof SharedArrayBuffer);
    for (let slot = 0; slot < 3; slot++) {
      assert.equal(pool.frameOffsetOf(slot) % 64, 0);
      assert.equal(pool.frameOffsetOf(slot) - pool.offsetOf(slot), 64);
      assert(pool.frameOffsetOf(slot) + pool.frameBytesMax <= pool.offsetOf(slot) + slotBytes);
    }
  }
});

Deno.test("NL-R-005: a pool that cannot be is refused", () => {
  for (const options of [{ slotBytes: 2000 }, { slotBytes: 64 }, { slots: 0 }, { slots: 1e9 }]) {
    assert.throws(() => new Pool(options), { code: "INVALID_POOL" });
  }
});

Deno.test("NL-R-005: a pool in memory that is too short is refused", () => {
  const memory = sharedPoolMemory(2 * 2048 - 1);
  assert.throws(() => new Pool({ slots: 2, memory }), { code: "INVALID_POOL" });
  assert.equal(new Pool({ slots: 1, memory }).bytes, memory.bytes);
});

Deno.test("NL-R-007: a pool grants a burst of slots and takes the unused ones back", () => {
  const pool = new Pool({ slots: 5 });
  const slots = new Int32Array(8);
  assert.equal(pool.reserve(slots, 3), 3);
  assert.equal(new Set(slots.subarray(0, 3)).size, 3);
  const kept = slots[0];
  pool.commit(slots, 3, 1);
  assert.equal(pool.available, 4);
  assert.equal(pool.reserve(slots, 8), 4);
  assert(!slots.subarray(0, 4).includes(kept));
  assert.equal(pool.reserve(slots, 8), 0);
});

Deno.test("NL-R-004: a pool set picks the smallest class that holds a frame", () => {
  const set = new PoolSet({ counts: { small: 2, jumbo: 1, large: 1 } });
  const slotBytes = (length: number) => set.poolFor(length)?.slotBytes;
  assert.deepEqual([68, 1984, 1985, 9152, 9153, 65_472].map(slotBytes), [
    SLOT_BYTES.small,
    SLOT_BYTES.small,
    SLOT_BYTES.jumbo,
    SLOT_BYTES.jumbo,
    SLOT_BYTES.large,
    SLOT_BYTES.large,
  ]);
  assert.equal(set.poolFor(65_536), undefined);
});

Deno.test("NL-R-004: an empty class of a pool set is stood in for by the next larger one", () => {
  const set = new PoolSet({ counts: { small: 1, jumbo: 0, large: 1 } });
  assert.equal(set.pools.length, 2);
  const small = set.poolWithRoomFor(100)!;
  small.alloc();
  const large = set.poolWithRoomFor(100)!;
  assert.equal(large.slotBytes, SLOT_BYTES.large);
  large.alloc();
  assert.equal(set.poolWithRoomFor(100), undefined);
  assert.throws(() => new PoolSet({ counts: { small: 0, jumbo: 0, large: 0 } }), {
    code: "INVALID_POOL",
  });
});

Deno.test("NL-R-004: the pools of a set lie side by side in one block", () => {
  const set = new PoolSet({ counts: { small: 3, jumbo: 2, large: 1 } });
  let next = set.memory.bytes.byteOffset;
  for (const pool of set.pools) {
    assert.equal(pool.bytes.buffer, set.memory.bytes.buffer);
    for (let slot = 0; slot < pool.slots; slot++) {
      assert.equal(pool.bytes.byteOffset + pool.offsetOf(slot), next);
      next += pool.slotBytes;
    }
  }
  assert.equal(next, set.memory.bytes.length);
});

Deno.test("NL-R-005: the default pools take less than 256 MiB", () => {
  let asked = 0;
  const source = (bytes: number): PoolMemory => {
    asked = bytes;
    return sharedPoolMemory(bytes);
  };
  const set = new PoolSet({ source });
  assert(asked > 0 && asked < 256 * 1024 * 1024 / 2, `${asked} bytes`);
  assert.equal(set.pools.length, 3);
});

Deno.test("NL-R-006: slot addresses follow the memory's, and are 0 where it has none", () => {
  const source = (bytes: number) => ({ ...sharedPoolMemory(bytes), address: 0x7f0000000000 });
  const set = new PoolSet({ counts: { small: 2, jumbo: 2, large: 0 }, source });
  assert.equal(set.pools[0].addressOf(1), 0x7f0000000000 + 2048);
  assert.equal(set.pools[1].addressOf(1), 0x7f0000000000 + 2 * 2048 + 9216);
  assert.equal(new Pool({ slots: 2 }).addressOf(1), 0);
  assert.equal(set.pools[0].pages, "plain");
});

Deno.test("NL-P-006: a burst takes 64 descriptors and shifts out what was sent", () => {
  const burst = new Burst();
  for (let i = 0; i < BURST_FRAMES_MAX; i++) assert(burst.push(i, 2 * i, 3 * i, i & 3, 7));
  assert.equal(burst.push(1, 1, 1, 1, 1), false);
  assert(burst.full);
  burst.shift(60);
  assert.deepEqual([burst.count, burst.slot[0], burst.offset[3], burst.length[3]], [
    4,
    60,
    126,
    189,
  ]);
});

Deno.test("NL-P-006: a frame queue is first in first out, bounded, and gives its slots back", () => {
  const pool = new Pool({ slots: 8 });
  const queue = new FrameQueue(3);
  const burst = new Burst();
  for (let round = 0; round < 5; round++) {
    const slots = [pool.alloc(), pool.alloc(), pool.alloc()];
    for (const slot of slots) assert(queue.push(slot, slot * 10, 100 + round, 0, round));
    assert.equal(queue.push(0, 0, 0, 0, 0), false);
    assert.equal(queue.drain(burst), 3);
    assert.deepEqual([...burst.slot.subarray(0, 3)], slots);
    for (const slot of slots) pool.free(slot);
    // Moves the head, so that the ring wraps.
    queue.push(pool.alloc(), 0, 0, 0, 0);
    queue.clear(pool);
    assert.equal(pool.available, 8);
  }
});
