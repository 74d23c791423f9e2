import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, NexusError, toHex, utf8 } from "../../lib/base/mod.ts";
import {
  createCsr,
  decodeMic,
  encodeMic,
  issueMic,
  type MicClaims,
  type MicExtensions,
  nodeIdOf,
  selfSignedMic,
  SIGN_CONTEXT,
  verifyCsr,
  verifySignature,
} from "../../lib/l4_trust/mod.ts";
import { ENGINE, identityOf, throwsCode, UNIX_S } from "./support.ts";

const ISSUER = identityOf(0x31);
const SUBJECT = identityOf(0x32);

function mic(claims: MicClaims = {}, extensions: MicExtensions = {}): Uint8Array {
  const { nodeId, publicKey } = SUBJECT;
  const content = { nodeId, publicKey, notBefore: 1, notAfter: 2, claims, extensions };
  return issueMic(content, ISSUER, ENGINE);
}

const ALL_CLAIMS: MicClaims = {
  architectureHash: new Uint8Array(32).fill(1),
  parameterCount: 7_000_000_000_000,
  trainingDataHash: new Uint8Array(32).fill(2),
  capabilities: 0xffffffff,
  contextWindow: 131_072,
  benchmarks: [{ name: "mmlu", scoreMilli: 851 }, { name: "swe", scoreMilli: 512 }],
  publisher: { organisation: "Example", contact: "a@example.org", site: "https://example.org" },
  regions: [276, 250],
  modelNames: ["zeta", "alpha", "Größe"],
  custom: [Uint8Array.of(9), Uint8Array.of()],
};

const text = (max: number, min = 0) =>
  fc.string({ maxLength: max, unit: "grapheme" }).filter((s) => {
    const { length } = utf8(s);
    return s.isWellFormed() && length >= min && length <= max;
  });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const unique = { selector: (value: unknown) => JSON.stringify(value) };
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
export const claimsArbitrary: fc.Arbitrary<MicClaims> = fc.record({
  architectureHash: hash,
  parameterCount: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  trainingDataHash: hash,
  capabilities: u32,
  contextWindow: u32,
  benchmarks: fc.uniqueArray(fc.record({ name: text(40, 1), scoreMilli: u32 }), {
    ...unique,
    minLength: 1,
    maxLength: 3,
  }),
  publisher: fc.record({ organisation: text(60), contact: text(60), site: text(60) }),
  regions: fc.uniqueArray(fc.nat(0xffff), { minLength: 1, maxLength: 5 }),
  modelNames: fc.uniqueArray(text(128, 1), { minLength: 1, maxLength: 4 }),
  custom: fc.uniqueArray(fc.uint8Array({ maxLength: 40 }), {
    minLength: 1,
    maxLength: 3,
    selector: toHex,
  }),
}, { requiredKeys: [] });
export const extensionsArbitrary: fc.Arbitrary<MicExtensions> = fc.record({
  tenant: u32,
  basicConstraints: fc.record({ isCa: fc.boolean(), pathLength: fc.nat(255) }),
  capabilityConstraint: u32,
  role: fc.constantFrom("node", "client"),
  others: fc.uniqueArray(
    fc.record({ id: fc.integer({ min: 0x80, max: 0xff }), value: fc.uint8Array() }),
    { minLength: 1, maxLength: 2, selector: (item) => item.id },
  ),
}, { requiredKeys: [] });

Deno.test("NT-MIC-001: a certificate gives back every claim it was issued with", () => {
  const { claims } = decodeMic(mic(ALL_CLAIMS), ENGINE);
  assert.deepEqual(
    {
      ...claims,
      benchmarks: claims.benchmarks?.toSorted((a, b) => a.name < b.name ? -1 : 1),
      modelNames: claims.modelNames?.toSorted(),
    },
    {
      ...ALL_CLAIMS,
      regions: [250, 276],
      modelNames: ["Größe", "alpha", "zeta"],
      custom: [Uint8Array.of(), Uint8Array.of(9)],
    },
  );
});

Deno.test("NT-MIC-001: decoding and encoding again gives the same bytes, for any content", () => {
  fc.assert(
    fc.property(claimsArbitrary, extensionsArbitrary, (claims, extensions) => {
      const bytes = mic(claims, extensions);
      assert.equal(toHex(encodeMic(decodeMic(bytes, ENGINE), ENGINE)), toHex(bytes));
    }),
    { numRuns: 100 },
  );
});

Deno.test("NT-MIC-001: the order in which claims are given does not change the bytes", () => {
  const reversed: MicClaims = {
    ...ALL_CLAIMS,
    benchmarks: ALL_CLAIMS.benchmarks!.toReversed(),
    regions: ALL_CLAIMS.regions!.toReversed(),
    modelNames: ALL_CLAIMS.modelNames!.toReversed(),
    custom: ALL_CLAIMS.custom!.toReversed(),
  };
  assert.equal(toHex(mic(reversed)), toHex(mic(ALL_CLAIMS)));
});

