import assert from "node:assert/strict";
import fc from "fast-check";
import {
  buildFrame,
  decodeFrame,
  encodeHeader,
  finishFrame,
  Flag,
  FrameError,
  frameError,
  FrameInfo,
  FrameType,
  HeaderFields,
  OptionType,
  Pool,
  putEncryptionTag,
  readOptions,
  SEALED_OVERHEAD,
  SEALED_PAYLOAD_OFFSET,
  SEALED_TAG_OFFSET,
} from "../../lib/l1_link/mod.ts";
import { damage, decode, frameParts, nameOf, OFFSET, refreshCrc, sealedFrame } from "./support.ts";

Deno.test("NL-F-001: decode(encode(x)) gives back every header field, option and byte", () => {
  fc.assert(fc.property(frameParts, ({ fields, options, payload }) => {
    const { error, info, bytes, view } = decode(buildFrame(fields, options, payload));
    assert.equal(nameOf(error), "OK");
    const { source, dest, ...numbers } = fields;
    for (const [name, value] of Object.entries(numbers)) {
      assert.equal(info[name as keyof FrameInfo], value, name);
    }
    assert.deepEqual(bytes.slice(OFFSET + 16, OFFSET + 32), source);
    assert.deepEqual(bytes.slice(OFFSET + 32, OFFSET + 48), dest);
    assert.deepEqual(
      bytes.slice(info.payloadOffset, info.payloadOffset + info.payloadLength),
      payload,
    );
    assert.deepEqual(readOptions(bytes, view, info), options);
  }));
});

Deno.test("NL-F-001: a frame built again from what was decoded has the same bytes", () => {
  fc.assert(fc.property(frameParts, ({ fields, options, payload }) => {
    const frame = buildFrame(fields, options, payload);
    const { info, bytes, view } = decode(frame);
    const again = buildFrame(
      Object.assign(new HeaderFields(), {
        ...fields,
        streamId: info.streamId,
        timestampHigh: info.timestampHigh,
        flags: info.flags,
        type: info.type,
      }),
      readOptions(bytes, view, info),
      bytes.slice(info.payloadOffset, info.payloadOffset + info.payloadLength),
    );
    assert.deepEqual(again, frame);
  }));
});

Deno.test("NL-F-001: reserved header bits are ignored when read", () => {
  const frame = damage(buildFrame({ flags: Flag.COMPRESSED }), (f) => {
    f[0] |= 0x0c; // flags 0xC0
    f[3] |= 0x0f; // low four bits of the first word
  });
  const { error, info } = decode(frame);
  assert.equal(nameOf(error), "OK");
  assert.equal(info.flags, Flag.COMPRESSED);
  assert.equal(info.type, FrameType.DATA);
});

Deno.test("NL-F-003: a sealed frame is written straight into a pool slot at fixed places", () => {
  const pool = new Pool({ slots: 2 });
  const offset = pool.frameOffsetOf(pool.alloc());
  const fields = new HeaderFields();
  fields.flags = Flag.ENCRYPTED;
  fields.keyPhase = 1;
  fields.optionsLength = SEALED_PAYLOAD_OFFSET - 64;
  fields.length = SEALED_OVERHEAD + 100;
  encodeHeader(pool.bytes, pool.view, offset, fields);
  assert.equal(putEncryptionTag(pool.bytes, offset + 64), offset + SEALED_PAYLOAD_OFFSET);
  finishFrame(pool.bytes, pool.view, offset, fields.length);

  const info = new FrameInfo();
  assert.equal(decodeFrame(pool.bytes, pool.view, offset, fields.length, info), FrameError.OK);
  assert.equal(info.tagOffset, offset + SEALED_TAG_OFFSET);
  assert.equal(info.payloadOffset, offset + SEALED_PAYLOAD_OFFSET);
  assert.equal(info.payloadLength, 100);
});

