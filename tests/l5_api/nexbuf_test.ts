/** The format itself: layout, bounds, and hostile bodies, on tables made for the test. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { NexusError } from "../../lib/base/mod.ts";
import {
  bytesField,
  bytesVectorField,
  DEPTH_MAX,
  type FieldShape,
  i64OptionalField,
  mapField,
  OBJECTS_MAX,
  openBody,
  Reader,
  ROOT,
  scalarsField,
  tableField,
  type TableShape,
  tableVectorField,
  u64Field,
  unionField,
  unionVectorField,
  verify,
  VerifyError,
  Writer,
} from "../../lib/l5_api/mod.ts";

const MAX = 1 << 20;

function check(body: Uint8Array, shape: TableShape): number {
  return verify(body, new DataView(body.buffer, body.byteOffset, body.length), shape);
}

/** A body of little-endian u32 words. */
function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function shapeOf(...fields: FieldShape[]): TableShape {
  return { name: "Test", fields };
}

/** A table that may hold itself: in a field, a vector, a union. */
const fields: FieldShape[] = [];
const Tree: TableShape = { name: "Tree", fields };
fields.push(tableField(4, Tree), tableVectorField(8, Tree), unionField(12, [Tree]));

function code(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof NexusError) return thrown.code;
    throw thrown;
  }
  return "none";
}

Deno.test("NA-NB-003: scalars of every type come back", () => {
  const numbers = fc.record({
    a: fc.nat(0xff),
    b: fc.nat(0xffff),
    c: fc.nat(0xffffffff),
    d: fc.nat(Number.MAX_SAFE_INTEGER),
    e: fc.option(fc.maxSafeInteger(), { nil: undefined }),
    f: fc.double({ noNaN: true }),
    g: fc.float({ noNaN: true }),
    h: fc.option(fc.boolean(), { nil: undefined }),
  }, { noNullPrototype: true });
  const shape = shapeOf(u64Field(16), i64OptionalField(24));
  const w = new Writer(MAX);
  fc.assert(fc.property(numbers, (n) => {
    w.begin();
    const t = w.table(45);
    w.u8(t + 4, n.a);
    w.u16(t + 6, n.b);
    w.u32(t + 8, n.c);
    w.u64(t + 16, n.d);
    w.i64Optional(t + 24, n.e);
    w.f64(t + 32, n.f);
    w.f32(t + 40, n.g);
    w.boolOptional(t + 44, n.h);
    const r = openBody(w.finish(), shape);
    const back = {
      a: r.u8(ROOT, 4, 1),
      b: r.u16(ROOT, 6, 1),
      c: r.u32(ROOT, 8, 1),
      d: r.u64(ROOT, 16, 1),
      e: r.i64Optional(ROOT, 24),
      f: r.f64(ROOT, 32, 1),
      g: r.f32(ROOT, 40, 1),
      h: r.boolOptional(ROOT, 44),
    };
    assert.deepEqual(back, n);
  }));
});

Deno.test("NA-NB-003: values that do not fit their field are refused when written", () => {
  const w = new Writer(MAX);
  w.begin();
  const t = w.table(16);
  for (const bad of [-1, 0.5, NaN, 256]) {
    assert.equal(code(() => w.u8(t + 4, bad)), "INVALID_VALUE");
  }
  for (const bad of [-1, 0.5, NaN, 65536]) {
    assert.equal(code(() => w.u16(t + 4, bad)), "INVALID_VALUE");
  }
  for (const bad of [-1, 0.5, NaN, 2 ** 32]) {
    assert.equal(code(() => w.u32(t + 4, bad)), "INVALID_VALUE");
  }
  for (const bad of [-1, 0.5, NaN, 2 ** 53]) {
    assert.equal(code(() => w.u64(t + 8, bad)), "INVALID_VALUE");
  }
  for (const bad of [0.5, NaN, 2 ** 53, -(2 ** 53)]) {
    assert.equal(code(() => w.i64Optional(t + 8, bad)), "INVALID_VALUE");
  }
  assert.equal(code(() => w.u32Optional(t + 4, 0xffffffff)), "INVALID_VALUE", "that is none");
  assert.equal(code(() => w.u8Optional(t + 4, 0xff)), "INVALID_VALUE", "that is none");
});

