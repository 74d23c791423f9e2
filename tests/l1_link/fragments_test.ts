import assert from "node:assert/strict";
import fc from "fast-check";
import { NEVER, SeededRandom } from "../../lib/base/mod.ts";
import {
  buildFrame,
  decodeFrame,
  Flag,
  type Fragment,
  fragment,
  FRAGMENTS_MAX,
  FrameError,
  FrameInfo,
  FrameType,
  type HeaderFields,
  MESSAGE_BYTES_MAX,
  OptionType,
  Reassembler,
  REASSEMBLY_BYTES_MAX,
  REASSEMBLY_SETS_MAX,
  SET_LIFE_US_MAX,
  SOURCE_BYTES_MAX,
  SOURCE_SETS_MAX,
} from "../../lib/l1_link/mod.ts";

/** A piece with made-up bytes. */
function piece(offset: number, length: number, total: number, more = true): Fragment {
  return { offset, total, more, bytes: new Uint8Array(length).fill(offset) };
}

/** Brings a fragment to the reassembler as a real frame. */
function bring(
  reassembler: Reassembler,
  { offset, total, more, bytes: payload }: Fragment,
  { source = "10.0.0.1:1", nowUs = 0, fields = {} }: {
    source?: string;
    nowUs?: number;
    fields?: Partial<HeaderFields>;
  } = {},
): Uint8Array | undefined {
  const bytes = buildFrame(
    { type: FrameType.TRUST_HANDSHAKE, flags: more ? Flag.MORE_FRAGMENTS : 0, ...fields },
    [{ type: OptionType.FRAGMENT_INFO, offset, total }],
    payload,
  );
  const info = new FrameInfo();
  const view = new DataView(bytes.buffer);
  assert.equal(decodeFrame(bytes, view, 0, bytes.length, info), FrameError.OK);
  return reassembler.add(source, info, bytes, nowUs);
}

function message(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  new SeededRandom(length).fill(bytes);
  return bytes;
}

Deno.test("NL-F-006: a message that fits one frame is not fragmented", () => {
  const bytes = message(1200 - 68);
  assert.deepEqual(fragment(bytes, 1200), [{ offset: 0, total: 0, more: false, bytes }]);
});

Deno.test("NL-F-006: fragments fill their frames to the byte and no more", () => {
  const pieces = fragment(message(1200 - 68 + 1), 1200);
  assert.deepEqual(pieces.map(({ offset, total, more }) => [offset, total, more]), [
    [0, 2, true],
    [1124, 2, false],
  ]);
  const frame = buildFrame(
    { type: FrameType.TRUST_HANDSHAKE, flags: Flag.MORE_FRAGMENTS },
    [{ type: OptionType.FRAGMENT_INFO, offset: 0, total: 2 }],
    pieces[0].bytes,
  );
  assert.equal(frame.length, 1200);
});

Deno.test("NL-F-006: a message beyond every receiver's limits is refused", () => {
  assert.throws(() => fragment(message(MESSAGE_BYTES_MAX + 1), 65_535 >>> 2), {
    code: "MESSAGE_TOO_LONG",
  });
  assert.throws(() => fragment(message(10_000), 400), { code: "MESSAGE_TOO_LONG" });
  assert.throws(() => fragment(message(10), 76), { code: "MESSAGE_TOO_LONG" });
  assert.equal(fragment(message(MESSAGE_BYTES_MAX), 1200).length, 15);
});

Deno.test("NL-F-007: any message comes back from its fragments in any order with duplicates", () => {
  const orders = fc.tuple(
    fc.integer({ min: 1, max: MESSAGE_BYTES_MAX }),
    fc.integer({ min: 1200, max: 4000 }),
    fc.array(fc.nat(1_000_000), { minLength: 40, maxLength: 40 }),
  );
  fc.assert(fc.property(orders, ([length, frameBytesMax, picks]) => {
    const original = message(length);
    const pieces = fragment(original, frameBytesMax);
    if (pieces[0].total === 0) return;
    // Every piece once, in an order that the picks choose, with repetitions before the last.
    const left = [...pieces];
    const done: Fragment[] = [];
    const reassembler = new Reassembler();
    for (const pick of picks) {
      if (left.length === 0) break;
      if (done.length > 0 && pick % 3 === 0) {
        assert.equal(bring(reassembler, done[pick % done.length]), undefined);
        continue;
      }
      const [next] = left.splice(pick % left.length, 1);
      done.push(next);
      const result = bring(reassembler, next);
      assert.deepEqual(result, left.length === 0 ? original : undefined);
    }
    for (const [i, next] of left.entries()) {
      assert.deepEqual(bring(reassembler, next), i === left.length - 1 ? original : undefined);
    }
    assert.equal(reassembler.bytesHeld, 0);
    assert.equal(reassembler.setsHeld, 0);
    assert.equal(reassembler.nextTimeoutUs(), NEVER);
  }));
});