Deno.test("NT-MIC-002: the signature covers every byte before it", () => {
  const bytes = mic(ALL_CLAIMS, { tenant: 1 });
  const signatureAt = bytes.length - 64;
  const signature = bytes.subarray(signatureAt);
  for (let at = 0; at < signatureAt; at++) {
    const content = bytes.slice(0, signatureAt);
    content[at] ^= 1;
    assert(!verifySignature(ENGINE, ISSUER.publicKey, SIGN_CONTEXT.mic, content, signature));
  }
  assert(
    verifySignature(
      ENGINE,
      ISSUER.publicKey,
      SIGN_CONTEXT.mic,
      bytes.subarray(0, signatureAt),
      signature,
    ),
  );
});

Deno.test("NT-MIC-002: a signature of one context is none of another", () => {
  const content = utf8("content");
  const signature = SUBJECT.sign(SIGN_CONTEXT.csr, content);
  for (const context of Object.values(SIGN_CONTEXT)) {
    const valid = verifySignature(ENGINE, SUBJECT.publicKey, context, content, signature);
    assert.equal(valid, context === SIGN_CONTEXT.csr, context);
  }
});

Deno.test("NT-MIC-003: the serial is the hash of the content without it", () => {
  const bytes = mic(ALL_CLAIMS);
  const unsigned = concat(bytes.subarray(0, 5), bytes.subarray(37, bytes.length - 64));
  assert.equal(toHex(decodeMic(bytes, ENGINE).serial), toHex(ENGINE.sha256(unsigned)));
  const otherSerial = bytes.slice();
  otherSerial[5] ^= 1;
  throwsCode(() => decodeMic(otherSerial, ENGINE), "MALFORMED");
});

/** A certificate of given raw items, well-formed otherwise. */
function rawMic(claims: [number, number[]][], extensions: [number, number[]][] = []): Uint8Array {
  const items = (list: [number, number[]][]) =>
    concat(
      Uint8Array.of(0, list.length),
      ...list.map(([id, value]) => Uint8Array.of(id, 0, value.length, ...value)),
    );
  const template = mic();
  const head = template.subarray(0, 5);
  const tail = concat(
    template.subarray(37, 5 + 32 + 16 + 32 + 16 + 16),
    items(claims),
    items(extensions),
    Uint8Array.of(0),
  );
  return concat(head, ENGINE.sha256(concat(head, tail)), tail, new Uint8Array(64));
}

Deno.test("NT-MIC-001: a certificate with raw items in canonical order is read", () => {
  assert.equal(
    decodeMic(rawMic([[4, [0, 0, 0, 1]], [0x0b, [0x61]], [0x0b, [0x62]]]), ENGINE)
      .claims.modelNames?.length,
    2,
  );
});

Deno.test("NT-MIC-001: anything but the one encoding is refused", async (t) => {
  const refused: [string, [number, number[]][], [number, number[]][]?][] = [
    ["claims out of order", [[5, [0, 0, 0, 1]], [4, [0, 0, 0, 1]]]],
    ["values out of order", [[0x0b, [0x62]], [0x0b, [0x61]]]],
    ["an exact duplicate", [[0x0b, [0x61]], [0x0b, [0x61]]]],
    ["a repeated single claim", [[4, [0, 0, 0, 1]], [4, [0, 0, 0, 2]]]],
    ["a spare byte in a claim", [[4, [0, 0, 0, 1, 0]]]],
    ["a short claim", [[4, [0, 0, 1]]]],
    ["an empty region list", [[0x0a, []]]],
    ["regions out of order", [[0x0a, [0, 2, 0, 1]]]],
    ["a repeated region", [[0x0a, [0, 1, 0, 1]]]],
    ["an empty model name", [[0x0b, []]]],
    ["a model name of 129 bytes", [[0x0b, new Array(129).fill(0x61)]]],
    ["a model name that is not UTF-8", [[0x0b, [0xc0, 0x80]]]],
    ["a parameter count of 2^53", [[2, [0, 0x20, 0, 0, 0, 0, 0, 0]]]],
    ["a reserved claim", [[7, [1]]]],
    ["an unknown claim", [[0x40, [1]]]],
    ["extensions out of order", [], [[3, [0, 0, 0, 1]], [1, [0, 0, 0, 1]]]],
    ["a repeated extension", [], [[1, [0, 0, 0, 1]], [1, [0, 0, 0, 2]]]],
    ["is_ca of 2", [], [[2, [2, 0]]]],
    ["a role of 3", [], [[7, [3]]]],
  ];
  for (const [name, claims, extensions] of refused) {
    await t.step(name, () => {
      throwsCode(() => decodeMic(rawMic(claims, extensions), ENGINE), "MALFORMED");
    });
  }
});

Deno.test("NT-MIC-001: a byte order mark in a name survives", () => {
  const { claims } = decodeMic(rawMic([[0x0b, [0xef, 0xbb, 0xbf, 0x61]]]), ENGINE);
  assert.deepEqual(claims.modelNames, ["\uFEFFa"]);
});

Deno.test("NT-MIC-001: unknown extensions are ignored from 0x80 on and refused below", () => {
  const { extensions } = decodeMic(rawMic([], [[0x80, [1, 2]]]), ENGINE);
  assert.deepEqual(extensions.others, [{ id: 0x80, value: Uint8Array.of(1, 2) }]);
  throwsCode(() => decodeMic(rawMic([], [[0x04, [1]]]), ENGINE), "UNSUPPORTED_EXTENSION");
});