Deno.test("NA-NB-003: fields beyond the size of an older table read as their defaults", () => {
  const r = openBody(words(4), shapeOf(bytesField(4), u64Field(8), unionField(16, [Tree])));
  assert.equal(r.u8(ROOT, 4, 7), 7);
  assert.equal(r.u16(ROOT, 4, 7), 7);
  assert.equal(r.u32(ROOT, 4, 7), 7);
  assert.equal(r.u64(ROOT, 8, 7), 7);
  assert.equal(r.f32(ROOT, 4, 7), 7);
  assert.equal(r.f64(ROOT, 8, 7), 7);
  assert.equal(r.bool(ROOT, 4, true), true);
  assert.equal(r.i64Optional(ROOT, 8), undefined);
  assert.equal(r.u32Optional(ROOT, 4), undefined);
  assert.equal(r.f32Optional(ROOT, 4), undefined);
  assert.equal(r.f64Optional(ROOT, 8), undefined);
  assert.equal(r.boolOptional(ROOT, 4), undefined);
  assert.equal(r.string(ROOT, 4), "");
  assert.equal(r.stringOptional(ROOT, 4), undefined);
  assert.equal(r.bytesView(ROOT, 4).length, 0);
  assert.equal(r.count(r.reference(ROOT, 4)), 0);
  assert.equal(r.map(ROOT, 4).size, 0);
});

Deno.test("NA-NB-003: a field that the size cuts in two reads as its default", () => {
  const body = new Uint8Array(8);
  body.set([7, 0, 0, 0, 0xff, 0xff, 0xff]);
  const r = openBody(body, shapeOf(bytesField(4)));
  assert.equal(r.u32(ROOT, 4, 42), 42);
  assert.equal(r.reference(ROOT, 4), 0);
});

Deno.test("NA-NB-002: strings are decoded only when asked for", () => {
  const body = new Uint8Array([8, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0xff]);
  const r = openBody(body, shapeOf(bytesField(4)));
  assert.deepEqual([...r.bytesView(ROOT, 4)], [0xff]);
  assert.equal(code(() => r.string(ROOT, 4)), "MALFORMED");
});

Deno.test("NA-NB-002: bytes are read in place", () => {
  const w = new Writer(MAX);
  w.begin();
  const t = w.table(8);
  w.bytes(t + 4, new Uint8Array([1, 2, 3]));
  const body = w.finish();
  const r = openBody(body, shapeOf(bytesField(4)));
  assert.equal(r.bytesView(ROOT, 4).buffer, body.buffer);
  assert.notEqual(r.bytesCopy(ROOT, 4).buffer, body.buffer);
});

Deno.test("NA-NB-002: bodies are read at any place of a larger buffer", () => {
  const w = new Writer(MAX);
  w.begin();
  w.string(w.table(8) + 4, "hello");
  const body = w.finish();
  const larger = new Uint8Array(body.length + 3 + 9).fill(0xee);
  larger.set(body, 3);
  const r = openBody(larger.subarray(3, 3 + body.length), shapeOf(bytesField(4)));
  assert.equal(r.string(ROOT, 4), "hello");
});

Deno.test("NA-NB-003: text of every length and script comes back", () => {
  const w = new Writer(MAX, 8);
  const shape = shapeOf(bytesField(4));
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.string({ maxLength: 80 }),
    fc.tuple(fc.nat(5000), fc.constantFrom("a", "é", "語", "🦕"), fc.nat(40)).map(([n, c, m]) =>
      "x".repeat(n) + c.repeat(m)
    ),
  );
  fc.assert(fc.property(text, (text) => {
    w.begin();
    w.string(w.table(8) + 4, text);
    assert.equal(openBody(w.finish(), shape).string(ROOT, 4), text);
  }));
});

Deno.test("NA-NB-003: an unpaired surrogate is written as U+FFFD", () => {
  const w = new Writer(MAX);
  for (const text of ["\ud800", "\ud800".repeat(50)]) {
    w.begin();
    w.string(w.table(8) + 4, text);
    const back = openBody(w.finish(), shapeOf(bytesField(4))).string(ROOT, 4);
    assert.equal(back, "\ufffd".repeat(text.length));
  }
});

