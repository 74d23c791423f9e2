/** Sealed frames: what opens, what is dropped, and that a drop changes nothing. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { SeededRandom, toHex } from "../../lib/base/mod.ts";
import {
  decodeFrame,
  encodeHeader,
  finishFrame,
  Flag,
  FrameError,
  FrameInfo,
  FrameType,
  HeaderFields,
  HOP_LIMIT_AT,
  SEALED_PAYLOAD_OFFSET,
} from "../../lib/l1_link/mod.ts";
import {
  OPEN_KEY_PHASE,
  OPEN_REPLAYED,
  OPEN_UNAUTHENTIC,
  type PacketProtection,
} from "../../lib/l3_stream/mod.ts";
import {
  nobleEngine,
  RecordProtection,
  recoverPacketNumber,
  REPLAY_WINDOW,
  ReplayWindow,
  SUITE_AES_256_GCM,
  SUITE_CHACHA20_POLY1305,
} from "../../lib/l4_trust/mod.ts";
import { clientConfig, ENGINE, exchange, serverConfig, throwsCode, VNI } from "./support.ts";

const SOURCE = new Uint8Array(16).fill(0xa1);
const DEST = new Uint8Array(16).fill(0xb2);
const PAYLOAD = Uint8Array.from({ length: 100 }, (_, i) => i);

function records(suite = SUITE_AES_256_GCM, vni = VNI, engine = ENGINE): RecordProtection {
  // Both directions share their keys here, so that one object opens what its twin sealed.
  return new RecordProtection({
    engine,
    suite,
    vni,
    sealKey: new Uint8Array(32).fill(1),
    sealIv: new Uint8Array(12).fill(2),
    openKey: new Uint8Array(32).fill(1),
    openIv: new Uint8Array(12).fill(2),
  });
}

/** A sealed frame in a buffer of its own; PAD of `pad` bytes before the tag option. */
function sealed(
  protection: PacketProtection,
  packetNumber: number,
  { payload = PAYLOAD, pad = -1, at = 0 }: { payload?: Uint8Array; pad?: number; at?: number } = {},
): Uint8Array {
  const padBytes = pad < 0 ? 0 : 2 + pad;
  const payloadAt = at + SEALED_PAYLOAD_OFFSET + padBytes;
  const length = SEALED_PAYLOAD_OFFSET + padBytes + payload.length + 4;
  const bytes = new Uint8Array(at + length);
  const view = new DataView(bytes.buffer);
  const fields = new HeaderFields();
  fields.type = FrameType.DATA;
  fields.flags = Flag.ENCRYPTED;
  fields.streamId = 0x01020304;
  fields.sequence = packetNumber % 2 ** 32;
  fields.source = SOURCE;
  fields.dest = DEST;
  fields.keyPhase = protection.keyPhase;
  fields.optionsLength = padBytes + 18;
  fields.timestampHigh = 7;
  fields.timestampLow = 8;
  encodeHeader(bytes, view, at, fields);
  view.setUint32(at + 4, length);
  if (padBytes > 0) bytes[at + 64 + 1] = pad;
  bytes[payloadAt - 18] = 0x03;
  bytes[payloadAt - 17] = 16;
  bytes.set(payload, payloadAt);
  protection.seal(bytes, view, at, payloadAt, payload.length, packetNumber);
  finishFrame(bytes, view, at, length);
  return bytes;
}

function open(protection: PacketProtection, frame: Uint8Array, at = 0): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const info = new FrameInfo();
  const error = decodeFrame(frame, view, at, frame.length - at, info);
  assert.equal(error, FrameError.OK, `frame error ${error}`);
  return protection.open(frame, view, at, info);
}

