import assert from "node:assert/strict";
import { formatRegion, parseRegion, REGIONS } from "../../lib/l2_route/mod.ts";
import { codeOf } from "./helpers.ts";

Deno.test("NR-S-001: the country table has all 249 countries with three distinct codes each", () => {
  assert.equal(REGIONS.length, 249);
  for (const code of ["alpha2", "alpha3", "numeric"] as const) {
    assert.equal(new Set(REGIONS.map((region) => region[code])).size, 249, code);
  }
  for (const { alpha2, alpha3, numeric } of REGIONS) {
    assert.match(alpha2, /^[A-Z]{2}$/);
    assert.match(alpha3, /^[A-Z]{3}$/);
    assert.ok(Number.isInteger(numeric) && numeric >= 4 && numeric <= 894, alpha2);
  }
});

Deno.test("NR-S-001: each code of a country reads as its number, in either case", () => {
  for (const { alpha2, alpha3, numeric } of REGIONS) {
    const texts = [alpha2, alpha3, alpha2.toLowerCase(), alpha3.toLowerCase(), String(numeric)];
    for (const text of texts) assert.equal(parseRegion(text), numeric);
    assert.equal(parseRegion(String(numeric).padStart(3, "0")), numeric);
    assert.equal(formatRegion(numeric), alpha2);
  }
});

Deno.test("NR-S-001: well-known countries have their assigned numbers", () => {
  const known = { DE: 276, FR: 250, US: 840, CN: 156, GB: 826, AF: 4, ZW: 716, XK: undefined };
  for (const [code, numeric] of Object.entries(known)) {
    if (numeric === undefined) assert.equal(codeOf(() => parseRegion(code)), "UNKNOWN_REGION");
    else assert.equal(parseRegion(code), numeric);
  }
});

Deno.test("NR-S-001: an unassigned number stands for itself", () => {
  assert.equal(parseRegion("999"), 999);
  assert.equal(formatRegion(999), "999");
  for (const text of ["", "65536", "-1", "1.5", "constructor", "D"]) {
    assert.equal(codeOf(() => parseRegion(text)), "UNKNOWN_REGION", text);
  }
});