Deno.test("NA-NB-003: a map is sorted by the bytes of its keys", () => {
  const w = new Writer(MAX);
  w.begin();
  // UTF-16 order would put the emoji (surrogates) before U+FFFD, byte order does not
  const map = new Map([["\ufffd", "2"], ["🦕", "3"], ["b", "1"], ["", "0"], ["ba", "x"]]);
  w.map(w.table(8) + 4, map);
  const back = openBody(w.finish(), shapeOf(mapField(4))).map(ROOT, 4);
  assert.deepEqual([...back.keys()], ["", "b", "ba", "\ufffd", "🦕"]);
  assert.deepEqual(back, map);
});

Deno.test("NA-NB-003: map keys that become one in UTF-8 are refused when written", () => {
  const w = new Writer(MAX);
  w.begin();
  const t = w.table(8);
  assert.equal(
    code(() => w.map(t + 4, new Map([["\ud800", ""], ["\ud801", ""]]))),
    "INVALID_VALUE",
  );
});

Deno.test("NA-NB-004: a reused writer leaves nothing of the body before", () => {
  const w = new Writer(MAX);
  w.begin(16);
  w.string(w.table(8) + 4, "secret".repeat(100));
  w.begin(16);
  const t = w.table(25);
  w.stringOptional(t + 4, "x");
  w.stringOptional(t + 8, "");
  const body = w.finish().subarray(16);
  const expected = new Uint8Array(40);
  expected.set([25, 0, 0, 0, 28, 0, 0, 0, 36], 0);
  expected.set([1, 0, 0, 0, 0x78], 28);
  assert.deepEqual(body, expected);
});

Deno.test("NA-NB-004: a body beyond the writer's limit is TOO_LARGE, and the next one fits", () => {
  const w = new Writer(64);
  const write = (text: string) => {
    w.begin();
    w.string(w.table(8) + 4, text);
    return w.finish();
  };
  assert.equal(code(() => write("x".repeat(65))), "TOO_LARGE");
  assert.equal(code(() => write("ä".repeat(40))), "TOO_LARGE");
  assert.equal(code(() => write("x".repeat(53))), "TOO_LARGE");
  assert.equal(write("x".repeat(52)).length, 64);
});

Deno.test("NA-NB-005: verify names what is wrong with a table or an offset", () => {
  const text = shapeOf(bytesField(4));
  const cases: [string, number, Uint8Array, TableShape][] = [
    ["nothing", VerifyError.OutOfBounds, new Uint8Array(0), text],
    ["three bytes", VerifyError.OutOfBounds, new Uint8Array(3), text],
    ["size 0", VerifyError.TableSize, words(0), text],
    ["size 3", VerifyError.TableSize, words(3), text],
    ["size beyond the body", VerifyError.TableSize, words(8), text],
    ["size 2^32 - 1", VerifyError.TableSize, words(0xffffffff, 0), text],
    ["absent string", VerifyError.Ok, words(8, 0), text],
    ["empty string", VerifyError.Ok, words(8, 8, 0), text],
    ["offset into its own table", VerifyError.OffsetBackward, words(8, 4, 0), text],
    ["offset at the end of the body", VerifyError.OutOfBounds, words(8, 8), text],
    ["offset 2^32 - 4", VerifyError.OutOfBounds, words(8, 0xfffffffc, 0), text],
    ["offset not aligned", VerifyError.Alignment, words(8, 9, 0, 0), text],
    ["length one too long", VerifyError.OutOfBounds, words(8, 8, 5, 0), text],
    ["length exact", VerifyError.Ok, words(8, 8, 4, 0), text],
    ["length 2^32 - 1", VerifyError.OutOfBounds, words(8, 8, 0xffffffff, 0), text],
    ["nested table at 12", VerifyError.Alignment, words(8, 12, 0, 4), shapeOf(tableField(4, Tree))],
    ["nested table", VerifyError.Ok, words(8, 8, 4), shapeOf(tableField(4, Tree))],
    ["field of a nested table backward", VerifyError.OffsetBackward, words(8, 8, 8, 4), Tree],
  ];
  for (const [name, expected, body, shape] of cases) {
    assert.equal(check(body, shape), expected, name);
  }
});

