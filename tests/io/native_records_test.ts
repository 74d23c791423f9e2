/**
 * The native record engine against records frame by frame over @noble: what one seals the other
 * opens, and both say the same of whatever else arrives.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../lib/base/mod.ts";
import { chooseEngine, nativeRecords, RECORD_ENGINES } from "../../lib/io/native_records.ts";
import { nativeAeadLibraries } from "../../lib/io/native_aead.ts";
import {
  CRC_BYTES,
  decodeFrame,
  encodeHeader,
  finishFrame,
  Flag,
  FrameError,
  FrameInfo,
  FrameType,
  HEADER_BYTES,
  HeaderFields,
  OPTION_HEADER_BYTES,
  OptionType,
  OVERLAY_BYTES,
  putEncryptionTag,
  SEALED_OVERHEAD,
  SEALED_PAYLOAD_OFFSET,
} from "../../lib/l1_link/mod.ts";
import { Landing, type PacketRuns, RunResult, SealRun } from "../../lib/l3_stream/mod.ts";
import { type CryptoEngine, nobleEngine, RecordProtection } from "../../lib/l4_trust/mod.ts";
import { NATIVE_LIBRARY } from "../support/native.ts";
import { testNeeding } from "../support/needs.ts";

const VNI = 0x0a0b0c;
const ALICE = 0x11111111;
const BOB = 0x22222222;
const SUITES = [1, 2];
const DATA_HEAD_BYTES = 15;

const ids = [new Uint8Array(16).fill(0xa1), new Uint8Array(16).fill(0xb2)];

interface End {
  readonly protection: RecordProtection;
  readonly runs: PacketRuns | undefined;
}

/** Both ends of a connection; `path` as in RecordKeys. */
function ends(suite: number, alice: CryptoEngine, bob: CryptoEngine, path = 0): [End, End] {
  const key = (n: number) => new Uint8Array(32).fill(n);
  const iv = (n: number) => new Uint8Array(12).fill(n);
  const side = (engine: CryptoEngine, own: number, other: number, id: number, peerId: number) => {
    const first = new RecordProtection({
      engine,
      suite,
      vni: VNI,
      sealKey: key(own),
      sealIv: iv(own),
      openKey: key(other),
      openIv: iv(other),
    });
    const protection = path === 0 ? first : first.forPath(path);
    const [mine, theirs] = own === 1 ? ids : ids.toReversed();
    const runs = protection.openRuns(header(peerId, mine, theirs), header(id, theirs, mine));
    return { protection, runs };
  };
  return [side(alice, 1, 2, ALICE, BOB), side(bob, 2, 1, BOB, ALICE)];
}

function fields(connectionId: number, source: Uint8Array, dest: Uint8Array): HeaderFields {
  return Object.assign(new HeaderFields(), {
    type: FrameType.DATA,
    flags: Flag.ENCRYPTED,
    streamId: connectionId,
    source,
    dest,
    keyPhase: 1,
    optionsLength: SEALED_PAYLOAD_OFFSET - HEADER_BYTES,
  });
}

function header(connectionId: number, source: Uint8Array, dest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  encodeHeader(bytes, new DataView(bytes.buffer), 0, fields(connectionId, source, dest));
  return bytes;
}

/** A sealed frame from Alice to Bob, frame by frame. */
function sealFrame(
  end: End,
  packetNumber: number,
  payload: Uint8Array,
  change: (header: HeaderFields) => void = () => {},
): Uint8Array {
  const bytes = new Uint8Array(SEALED_OVERHEAD + payload.length);
  const view = new DataView(bytes.buffer);
  const head = fields(BOB, ids[0], ids[1]);
  head.length = bytes.length;
  head.sequence = packetNumber >>> 0;
  head.timestampLow = packetNumber;
  change(head);
  encodeHeader(bytes, view, 0, head);
  putEncryptionTag(bytes, HEADER_BYTES);
  bytes.set(payload, SEALED_PAYLOAD_OFFSET);
  end.protection.seal(bytes, view, 0, SEALED_PAYLOAD_OFFSET, payload.length, packetNumber);
  finishFrame(bytes, view, 0, bytes.length);
  return bytes;
}