Deno.test("NL-F-001: a reused FrameInfo keeps nothing of the frame before", () => {
  const first = decode(buildFrame({ type: FrameType.TRUST_HANDSHAKE }, [
    { type: OptionType.FRAGMENT_INFO, offset: 5, total: 2 },
    { type: OptionType.HOP_COUNT, hops: 1 },
    { type: OptionType.SEMANTIC_ADDR, sad: new Uint8Array(8) },
  ]));
  const frame = buildFrame({});
  decodeFrame(frame, new DataView(frame.buffer), 0, frame.length, first.info);
  const fresh = new FrameInfo();
  decodeFrame(frame, new DataView(frame.buffer), 0, frame.length, fresh);
  assert.deepEqual(first.info, fresh);
});

const plain = buildFrame({}, [], new Uint8Array(100));
const sealed = sealedFrame(new Uint8Array(30));
const u16 = (at: number, value: number) => (frame: Uint8Array) =>
  new DataView(frame.buffer).setUint16(at, value);
/** Options as raw bytes on a clear frame. */
const withOptions = (...raw: number[]) => {
  const frame = buildFrame({}, [], new Uint8Array([...raw, 1, 2, 3, 4]));
  return damage(frame, u16(54, raw.length));
};
const onType = (type: number, frame: Uint8Array) =>
  damage(frame, (f) => new DataView(f.buffer).setUint16(2, type << 4));