Deno.test("NA-NB-005: verify names what is wrong with vectors, maps, unions and integers", () => {
  const u8s = shapeOf(scalarsField(4, 1));
  const u64s = shapeOf(scalarsField(4, 8));
  const texts = shapeOf(bytesVectorField(4));
  const tables = shapeOf(tableVectorField(4, Tree));
  const map = shapeOf(mapField(4));
  const union = shapeOf(unionField(4, ["bytes", Tree]));
  const unions = shapeOf(unionVectorField(4, ["bytes"]));
  const cases: [string, number, Uint8Array, TableShape][] = [
    ["bytes as scalars", VerifyError.Ok, words(8, 8, 4, 0), u8s],
    ["one scalar too many", VerifyError.OutOfBounds, words(8, 8, 5, 0), u8s],
    ["count 2^32 - 1", VerifyError.OutOfBounds, words(8, 12, 0, 0xffffffff, 0, 0), u64s],
    ["count x 8 wraps to 8", VerifyError.OutOfBounds, words(8, 12, 0, 0x20000001, 0, 0), u64s],
    ["8-byte scalars", VerifyError.Ok, words(8, 12, 0, 1, 0, 0), u64s],
    ["8-byte scalars not aligned", VerifyError.Alignment, words(8, 8, 1, 0, 0), u64s],
    ["element absent", VerifyError.NullElement, words(8, 8, 1, 0), texts],
    ["element to its own vector", VerifyError.OffsetBackward, words(8, 8, 1, 12), texts],
    ["element", VerifyError.Ok, words(8, 8, 1, 16, 0), texts],
    ["table element absent", VerifyError.NullElement, words(8, 8, 1, 0), tables],
    ["table element backward", VerifyError.OffsetBackward, words(8, 8, 1, 8), tables],
    ["table element", VerifyError.Ok, words(8, 8, 1, 16, 4), tables],
    ["map of one", VerifyError.Ok, words(8, 8, 1, 20, 24, 0, 0), map],
    ["map without value", VerifyError.NullElement, words(8, 8, 1, 20, 0, 0), map],
    ["map with key twice", VerifyError.MapOrder, words(8, 8, 2, 28, 32, 36, 40, 0, 0, 0, 0), map],
    ["map descending", VerifyError.MapOrder, words(8, 8, 2, 28, 36, 40, 44, 1, 98, 0, 0, 0), map],
    ["map ascending", VerifyError.Ok, words(8, 8, 2, 28, 32, 36, 44, 0, 0, 1, 98, 0), map],
    ["union absent", VerifyError.Ok, words(12, 0, 0), union],
    ["union text", VerifyError.Ok, words(12, 1, 12, 0), union],
    ["union of a newer tag", VerifyError.Ok, words(12, 3, 0xffffffff), union],
    ["union backward", VerifyError.OffsetBackward, words(12, 1, 8, 0), union],
    ["union element absent", VerifyError.NullElement, words(8, 8, 1, 0, 0), unions],
    ["union element without offset", VerifyError.NullElement, words(8, 8, 1, 1, 0), unions],
    ["u64 2^53 - 1", VerifyError.Ok, words(16, 0, 0xffffffff, 0x1fffff), shapeOf(u64Field(8))],
    ["u64 2^53", VerifyError.IntegerRange, words(16, 0, 0, 0x200000), shapeOf(u64Field(8))],
    ["i64 none", VerifyError.Ok, words(16, 0, 0, 0x80000000), shapeOf(i64OptionalField(8))],
    [
      "i64 none + 1",
      VerifyError.IntegerRange,
      words(16, 0, 1, 0x80000000),
      shapeOf(i64OptionalField(8)),
    ],
    ["i64 -1", VerifyError.Ok, words(16, 0, 0xffffffff, 0xffffffff), shapeOf(i64OptionalField(8))],
    ["i64 -(2^53 - 1)", VerifyError.Ok, words(16, 0, 1, 0xffe00000), shapeOf(i64OptionalField(8))],
    [
      "i64 -2^53",
      VerifyError.IntegerRange,
      words(16, 0, 0, 0xffe00000),
      shapeOf(i64OptionalField(8)),
    ],
    ["i64 2^53", VerifyError.IntegerRange, words(16, 0, 0, 0x200000), shapeOf(i64OptionalField(8))],
  ];
  for (const [name, expected, body, shape] of cases) {
    assert.equal(check(body, shape), expected, name);
  }
});

/** `depth` tables, each in field 4 of the one before. */
function chain(depth: number): Uint8Array {
  const w = new Writer(MAX);
  w.begin();
  let t = w.table(8);
  for (let i = 1; i < depth; i++) t = w.tableIn(t + 4, 8);
  return w.finish();
}