for (const suite of [SUITE_AES_256_GCM, SUITE_CHACHA20_POLY1305]) {
  Deno.test(`NT-ENC-001: a frame of suite ${suite} opens to what was sealed`, () => {
    const receiver = records(suite);
    const frame = sealed(records(suite), 0);
    assert(!toHex(frame).includes(toHex(PAYLOAD.subarray(0, 16))));
    assert.equal(open(receiver, frame), 0);
    assert.deepEqual(frame.slice(SEALED_PAYLOAD_OFFSET, -4), PAYLOAD);
  });
}

Deno.test("NT-ENC-001: both ends of a handshake open each other's frames, and nobody else's", () => {
  const { client, server } = exchange(clientConfig(), serverConfig());
  const [c, s] = [client.result!.protection(), server!.result!.protection()];
  assert.equal(open(s, sealed(c, 0)), 0);
  assert.equal(open(c, sealed(s, 0)), 0);
  assert.equal(open(c, sealed(c, 1)), OPEN_UNAUTHENTIC, "its own frame sent back");
  const random = new SeededRandom(99).fill;
  const other = exchange({ ...clientConfig(), random }, serverConfig());
  assert.equal(open(other.client.result!.protection(), sealed(s, 1)), OPEN_UNAUTHENTIC);
});