Deno.test("NL-F-007: a duplicate that differs in content does not replace the first", () => {
  const reassembler = new Reassembler();
  bring(reassembler, { ...piece(0, 2, 2), bytes: new Uint8Array([1, 2]) });
  bring(reassembler, { ...piece(0, 2, 2), bytes: new Uint8Array([8, 9]) });
  assert.deepEqual(bring(reassembler, piece(2, 1, 2, false)), new Uint8Array([1, 2, 2]));
  assert.equal(reassembler.stats().duplicates, 1);
});

Deno.test("NL-F-007: a single fragment that says it is all completes at once", () => {
  assert.deepEqual(bring(new Reassembler(), piece(0, 9, 1, false)), new Uint8Array(9));
});

Deno.test("NL-F-007: messages that differ in any part of the key do not mix", () => {
  const reassembler = new Reassembler();
  const id = new Uint8Array(16).fill(1);
  bring(reassembler, piece(0, 5, 2));
  const last = piece(5, 5, 2, false);
  assert.equal(bring(reassembler, last, { source: "10.0.0.1:2" }), undefined);
  for (const fields of [{ sequence: 1 }, { streamId: 1 }, { source: id }, { dest: id }]) {
    assert.equal(bring(reassembler, last, { fields }), undefined);
  }
  assert.equal(reassembler.setsHeld, 6);
  assert.notEqual(bring(reassembler, last), undefined);
});

/** Fragments that contradict each other: the last one of each list discards the set. */
const conflicts: [string, Fragment[]][] = [
  ["a total that changes", [piece(0, 10, 3), piece(10, 10, 4)]],
  ["an overlap from below", [piece(10, 10, 3), piece(5, 6, 3)]],
  ["an overlap from above", [piece(0, 10, 3), piece(9, 10, 3)]],
  ["the same offset with another length", [piece(0, 10, 3), piece(0, 9, 3)]],
  ["a fragment that encloses another", [piece(10, 10, 3), piece(5, 30, 3)]],
  ["a fragment inside another", [piece(0, 30, 3), piece(10, 5, 3)]],
  ["a second end", [piece(10, 10, 3, false), piece(20, 10, 3, false)]],
  ["bytes past the end", [piece(10, 10, 3, false), piece(20, 10, 3)]],
  ["an end before bytes that came", [piece(20, 10, 3), piece(0, 10, 3, false)]],
  ["the same range once as the end and once not", [piece(0, 10, 3), piece(0, 10, 3, false)]],
  ["a hole when all have come", [piece(0, 10, 2), piece(11, 10, 2, false)]],
  ["no end when all have come", [piece(0, 10, 2), piece(10, 10, 2)]],
];

for (const [what, pieces] of conflicts) {
  Deno.test(`NL-F-007: ${what} discards the set`, () => {
    const reassembler = new Reassembler();
    for (const each of pieces.slice(0, -1)) bring(reassembler, each);
    assert.equal(reassembler.setsHeld, 1);
    assert.equal(bring(reassembler, pieces.at(-1)!), undefined);
    assert.equal(reassembler.stats().conflicts, 1);
    assert.deepEqual([reassembler.setsHeld, reassembler.bytesHeld], [0, 0]);
  });
}

Deno.test("NL-F-007: a fragment that is empty or beyond a message's limits is refused with its set", () => {
  const reassembler = new Reassembler();
  bring(reassembler, piece(0, 5, 2));
  bring(reassembler, piece(0, 0, 2));
  assert.equal(reassembler.setsHeld, 0);
  bring(reassembler, piece(0, 5, FRAGMENTS_MAX + 1));
  bring(reassembler, piece(MESSAGE_BYTES_MAX, 1, 2, false));
  bring(reassembler, piece(0xffffffff, 1, 2, false));
  assert.equal(reassembler.stats().refused, 4);
  assert.equal(reassembler.setsHeld, 0);
});

