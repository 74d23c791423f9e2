import assert from "node:assert/strict";
import fc from "fast-check";
import { compareBytes, fromHex, NexusError, toHex } from "../../lib/base/mod.ts";
import { decodeSad, encodeSad, type Sad } from "../../lib/l2_route/mod.ts";
import { arbitraryMutation, arbitrarySad, codeOf, sadOfJson, vectors } from "./helpers.ts";

const arbitraryBytes = arbitrarySad.map((sad) => encodeSad(sad));

Deno.test("NR-S-001: every SAD vector encodes to its bytes", () => {
  for (const { name, hex, sad } of vectors.sad) {
    assert.equal(toHex(encodeSad(sadOfJson(sad))), hex, name);
  }
});

Deno.test("NR-S-002: every SAD vector decodes to its fields", () => {
  for (const { name, hex, sad } of vectors.sad) {
    assert.deepEqual(plain(decodeSad(fromHex(hex))), plain(sadOfJson(sad)), name);
  }
});

Deno.test("NR-S-003: every refused vector is MALFORMED", () => {
  for (const { name, hex } of vectors.sadRefused) {
    assert.equal(codeOf(() => decodeSad(fromHex(hex))), "MALFORMED", name);
  }
});

Deno.test("NR-S-002: decoding what was encoded gives the same SAD", () => {
  fc.assert(fc.property(arbitrarySad, (sad) => {
    assert.deepEqual(plain(decodeSad(encodeSad(sad))), plain(sad));
  }));
});

Deno.test("NR-S-003: SADs of one meaning have one byte string, of two meanings two", () => {
  fc.assert(fc.property(arbitrarySad, arbitrarySad, (a, b) => {
    const same = JSON.stringify(plain(a)) === JSON.stringify(plain(b));
    assert.equal(compareBytes(encodeSad(a), encodeSad(b)) === 0, same);
  }));
});

Deno.test("NR-S-001: region lists of any order and empty sets encode canonically", () => {
  assert.deepEqual(
    encodeSad({
      regionPrefer: [840, 250, 276, 250],
      regionExclude: [],
      capabilities: 0,
      options: 0,
    }),
    encodeSad({ regionPrefer: [250, 276, 840] }),
  );
});

Deno.test("NR-S-003: a decoded SAD does not change with the buffer it came from", () => {
  const bytes = encodeSad({ affinity: new Uint8Array(8).fill(7), publisher: new Uint8Array(16) });
  const sad = decodeSad(bytes);
  bytes.fill(9);
  assert.deepEqual(sad.affinity, new Uint8Array(8).fill(7));
  assert.deepEqual(sad.publisher, new Uint8Array(16));
});

Deno.test("NR-S-002: a SAD is decoded from the middle of a larger buffer", () => {
  const bytes = encodeSad({ contextMin: 77, model: "m" });
  const larger = new Uint8Array(bytes.length + 20).fill(255);
  larger.set(bytes, 11);
  assert.deepEqual(plain(decodeSad(larger.subarray(11, 11 + bytes.length))), {
    contextMin: 77,
    model: "m",
  });
});

Deno.test("NR-S-003: fields out of range are refused when writing", () => {
  const wrong: Sad[] = [
    { arch: 0 },
    { arch: 7 },
    { capabilities: 0x800 },
    { contextMin: -1 },
    { contextMin: 2 ** 32 },
    { latencyMsMax: 0.5 },
    { costMax: { micros: 0x80000000, per1k: false } },
    { costMax: { micros: NaN, per1k: false } },
    { trustMin: 5 },
    { regionPrefer: [65536] },
    { regionExclude: Array.from({ length: 128 }, (_, i) => i) },
    { publisher: new Uint8Array(15) },
    { custom: new Uint8Array(0) },
    { custom: new Uint8Array(256) },
    { model: "" },
    { model: "a*b" },
    { model: "\ud800" },
    { model: "ü".repeat(65) },
    { affinity: new Uint8Array(9) },
    { options: 4 },
  ];
  for (const sad of wrong) {
    assert.equal(codeOf(() => encodeSad(sad)), "INVALID_SAD", JSON.stringify(sad));
  }
});

Deno.test("NR-S-003: a SAD of more than 512 bytes is refused when writing", () => {
  const long: Sad = {
    custom: new Uint8Array(255),
    regionPrefer: Array.from({ length: 127 }, (_, i) => i),
  };
  assert.equal(codeOf(() => encodeSad(long)), "TOO_LARGE");
});

Deno.test("NR-S-003: any bytes are decoded canonically or refused as MALFORMED", () => {
  const header = fc.tuple(fc.nat(16), fc.uint8Array({ maxLength: 40 })).map(([count, body]) =>
    Uint8Array.of(1, count, 0, body.length + 4, ...body)
  );
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    header,
    arbitraryMutation(arbitraryBytes),
    arbitraryBytes,
  );
  let accepted = 0;
  fc.assert(
    fc.property(input, (bytes) => {
      let sad: Sad;
      try {
        sad = decodeSad(bytes);
      } catch (error) {
        assert.ok(error instanceof NexusError && error.code === "MALFORMED", String(error));
        return;
      }
      accepted++;
      assert.equal(toHex(encodeSad(sad)), toHex(bytes));
    }),
    { numRuns: 3000 },
  );
  assert.ok(accepted > 300, `only ${accepted} inputs were valid`);
});

/** Byte fields as plain arrays, so that subclasses and buffers do not matter; sorted keys. */
function plain(sad: Sad): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(sad).filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, value instanceof Uint8Array ? Array.from(value) : value])
      .sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, value]) =>
        name === "costMax" ? [name, { micros: value.micros, per1k: value.per1k }] : [name, value]
      ),
  );
}
