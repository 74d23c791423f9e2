import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex, utf8 } from "../../lib/base/mod.ts";
import { crc32c } from "../../lib/l1_link/mod.ts";
import { crc32cReference } from "../reference/link.ts";

/** RFC 3720 B.4, and the check value that catalogues of CRCs print. */
const known: [string, Uint8Array, number][] = [
  ["the digits 1…9", utf8("123456789"), 0xe3069283],
  ["32 zero bytes", new Uint8Array(32), 0x8a9136aa],
  ["32 bytes of ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["00…1F", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ["1F…00", Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
];

for (const [what, bytes, crc] of known) {
  Deno.test(`NL-F-004: CRC-32C of ${what} is ${crc.toString(16)}`, () => {
    assert.equal(crc32c(bytes, 0, bytes.length), crc, toHex(bytes));
  });
}

Deno.test("NL-F-004: sliced CRC-32C agrees with the bit-by-bit twin on any range", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), (bytes, skip) => {
    const from = Math.min(skip, bytes.length);
    assert.equal(crc32c(bytes, from, bytes.length), crc32cReference(bytes.subarray(from)));
  }));
});

Deno.test("NL-F-004: CRC-32C taken in two pieces is the CRC of the whole", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), (bytes, cut) => {
    const at = Math.min(cut, bytes.length);
    assert.equal(
      crc32c(bytes, at, bytes.length, crc32c(bytes, 0, at)),
      crc32c(bytes, 0, bytes.length),
    );
  }));
});
