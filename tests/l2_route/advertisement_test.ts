import assert from "node:assert/strict";
import fc from "fast-check";
import { ed25519 } from "@noble/curves/ed25519.js";
import { concat, fromHex, NexusError, toHex, utf8 } from "../../lib/base/mod.ts";
import {
  ADVERT_CONTEXT,
  type AdvertContent,
  advertEntries,
  type AdvertModel,
  decodeAdvertisement,
  encodeAdvertisement,
  verifyAdvertisement,
} from "../../lib/l2_route/mod.ts";
import {
  advertModel,
  arbitraryMutation,
  arbitraryName,
  codeOf,
  TestNode,
  TestVerifier,
  vectors,
} from "./helpers.ts";

const NODE = new TestNode(1);
const NOW_S = 1_700_000_000;

function content(changes: Partial<AdvertContent> = {}): AdvertContent {
  return {
    nodeId: NODE.nodeId,
    sequence: 1,
    issuedS: NOW_S,
    ttlS: 300,
    endpoints: ["10.0.0.1:6477"],
    region: 276,
    models: [advertModel("m")],
    ...changes,
  };
}

function advert(changes: Partial<AdvertContent> = {}) {
  return decodeAdvertisement(encodeAdvertisement(content(changes), NODE.chain, NODE));
}

/** A signature that costs nothing, where nothing verifies it. */
const unsigned = { sign: () => new Uint8Array(64) };

const arbitraryContent: fc.Arbitrary<AdvertContent> = fc.record({
  nodeId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  sequence: fc.maxSafeNat(),
  issuedS: fc.maxSafeNat(),
  ttlS: fc.integer({ min: 1, max: 3600 }),
  endpoints: fc.array(fc.constantFrom("h:1", "[::1]:65535", "10.0.0.1:6477"), { maxLength: 8 }),
  region: fc.nat(0xffff),
  models: fc.uniqueArray(
    fc.record({
      name: arbitraryName,
      arch: fc.nat(0xffffffff),
      capabilities: fc.nat(0xffffffff),
      context: fc.nat(0xffffffff),
      latencyMs: fc.nat(0xffffffff),
      cost: fc.nat(0x7fffffff),
      per1k: fc.boolean(),
      trust: fc.nat(4),
      benchmark: fc.nat(0xffffffff),
      maxConcurrency: fc.nat(0xffff),
    }).chain((model) =>
      fc.constantFrom(model, { ...model, publisher: "ff".repeat(16) } as AdvertModel)
    ),
    { maxLength: 5, selector: (model) => model.name },
  ),
});

Deno.test("NR-G-002: every advertisement vector is decoded, verified and encoded", () => {
  const { seed, publicKey } = vectors.advertisementKey;
  const message = (bytes: Uint8Array) =>
    concat(utf8(ADVERT_CONTEXT), Uint8Array.of(0), bytes.subarray(0, bytes.length - 64));
  for (const vector of vectors.advertisements) {
    const bytes = fromHex(vector.hex);
    const decoded = decodeAdvertisement(bytes);
    assert.equal(toHex(decoded.nodeId), vector.nodeId);
    assert.deepEqual(
      [decoded.sequence, decoded.issuedS, decoded.ttlS, decoded.region],
      [vector.sequence, vector.issuedS, vector.ttlS, vector.region],
    );
    assert.deepEqual(decoded.endpoints, vector.endpoints);
    assert.deepEqual(decoded.models, vector.models);
    assert.equal(toHex(decoded.chain), vector.chain);
    assert.equal(toHex(decoded.signature), vector.signature);
    assert.ok(ed25519.verify(decoded.signature, message(bytes), fromHex(publicKey)));
    const signer = {
      sign: (context: string, signed: Uint8Array) =>
        ed25519.sign(concat(utf8(context), Uint8Array.of(0), signed), fromHex(seed)),
    };
    assert.equal(toHex(encodeAdvertisement(decoded, decoded.chain, signer)), vector.hex);
  }
});

Deno.test("NR-G-002: decoding what was encoded gives the same advertisement", () => {
  fc.assert(fc.property(arbitraryContent, (sent) => {
    const bytes = encodeAdvertisement(sent, NODE.chain, unsigned);
    const got = decodeAdvertisement(bytes);
    assert.deepEqual(got.models, sent.models.map((model) => ({ ...model })));
    assert.deepEqual(got.endpoints, sent.endpoints);
    assert.equal(toHex(got.nodeId), toHex(sent.nodeId));
    assert.deepEqual(
      [got.sequence, got.issuedS, got.ttlS, got.region],
      [sent.sequence, sent.issuedS, sent.ttlS, sent.region],
    );
  }));
});

Deno.test("NR-G-007: any bytes are an advertisement of one encoding or MALFORMED", () => {
  const valid = arbitraryContent.map((sent) => encodeAdvertisement(sent, NODE.chain, unsigned));
  const start = utf8("NXAD");
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => concat(start, Uint8Array.of(0, 1), bytes)),
    arbitraryMutation(valid),
  );
  let accepted = 0;
  fc.assert(
    fc.property(input, (bytes) => {
      try {
        const got = decodeAdvertisement(bytes);
        const signer = { sign: () => got.signature };
        assert.equal(toHex(encodeAdvertisement(got, got.chain, signer)), toHex(bytes));
        accepted++;
      } catch (error) {
        assert.ok(error instanceof NexusError && error.code === "MALFORMED", String(error));
      }
    }),
    { numRuns: 1500 },
  );
  assert.ok(accepted > 20, `only ${accepted} inputs were valid`);
});