Deno.test("NT-MIC-001: spare bytes, cuts and over-long certificates are refused", () => {
  const bytes = mic(ALL_CLAIMS);
  throwsCode(() => decodeMic(concat(bytes, Uint8Array.of(0)), ENGINE), "MALFORMED");
  for (let length = 0; length < bytes.length; length++) {
    throwsCode(() => decodeMic(bytes.subarray(0, length), ENGINE), "MALFORMED");
  }
  throwsCode(() => decodeMic(new Uint8Array(8_193), ENGINE), "MALFORMED");
  for (const length of [8_004, 8_200, 70_000]) {
    throwsCode(() => mic({ custom: [new Uint8Array(length)] }), "TOO_LARGE");
  }
  decodeMic(mic({ custom: [new Uint8Array(8_003)] }), ENGINE);
});

Deno.test("NT-MIC-001: claims out of their range cannot be issued", async (t) => {
  const wrong: [string, MicClaims][] = [
    ["capabilities above u32", { capabilities: 2 ** 32 }],
    ["a negative context window", { contextWindow: -1 }],
    ["a fraction", { contextWindow: 1.5 }],
    ["a parameter count of 2^53", { parameterCount: 2 ** 53 }],
    ["a hash of 31 bytes", { architectureHash: new Uint8Array(31) }],
    ["an empty model name", { modelNames: [""] }],
    ["a model name of 129 bytes", { modelNames: ["a".repeat(129)] }],
    ["the same model name twice", { modelNames: ["a", "a"] }],
    ["a lone surrogate", { modelNames: ["\ud800"] }],
    ["no region", { regions: [] }],
    ["a region above u16", { regions: [65_536] }],
  ];
  for (const [name, claims] of wrong) {
    await t.step(name, () => throwsCode(() => mic(claims), "CLAIM_INVALID"));
  }
});

Deno.test("NT-MIC-001: mutated certificates and requests give typed errors or decode canonically", () => {
  const seeds = [mic(ALL_CLAIMS, { tenant: 1, role: "node" }), createCsr(SUBJECT, ALL_CLAIMS)];
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(2_000), fc.nat(255)), { maxLength: 4 }),
      fc.nat(2_000),
      (seed, edits, cut) => {
        const bytes = seed.slice(0, cut % 3 === 0 ? cut % seed.length : seed.length);
        for (const [at, value] of edits) if (bytes.length > 0) bytes[at % bytes.length] = value;
        onlyTyped(() => {
          const decoded = decodeMic(bytes, ENGINE);
          assert.equal(toHex(encodeMic(decoded, ENGINE)), toHex(bytes));
        });
        onlyTyped(() => verifyCsr(bytes, ENGINE));
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("NT-MIC-001: random bytes give typed errors", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
      onlyTyped(() => decodeMic(concat(utf8("MIC"), Uint8Array.of(0, 1), noise), ENGINE));
      onlyTyped(() => verifyCsr(concat(utf8("CSR"), Uint8Array.of(0, 1), noise), ENGINE));
    }),
    { numRuns: 300 },
  );
});

Deno.test("NT-CA-001: a request gives back what was asked and proves the key", () => {
  const csr = verifyCsr(createCsr(SUBJECT, ALL_CLAIMS, { role: "node" }), ENGINE);
  assert.equal(toHex(csr.publicKey), toHex(SUBJECT.publicKey));
  assert.equal(toHex(csr.nodeId), toHex(nodeIdOf(SUBJECT.publicKey, ENGINE)));
  assert.equal(csr.claims.contextWindow, 131_072);
  assert.equal(csr.extensions.role, "node");
});

Deno.test("NT-CA-001: a request with any bit changed is refused", () => {
  const csr = createCsr(SUBJECT, { capabilities: 3 });
  for (let at = 0; at < csr.length; at++) {
    const changed = csr.slice();
    changed[at] ^= 0x20;
    assert.throws(() => verifyCsr(changed, ENGINE), NexusError, `byte ${at}`);
  }
});

Deno.test("NT-MIC-001: a self-signed certificate is issued by its own subject", () => {
  const own = decodeMic(selfSignedMic(SUBJECT, { unixS: UNIX_S, lifeS: 60 }, ENGINE), ENGINE);
  assert.equal(toHex(own.issuerNodeId), toHex(own.nodeId));
  assert.deepEqual([own.notBefore, own.notAfter], [UNIX_S - 300, UNIX_S + 60]);
});

Deno.test("NT-MIC-001: a wiped identity signs nothing and shows no seed", () => {
  const identity = identityOf(0x33);
  identity.wipe();
  throwsCode(() => identity.sign(SIGN_CONTEXT.csr, utf8("x")), "KEY_WIPED");
  throwsCode(() => identity.seed, "KEY_WIPED");
});

function onlyTyped(run: () => void): void {
  try {
    run();
  } catch (thrown) {
    assert(thrown instanceof NexusError, `not a NexusError: ${thrown}`);
  }
}
