/** What every ErasureCodec must do; run over the portable and the native one. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { ErasureCodec } from "../../lib/l3_stream/mod.ts";
import { reedSolomonRepairs } from "../reference/reed_solomon.ts";
import vectors from "../vectors/stream.json" with { type: "json" };
import { fromHex } from "../../lib/base/mod.ts";

type Define = (name: string, run: () => void) => void;

/** Symbols of a code in one memory, apart by odd gaps so that a stray byte is seen. */
function memory(count: number, length: number): { bytes: Uint8Array; offsets: Uint32Array } {
  const bytes = new Uint8Array(count * (length + 3) + 5);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i + length, 0x9e3779b1) >>> 24;
  const offsets = Uint32Array.from({ length: count }, (_, i) => 5 + i * (length + 3));
  return { bytes, offsets };
}

/** Defines the suite's tests by `define` for the codec that `make` gives. */
export function erasureCodecSuite(name: string, define: Define, make: () => ErasureCodec): void {
  define(`NS-PR-002: ${name} Reed-Solomon gives the published and our golden repairs`, () => {
    for (const { sources, repairs } of vectors.reedSolomon) {
      const all = [...sources.map(fromHex), ...repairs.map(() => new Uint8Array(0))];
      const length = all[0].length;
      const { bytes, offsets } = memory(all.length, length);
      sources.forEach((hex, i) => bytes.set(fromHex(hex), offsets[i]));
      make().encode(bytes, offsets, sources.length, repairs.length, length);
      repairs.forEach((hex, i) => {
        const from = offsets[sources.length + i];
        assert.deepEqual(bytes.slice(from, from + length), fromHex(hex));
      });
    }
  });

  define(`NS-PR-002: ${name} Reed-Solomon is the matrix code of the reference`, () => {
    for (const [k, m] of [[1, 1], [1, 9], [2, 1], [5, 5], [10, 3], [33, 7], [64, 32], [200, 55]]) {
      const { bytes, offsets } = memory(k + m, 33);
      make().encode(bytes, offsets, k, m, 33);
      const at = (i: number) => bytes.slice(offsets[i], offsets[i] + 33);
      const expected = reedSolomonRepairs(Array.from({ length: k }, (_, i) => at(i)), m);
      assert.deepEqual(Array.from({ length: m }, (_, i) => at(k + i)), expected, `${k}+${m}`);
    }
  });

  define(
    `NS-PR-002: ${name} Reed-Solomon rebuilds from any k symbols and touches no other byte`,
    () => {
      const codec = make();
      const code = fc.record({
        k: fc.integer({ min: 1, max: 70 }),
        m: fc.integer({ min: 1, max: 40 }),
        length: fc.integer({ min: 1, max: 90 }),
        order: fc.array(fc.nat(), { minLength: 110, maxLength: 110 }),
      });
      fc.assert(
        fc.property(code, ({ k, m, length, order }) => {
          const { bytes, offsets } = memory(k + m, length);
          codec.encode(bytes, offsets, k, m, length);
          const whole = bytes.slice();
          const lost = Array.from({ length: k + m }, (_, i) => i)
            .sort((a, b) => order[a] - order[b]).slice(0, m);
          const present = new Uint8Array(k + m).fill(1);
          for (const i of lost) {
            present[i] = 0;
            bytes.fill(0xee, offsets[i], offsets[i] + length);
          }
          const missing = lost.filter((i) => i < k).length;
          assert.equal(codec.decode(bytes, offsets, present, k, m, length), missing);
          for (const i of lost) {
            if (i >= k) whole.fill(0xee, offsets[i], offsets[i] + length); // repairs stay lost
          }
          assert.deepEqual(bytes, whole);
        }),
        { numRuns: 200 },
      );
    },
  );

  define(`NS-PR-002: ${name} Reed-Solomon says when too few symbols are there`, () => {
    const { bytes, offsets } = memory(5, 10);
    const before = bytes.slice();
    assert.equal(make().decode(bytes, offsets, Uint8Array.of(1, 0, 0, 1, 0), 3, 2, 10), -1);
    assert.deepEqual(bytes, before);
  });

  define(`NS-PR-002: ${name} Reed-Solomon refuses codes and places it cannot use`, () => {
    const codec = make();
    const bytes = new Uint8Array(30);
    const use = (offsets: number[], k: number, m: number, length: number) => () =>
      codec.encode(bytes, Uint32Array.from(offsets), k, m, length);
    for (const [k, m] of [[0, 1], [200, 56], [2 ** 31, 2 ** 31], [3, -1]]) {
      assert.throws(use(new Array(256).fill(0), k, m, 10), { code: "INVALID_CODE" });
    }
    for (const offsets of [[0, 10, 21], [0, 10], [0, 10, 0xffff_ffff]]) {
      assert.throws(use(offsets, 2, 1, 10), { code: "INVALID_RANGE" });
    }
    assert.throws(use([0, 10, 20], 2, 1, 0), { code: "INVALID_RANGE" });
    assert.throws(
      () => codec.decode(bytes, Uint32Array.of(0, 10, 20), new Uint8Array(2), 2, 1, 10),
      { code: "INVALID_RANGE" },
    );
  });
}