Deno.test("NA-NB-005: nesting is limited", () => {
  assert.equal(check(chain(DEPTH_MAX), Tree), VerifyError.Ok);
  assert.equal(check(chain(DEPTH_MAX + 1), Tree), VerifyError.Depth);
  assert.equal(check(chain(10_000), Tree), VerifyError.Depth);
});

Deno.test("NA-NB-005: a small body that doubles at every level is refused", () => {
  // level n: a vector whose two elements are both the table of level n + 1
  const w = new Writer(MAX);
  w.begin();
  let t = w.table(12);
  for (let level = 0; level < 25; level++) {
    const elements = w.referencesIn(t + 8, 2, 4);
    t = w.tableIn(elements, 12);
    w.u32(elements + 4, t);
  }
  const body = w.finish();
  assert.ok(body.length < 1024);
  assert.equal(check(body, Tree), VerifyError.Budget);
});

Deno.test("NA-NB-005: a vector that names one long string many times is refused", () => {
  const w = new Writer(MAX);
  w.begin();
  const elements = w.referencesIn(w.table(8) + 4, 1000, 4);
  w.bytesElement(elements, new Uint8Array(10_000));
  const shared = new DataView(w.view().buffer).getUint32(elements, true);
  for (let i = 1; i < 1000; i++) w.u32(elements + 4 * i, shared);
  assert.equal(check(w.finish(), shapeOf(bytesVectorField(4))), VerifyError.Budget);
});

Deno.test("NA-NB-005: the number of objects is limited", () => {
  const body = (count: number) => {
    const w = new Writer(16 * MAX);
    w.begin();
    w.bytesVector(w.table(8) + 4, Array.from({ length: count }, () => new Uint8Array(0)));
    return w.finish();
  };
  const shape = shapeOf(bytesVectorField(4));
  assert.equal(check(body(OBJECTS_MAX - 1), shape), VerifyError.Ok, "and the root table");
  assert.equal(check(body(OBJECTS_MAX + 1), shape), VerifyError.Objects);
});

Deno.test("NA-NB-005: random words never lead a reader out of the body", () => {
  // Words near the size of the body make many offsets and counts that are almost right.
  const word = fc.oneof(
    fc.nat(20).map((n) => 4 * n),
    fc.nat(64),
    fc.constantFrom(0xffffffff, 0x80000000, 0xfffffffc, 0x20000001),
  );
  const All: TableShape = {
    name: "All",
    fields: [
      bytesField(4),
      bytesVectorField(8),
      mapField(12),
      tableField(16, Tree),
      tableVectorField(20, Tree),
      unionVectorField(24, ["bytes", Tree]),
      scalarsField(28, 8),
      u64Field(32),
    ],
  };
  let sound = 0;
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 40 }), fc.boolean(), (list, tidy) => {
      if (tidy) list[0] = Math.min(40, 4 * list.length); // else most die at the size
      const body = words(...list);
      if (check(body, All) !== VerifyError.Ok) return;
      sound++;
      const r = new Reader(body);
      r.bytesView(ROOT, 4);
      r.bytesCopies(ROOT, 8);
      const map = r.reference(ROOT, 12);
      for (let i = 0; i < r.count(map); i++) {
        try {
          r.mapKeyAt(map, i);
          r.mapValueAt(map, i);
        } catch (thrown) {
          assert.ok(thrown instanceof NexusError && thrown.code === "MALFORMED");
        }
      }
      walk(r, r.reference(ROOT, 16));
      const tables = r.reference(ROOT, 20);
      for (let i = 0; i < r.count(tables); i++) walk(r, r.tableAt(tables, i));
      const unions = r.reference(ROOT, 24);
      for (let i = 0; i < r.count(unions); i++) {
        if (r.unionTagAt(unions, i) === 2) walk(r, r.unionTableAt(unions, i));
      }
      r.u64(ROOT, 32, 0);
    }),
    { numRuns: 5000 },
  );
  assert.ok(sound > 100, `only ${sound} bodies were sound`);
});

function walk(r: Reader, tree: number): void {
  if (tree === 0) return;
  walk(r, r.reference(tree, 4));
  const vector = r.reference(tree, 8);
  for (let i = 0; i < r.count(vector); i++) walk(r, r.tableAt(vector, i));
}