Deno.test("NR-G-007: what must not be written is refused with its reason", () => {
  const wrong: Partial<AdvertContent>[] = [
    { nodeId: new Uint8Array(15) },
    { sequence: -1 },
    { sequence: 2 ** 53 },
    { ttlS: 0 },
    { ttlS: 3601 },
    { endpoints: Array(9).fill("h:1") },
    { endpoints: ["h"] },
    { endpoints: ["h:1\n"] },
    { endpoints: ["\x1bh:1"] },
    { endpoints: ["h".repeat(254) + ":1"] },
    { region: 65536 },
    { models: Array.from({ length: 257 }, (_, i) => advertModel(`m${i}`)) },
    { models: [advertModel("m"), advertModel("m")] },
    { models: [advertModel("m*")] },
    { models: [advertModel("")] },
    { models: [advertModel("m", { trust: 5 })] },
    { models: [advertModel("m", { publisher: "00" })] },
    { models: [advertModel("m", { latencyMs: 0.5 })] },
  ];
  for (const changes of wrong) {
    const code = codeOf(() => encodeAdvertisement(content(changes), NODE.chain, unsigned));
    assert.equal(code, "INVALID_ADVERTISEMENT", JSON.stringify(changes).slice(0, 80));
  }
});

Deno.test("NR-G-007: an advertisement of more than 65,535 bytes is not written", () => {
  const models = Array.from({ length: 256 }, (_, i) => advertModel(`${i}`.padEnd(128, "x")));
  const chain = concat(
    Uint8Array.of(3),
    ...Array(3).fill(concat(
      Uint8Array.of(0x20, 0),
      new Uint8Array(8192),
    )),
  );
  const code = codeOf(() => encodeAdvertisement(content({ models }), chain, unsigned));
  assert.equal(code, "TOO_LARGE");
  assert.ok(encodeAdvertisement(content({ models }), NODE.chain, unsigned).length < 65_535);
});

Deno.test("NR-G-002: a well-signed advertisement of a node is accepted until its TTL is over", () => {
  const verifier = new TestVerifier();
  verifyAdvertisement(advert(), verifier, NOW_S);
  verifyAdvertisement(advert(), verifier, NOW_S + 299.9);
  verifyAdvertisement(advert(), verifier, NOW_S - 300);
  const at = (unixS: number) => codeOf(() => verifyAdvertisement(advert(), verifier, unixS));
  assert.equal(at(NOW_S + 300), "ADVERT_EXPIRED");
  assert.equal(at(NOW_S - 300.1), "ADVERT_FUTURE");
  assert.equal(verifier.calls, 3);
});

Deno.test("NR-G-007: one changed bit anywhere is refused", () => {
  const { bytes } = advert();
  const verifier = new TestVerifier();
  for (let at = 0; at < bytes.length; at++) {
    const forged = bytes.slice();
    forged[at] ^= 1;
    const code = codeOf(() => verifyAdvertisement(decodeAdvertisement(forged), verifier, NOW_S));
    assert.ok(
      ["MALFORMED", "BAD_SIGNATURE", "ADVERT_FUTURE", "ADVERT_EXPIRED"].includes(code!),
      `byte ${at}: ${code}`,
    );
  }
});

Deno.test("NR-G-007: another node's certificate, a client's role and unclaimed capabilities are refused", () => {
  const verify = (subject: ConstructorParameters<typeof TestVerifier>[0], strict = false) =>
    codeOf(() =>
      verifyAdvertisement(advert(), new TestVerifier(subject), NOW_S, {
        claimedCapabilitiesOnly: strict,
      })
    );
  assert.equal(verify({ nodeId: new Uint8Array(16) }), "NODE_ID_MISMATCH");
  assert.equal(verify({ role: 2 }), "ROLE_REFUSED");
  assert.equal(verify({}, true), "CAPABILITY_NOT_CLAIMED");
  assert.equal(verify({ capabilities: 2 }, true), "CAPABILITY_NOT_CLAIMED");
  assert.equal(verify({ capabilities: 3 }, true), undefined);
  assert.equal(verify({}), undefined);
});

Deno.test("NR-G-002: entries take node, region and publisher from the advertisement", () => {
  const models = [advertModel("a"), advertModel("b", { publisher: "ab".repeat(16) })];
  const [a, b] = advertEntries(advert({ models }));
  assert.deepEqual([a.nodeId, a.region, a.publisher], [NODE.id, 276, NODE.id]);
  assert.equal(b.publisher, "ab".repeat(16));
});

Deno.test("NR-G-007: received models with one name, and fields out of range, are MALFORMED", () => {
  const models = [advertModel("aaaa"), advertModel("bbbb")];
  const { bytes } = advert({ models });
  const [a, b] = ["aaaa", "bbbb"].map((name) => toHex(bytes).indexOf(toHex(utf8(name))) / 2);
  const twice = bytes.slice();
  twice.set(utf8("aaaa"), b);
  const trust = bytes.slice();
  trust[a + 4 + 20] = 5;
  const star = bytes.slice();
  star.set(utf8("aaa*"), a);
  const ttl = bytes.slice();
  ttl.fill(0, 38, 42);
  const noChain = bytes.slice();
  noChain[bytes.length - 64 - NODE.chain.length] = 0;
  for (const wrong of [twice, trust, star, ttl, noChain, bytes.subarray(0, 100)]) {
    assert.equal(codeOf(() => decodeAdvertisement(wrong)), "MALFORMED");
  }
});
