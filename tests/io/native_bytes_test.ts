/** The native byte helpers against their portable twins and public vectors. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex } from "../../lib/base/mod.ts";
import { Burst, crc32c, Flag, Pool } from "../../lib/l1_link/mod.ts";
import { bestFrameCrc, nativeFrameCrc, portableFrameCrc } from "../../lib/io/frame_crc.ts";
import {
  type AeadLibrary,
  DESCRIPTOR_OPEN_BAD,
  NativeAead,
  nativeAeadLibraries,
  nativeBurstSeal,
  portableBurstSeal,
} from "../../lib/io/native_aead.ts";
import { nativeErasureCodec } from "../../lib/io/native_reed_solomon.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { nobleEngine, SUITE_AES_256_GCM, SUITE_CHACHA20_POLY1305 } from "../../lib/l4_trust/mod.ts";
import { NATIVE_EVP, NATIVE_IMB, NATIVE_ISAL, NATIVE_LIBRARY } from "../support/native.ts";
import { testNeeding } from "../support/needs.ts";
import { erasureCodecSuite } from "../l3_stream/erasure_codec_suite.ts";
import aesGcm from "../vectors/wycheproof/aes_gcm_test.json" with { type: "json" };
import chaCha from "../vectors/wycheproof/chacha20_poly1305_test.json" with { type: "json" };

const RUNS = 200;
const bytesOf = (max: number) => fc.uint8Array({ minLength: 0, maxLength: max });

testNeeding([NATIVE_ISAL], "NL-F-002: native CRC-32C is the portable one, in pieces too", () => {
  const native = nativeFrameCrc()!;
  const check = new TextEncoder().encode("123456789");
  assert.equal(native.crc32c(check, 0, 9), 0xe3069283);
  fc.assert(
    fc.property(bytesOf(3000), fc.nat(), fc.nat(), (bytes, a, b) => {
      const [from, to] = [a % (bytes.length + 1), b % (bytes.length + 1)].sort((x, y) => x - y);
      const whole = crc32c(bytes, 0, to);
      assert.equal(native.crc32c(bytes, 0, to), whole);
      assert.equal(native.crc32c(bytes, from, to, native.crc32c(bytes, 0, from)), whole);
    }),
    { numRuns: RUNS },
  );
  assert.equal(bestFrameCrc().name, "ISA-L");
});

/** Random bytes that often are a frame: lengths that fit, options that parse or do not. */
const frameBytes = fc.record({
  header: fc.uint8Array({ minLength: 64, maxLength: 64 }),
  options: fc.array(
    fc.record({
      type: fc.oneof(fc.constantFrom(0, 3, 5, 6, 7, 0x86), fc.nat(255)),
      value: fc.oneof(bytesOf(20), fc.uint8Array({ minLength: 1, maxLength: 1 })),
    }),
    { maxLength: 5 },
  ),
  rest: fc.uint8Array({ minLength: 4, maxLength: 400 }),
  lengthOff: fc.constantFrom(0, 0, 0, 0, 1),
  optionsOff: fc.constantFrom(0, 0, 0, 0, 1, -1, 60_000),
}).map(({ header, options, rest, lengthOff, optionsOff }) => {
  const area = options.flatMap(({ type, value }) => [type, value.length, ...value]);
  const frame = Uint8Array.from([...header, ...area, ...rest]);
  const view = new DataView(frame.buffer);
  view.setUint32(4, frame.length + lengthOff);
  view.setUint16(54, area.length + optionsOff);
  return frame;
});

testNeeding([NATIVE_ISAL], "NL-F-002: native and portable CRC of any frame agree", () => {
  const native = nativeFrameCrc()!;
  fc.assert(
    fc.property(fc.array(frameBytes, { minLength: 1, maxLength: 8 }), (frames) => {
      const [a, b] = [burstOf(frames), burstOf(frames)];
      const count = frames.length;
      assert.equal(
        native.write(a.pool.bytes, a.burst, 0, count),
        portableFrameCrc.write(b.pool.bytes, b.burst, 0, count),
      );
      assert.deepEqual(a.pool.bytes, b.pool.bytes);
      assert.deepEqual(a.burst.flags, b.burst.flags);
      // One bit of each frame turns: both see the same ones as wrong.
      for (let i = 0; i < count; i++) {
        const at = a.burst.offset[i] + (i * 37) % a.burst.length[i];
        a.pool.bytes[at] ^= 4;
        b.pool.bytes[at] ^= 4;
      }
      assert.equal(
        native.check(a.pool.bytes, a.burst, 0, count),
        portableFrameCrc.check(b.pool.bytes, b.burst, 0, count),
      );
      assert.deepEqual(a.burst.flags, b.burst.flags);
    }),
    { numRuns: RUNS },
  );
});

