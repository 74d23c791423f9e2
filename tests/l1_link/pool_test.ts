import assert from "node:assert/strict";
import { Burst, BURST_FRAMES_MAX, FrameQueue, Pool, SLOT_BYTES } from "../../lib/l1_link/mod.ts";

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
