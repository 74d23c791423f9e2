/** One suite over every crypto engine: Wycheproof, and the engines against each other. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../lib/base/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import {
  type CryptoEngine,
  hkdfExpand,
  hkdfExtract,
  nobleEngine,
  SUITE_AES_256_GCM,
  SUITE_CHACHA20_POLY1305,
} from "../../lib/l4_trust/mod.ts";
import { throwsCode } from "../l4_trust/support.ts";
import aesGcm from "../vectors/wycheproof/aes_gcm_test.json" with { type: "json" };
import chaCha from "../vectors/wycheproof/chacha20_poly1305_test.json" with { type: "json" };
import ed25519 from "../vectors/wycheproof/ed25519_test.json" with { type: "json" };
import hkdf from "../vectors/wycheproof/hkdf_sha256_test.json" with { type: "json" };
import hmac from "../vectors/wycheproof/hmac_sha256_test.json" with { type: "json" };
import x25519 from "../vectors/wycheproof/x25519_test.json" with { type: "json" };

const ENGINES: readonly CryptoEngine[] = [nobleEngine, nodeEngine];

for (const engine of ENGINES) {
  for (
    const [name, suite, vectors] of [
      ["AES-256-GCM", SUITE_AES_256_GCM, aesGcm],
      ["ChaCha20-Poly1305", SUITE_CHACHA20_POLY1305, chaCha],
    ] as const
  ) {
    Deno.test(`NT-ENC-001: ${engine.name} passes Wycheproof ${name}`, () => {
      let run = 0;
      for (const group of vectors.testGroups) {
        assert.deepEqual([group.keySize, group.ivSize, group.tagSize], [256, 96, 128]);
        for (const test of group.tests) {
          checkAead(engine, suite, test);
          run++;
        }
      }
      assert(run > 60, `${run} vectors`);
    });
  }

  Deno.test(`NT-HS-001: ${engine.name} passes Wycheproof Ed25519`, () => {
    let valid = 0;
    for (const group of ed25519.testGroups) {
      const publicKey = fromHex(group.publicKey.pk);
      for (const test of group.tests) {
        const accepted = engine.ed25519Verify(publicKey, fromHex(test.msg), fromHex(test.sig));
        assert.equal(accepted, test.result === "valid", `tcId ${test.tcId} ${test.comment}`);
        if (accepted) valid++;
      }
    }
    assert(valid > 50, `${valid} valid`);
  });

  Deno.test(`NT-HS-001: ${engine.name} passes Wycheproof X25519 and refuses zero results`, () => {
    let zero = 0;
    for (const test of x25519.testGroups.flatMap((group) => group.tests)) {
      const run = () => engine.x25519(fromHex(test.private), fromHex(test.public));
      if (/^0*$/.test(test.shared)) {
        throwsCode(run, "WEAK_KEY");
        zero++;
      } else {
        assert.equal(toHex(run()), test.shared, `tcId ${test.tcId} ${test.comment}`);
      }
    }
    assert(zero > 10, `${zero} zero results`);
  });

  Deno.test(`NT-HS-001: ${engine.name} passes Wycheproof HMAC-SHA256`, () => {
    for (const group of hmac.testGroups) {
      for (const test of group.tests) {
        const tag = engine.hmacSha256(fromHex(test.key), fromHex(test.msg));
        const cut = toHex(tag.subarray(0, group.tagSize / 8));
        assert.equal(cut === test.tag, test.result === "valid", `tcId ${test.tcId}`);
      }
    }
  });

  Deno.test(`NT-HS-001: ${engine.name} passes Wycheproof HKDF-SHA256`, () => {
    for (const test of hkdf.testGroups.flatMap((group) => group.tests)) {
      const prk = hkdfExtract(engine, fromHex(test.salt), fromHex(test.ikm));
      const run = () => hkdfExpand(engine, prk, fromHex(test.info), test.size);
      if (test.result === "valid") assert.equal(toHex(run()), test.okm, `tcId ${test.tcId}`);
      else throwsCode(run, "TOO_LARGE");
    }
  });

  Deno.test(`NT-ENC-001: ${engine.name} seals and opens in shared memory`, () => {
    for (const suite of [SUITE_AES_256_GCM, SUITE_CHACHA20_POLY1305]) {
      const bytes = new Uint8Array(new SharedArrayBuffer(4_096)).fill(5);
      const aead = engine.aead(suite, new Uint8Array(32).fill(1));
      const nonce = new Uint8Array(12).fill(2);
      const aad = new Uint8Array(68).fill(3);
      aead.seal(nonce, aad, bytes, 101, 1_400, 85);
      assert.notDeepEqual(bytes.slice(101, 117), new Uint8Array(16).fill(5));
      assert.equal(bytes[84], 5, "the byte before the tag is untouched");
      assert.equal(bytes[1_501], 5, "the byte after the payload is untouched");
      assert(aead.open(nonce, aad, bytes, 101, 1_400, 85));
      assert.deepEqual(bytes.slice(101, 1_501), new Uint8Array(1_400).fill(5));
    }
  });

  Deno.test(`NT-ENC-001: ${engine.name} opens nothing once the key array is zeroed`, () => {
    const key = new Uint8Array(32).fill(1);
    const aead = engine.aead(SUITE_AES_256_GCM, key);
    const bytes = new Uint8Array(64);
    aead.seal(new Uint8Array(12), new Uint8Array(0), bytes, 16, 48, 0);
    key.fill(0);
    assert(!aead.open(new Uint8Array(12), new Uint8Array(0), bytes, 16, 48, 0));
  });

  Deno.test(`NT-HS-001: ${engine.name} refuses signing keys of small order and unreduced ones`, () => {
    // RFC 8032: with A the neutral element, S = 0 and R = A every message would verify.
    const neutral = fromHex("01" + "00".repeat(31));
    const signature = fromHex("01" + "00".repeat(31) + "00".repeat(32));
    assert(!engine.ed25519Verify(neutral, new Uint8Array(3), signature));
    const unreduced = fromHex("ee" + "ff".repeat(30) + "7f");
    assert(!engine.ed25519Verify(unreduced, new Uint8Array(3), signature));
    for (const length of [0, 31, 33]) {
      assert(!engine.ed25519Verify(new Uint8Array(length), new Uint8Array(3), signature));
    }
  });

  Deno.test(`NT-ENC-001: ${engine.name} names an unknown suite`, () => {
    throwsCode(() => engine.aead(3, new Uint8Array(32)), "UNKNOWN_SUITE");
  });

  Deno.test(`NT-HS-001: ${engine.name} refuses X25519 keys of another length`, () => {
    throwsCode(() => engine.x25519(new Uint8Array(32).fill(1), new Uint8Array(31)), "WEAK_KEY");
    throwsCode(() => engine.x25519(new Uint8Array(31), new Uint8Array(32).fill(9)), "WEAK_KEY");
  });
}

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

Deno.test("NT-HS-001: the engines give the same keys, signatures, secrets and hashes", () => {
  fc.assert(
    fc.property(bytes32, bytes32, fc.uint8Array({ maxLength: 300 }), (a, b, message) => {
      const same = (run: (engine: CryptoEngine) => Uint8Array) =>
        assert.equal(toHex(run(nobleEngine)), toHex(run(nodeEngine)));
      same((engine) => engine.sha256(message));
      same((engine) => engine.hmacSha256(a, message));
      same((engine) => engine.ed25519PublicKey(a));
      same((engine) => engine.ed25519Sign(a, message));
      same((engine) => engine.x25519PublicKey(a));
      same((engine) => engine.x25519(a, nobleEngine.x25519PublicKey(b)));
      const signature = nodeEngine.ed25519Sign(a, message);
      const publicKey = nodeEngine.ed25519PublicKey(a);
      for (const engine of ENGINES) {
        assert(engine.ed25519Verify(publicKey, message, signature));
        assert(!engine.ed25519Verify(publicKey, message, a));
        signature[message.length % 64] ^= 4;
        assert(!engine.ed25519Verify(publicKey, message, signature));
        signature[message.length % 64] ^= 4;
      }
    }),
    { numRuns: 20 },
  );
});

Deno.test("NT-ENC-001: what one engine seals, the other opens; both refuse the same bit flips", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(SUITE_AES_256_GCM, SUITE_CHACHA20_POLY1305),
      bytes32,
      fc.uint8Array({ maxLength: 100 }),
      fc.uint8Array({ maxLength: 1_500 }),
      fc.nat(7),
      (suite, key, aad, payload, misalign) => {
        const nonce = key.slice(3, 15);
        const sealed = ENGINES.map((engine) => {
          const bytes = new Uint8Array(misalign + 16 + payload.length);
          bytes.set(payload, misalign + 16);
          engine.aead(suite, key).seal(
            nonce,
            aad,
            bytes,
            misalign + 16,
            payload.length,
            misalign,
          );
          return bytes;
        });
        assert.equal(toHex(sealed[0]), toHex(sealed[1]));
        const flip = (key[0] << 8 | key[1]) % (16 + payload.length) + misalign;
        for (const engine of ENGINES) {
          const bytes = sealed[0].slice();
          bytes[flip] ^= 0x10;
          const damaged = bytes.slice();
          const open = () =>
            engine.aead(suite, key).open(
              nonce,
              aad,
              bytes,
              misalign + 16,
              payload.length,
              misalign,
            );
          assert(!open());
          assert.deepEqual(bytes, damaged, "a refused record is left as it was");
          bytes[flip] ^= 0x10;
          assert(open());
          assert.equal(toHex(bytes.subarray(misalign + 16)), toHex(payload));
        }
      },
    ),
    { numRuns: 60 },
  );
});

interface AeadVector {
  readonly tcId: number;
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
  readonly result: string;
}

/** The box lies as in a frame: tag first, then the payload. */
function checkAead(engine: CryptoEngine, suite: number, test: AeadVector): void {
  const aead = engine.aead(suite, fromHex(test.key));
  const [nonce, aad, message] = [fromHex(test.iv), fromHex(test.aad), fromHex(test.msg)];
  const box = fromHex(test.tag + test.ct);
  const length = box.length - 16;
  const opened = aead.open(nonce, aad, box, 16, length, 0);
  assert.equal(opened, test.result === "valid", `tcId ${test.tcId}`);
  if (!opened) return;
  assert.equal(toHex(box.subarray(16)), test.msg, `tcId ${test.tcId}`);
  const sealed = new Uint8Array(16 + message.length);
  sealed.set(message, 16);
  aead.seal(nonce, aad, sealed, 16, message.length, 0);
  assert.equal(toHex(sealed), test.tag + test.ct, `tcId ${test.tcId}`);
}