/** One frame for each error, otherwise valid (CRC included where it comes later). */
const refused: [FrameError, string, Uint8Array][] = [
  [FrameError.FRAME_TOO_SHORT, "67 bytes", plain.slice(0, 67)],
  [FrameError.FRAME_TOO_SHORT, "nothing", new Uint8Array(0)],
  [FrameError.FRAME_TOO_LONG, "65,536 bytes", new Uint8Array(65_536)],
  [FrameError.FRAME_LENGTH_MISMATCH, "a cut frame", plain.slice(0, 100)],
  [FrameError.FRAME_LENGTH_MISMATCH, "frame_length too small", damage(plain, u16(6, 100))],
  [FrameError.FRAME_VERSION, "version 0", damage(plain, (f) => f[0] &= 0x0f)],
  [FrameError.FRAME_VERSION, "version 2", damage(plain, (f) => f[0] = 0x20)],
  [FrameError.FRAME_TYPE, "type 0", onType(0, plain)],
  [FrameError.FRAME_TYPE, "type 8", onType(8, plain)],
  [FrameError.FRAME_TYPE, "type 0x0101", onType(0x101, plain)],
  [
    FrameError.OPTIONS_TOO_LONG,
    "options_length 257",
    damage(buildFrame({}, [], new Uint8Array(400)), u16(54, 257)),
  ],
  [FrameError.OPTIONS_OVERRUN, "options longer than the frame", plainWithOptionsLength(101)],
  [FrameError.FRAME_CRC, "a flipped payload bit", flip(plain, 80)],
  [FrameError.FRAME_CRC, "a flipped CRC bit", flip(plain, plain.length - 1)],
  [FrameError.TENSOR_DTYPE, "dtype 10", damage(plain, (f) => f[49] = 10)],
  [FrameError.TENSOR_ALIGNMENT, "alignment 3", damage(plain, u16(52, 3))],
  [FrameError.TENSOR_ALIGNMENT, "alignment 0xFFFF", damage(plain, u16(52, 0xffff))],
  [FrameError.KEY_PHASE, "a key phase on a clear frame", damage(plain, (f) => f[51] = 1)],
  [FrameError.KEY_PHASE, "no key phase on a sealed frame", damage(sealed, (f) => f[51] = 0)],
  [FrameError.OPTION_TRUNCATED, "a value past the options", withOptions(0x09, 9, 1)],
  [FrameError.OPTION_TRUNCATED, "half an option header", withOptions(0x00, 0, 0x00)],
  [FrameError.OPTION_LENGTH, "a trace id of 2 bytes", withOptions(0x05, 2, 1, 2)],
  [FrameError.OPTION_LENGTH, "an empty hop count", withOptions(0x06, 0)],
  [FrameError.OPTION_LENGTH, "a SAD of 3 bytes", withOptions(0x07, 3, 1, 0, 0)],
  [FrameError.OPTION_LENGTH, "a SAD of 193 bytes", withOptions(0x07, 193, ...Array(193).fill(0))],
  [FrameError.OPTION_LENGTH, "a shape with a dimension less", withOptions(0x04, 5, 2, 0, 0, 0, 1)],
  [
    FrameError.OPTION_LENGTH,
    "a shape of 9 dimensions",
    withOptions(4, 37, 9, ...Array(36).fill(1)),
  ],
  [FrameError.OPTION_DUPLICATE, "two hop counts", withOptions(0x06, 1, 1, 0x06, 1, 1)],
  [FrameError.OPTION_DUPLICATE, "two hop counts, one critical", withOptions(6, 1, 1, 0x86, 1, 1)],
  [FrameError.OPTION_CRITICAL_UNKNOWN, "critical option 9", withOptions(0x89, 1, 1)],
  [FrameError.OPTION_CRITICAL_UNKNOWN, "critical option 0x7F", withOptions(0xff, 0)],
  [FrameError.OPTION_VALUE, "compression 0", withOptions(0x02, 1, 0)],
  [FrameError.OPTION_VALUE, "compression 4", withOptions(0x02, 1, 4)],
  [FrameError.OPTION_VALUE, "one of 0 fragments", withOptions(0x01, 6, 0, 0, 0, 0, 0, 0)],
  [FrameError.OPTION_TAG, "a tag on a clear frame", withOptions(0x03, 16, ...Array(16).fill(0))],
  [
    FrameError.OPTION_TAG,
    "an encrypted frame without a tag",
    damage(plain, (f) => (f[1] |= 0x40, f[51] = 1)),
  ],
  [
    FrameError.OPTION_TAG,
    "an option behind the tag",
    buildFrame({ flags: Flag.ENCRYPTED, keyPhase: 1 }, [
      { type: OptionType.ENCRYPTION_TAG, tag: new Uint8Array(16) },
      { type: OptionType.PAD, length: 0 },
    ]),
  ],
  [
    FrameError.FRAGMENT_FORBIDDEN,
    "a fragment of a data frame",
    buildFrame({}, [{ type: OptionType.FRAGMENT_INFO, offset: 0, total: 2 }]),
  ],
  [
    FrameError.FRAGMENT_FORBIDDEN,
    "a sealed fragment",
    onType(
      FrameType.TRUST_HANDSHAKE,
      sealedFrame(new Uint8Array(5), [{ type: OptionType.FRAGMENT_INFO, offset: 0, total: 2 }]),
    ),
  ],
  [
    FrameError.FRAGMENT_FORBIDDEN,
    "more_fragments without FRAGMENT_INFO",
    buildFrame({ type: FrameType.TRUST_HANDSHAKE, flags: Flag.MORE_FRAGMENTS }),
  ],
  [
    FrameError.ANYCAST_SEALED,
    "a sealed frame with SEMANTIC_ADDR",
    sealedFrame(new Uint8Array(5), [{ type: OptionType.SEMANTIC_ADDR, sad: new Uint8Array(4) }]),
  ],
];

for (const [error, what, frame] of refused) {
  Deno.test(`NL-F-002: ${what} is refused as ${nameOf(error)}`, () => {
    assert.equal(nameOf(decode(frame).error), nameOf(error));
  });
}

Deno.test("NL-F-002: every error code has a test above and a typed error of its own", () => {
  const codes = Object.values(FrameError).filter((code) => typeof code === "number");
  const tested = new Set(refused.map(([error]) => error));
  for (const code of codes) {
    if (code === FrameError.OK) continue;
    assert(tested.has(code), `${nameOf(code)} is not tested`);
    assert.equal(frameError(code).code, nameOf(code));
    assert.match(frameError(code).message, /^cannot decode frame: /);
  }
  assert.equal(new Set(codes.map((code) => frameError(code).message)).size, codes.length);
});