function dataFrame(stream: number, offset: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(DATA_HEAD_BYTES + data.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x50;
  view.setUint32(1, stream);
  view.setBigUint64(5, BigInt(offset));
  view.setUint16(13, data.length);
  bytes.set(data, DATA_HEAD_BYTES);
  return bytes;
}

/** What becomes of a frame, in words that both ways have in common. */
type Fate = { number: number; payload: string } | "forged" | "replayed" | "undecodable";

/** The slow way. Frames that do not decode or are for another key are "undecodable". */
function openSingly(end: End, frame: Uint8Array): Fate {
  const bytes = frame.slice();
  const view = new DataView(bytes.buffer);
  const info = new FrameInfo();
  if (decodeFrame(bytes, view, 0, bytes.length, info) !== FrameError.OK) return "undecodable";
  if (info.streamId !== BOB) return "undecodable";
  const number = end.protection.open(bytes, view, 0, info);
  if (number === -1) return "forged";
  if (number === -2) return "replayed";
  if (number < 0) return "undecodable";
  const payload = bytes.subarray(info.payloadOffset, info.payloadOffset + info.payloadLength);
  return { number, payload: hex(payload) };
}

/** A train as runs see it; what they leave is opened singly. */
function openTrain(end: End, frames: Uint8Array[], segment: number, landing: Landing): Fate[] {
  const bytes = trainBytes(frames, segment);
  const before = bytes.slice();
  const fates: Fate[] = [];
  landing.begin(0, bytes.length, frames.length > 1 ? segment : 0);
  for (let idle = false; landing.next < frames.length;) {
    const results = end.runs!.open(bytes, landing);
    assert(results > 0 || !idle, "no progress");
    idle = results === 0;
    if (idle) landing.clear();
    for (let i = 0; i < results; i++) fates.push(...fatesOf(end, bytes, landing, i));
  }
  assert.deepEqual(bytes, before, "the frames stay as they were");
  return fates;
}

function fatesOf(end: End, bytes: Uint8Array, landing: Landing, i: number): Fate[] {
  const at = landing.at(i);
  const length = landing.length(i);
  switch (landing.kind(i)) {
    case RunResult.FORGED:
      return ["forged"];
    case RunResult.REPLAYED:
      return ["replayed"];
    case RunResult.FRAME:
      return [openSingly(end, bytes.slice(at, at + length))];
    case RunResult.PACKET:
      return [{
        number: landing.packetNumber(i),
        payload: hex(landing.bytes.subarray(at, at + length)),
      }];
    case RunResult.DATA: {
      // How a run was cut into packets is not told: all but the last are alike here.
      const packets = landing.packets(i);
      const total = landing.frameBytes(i) - packets * (SEALED_OVERHEAD + DATA_HEAD_BYTES);
      assert.equal(total, length);
      const each = Math.ceil(length / packets);
      return Array.from({ length: packets }, (_, n) => {
        const from = at + n * each;
        const data = landing.bytes.slice(from, Math.min(from + each, at + length));
        const payload = dataFrame(landing.stream(i), landing.offset(i) + n * each, data);
        return { number: landing.packetNumber(i) + n, payload: hex(payload) };
      });
    }
  }
  throw new Error(`unknown kind of result ${landing.kind(i)}`);
}

function trainBytes(frames: Uint8Array[], segment: number): Uint8Array {
  const bytes = new Uint8Array((frames.length - 1) * segment + frames.at(-1)!.length);
  frames.forEach((frame, i) => bytes.set(frame, i * segment));
  return bytes;
}

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

function pattern(random: SeededRandom, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

function native(library: "best" | "intel-ipsec-mb" | "libcrypto" = "best"): CryptoEngine {
  return { ...nobleEngine, records: nativeRecords(library) };
}

for (const suite of SUITES) {
  testNeeding(
    [NATIVE_LIBRARY],
    `NT-ENC-001: a sealed run is what frame by frame would have been (suite ${suite})`,
    () => {
      for (let seed = 1; seed <= 30; seed++) {
        const random = new SeededRandom(seed);
        const path = random.below(3);
        const [alice, bob] = ends(suite, native(), nobleEngine, path);
        const [reference] = ends(suite, nobleEngine, nobleEngine, path);
        const count = 1 + random.below(40);
        const each = 1 + random.below(count > 20 ? 1_400 : 3_000);
        const total = (count - 1) * each + 1 + random.below(each);
        const data = pattern(random, total);
        const first = random.below(2) === 0 ? random.below(1_000) : 2 ** 32 - 1 - random.below(20);
        const offset = random.below(2) === 0 ? 0 : 2 ** 40 + random.below(1_000);
        const run = new SealRun();
        const memory = scatter(random, data, run);
        const at = 64 * random.below(4);
        const bytes = new Uint8Array(at + count * (each + 200));
        run.set(at, count, first, 5, offset, each, total, 0, first, memory.length);
        const length = alice.runs!.seal(bytes, run);
        const segment = SEALED_OVERHEAD + DATA_HEAD_BYTES + each + OVERLAY_BYTES;
        for (let i = 0; i < count; i++) {
          const from = at + i * segment;
          const to = i < count - 1 ? from + segment - OVERLAY_BYTES : at + length;
          const part = data.subarray(i * each, Math.min((i + 1) * each, total));
          const expected = sealFrame(reference, first + i, dataFrame(5, offset + i * each, part));
          // The run has one timestamp.
          if (i === 0) assert.equal(hex(bytes.subarray(from, to)), hex(expected));
          assert.deepEqual(openSingly(bob, bytes.slice(from, to)), {
            number: first + i,
            payload: hex(dataFrame(5, offset + i * each, part)),
          });
        }
        assert.equal(memory.length > 0, true); // keeps what the addresses point at
      }
    },
  );

  testNeeding(
    [NATIVE_LIBRARY],
    `NT-ENC-002: trains open as frame by frame, whatever is in them (suite ${suite})`,
    () => {
      const landing = new Landing();
      for (let seed = 1; seed <= 120; seed++) {
        const random = new SeededRandom(seed);
        const path = random.below(3);
        const [alice, bob] = ends(suite, nobleEngine, native(), path);
        const [, reference] = ends(suite, nobleEngine, nobleEngine, path);
        const segment = SEALED_OVERHEAD + OVERLAY_BYTES + 100 + random.below(300);
        let number = random.below(2) === 0 ? 0 : 2 ** 32 - 30;
        let offset = 0;
        const sent: Uint8Array[] = [];
        for (let train = 0; train < 8; train++) {
          const frames: Uint8Array[] = [];
          // Past the replay window now and then; within a train order would matter for what is
          // left to be opened singly.
          if (random.below(3) === 0) number += random.below(9_000);
          const count = 1 + random.below(30);
          const bytesEach = segment - OVERLAY_BYTES;
          for (let i = 0; i < count; i++) {
            const room = bytesEach - SEALED_OVERHEAD;
            const what = random.below(20);
            if (what >= 6 || sent.length === 0) {
              const data = pattern(random, room - DATA_HEAD_BYTES);
              frames.push(sealFrame(alice, number++, dataFrame(9, offset, data)));
              offset += data.length;
            } else if (what === 0) {
              frames.push(sealFrame(alice, number++, pattern(random, room)));
            } else if (what === 1) {
              const frame = sent[random.below(sent.length)].slice();
              frames.push(frame);
            } else if (what === 2) {
              const frame = sent[random.below(sent.length)].slice();
              frame[random.below(frame.length)] ^= 1 << random.below(8);
              if (random.below(2) === 0) mendCrc(frame);
              frames.push(frame);
            } else if (what === 3) {
              frames.push(
                sealFrame(alice, number++, pattern(random, room), (h) => h.priority = 9),
              );
            } else if (what === 4) {
              number += 1 + random.below(3);
              offset += random.below(2);
              i--;
            } else {
              const frame = sealFrame(alice, number++, pattern(random, room));
              frame[50] = random.below(256); // hop_limit is nobody's business
              frames.push(frame);
            }
            sent.push(...frames.slice(-1));
          }
          const equal = frames.filter((frame) => frame.length === bytesEach);
          if (equal.length === 0) continue;
          assert.deepEqual(
            openTrain(bob, equal, segment, landing),
            equal.map((frame) => openSingly(reference, frame)),
            `seed ${seed}, train ${train}`,
          );
        }
        assert.equal(bob.protection.forgeries, reference.protection.forgeries);
      }
    },
  );

  testNeeding([NATIVE_LIBRARY], `NT-ENC-001: one frame sealed natively (suite ${suite})`, () => {
    const [alice] = ends(suite, native(), nobleEngine);
    const [reference] = ends(suite, nobleEngine, nobleEngine);
    const expected = sealFrame(reference, 7, pattern(new SeededRandom(1), 333));
    const bytes = expected.slice();
    bytes.set(pattern(new SeededRandom(1), 333), SEALED_PAYLOAD_OFFSET);
    bytes.fill(0, HEADER_BYTES + OPTION_HEADER_BYTES, SEALED_PAYLOAD_OFFSET);
    bytes.fill(0, bytes.length - CRC_BYTES);
    alice.runs!.sealFrame(bytes, 0, bytes.length, 7);
    assert.equal(hex(bytes), hex(expected));
    assert.equal(bytes[HEADER_BYTES], OptionType.ENCRYPTION_TAG);
    assert.throws(() => alice.runs!.sealFrame(bytes, 0, bytes.length, 7), {
      code: "PACKET_NUMBER",
    });
    alice.protection.wipe();
    assert.throws(() => alice.runs!.sealFrame(bytes, 0, bytes.length, 8), { code: "AEAD_LIMIT" });
  });
}

testNeeding([NATIVE_LIBRARY], "NS-NF-007: data of successive frames lands without gaps", () => {
  const [alice, bob] = ends(1, nobleEngine, native());
  const landing = new Landing();
  const data = pattern(new SeededRandom(3), 10 * 500);
  const frames = Array.from(
    { length: 10 },
    (_, i) => sealFrame(alice, i, dataFrame(3, 500 * i, data.subarray(500 * i, 500 * (i + 1)))),
  );
  const segment = frames[0].length + OVERLAY_BYTES;
  const bytes = trainBytes(frames, segment);
  landing.begin(0, bytes.length, segment);
  assert.equal(bob.runs!.open(bytes, landing), 1);
  assert.equal(landing.kind(0), RunResult.DATA);
  assert.equal(landing.packets(0), 10);
  assert.equal(landing.length(0), data.length);
  assert.deepEqual(landing.bytes.slice(landing.at(0), landing.at(0) + data.length), data);
});

testNeeding(
  [NATIVE_LIBRARY],
  "NS-NF-007: a full landing waits to be cleared, nothing is lost",
  () => {
    const [alice, bob] = ends(1, nobleEngine, native());
    const landing = new Landing();
    const random = new SeededRandom(4);
    const reader: Uint8Array[] = [];
    let cleared = 0;
    // Somebody holds the landing all the time.
    landing.hold({ holdsLanding: true, leaveLanding: () => (cleared++, false) });
    for (let n = 0; n < 30; n++) {
      const payload = pattern(random, 60_000);
      const frame = sealFrame(alice, n, payload);
      const before = landing.bytes;
      const [fate] = openTrain(bob, [frame], 0, landing);
      assert.deepEqual(fate, { number: n, payload: hex(payload) });
      // What was lent is not overwritten: the landing took new memory.
      if (landing.bytes !== before) {
        reader.push(before);
        landing.hold({ holdsLanding: true, leaveLanding: () => (cleared++, false) });
      }
    }
    assert(cleared >= 2 && reader.length === cleared);
  },
);

testNeeding([NATIVE_LIBRARY], "NT-ENC-001: each library that is there can be asked for", () => {
  const libraries = nativeAeadLibraries();
  assert(libraries.length > 0);
  for (const name of RECORD_ENGINES) {
    if (name === "auto" || name === "portable") continue;
    if (libraries.includes(name)) {
      assert.equal(chooseEngine(name).engine.records?.name, name);
    } else assert.throws(() => chooseEngine(name), { code: "NATIVE_UNAVAILABLE" });
  }
  assert.equal(chooseEngine("portable").engine.records, undefined);
  const auto = chooseEngine();
  assert(libraries.some((library) => library === auto.engine.records?.name));
  if (libraries.length > 1) assert.match(auto.reason, /^fastest for 1400 bytes: .* ns, .* ns$/);
});

/** Lays data out in memory of several pieces, and names them in the run. */
function scatter(random: SeededRandom, data: Uint8Array, run: SealRun): Uint8Array[] {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < data.length;) {
    const isLast = pieces.length === run.lengths.length - 1;
    const length = isLast ? data.length - at : Math.min(1 + random.below(30_000), data.length - at);
    pieces.push(Uint8Array.from(data.subarray(at, at + length)));
    at += length;
  }
  pieces.forEach((piece, i) => {
    run.addresses[i] = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(piece)));
    run.lengths[i] = piece.length;
  });
  return pieces;
}

/** The CRC is no secret: who changes a frame on its way writes a new one. */
function mendCrc(frame: Uint8Array): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const length = view.getUint32(4);
  const options = view.getUint16(54);
  if (length === frame.length && options <= frame.length - 68) {
    finishFrame(frame, view, 0, frame.length);
  }
}
