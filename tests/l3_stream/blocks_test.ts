import assert from "node:assert/strict";
import fc from "fast-check";
import {
  BLOCK_BYTES,
  BlockPool,
  MODE_RELIABLE_ORDERED,
  SLAB_BYTES,
} from "../../lib/l3_stream/mod.ts";
import { BlockBuffer } from "../../lib/l3_stream/streams/block_buffer.ts";
import { makeConnection, pattern, pollAll, WIDE } from "./harness.ts";

const ADDRESS = 2 ** 46;
const SLAB_STEP = 2 * SLAB_BYTES;

/** A pool whose slabs stand apart from each other from ADDRESS on, and what memory they are. */
function addressedPool(spareBytesMax?: number) {
  const slabs: Uint8Array[] = [];
  let released = 0;
  const pool = new BlockPool({
    makeSlab(length) {
      const bytes = new Uint8Array(length);
      const address = ADDRESS + slabs.length * SLAB_STEP;
      slabs.push(bytes);
      return { bytes, address, release: () => released++ };
    },
    spareBytesMax,
  });
  const at = (address: number, length: number) => {
    const offset = address - ADDRESS;
    return slabs[Math.floor(offset / SLAB_STEP)].subarray(offset % SLAB_STEP).slice(0, length);
  };
  return { pool, at, released: () => released };
}

Deno.test("NS-NF-007: a range's pieces name the memory where its bytes stand", () => {
  const plan = fc.record({
    dropped: fc.nat(900_000),
    offset: fc.nat(1_000_000),
    length: fc.integer({ min: 1, max: 100_000 }),
  });
  const bytes = pattern(1_100_000);
  fc.assert(fc.property(plan, ({ dropped, offset, length }) => {
    const { pool, at } = addressedPool();
    const buffer = new BlockBuffer(pool);
    buffer.put(0, bytes, 0, bytes.length);
    buffer.dropBelow(dropped);
    offset = Math.max(offset, dropped);
    const addresses = new Float64Array(16);
    const lengths = new Uint32Array(16);
    const count = buffer.pieces(offset, length, addresses, lengths);
    // Blocks of a fresh slab stand side by side.
    const slabsTouched = Math.floor((offset + length - 1) / SLAB_BYTES) -
      Math.floor(offset / SLAB_BYTES) + 1;
    assert.equal(count, slabsTouched);
    for (let i = 0; i < count; i++) {
      assert.deepEqual(at(addresses[i], lengths[i]), bytes.slice(offset, offset + lengths[i]));
      offset += lengths[i];
      length -= lengths[i];
    }
    assert.equal(length, 0);
  }));
});

Deno.test("NS-NF-007: pieces are none when the address is unknown or the lists are short", () => {
  const bytes = pattern(3 * SLAB_BYTES);
  const lengths = new Uint32Array(2);
  const plain = new BlockBuffer(new BlockPool());
  plain.put(0, bytes, 0, bytes.length);
  assert.equal(plain.pieces(0, 10, new Float64Array(2), lengths), 0);
  const addressed = new BlockBuffer(addressedPool().pool);
  addressed.put(0, bytes, 0, bytes.length);
  assert.equal(addressed.pieces(0, 2 * SLAB_BYTES, new Float64Array(3), lengths), 2);
  assert.equal(addressed.pieces(0, 2 * SLAB_BYTES + 1, new Float64Array(3), lengths), 0);
});

Deno.test("NS-NF-007: a stream that moves on keeps getting blocks that stand side by side", () => {
  const { pool } = addressedPool();
  const buffer = new BlockBuffer(pool);
  const bytes = pattern(10_000_000);
  const [addresses, lengths] = [new Float64Array(64), new Uint32Array(64)];
  let pieces = 0;
  for (let at = 0; at < bytes.length; at += 50_000) {
    buffer.put(at, bytes, at, at + 50_000);
    pieces += buffer.pieces(at, 50_000, addresses, lengths);
    if (at % 250_000 === 0) buffer.dropBelow(at - 1_000_000);
  }
  // 200 writes over seven blocks each, hardly ever side by side by chance.
  assert.ok(pieces < 400, `${pieces}`);
});

Deno.test("NS-NF-007: a buffer keeps its bytes while its neighbours recycle blocks", () => {
  const step = fc.record({
    which: fc.nat(2),
    grow: fc.integer({ min: 0, max: 40_000 }),
    keep: fc.integer({ min: 0, max: 60_000 }),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
    const pool = new BlockPool({ spareBytesMax: 0 });
    const models = [1, 2, 3].map((seed) => ({
      bytes: pattern(5_000_000, 1_000 * seed),
      buffer: new BlockBuffer(pool),
      from: 0,
      to: 0,
    }));
    for (const { which, grow, keep } of steps) {
      const model = models[which];
      model.buffer.put(model.to, model.bytes, model.to, model.to + grow);
      model.to += grow;
      model.from = Math.max(model.from, model.to - keep);
      if (model.from === model.to) model.buffer.clear(model.to);
      else model.buffer.dropBelow(model.from);
    }
    for (const { bytes, buffer, from, to } of models) {
      const copy = new Uint8Array(to - from);
      buffer.copyTo(from, to - from, copy, 0);
      assert.deepEqual(copy, bytes.slice(from, to));
      const blocks = from === to ? 0 : Math.ceil(to / 8_192) - Math.floor(from / 8_192);
      assert.equal(buffer.bytesHeld, blocks * BLOCK_BYTES);
    }
    const held = models.reduce((sum, { buffer }) => sum + buffer.bytesHeld, 0);
    assert.equal(pool.bytesUsed, held);
    for (const { buffer, to } of models) buffer.clear(to);
    assert.equal(pool.bytesHeld, 0);
  }));
});

Deno.test("NS-NF-007: a pool keeps no more unused memory than it may and releases each slab once", () => {
  const { pool, released } = addressedPool(SLAB_BYTES);
  const buffer = new BlockBuffer(pool);
  const bytes = pattern(8 * SLAB_BYTES);
  for (let round = 1; round <= 3; round++) {
    buffer.put(0, bytes, 0, bytes.length);
    assert.equal(pool.bytesHeld, 8 * SLAB_BYTES);
    buffer.clear(0);
    assert.equal(pool.bytesUsed, 0);
    assert.equal(pool.bytesHeld, SLAB_BYTES);
    assert.equal(released(), 7 * round);
  }
});

Deno.test("NS-NF-007: a connection that closes gives the blocks of its send buffers back", () => {
  const pool = new BlockPool();
  const connection = makeConnection("client", WIDE, undefined, { blocks: pool });
  const stream = connection.openStream(MODE_RELIABLE_ORDERED);
  connection.write(stream, pattern(100_000));
  pollAll(connection, 0);
  assert.equal(pool.bytesUsed, Math.ceil(100_000 / BLOCK_BYTES) * BLOCK_BYTES);
  connection.close(0, "", 0);
  assert.equal(pool.bytesUsed, 0);
});
