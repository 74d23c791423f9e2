import assert from "node:assert/strict";
import fc from "fast-check";
import { RangeSet } from "../../lib/l3_stream/ranges.ts";

function pairs(set: RangeSet): number[][] {
  return set.lows.map((low, i) => [low, set.highs[i]]);
}

Deno.test("RangeSet: consecutive inserts melt into one range", () => {
  const set = new RangeSet();
  assert.equal(set.insert(5), true);
  assert.equal(set.insert(6), true);
  assert.equal(set.insert(4), true);
  assert.equal(set.insert(5), false);
  assert.deepEqual(pairs(set), [[4, 6]]);
});

Deno.test("RangeSet: filling a gap joins its neighbours", () => {
  const set = new RangeSet();
  for (const n of [1, 3, 5]) set.insert(n);
  assert.equal(set.insertRange(2, 4), 2);
  assert.deepEqual(pairs(set), [[1, 5]]);
});

Deno.test("RangeSet: past rangesMax the lowest range is forgotten", () => {
  const set = new RangeSet({ rangesMax: 3 });
  for (const n of [0, 10, 20, 30]) set.insert(n);
  assert.deepEqual(pairs(set), [[10, 10], [20, 20], [30, 30]]);
  set.insert(2);
  assert.deepEqual(pairs(set), [[10, 10], [20, 20], [30, 30]]);
  set.insert(25);
  assert.deepEqual(pairs(set), [[20, 20], [25, 25], [30, 30]]);
});

Deno.test("RangeSet: writeDescending gives high, low pairs, highest first, bounded", () => {
  const set = new RangeSet();
  set.insertRange(0, 3);
  set.insertRange(7, 8);
  set.insert(12);
  const out: number[] = [];
  assert.equal(set.writeDescending(out), 3);
  assert.deepEqual(out, [12, 12, 8, 7, 3, 0]);
  assert.equal(set.writeDescending(out, 2), 2);
});

Deno.test("RangeSet: an empty set has no smallest, largest or present value", () => {
  const set = new RangeSet();
  assert.deepEqual([set.smallest, set.largest, set.nextPresent(0), set.nextMissing(7)], [
    -1,
    -1,
    -1,
    7,
  ]);
});

Deno.test("RangeSet: an empty range (high < low) changes nothing", () => {
  const set = new RangeSet();
  set.insertRange(5, 9);
  assert.deepEqual([set.insertRange(3, 2), set.insertRange(7, 6), set.removeRange(7, 6)], [
    0,
    0,
    0,
  ]);
  assert.equal(set.containsRange(3, 2), true);
  assert.deepEqual(pairs(set), [[5, 9]]);
});

const operation = fc.record({
  kind: fc.constantFrom("insert", "insertRange", "removeRange", "dropBelow"),
  low: fc.nat(60),
  length: fc.nat(12),
});

Deno.test("RangeSet: agrees with a plain Set under any operations", () => {
  fc.assert(fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
    const set = new RangeSet();
    const plain = new Set<number>();
    for (const { kind, low, length } of operations) {
      const before = plain.size;
      if (kind === "insert") {
        assert.equal(set.insert(low), !plain.has(low));
        plain.add(low);
      } else if (kind === "insertRange") {
        for (let n = low; n <= low + length; n++) plain.add(n);
        assert.equal(set.insertRange(low, low + length), plain.size - before);
      } else if (kind === "removeRange") {
        for (let n = low; n <= low + length; n++) plain.delete(n);
        assert.equal(set.removeRange(low, low + length), before - plain.size);
      } else {
        for (const n of plain) if (n < low) plain.delete(n);
        set.dropBelow(low);
      }
      for (let i = 0; i < set.count; i++) {
        assert.ok(set.lows[i] <= set.highs[i]);
        if (i > 0) {
          assert.ok(set.lows[i] > set.highs[i - 1] + 1, "ranges are disjoint, not adjacent");
        }
      }
    }
    for (let n = 0; n < 80; n++) {
      assert.equal(set.contains(n), plain.has(n));
      let missing = n;
      while (plain.has(missing)) missing++;
      assert.equal(set.nextMissing(n), missing);
      let present = n;
      while (present < 80 && !plain.has(present)) present++;
      assert.equal(set.nextPresent(n), present < 80 ? present : -1);
      assert.equal(set.containsRange(n, n + 3), [0, 1, 2, 3].every((i) => plain.has(n + i)));
    }
    assert.equal(set.largest, Math.max(-1, ...plain));
    assert.equal(set.smallest, plain.size === 0 ? -1 : Math.min(...plain));
  }));
});