testNeeding(
  [NATIVE_ISAL],
  "NL-F-002: a burst helper refuses ranges and frames outside memory",
  () => {
    const native = nativeFrameCrc()!;
    const { pool, burst } = burstOf([new Uint8Array(100)]);
    assert.equal(native.check(pool.bytes, burst, 60, 5), -1);
    burst.offset[0] = 0xffff_ffff;
    assert.equal(native.check(pool.bytes, burst, 0, 1), 0);
    burst.offset[0] = pool.bytes.length - 50;
    assert.equal(native.check(pool.bytes, burst, 0, 1), 0);
  },
);

interface Vector {
  readonly tcId: number;
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
  readonly result: string;
}
interface VectorGroup {
  readonly keySize: number;
  readonly ivSize: number;
  readonly tagSize: number;
  readonly tests: Vector[];
}

const libraries: [AeadLibrary, typeof NATIVE_IMB][] = [
  ["intel-ipsec-mb", NATIVE_IMB],
  ["libcrypto", NATIVE_EVP],
];
const suites: [string, number, VectorGroup[]][] = [
  ["AES-256-GCM", SUITE_AES_256_GCM, aesGcm.testGroups as VectorGroup[]],
  ["ChaCha20-Poly1305", SUITE_CHACHA20_POLY1305, chaCha.testGroups as VectorGroup[]],
];

for (const [library, need] of libraries) {
  for (const [name, suite, groups] of suites) {
    testNeeding([need], `NT-ENC-001: ${name} by ${library} passes the Wycheproof vectors`, () => {
      assert(nativeAeadLibraries().includes(library as "libcrypto"));
      let tried = 0;
      for (const { keySize, ivSize, tagSize, tests } of groups) {
        if (keySize !== 256 || ivSize !== 96 || tagSize !== 128) continue;
        for (const test of tests) {
          checkVector(new NativeAead(suite, fromHex(test.key), library), test);
          tried++;
        }
      }
      assert(tried > 50, `only ${tried} vectors`);
    });

    testNeeding([need], `NT-ENC-001: ${name} by ${library} equals node:crypto and noble`, () => {
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: 32, maxLength: 32 }),
          fc.uint8Array({ minLength: 12, maxLength: 12 }),
          bytesOf(330),
          bytesOf(2000),
          (key, nonce, aad, text) => {
            const native = new NativeAead(suite, key, library);
            const expected = sealed(nodeEngine.aead(suite, key), nonce, aad, text);
            assert.deepEqual(sealed(native, nonce, aad, text), expected);
            assert.deepEqual(sealed(nobleEngine.aead(suite, key), nonce, aad, text), expected);
            assert(native.open(nonce, aad, expected, 16, text.length, 0));
            assert.deepEqual(expected.subarray(16), text);
            native.close();
          },
        ),
        { numRuns: 40 },
      );
    });

    testNeeding(
      [need],
      `NT-ENC-001: bursts sealed by ${library} with ${name} equal the portable ones`,
      () => {
        fc.assert(
          fc.property(
            fc.array(sealableFrame, { minLength: 1, maxLength: 6 }),
            fc.uint8Array({ minLength: 44, maxLength: 44 }),
            fc.nat(0xff_ffff),
            fc.array(fc.nat(0xffff_ffff), { minLength: 12, maxLength: 12 }),
            (frames, secret, vni, words) => {
              const numbers = Uint32Array.from(words);
              const traffic = { suite, key: secret.slice(0, 32), iv: secret.slice(32), vni };
              const native = nativeBurstSeal(traffic, library);
              const portable = portableBurstSeal(nodeEngine, traffic);
              const [a, b] = [burstOf(frames), burstOf(frames)];
              const count = frames.length;
              assert.equal(
                native.seal(a.pool.bytes, a.burst, 0, count, numbers),
                portable.seal(b.pool.bytes, b.burst, 0, count, numbers),
              );
              assert.deepEqual(a.pool.bytes, b.pool.bytes);
              assert.equal(portableFrameCrc.check(a.pool.bytes, a.burst, 0, count), count);

              // The first frame is forged: both leave it as it is and open the others.
              a.pool.bytes[a.burst.offset[0] + a.burst.length[0] - 5] ^= 1;
              b.pool.bytes[b.burst.offset[0] + b.burst.length[0] - 5] ^= 1;
              const forged = a.pool.bytes.slice(0, 2048);
              assert.equal(native.open(a.pool.bytes, a.burst, 0, count, numbers), count - 1);
              assert.equal(portable.open(b.pool.bytes, b.burst, 0, count, numbers), count - 1);
              assert.equal(a.burst.flags[0], DESCRIPTOR_OPEN_BAD);
              assert.deepEqual(a.burst.flags, b.burst.flags);
              assert.deepEqual(a.pool.bytes, b.pool.bytes);
              assert.deepEqual(a.pool.bytes.slice(0, 2048), forged);
              native.close();
              portable.close();
            },
          ),
          { numRuns: 40 },
        );
      },
    );
  }
}