Deno.test("NT-ENC-001: empty and large payloads, options before the tag, any place in a buffer", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 1_400 }),
      fc.integer({ min: -1, max: 200 }),
      fc.nat(70),
      fc.constantFrom(nobleEngine, ENGINE),
      (payload, pad, at, engine) => {
        const frame = sealed(records(SUITE_AES_256_GCM, VNI, engine), 5, { payload, pad, at });
        assert.equal(open(records(), frame, at), 5);
        assert.deepEqual(frame.slice(frame.length - 4 - payload.length, -4), payload);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("NT-ENC-002: a flipped bit anywhere is refused, except in hop_limit", () => {
  const good = sealed(records(), 3, { pad: 4 });
  for (let at = 0; at < good.length - 4; at++) {
    for (const mask of [1, 0x80]) {
      const frame = good.slice();
      frame[at] ^= mask;
      const view = new DataView(frame.buffer);
      finishFrame(frame, view, 0, frame.length); // The attacker repairs the CRC.
      const info = new FrameInfo();
      const error = decodeFrame(frame, view, 0, frame.length, info);
      const receiver = records();
      if (at === HOP_LIMIT_AT) {
        assert.equal(receiver.open(frame, view, 0, info), 3);
      } else if (at < 4 || at >= 8) { // finishFrame rewrites frame_length
        const code = error === FrameError.OK ? receiver.open(frame, view, 0, info) : -1;
        assert(code < 0, `byte ${at} mask ${mask}: ${code}`);
        assert.equal(open(receiver, good.slice()), 3, "state is unchanged");
      }
    }
  }
});

Deno.test("NT-ENC-002: a frame that does not open is left as it was and counted", () => {
  const receiver = records();
  const frame = sealed(records(), 0);
  frame[frame.length - 5] ^= 1;
  const view = new DataView(frame.buffer);
  finishFrame(frame, view, 0, frame.length);
  const before = frame.slice();
  assert.equal(open(receiver, frame), OPEN_UNAUTHENTIC);
  assert.deepEqual(frame, before);
  assert.equal(receiver.forgeries, 1);
});

Deno.test("NT-ENC-002: the tenant is authenticated though it is not in the frame", () => {
  assert.equal(open(records(SUITE_AES_256_GCM, VNI + 1), sealed(records(), 0)), OPEN_UNAUTHENTIC);
});

Deno.test("NT-ENC-003: a replayed frame is dropped", () => {
  const receiver = records();
  const frame = sealed(records(), 9);
  assert.equal(open(receiver, frame.slice()), 9);
  assert.equal(open(receiver, frame.slice()), OPEN_REPLAYED);
});

Deno.test("NT-ENC-003: frames reordered inside the window open once, older ones never", () => {
  const sender = records();
  const receiver = records();
  const frames = new Map<number, Uint8Array>();
  for (const n of [0, 1, 2, 4_096, 4_097]) frames.set(n, sealed(sender, n));
  assert.equal(open(receiver, frames.get(4_096)!.slice()), 4_096);
  assert.equal(open(receiver, frames.get(0)!.slice()), OPEN_REPLAYED, "4,096 behind");
  assert.equal(open(receiver, frames.get(1)!.slice()), 1, "4,095 behind");
  assert.equal(open(receiver, frames.get(1)!.slice()), OPEN_REPLAYED);
  assert.equal(open(receiver, frames.get(4_097)!.slice()), 4_097);
  assert.equal(open(receiver, frames.get(2)!.slice()), 2);
});

Deno.test("NT-ENC-003: the replay window agrees with a set of all numbers ever seen", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: -5_000, max: 300 }), fc.nat(20)), { maxLength: 400 }),
      (steps) => {
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let largest = -1;
        for (const [delta, jump] of steps) {
          const n = Math.max(0, largest + delta + (jump === 0 ? 9_000 : 0));
          const expected = n > largest - REPLAY_WINDOW && !seen.has(n);
          assert.equal(window.isNew(n), expected, `${n} after ${largest}`);
          if (!expected) continue;
          window.mark(n);
          seen.add(n);
          largest = Math.max(largest, n);
          assert.equal(window.largest, largest);
        }
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("NT-ENC-004: packet numbers are recovered from 32 bits, around each wrap", () => {
  const wrap = 2 ** 32;
  const cases: [number, number][] = [
    [-1, 0],
    [-1, 100],
    [wrap - 1, wrap],
    [wrap - 2, wrap - 1],
    [wrap - 1, wrap + 1_000],
    [wrap, wrap - 5],
    [wrap + 4_000, wrap - 1],
    [5 * wrap - 3, 5 * wrap + 3],
    [5 * wrap + 3, 5 * wrap - 3],
    [2 ** 40, 2 ** 40 + 2 ** 31 - 1],
    [2 ** 40, 2 ** 40 - 2 ** 31 + 2],
  ];
  for (const [largest, full] of cases) {
    assert.equal(recoverPacketNumber(largest, full % wrap), full, `${full} after ${largest}`);
  }
  fc.assert(
    fc.property(fc.nat(2 ** 50), fc.integer({ min: -(2 ** 31) + 2, max: 2 ** 31 }), (n, delta) => {
      const full = n + delta;
      if (full >= 0) assert.equal(recoverPacketNumber(n, full % wrap), full);
    }),
  );
});

Deno.test("NT-ENC-004: frames on both sides of the 2^32 wrap open under their whole number", () => {
  const sender = records();
  const receiver = records();
  const numbers = [2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1];
  for (const n of numbers) assert.equal(open(receiver, sealed(sender, n)), n);
  const other = records();
  for (const n of [2 ** 31, 2 ** 32 - 2]) assert.equal(open(other, sealed(records(), n)), n);
  // The nonce holds all 64 bits: the same low half under another high half does not open.
  assert.equal(open(other, sealed(records(), 7)), OPEN_UNAUTHENTIC);
  assert.equal(open(other, sealed(records(), 2 ** 32 + 7)), 2 ** 32 + 7);
});

Deno.test("NT-ENC-004: a packet number is never sealed twice", () => {
  const sender = records();
  sealed(sender, 5);
  throwsCode(() => sealed(sender, 5), "PACKET_NUMBER");
  throwsCode(() => sealed(sender, 4), "PACKET_NUMBER");
  sealed(sender, 7);
});

/** A cipher that does nothing lets limits be used up here. */
const NO_CIPHER = { ...ENGINE, aead: () => ({ seal: () => {}, open: () => true }) };

/** Seals frames of `payloadBytes` until `sealsLeft` is 0; how many. */
function sealAll(payloadBytes: number): number {
  const sender = records(SUITE_AES_256_GCM, VNI, NO_CIPHER);
  const bytes = new Uint8Array(SEALED_PAYLOAD_OFFSET + payloadBytes);
  const view = new DataView(bytes.buffer);
  let count = 0;
  for (; sender.sealsLeft > 0; count++) {
    sender.seal(bytes, view, 0, SEALED_PAYLOAD_OFFSET, payloadBytes, count);
  }
  throwsCode(
    () => sender.seal(bytes, view, 0, SEALED_PAYLOAD_OFFSET, payloadBytes, count),
    "AEAD_LIMIT",
  );
  return count;
}

Deno.test("NT-ENC-005: a key seals 2³⁵ blocks and no more (RFC 9001 §B.1.1)", () => {
  const longest = sealAll(65_000);
  assert.ok(longest * Math.ceil(65_000 / 16) <= 2 ** 35, `${longest}`);
  assert.ok(longest > 2 ** 23, `${longest}`);
});

Deno.test("NT-ENC-005: short frames use a key up by what they hold", () => {
  const sender = records(SUITE_AES_256_GCM, VNI, NO_CIPHER);
  const bytes = new Uint8Array(2_000);
  const view = new DataView(bytes.buffer);
  const before = sender.sealsLeft;
  for (let n = 0; n < 100_000; n++) sender.seal(bytes, view, 0, SEALED_PAYLOAD_OFFSET, 1_464, n);
  // 92 blocks and those of header, tag and rest, of 4,096 that the longest has.
  const used = before - sender.sealsLeft;
  assert.ok(used >= 100_000 * 96 / 4_103 && used <= 100_000 * 100 / 4_103, `${used}`);
});

Deno.test("NT-ENC-006: another key phase is refused without trying the key", () => {
  const receiver = records();
  const frame = sealed(records(), 0);
  frame[51] = 2;
  finishFrame(frame, new DataView(frame.buffer), 0, frame.length);
  assert.equal(open(receiver, frame), OPEN_KEY_PHASE);
  assert.equal(receiver.forgeries, 0);
});

Deno.test("NT-ENC-006: after wipe nothing is sealed or opened", () => {
  const protection = records();
  const frame = sealed(records(), 0);
  protection.wipe();
  assert.equal(open(protection, frame), OPEN_KEY_PHASE);
  assert.equal(protection.sealsLeft, 0);
  throwsCode(() => sealed(protection, 0), "AEAD_LIMIT");
});

Deno.test("NT-ENC-006: paths share keys but neither numbers, nonces nor replay windows", () => {
  const [sender, receiver] = [records(), records()];
  const onSecond = sealed(sender.forPath(1), 0);
  const second = receiver.forPath(1);
  assert.equal(open(receiver, onSecond.slice()), OPEN_UNAUTHENTIC, "path 0 has another nonce");
  assert.equal(open(receiver.forPath(2), onSecond.slice()), OPEN_UNAUTHENTIC);
  assert.equal(open(second, onSecond.slice()), 0);
  assert.equal(open(second, onSecond.slice()), OPEN_REPLAYED);
  assert.equal(open(receiver, sealed(sender, 0)), 0, "the same number on path 0");
  const [before, third] = [sender.sealsLeft, sender.forPath(3)];
  for (let n = 0; n < 1_000; n++) sealed(third, n);
  assert.ok(sender.sealsLeft < before, "seals count over all paths");
  assert.equal(receiver.forgeries, 2);
  second.wipe();
  assert.equal(open(receiver, sealed(sender, 1)), OPEN_KEY_PHASE, "one wipe ends all");
});

Deno.test("NT-ENC-002: random sealed frames never open and never throw", () => {
  const receiver = records();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(2 ** 32 - 1), (noise, sequence) => {
      const frame = sealed(records(), 0, { payload: noise });
      frame.set(noise.subarray(0, 16), 66);
      const view = new DataView(frame.buffer);
      view.setUint32(12, sequence);
      finishFrame(frame, view, 0, frame.length);
      if (noise.length >= 16) assert(open(receiver, frame) < 0);
    }),
    { numRuns: 100 },
  );
});
