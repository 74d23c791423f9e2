import assert from "node:assert/strict";
import fc from "fast-check";
import { NexusError, toHex } from "../../lib/base/mod.ts";
import {
  CAPABILITIES,
  encodeSad,
  formatCapabilities,
  formatSad,
  parseCapabilities,
  parseSad,
  type Sad,
  sadFromModelField,
} from "../../lib/l2_route/mod.ts";
import { arbitrarySad, codeOf, sadOfJson, vectors } from "./helpers.ts";

Deno.test("NR-S-001: every SAD vector formats to its text", () => {
  for (const { name, sad, text } of vectors.sad) {
    assert.equal(formatSad(sadOfJson(sad)), text, name);
  }
});

Deno.test("NR-S-002: every SAD vector's text parses to its bytes", () => {
  for (const { name, text, hex } of vectors.sad) {
    assert.equal(toHex(encodeSad(parseSad(text))), hex, name);
  }
});

Deno.test("NR-S-002: other spellings parse to the fields of their vector", () => {
  for (const { text, sad } of vectors.sadText) {
    assert.equal(toHex(encodeSad(parseSad(text))), toHex(encodeSad(sadOfJson(sad))), text);
  }
});

Deno.test("NR-S-003: a syntax error says what is wrong and what is expected", () => {
  for (const { text, message } of vectors.sadTextRefused) {
    assert.throws(() => parseSad(text), (error) => {
      assert.ok(error instanceof NexusError);
      assert.equal(error.code, "SAD_SYNTAX", text);
      assert.ok(error.message.includes(message), `"${text}" gave "${error.message}"`);
      assert.ok(!error.message.includes("\n") && error.message.length < 400, error.message);
      return true;
    });
  }
});

Deno.test("NR-S-001: parsing what was formatted gives the same SAD", () => {
  fc.assert(fc.property(arbitrarySad, (sad) => {
    assert.equal(toHex(encodeSad(parseSad(formatSad(sad)))), toHex(encodeSad(sad)));
  }));
});

Deno.test("NR-S-003: any text parses to a SAD that fits the wire or is a SAD_SYNTAX error", () => {
  const piece = fc.constantFrom(
    ..."cap ctx latency cost region model affinity opt trust = != < <= >= > , | + * % $ /1k 128k"
      .split(" "),
    "200ms",
    "0.002",
    "DE",
    "code_gen",
    " ",
    "__proto__",
    "constructor",
  );
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join("")),
    fc.tuple(arbitrarySad.map(formatSad), fc.nat(), fc.string({ maxLength: 3 })).map(
      ([whole, at, put]) =>
        whole.slice(0, at % whole.length) + put + whole.slice(at % whole.length),
    ),
  );
  fc.assert(
    fc.property(text, (input) => {
      for (const parse of [parseSad, sadFromModelField]) {
        let sad: Sad;
        try {
          sad = parse(input);
        } catch (error) {
          assert.ok(error instanceof NexusError && error.code === "SAD_SYNTAX", String(error));
          continue;
        }
        encodeSad(sad);
      }
    }),
    { numRuns: 800 },
  );
});

Deno.test("NR-S-005: an OpenAI model value with an operator is a SAD, another is a model name", () => {
  assert.deepEqual(sadFromModelField("gpt-4o"), { model: "gpt-4o" });
  assert.deepEqual(sadFromModelField(" llama-3* "), { model: "llama-3*" });
  assert.deepEqual(sadFromModelField("org/model:7b,q4"), { model: "org/model:7b,q4" });
  assert.deepEqual(sadFromModelField("100%"), { model: "100%" });
  assert.deepEqual(sadFromModelField("*"), {});
  assert.deepEqual(sadFromModelField("ctx>=32k"), { contextMin: 32768 });
  assert.deepEqual(sadFromModelField("model=gpt-4o"), { model: "gpt-4o" });
  for (const text of ["", "cap=codegen", "temperature<1", "a*b", "m\n", "x".repeat(50_000_000)]) {
    assert.equal(codeOf(() => sadFromModelField(text)), "SAD_SYNTAX", text.slice(0, 20));
  }
});

Deno.test("NR-S-001: capability words and bits are each other's inverse", () => {
  for (let bits = 0; bits < 2 ** CAPABILITIES.length; bits++) {
    assert.equal(parseCapabilities(formatCapabilities(bits)), bits);
  }
  assert.equal(codeOf(() => parseCapabilities("code_gen+")), "UNKNOWN_CAPABILITY");
});
