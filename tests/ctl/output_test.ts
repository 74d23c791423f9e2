import assert from "node:assert/strict";
import fc from "fast-check";
import { choosePaint, COLOURED, PLAIN } from "../../lib/ctl/output/paint.ts";
import { type Column, formatFields, formatTable } from "../../lib/ctl/output/table.ts";
import {
  formatAgo,
  formatBytes,
  formatCost,
  formatDuration,
  formatMs,
  formatTime,
  formatTokens,
  parseDuration,
  parseInteger,
  parseNumber,
  printable,
  printableLines,
} from "../../lib/ctl/output/values.ts";

interface Row {
  readonly name: string;
  readonly size: string;
}
const COLUMNS: readonly Column<Row>[] = [
  { head: "NAME", value: (row) => row.name, mark: (text, _, paint) => paint.green(text) },
  { head: "SIZE", right: true, value: (row) => row.size },
  { head: "MORE", wide: true, value: () => "x" },
];

Deno.test("a table aligns text left and numbers right, without blanks at line ends", () => {
  const rows = [{ name: "alder", size: "7" }, { name: "b", size: "1234567" }];
  assert.equal(
    formatTable(COLUMNS, rows),
    "NAME      SIZE\nalder        7\nb      1234567\n",
  );
});

Deno.test("a table shows its wide columns only when wide, and a dash for nothing", () => {
  assert.equal(
    formatTable(COLUMNS, [{ name: "", size: "1" }], { wide: true, indent: "  " }),
    "  NAME  SIZE  MORE\n  -        1  x\n",
  );
});

Deno.test("an empty table is its heads", () => {
  assert.equal(formatTable(COLUMNS, []), "NAME  SIZE\n");
});

Deno.test("colour changes no column's place", () => {
  const rows = [{ name: "alder", size: "7" }, { name: "b", size: "12" }];
  // deno-lint-ignore no-control-regex
  const stripped = formatTable(COLUMNS, rows, { paint: COLOURED }).replace(/\x1b\[\d+m/g, "");
  assert.equal(stripped, formatTable(COLUMNS, rows));
});

Deno.test("fields align their values and leave out what is missing", () => {
  assert.equal(
    formatFields([["id", "1"], ["name", undefined], ["longer", "2"], ["empty", ""]]),
    "id      1\nlonger  2\n",
  );
});

Deno.test("text from other machines cannot steer a terminal", () => {
  assert.equal(printable("a\x1b[31m\nb\x9b\u202e"), "a\uFFFD[31m\uFFFDb\uFFFD\uFFFD");
  assert.equal(printableLines("a\r\nb\tc\x1b]0;x\x07\rd"), "a\nb\tc\uFFFD]0;x\uFFFD\uFFFDd");
  const anyText = fc.array(fc.nat(0x2fff)).map((codes) => String.fromCharCode(...codes));
  fc.assert(fc.property(anyText, (text) => {
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(printable(text), /[\x00-\x1f\x7f-\x9f]/);
    const table = formatTable(COLUMNS, [{ name: text, size: text }]);
    assert.equal(table.split("\n").length, 3);
  }));
});

Deno.test("colour needs a terminal that can, and nobody who objects", () => {
  const env = (vars: Record<string, string>) => (name: string) => vars[name];
  assert.equal(choosePaint(true, true, env({ TERM: "xterm" })), COLOURED);
  assert.equal(choosePaint(false, true, env({ TERM: "xterm" })), PLAIN);
  assert.equal(choosePaint(true, false, env({ TERM: "xterm" })), PLAIN);
  assert.equal(choosePaint(true, true, env({ TERM: "xterm", NO_COLOR: "1" })), PLAIN);
  assert.equal(choosePaint(true, true, env({ TERM: "dumb" })), PLAIN);
});

Deno.test("values read as people write them", () => {
  assert.deepEqual([0.123, 3.14, 42.4, 1250].map(formatMs), [
    "0.12 ms",
    "3.1 ms",
    "42 ms",
    "1.25 s",
  ]);
  assert.deepEqual([0, 59, 185, 3600, 7860, 2_600_000].map(formatDuration), [
    "0s",
    "59s",
    "3m 5s",
    "1h",
    "2h 11m",
    "30d 2h",
  ]);
  assert.deepEqual([999, 1400, 3_200_000, 5e9].map(formatBytes), [
    "999 B",
    "1.4 kB",
    "3.20 MB",
    "5.00 GB",
  ]);
  assert.deepEqual([131_072, 8000, 0].map(formatTokens), ["128k", "8000", "0"]);
  assert.equal(formatCost(0, true), "free");
  assert.equal(formatCost(2000, true), "$0.002/1k");
  assert.equal(formatCost(1_000_000, false), "$1");
  assert.equal(formatTime(1_782_907_200), "2026-07-01 12:00:00 UTC");
  assert.equal(formatAgo(1000, 1500), "now");
  assert.equal(formatAgo(1000, 66_000), "1m 5s ago");
});

Deno.test("durations and numbers of flags are read within their range and refused outside", () => {
  assert.equal(parseDuration("90", "--x", 100), 90);
  assert.equal(parseDuration("15m", "--x", 1000), 900);
  assert.equal(parseDuration("1h", "--x", 3600), 3600);
  assert.equal(parseDuration("30d", "--x", 30 * 86_400), 2_592_000);
  for (const text of ["", "0", "-1s", "1w", "1.5h", "31d", "1e3"]) {
    assert.throws(() => parseDuration(text, "--x", 30 * 86_400), { code: "USAGE" }, text);
  }
  assert.equal(parseInteger("0", "--n", 0, 5), 0);
  for (const text of ["", "6", "-1", "1.5", "0x1", "a"]) {
    assert.throws(() => parseInteger(text, "--n", 0, 5), { code: "USAGE" }, text);
  }
  assert.equal(parseNumber("0.75", "--t", 0, 2), 0.75);
  for (const text of ["", "2.01", "-1", "1e0", "NaN"]) {
    assert.throws(() => parseNumber(text, "--t", 0, 2), { code: "USAGE" }, text);
  }
});
