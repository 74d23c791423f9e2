import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../../lib/base/mod.ts";
import { type Member, rankMembers, requesterKey } from "../../lib/l2_route/mod.ts";
import { murmur3 } from "../../lib/l2_route/hash.ts";
import { nodeId, vectors } from "./helpers.ts";

const KEYS = Array.from({ length: 20_000 }, (_, i) => requesterKey(new Uint8Array(16), i));

function members(weights: readonly number[]): Member[] {
  return weights.map((weight, i) => ({ id: nodeId(i), weight }));
}

function ownerOf(group: readonly Member[], key: Uint8Array): string {
  return rankMembers(group, key)[0].id;
}

Deno.test("NR-F-002: the hash gives MurmurHash3_x86_32's published values", () => {
  for (const { text, seed, hash } of vectors.murmur3) assert.equal(murmur3(utf8(text), seed), hash);
});

Deno.test("NR-F-002: a member that leaves moves only its own keys, about 1/N", () => {
  const before = members(Array(10).fill(1));
  const after = before.filter((member) => member.id !== nodeId(4));
  let moved = 0;
  for (const key of KEYS) {
    const owner = ownerOf(before, key);
    if (owner === nodeId(4)) moved++;
    else assert.equal(ownerOf(after, key), owner);
  }
  const share = moved / KEYS.length;
  assert.ok(share > 0.09 && share < 0.11, `share ${share}`);
});

Deno.test("NR-F-002: a member that joins takes about 1/N of the keys and moves no others", () => {
  const before = members(Array(9).fill(1));
  const after = members(Array(10).fill(1));
  let moved = 0;
  for (const key of KEYS) {
    const owner = ownerOf(after, key);
    if (owner === nodeId(9)) moved++;
    else assert.equal(ownerOf(before, key), owner);
  }
  const share = moved / KEYS.length;
  assert.ok(share > 0.09 && share < 0.11, `share ${share}`);
});

Deno.test("NR-F-002: shares are proportional to weights", () => {
  const group = members([1, 2, 5]);
  const counts = new Map<string, number>();
  for (const key of KEYS) {
    const owner = ownerOf(group, key);
    counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  [1 / 8, 2 / 8, 5 / 8].forEach((expected, i) => {
    const share = counts.get(nodeId(i))! / KEYS.length;
    assert.ok(Math.abs(share - expected) < 0.02, `member ${i} has ${share}`);
  });
});

Deno.test("NR-F-002: a changed weight moves keys only to or from that member", () => {
  const heavier = members([1, 1, 2]);
  for (const key of KEYS.slice(0, 3000)) {
    const before = ownerOf(members([1, 1, 1]), key);
    const after = ownerOf(heavier, key);
    if (before !== after) assert.equal(after, nodeId(2));
  }
});

Deno.test("NR-F-002: the ranking holds every member once and does not depend on their order", () => {
  const group = fc.uniqueArray(fc.nat(50), { minLength: 1, maxLength: 8 });
  fc.assert(fc.property(group, fc.uint8Array({ maxLength: 30 }), (numbers, key) => {
    const list = numbers.map((n) => ({ id: nodeId(n), weight: 1 + n }));
    const ranked = rankMembers(list, key).map((member) => member.id);
    assert.deepEqual([...ranked].sort(), list.map((member) => member.id).sort());
    assert.deepEqual(rankMembers(list.toReversed(), key).map((member) => member.id), ranked);
  }));
});
