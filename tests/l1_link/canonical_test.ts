import assert from "node:assert/strict";
import fc from "fast-check";
import {
  buildFrame,
  CANONICAL_BYTES_MAX,
  decodeFrame,
  FrameError,
  frameError,
  FrameInfo,
  type FrameOption,
  OptionType,
  writeCanonicalHeader,
} from "../../lib/l1_link/mod.ts";
import { canonicalViewReference, crc32cReference } from "../reference/link.ts";
import { damage, decode, frameParts, nameOf, OFFSET, sealedFrame } from "./support.ts";

const sad: FrameOption = { type: OptionType.SEMANTIC_ADDR, sad: new Uint8Array([1, 0, 0, 4]) };
const hops: FrameOption = { type: OptionType.HOP_COUNT, hops: 3 };
const payload = new Uint8Array(40).fill(9);

Deno.test("NL-F-004: the CRC of any frame is the CRC of the copied canonical view", () => {
  fc.assert(fc.property(frameParts, ({ fields, options, payload }) => {
    const frame = buildFrame(fields, options, payload);
    const crc = new DataView(frame.buffer).getUint32(frame.length - 4);
    assert.equal(crc, crc32cReference(canonicalViewReference(frame)));
  }));
});

Deno.test("NL-F-004: a forwarder may change hop_limit without touching the CRC", () => {
  for (const options of [[], [hops], [sad], [hops, sad]]) {
    const frame = buildFrame({ hopLimit: 32 }, options, payload);
    for (let hopLimit = 0; hopLimit < 256; hopLimit++) {
      frame[50] = hopLimit;
      const { error, info } = decode(frame);
      assert.equal(nameOf(error), "OK");
      assert.equal(info.hopLimit, hopLimit);
    }
  }
});

Deno.test("NL-F-004: a forwarder may count HOP_COUNT up without touching the CRC", () => {
  for (const options of [[hops], [sad, hops], [{ ...hops, critical: true }]]) {
    const frame = buildFrame({}, options, payload);
    const at = decode(frame).info.hopCountOffset - OFFSET;
    for (let count = 0; count < 256; count++) {
      frame[at] = count;
      assert.equal(nameOf(decode(frame).error), "OK");
    }
  }
});

Deno.test("NL-F-004: an anycast destination may be rewritten without touching the CRC", () => {
  const frame = buildFrame({ dest: new Uint8Array(16) }, [hops, sad], payload);
  frame.set(new Uint8Array(16).fill(0x5a), 32);
  assert.equal(nameOf(decode(frame).error), "OK");
});

Deno.test("NL-F-004: without SEMANTIC_ADDR a rewritten destination breaks the CRC", () => {
  const frame = buildFrame({ dest: new Uint8Array(16) }, [hops], payload);
  frame.set(new Uint8Array(16).fill(0x5a), 32);
  assert.equal(nameOf(decode(frame).error), "FRAME_CRC");
});

Deno.test("NL-F-004: every bit outside the mutable bytes is covered by the CRC", () => {
  const frame = buildFrame({}, [hops, sad], payload);
  const hopCountAt = decode(frame).info.hopCountOffset - OFFSET;
  for (let at = 0; at < frame.length; at++) {
    const mutable = at === 50 || at === hopCountAt || (at >= 32 && at < 48);
    for (let bit = 0; bit < 8; bit++) {
      const flipped = frame.slice();
      flipped[at] ^= 1 << bit;
      assert.equal(decode(flipped).error === FrameError.OK, mutable, `byte ${at} bit ${bit}`);
    }
  }
});

Deno.test("NL-F-004: the canonical header is the view of header and options before the tag", () => {
  fc.assert(fc.property(frameParts, ({ fields, options, payload }) => {
    const frame = buildFrame(fields, options, payload);
    const { error, info, bytes } = decode(frame);
    if (error !== FrameError.OK) throw frameError(error);
    const end = info.tagOffset < 0 ? info.payloadOffset : info.tagOffset - 2;
    const expected = canonicalViewReference(frame).subarray(0, end - OFFSET);

    const into = new Uint8Array(CANONICAL_BYTES_MAX).fill(0xcc);
    for (const known of [info, undefined]) {
      assert.equal(writeCanonicalHeader(bytes, OFFSET, known, into), expected.length);
      assert.deepEqual(into.subarray(0, expected.length), expected);
    }
  }));
});

Deno.test("NL-F-004: the canonical header ignores hop_limit and covers frame_length", () => {
  const frame = sealedFrame(payload, [hops]);
  const view = (bytes: Uint8Array) => {
    const into = new Uint8Array(CANONICAL_BYTES_MAX);
    return into.slice(0, writeCanonicalHeader(bytes, 0, undefined, into));
  };
  assert.deepEqual(view(damage(frame, (f) => f[50] = 1)), view(frame));
  assert.notDeepEqual(view(damage(frame, (f) => f[7]++)), view(frame));
});

Deno.test("NL-F-004: a CRC over options that do not parse is still well defined", () => {
  // The walk ends at the option that overruns: the HOP_COUNT before it counts as 0.
  const frame = buildFrame({}, [hops, { type: OptionType.PAD, length: 6 }], payload);
  const broken = damage(frame, (f) => f[68] = 200);
  const info = new FrameInfo();
  const decodeAt0 = () => decodeFrame(broken, new DataView(broken.buffer), 0, broken.length, info);
  assert.equal(nameOf(decodeAt0()), "OPTION_TRUNCATED");
  broken[66] = 77;
  assert.equal(nameOf(decodeAt0()), "OPTION_TRUNCATED");
});