Deno.test("NL-F-007: an incomplete set is dropped five seconds after its first fragment", () => {
  const reassembler = new Reassembler();
  bring(reassembler, piece(0, 10, 3), { nowUs: 1000 });
  bring(reassembler, piece(10, 10, 3), { nowUs: 2_000_000 });
  assert.equal(reassembler.nextTimeoutUs(), 1000 + SET_LIFE_US_MAX);
  reassembler.expire(1000 + SET_LIFE_US_MAX - 1);
  assert.equal(reassembler.setsHeld, 1);
  reassembler.expire(1000 + SET_LIFE_US_MAX);
  assert.deepEqual([reassembler.setsHeld, reassembler.bytesHeld], [0, 0]);
  assert.equal(reassembler.stats().expired, 1);
  assert.equal(reassembler.nextTimeoutUs(), NEVER);
});

Deno.test("NL-F-007: one source holds at most 32,768 bytes and leaves others alone", () => {
  const reassembler = new Reassembler();
  bring(reassembler, piece(0, 100, 2), { source: "other" });
  for (let sequence = 0; sequence < 4; sequence++) {
    bring(reassembler, piece(0, 10_000, 2), { fields: { sequence } });
  }
  assert.equal(reassembler.bytesHeld, 30_100);
  assert.equal(reassembler.stats().sourceFull, 1);
  assert(reassembler.bytesHeld - 100 + 10_000 > SOURCE_BYTES_MAX);
  assert.notEqual(bring(reassembler, piece(100, 1, 2, false), { source: "other" }), undefined);
});

Deno.test("NL-F-007: one source holds at most 64 sets however small", () => {
  const reassembler = new Reassembler();
  for (let sequence = 0; sequence < 2 * SOURCE_SETS_MAX; sequence++) {
    bring(reassembler, piece(0, 1, 2), { fields: { sequence } });
  }
  assert.equal(reassembler.setsHeld, SOURCE_SETS_MAX);
  assert.equal(reassembler.stats().sourceFull, SOURCE_SETS_MAX);
});

Deno.test("NL-F-007: a flood of incomplete sets evicts the oldest, not an honest message", () => {
  const reassembler = new Reassembler();
  for (let i = 0; i < 100; i++) bring(reassembler, piece(0, 16_000, 2), { source: `flood ${i}` });
  assert(reassembler.bytesHeld <= REASSEMBLY_BYTES_MAX);
  assert(reassembler.stats().evicted > 0);
  const original = message(3000);
  const results = fragment(original, 1200).map((each) => bring(reassembler, each));
  assert.deepEqual(results.at(-1), original);
});

Deno.test("NL-F-007: many sources with tiny fragments hold at most 1,024 sets", () => {
  const reassembler = new Reassembler();
  for (let i = 0; i < REASSEMBLY_SETS_MAX + 50; i++) {
    bring(reassembler, piece(0, 1, 2), { source: `flood ${i}` });
  }
  assert.equal(reassembler.setsHeld, REASSEMBLY_SETS_MAX);
  assert.equal(reassembler.stats().evicted, 50);
});

Deno.test("NL-F-007: no sequence of hostile fragments passes the bounds or breaks the accounts", () => {
  const hostile = fc.record({
    offset: fc.oneof(fc.nat(60), fc.nat(MESSAGE_BYTES_MAX + 10), fc.constant(0xffffffff)),
    length: fc.oneof(fc.nat(30), fc.nat(16_000)),
    total: fc.integer({ min: 1, max: 20 }),
    more: fc.boolean(),
    source: fc.integer({ min: 0, max: 4 }),
    sequence: fc.nat(3),
    afterUs: fc.oneof(fc.constant(0), fc.nat(SET_LIFE_US_MAX)),
  });
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 60 }), (fragments) => {
      const reassembler = new Reassembler();
      let nowUs = 0;
      for (const { offset, length, total, more, source, sequence, afterUs } of fragments) {
        nowUs += afterUs;
        const result = bring(reassembler, piece(offset, length, total, more), {
          source: `s${source}`,
          nowUs,
          fields: { sequence },
        });
        assert(result === undefined || result.length <= MESSAGE_BYTES_MAX);
        assert(reassembler.bytesHeld >= 0 && reassembler.bytesHeld <= 5 * SOURCE_BYTES_MAX);
        assert.equal(reassembler.bytesHeld > 0, reassembler.setsHeld > 0);
      }
      reassembler.expire(nowUs + SET_LIFE_US_MAX);
      assert.deepEqual([reassembler.setsHeld, reassembler.bytesHeld], [0, 0]);
    }),
    { numRuns: 300 },
  );
});