Deno.test("NL-F-002: errors come in the order of the protocol", () => {
  // Everything is wrong at once; each step repairs what the check before it refused.
  const frame = withOptions(0x89, 1, 1);
  frame.set([0x20, 0, 0, 0], 0);
  frame.set([10, 32, 1, 0, 3], 49);
  const steps: [string, () => void][] = [
    ["FRAME_VERSION", () => frame[0] = 0x10],
    ["FRAME_TYPE", () => frame[3] = 0x10],
    ["FRAME_CRC", () => {}],
    ["TENSOR_DTYPE", () => frame[49] = 0],
    ["TENSOR_ALIGNMENT", () => frame[53] = 0],
    ["KEY_PHASE", () => frame[51] = 0],
    ["OPTION_CRITICAL_UNKNOWN", () => frame[64] = 9],
  ];
  let crcReached = false;
  for (const [name, repair] of steps) {
    assert.equal(nameOf(decode(frame).error), name);
    repair();
    crcReached ||= name === "FRAME_CRC";
    if (crcReached) refreshCrc(frame);
  }
  assert.equal(nameOf(decode(frame).error), "OK");
});

Deno.test("NL-F-002: only the CRC is taken on trust of a frame that a burst check has verified", () => {
  const info = new FrameInfo();
  const verified = (frame: Uint8Array) =>
    nameOf(decodeFrame(frame, new DataView(frame.buffer), 0, frame.length, info, true));
  for (const [error, what, frame] of refused) {
    const expected = error === FrameError.FRAME_CRC ? "OK" : nameOf(error);
    assert.equal(verified(frame.slice()), expected, what);
  }
});

Deno.test("NL-F-002: a length past the memory is refused, not read", () => {
  const info = new FrameInfo();
  const view = new DataView(plain.buffer);
  assert.equal(
    nameOf(decodeFrame(plain, view, 1, plain.length, info)),
    "FRAME_TOO_SHORT",
  );
});

Deno.test("NL-F-002: decoding random bytes gives a frame or a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      const { error } = decode(bytes);
      assert(FrameError[error] !== undefined);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("NL-F-002: decoding damaged frames with a right CRC gives a frame or a typed error", () => {
  const edits = fc.array(fc.tuple(fc.nat(320), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(frameParts, edits, ({ fields, options, payload }, edits) => {
      const frame = buildFrame(fields, options, payload);
      const broken = damage(frame, (f) => {
        for (const [at, value] of edits) if (at < f.length) f[at] = value;
      });
      const { error, info, bytes, view } = decode(broken);
      if (error !== FrameError.OK) {
        assert.equal(frameError(error).code, nameOf(error));
        return;
      }
      assert(info.payloadOffset + info.payloadLength + 4 === OFFSET + broken.length);
      readOptions(bytes, view, info);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("NL-F-001: buildFrame refuses what no frame can hold", () => {
  assert.throws(() => buildFrame({}, [], new Uint8Array(65_468)), { code: "FRAME_TOO_LONG" });
  assert.equal(buildFrame({}, [], new Uint8Array(65_467)).length, 65_535);
  const pad = { type: OptionType.PAD, length: 127 } as const;
  assert.throws(() => buildFrame({}, [pad, pad]), { code: "OPTIONS_TOO_LONG" });
  assert.throws(
    () => buildFrame({}, [{ type: OptionType.TRACE_ID, traceId: new Uint8Array(15) }]),
    { code: "OPTION_LENGTH" },
  );
});

function flip(frame: Uint8Array, at: number): Uint8Array {
  const copy = frame.slice();
  copy[at] ^= 1;
  return copy;
}

function plainWithOptionsLength(length: number): Uint8Array {
  const copy = plain.slice();
  u16(54, length)(copy);
  return copy;
}
