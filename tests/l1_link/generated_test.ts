import assert from "node:assert/strict";
import * as link from "../../lib/l1_link/gen/link.ts";
import { outputs } from "../../schemas/generate.ts";
import { layout, partsOf } from "../../schemas/link_layout.ts";
import { C_COMPILER, CLANG_BPF, compileC } from "../support/toolchain.ts";
import { testNeeding } from "../support/needs.ts";

const ROOT = new URL("../../", import.meta.url);

for (const { path, text } of outputs) {
  Deno.test(`NL-F-001: ${path} is what schemas/link.json says`, async () => {
    assert.equal(await Deno.readTextFile(new URL(path, ROOT)), text);
    assert.match(text.slice(0, text.indexOf("\n")), /generated/);
  });
}

/** What C must agree with: names of the TypeScript constants, with the prefix, and their values. */
function expectedValues(): [string, number][] {
  const values: [string, number][] = [];
  for (const [name, value] of Object.entries(link)) {
    if (typeof value === "number") values.push([`NX_${name}`, value]);
    else if (!Array.isArray(value)) {
      const prefix = name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
      for (const [code, number] of Object.entries(value)) {
        values.push([`NX_${prefix}_${code}`, number as number]);
      }
    }
  }
  return values;
}

/** A C file that compiles only if the header says what the TypeScript constants say. */
function comparison(values: readonly [string, number][]): string {
  const table = (name: string, bytes: readonly number[]) => [
    `static const unsigned char ${name}[] = NX_OPTION_VALUE_BYTES_${name.toUpperCase()};`,
    `_Static_assert(sizeof ${name} == ${bytes.length}, "${name}");`,
    `unsigned nx_${name}(unsigned type) { return ${name}[type]; }`,
  ];
  return [
    '#include "nx_link.h"',
    '#include "nx_link.h"', // The guard holds.
    ...values.map(([name, value]) => `_Static_assert(${name} == ${value}, "${name}");`),
    `_Static_assert(sizeof(struct nx_frame_header) == NX_HEADER_BYTES, "header");`,
    `_Static_assert(sizeof(struct nx_overlay_header) == NX_OVERLAY_BYTES, "overlay");`,
    "unsigned nx_min(unsigned type);",
    "unsigned nx_max(unsigned type);",
    ...table("min", link.OPTION_VALUE_BYTES_MIN),
    ...table("max", link.OPTION_VALUE_BYTES_MAX),
    "",
  ].join("\n");
}

const FLAGS = ["-std=c17", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-c", "-Iffi/native/gen"];

testNeeding(
  [C_COMPILER],
  "NL-F-001: the C header compiles cleanly and has the values of TypeScript",
  async () => {
    const values = expectedValues();
    assert(values.length > 80, `only ${values.length} values to compare`);
    const good = await compileC(comparison(values), [...FLAGS, "-o", "/dev/null"]);
    assert.equal(good, "");
    // The comparison itself bites.
    const off = values.map((
      [name, value],
    ): [string, number] => [name, name === "NX_HOP_LIMIT_AT" ? value + 1 : value]);
    assert.match(await compileC(comparison(off), [...FLAGS, "-o", "/dev/null"]), /NX_HOP_LIMIT_AT/);
  },
);

testNeeding([CLANG_BPF], "NL-F-001: the C header compiles for BPF", async () => {
  const flags = ["-target", "bpf", "-O2", ...FLAGS, "-o", "/dev/null"];
  assert.equal(await compileC(comparison(expectedValues()), flags, CLANG_BPF.path), "");
});

Deno.test("NL-F-001: the P4 headers are as long as the wire's and their constants agree", async () => {
  const text = await Deno.readTextFile(new URL("p4/gen/nexlink.p4", ROOT));
  const bits = (header: string) => {
    const body = new RegExp(`header ${header} \\{([^}]*)\\}`).exec(text)![1];
    return [...body.matchAll(/bit<(\d+)>/g)].reduce((sum, [, width]) => sum + Number(width), 0);
  };
  assert.equal(bits("nexlink_frame_t"), 8 * link.HEADER_BYTES);
  assert.equal(bits("nexlink_overlay_t"), 8 * link.OVERLAY_BYTES);
  assert.equal(bits("nexlink_option_t"), 8 * link.OPTION_HEADER_BYTES);
  assert.equal(bits("nexlink_hop_count_t"), 8);

  const expected = new Map(expectedValues().map(([name, value]) => [name.slice(3), value]));
  const constants = [...text.matchAll(/^const bit<(\d+)> NEXLINK_(\w+) = (\d+);$/gm)];
  assert(constants.length > 40, `only ${constants.length} constants`);
  for (const [, width, name, value] of constants) {
    assert.equal(Number(value), expected.get(name), name);
    assert(Number(value) < 2 ** Number(width), `${name} does not fit its bits`);
  }
});

Deno.test("NL-F-001: parts of a field are counted from its most significant bit", () => {
  const word0 = layout.frame.fields[0];
  assert.deepEqual(partsOf(word0).map(({ name, shift }) => [name, shift]), [
    ["VERSION", 28],
    ["FLAGS", 20],
    ["TYPE", 4],
    ["RESERVED", 0],
  ]);
});