testNeeding([NATIVE_LIBRARY], "NT-ENC-001: native keys refuse what they cannot use", () => {
  if (nativeAeadLibraries().length === 0) return;
  assert.throws(() => new NativeAead(3, new Uint8Array(32)), { code: "UNKNOWN_SUITE" });
  assert.throws(() => new NativeAead(1, new Uint8Array(31)), { code: "INVALID_KEY" });
  const aead = new NativeAead(1, new Uint8Array(32));
  const bytes = new Uint8Array(64);
  const nonce = new Uint8Array(12);
  const wrong: [number, number, number][] = [[0, 65, 0], [60, 5, 0], [0, 8, 50], [-1, 8, 8]];
  for (const [from, length, tagAt] of wrong) {
    assert.throws(() => aead.seal(nonce, nonce, bytes, from, length, tagAt), {
      code: "INVALID_RANGE",
    });
  }
  aead.close();
  aead.close();
  assert.throws(() => aead.seal(nonce, nonce, bytes, 0, 8, 48), { code: "SEAL_FAILED" });
});

testNeeding(
  [NATIVE_LIBRARY],
  "NT-ENC-001: frames that are not sealable are marked, not touched",
  () => {
    if (nativeAeadLibraries().length === 0) return;
    fc.assert(
      fc.property(fc.array(frameBytes, { minLength: 1, maxLength: 8 }), (frames) => {
        const traffic = { suite: 2, key: new Uint8Array(32), iv: new Uint8Array(12), vni: 1 };
        const native = nativeBurstSeal(traffic);
        const portable = portableBurstSeal(nodeEngine, traffic);
        const [a, b] = [burstOf(frames), burstOf(frames)];
        const numbers = new Uint32Array(2 * frames.length);
        assert.equal(
          native.open(a.pool.bytes, a.burst, 0, frames.length, numbers),
          portable.open(b.pool.bytes, b.burst, 0, frames.length, numbers),
        );
        assert.deepEqual(a.burst.flags, b.burst.flags);
        assert.deepEqual(a.pool.bytes, b.pool.bytes);
        assert.equal(native.open(a.pool.bytes, a.burst, 0, frames.length, new Uint32Array(1)), -1);
        native.close();
      }),
      { numRuns: RUNS },
    );
  },
);

erasureCodecSuite(
  "native",
  (name, run) => testNeeding([NATIVE_ISAL], name, run),
  () => nativeErasureCodec()!,
);

/** Data frames as they are before sealing: any options, then ENCRYPTION_TAG. */
const sealableFrame = fc.record({
  header: fc.uint8Array({ minLength: 64, maxLength: 64 }),
  options: fc.constantFrom([], [0, 3, 0, 0, 0], [6, 1, 9], [5, 16, ...new Array(16).fill(7)]),
  payload: fc.uint8Array({ minLength: 1, maxLength: 1200 }),
}).map(({ header, options, payload }) => {
  const area = [...options, 3, 16, ...new Array(16).fill(0)];
  const frame = Uint8Array.from([...header, ...area, ...payload, 0, 0, 0, 0]);
  const view = new DataView(frame.buffer);
  view.setUint32(0, (1 << 28) | (Flag.ENCRYPTED << 20) | (1 << 4));
  view.setUint32(4, frame.length);
  view.setUint16(54, area.length);
  return frame;
});

function burstOf(frames: readonly Uint8Array[]): { pool: Pool; burst: Burst } {
  const pool = new Pool({ slots: frames.length });
  const burst = new Burst();
  for (const frame of frames) {
    const slot = pool.alloc();
    pool.bytes.set(frame, pool.frameOffsetOf(slot));
    burst.push(slot, pool.frameOffsetOf(slot), frame.length, 0, 0);
  }
  return { pool, burst };
}

/** Tag in front of the text, to show that the places are honoured. */
function sealed(
  aead: { seal: NativeAead["seal"] },
  nonce: Uint8Array,
  aad: Uint8Array,
  text: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(16 + text.length);
  bytes.set(text, 16);
  aead.seal(nonce, aad, bytes, 16, text.length, 0);
  return bytes;
}

function checkVector(aead: NativeAead, test: Vector): void {
  const [iv, aad, text] = [fromHex(test.iv), fromHex(test.aad), fromHex(test.msg)];
  const wire = new Uint8Array(text.length + 16);
  wire.set(fromHex(test.ct));
  wire.set(fromHex(test.tag), text.length);
  if (test.result === "valid") {
    const made = new Uint8Array(wire.length);
    made.set(text);
    aead.seal(iv, aad, made, 0, text.length, text.length);
    assert.deepEqual(made, wire, `test ${test.tcId}`);
  }
  const before = wire.slice();
  const opened = aead.open(iv, aad, wire, 0, text.length, text.length);
  assert.equal(opened, test.result === "valid", `test ${test.tcId}`);
  assert.deepEqual(wire.subarray(0, text.length), opened ? text : before.subarray(0, text.length));
  aead.close();
}
