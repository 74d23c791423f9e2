import assert from "node:assert/strict";
import {
  buildFrame,
  FrameError,
  type FrameOption,
  markCritical,
  optionBytes,
  OptionType,
  padFor,
  Pool,
  putPad,
  putTensorShape,
  readOptions,
  readTensorShape,
} from "../../lib/l1_link/mod.ts";
import { decode } from "./support.ts";
import { fromHex, toHex } from "../../lib/base/mod.ts";

/** One of each kind with its bytes, by hand from docs/protocol.md §2.1. */
const examples: [FrameOption, string][] = [
  [{ type: OptionType.PAD, length: 3 }, "0003000000"],
  [{ type: OptionType.COMPRESSION_ALG, algorithm: 2 }, "020102"],
  [{ type: OptionType.TENSOR_SHAPE, dims: [2, 65_537] }, "0409020000000200010001"],
  [
    { type: OptionType.TRACE_ID, traceId: fromHex("000102030405060708090a0b0c0d0e0f") },
    "0510000102030405060708090a0b0c0d0e0f",
  ],
  [{ type: OptionType.HOP_COUNT, hops: 5, critical: true }, "860105"],
  [{ type: OptionType.SEMANTIC_ADDR, sad: fromHex("01000004") }, "070401000004"],
  [{ type: OptionType.GPU_HINT, device: 1, memoryPool: 258 }, "080400010102"],
  [{ type: "unknown", code: 0x60, value: fromHex("beef") }, "6002beef"],
];

for (const [option, hex] of examples) {
  Deno.test(`NL-F-005: option ${option.type} is ${hex} on the wire`, () => {
    const frame = buildFrame({}, [option]);
    assert.equal(toHex(frame.subarray(64, frame.length - 4)), hex);
    assert.equal(optionBytes(option), hex.length / 2);
    const { error, info, bytes, view } = decode(frame);
    assert.equal(error, FrameError.OK);
    assert.deepEqual(readOptions(bytes, view, info), [option]);
  });
}

Deno.test("NL-F-005: an unknown option without the critical bit is skipped", () => {
  const unknown: FrameOption = { type: "unknown", code: 0x7f, value: new Uint8Array(4) };
  const { error, info } = decode(
    buildFrame({}, [unknown, unknown, { type: OptionType.HOP_COUNT, hops: 2 }], fromHex("aabb")),
  );
  assert.equal(error, FrameError.OK);
  assert.notEqual(info.hopCountOffset, -1);
  assert.equal(info.payloadLength, 2);
});

Deno.test("NL-F-005: an unknown option with the critical bit refuses the frame", () => {
  const unknown = {
    type: "unknown",
    code: 0x7f,
    value: new Uint8Array(4),
    critical: true,
  } as const;
  assert.equal(decode(buildFrame({}, [unknown])).error, FrameError.OPTION_CRITICAL_UNKNOWN);
});

Deno.test("NL-F-005: PAD may stand as often as wanted and its bytes do not matter", () => {
  const pad = { type: OptionType.PAD, length: 1 } as const;
  assert.equal(decode(buildFrame({}, [pad, pad, pad])).error, FrameError.OK);
});

Deno.test("NL-F-005: markCritical changes the top bit only", () => {
  const bytes = new Uint8Array([0x06, 1, 9]);
  markCritical(bytes, 0);
  assert.deepEqual(bytes, new Uint8Array([0x86, 1, 9]));
});

Deno.test("NL-F-005: a tensor shape of no dimensions and of eight reads back", () => {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  for (const dims of [[], [1, 2, 3, 4, 5, 6, 7, 0xffffffff]]) {
    assert.equal(putTensorShape(bytes, view, 5, dims), 5 + 2 + 1 + 4 * dims.length);
    assert.deepEqual(readTensorShape(bytes, view, 7), dims);
  }
});

Deno.test("padFor aligns the payload in a slot for any options and alignment", () => {
  const pool = new Pool({ slots: 3 });
  const frameOffset = pool.frameOffsetOf(2);
  for (const alignment of [1, 2, 4, 8, 16, 32, 64]) {
    for (let optionsLength = 0; optionsLength < 130; optionsLength++) {
      const pad = padFor(optionsLength, alignment);
      assert.equal((frameOffset + 64 + optionsLength + pad) % alignment, 0);
      assert(pad === 0 || (pad >= 2 && pad <= alignment + 1), `pad ${pad}`);
      if (pad > 0) {
        const at = frameOffset + 64 + optionsLength;
        assert.equal(putPad(pool.bytes, at, pad), at + pad);
      }
    }
  }
});
