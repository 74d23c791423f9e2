/**
 * A PacketProtection without keys: the payload stays as it is and the tag is a checksum of packet
 * number and payload. It behaves as records do otherwise: damaged, repeated and too old frames
 * do not open.
 */
import { crc32c, type FrameInfo, SEALED_TAG_OFFSET } from "../../lib/l1_link/mod.ts";
import { OPEN_REPLAYED, OPEN_UNAUTHENTIC, type PacketProtection } from "../../lib/l3_stream/mod.ts";
import { RangeSet } from "../../lib/l3_stream/ranges.ts";

/** docs/protocol.md §5. */
const REPLAY_WINDOW = 4_096;
const NUMBERS = 2 ** 32;

export class NullProtection implements PacketProtection {
  readonly keyPhase = 1;
  sealsLeft: number;
  isWiped = false;
  unauthentic = 0;
  replayed = 0;
  readonly #seen = new RangeSet();

  constructor(sealsLeft = 2 ** 23, readonly pathId = 0) {
    this.sealsLeft = sealsLeft;
  }

  /** Seals are counted for each path, unlike under real keys. */
  forPath(pathId: number): NullProtection {
    return new NullProtection(this.sealsLeft, pathId);
  }

  seal(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    payloadOffset: number,
    payloadLength: number,
    packetNumber: number,
  ): void {
    this.sealsLeft--;
    const tagAt = frameOffset + SEALED_TAG_OFFSET;
    const sum = this.#checksum(bytes, payloadOffset, payloadLength, packetNumber);
    for (let i = 0; i < 16; i += 4) view.setUint32(tagAt + i, sum ^ i);
  }

  open(bytes: Uint8Array, view: DataView, _frameOffset: number, info: FrameInfo): number {
    const packetNumber = nearest(info.sequence, this.#seen.largest + 1);
    const isOld = packetNumber <= this.#seen.largest - REPLAY_WINDOW;
    if (isOld || this.#seen.contains(packetNumber)) {
      this.replayed++;
      return OPEN_REPLAYED;
    }
    const sum = this.#checksum(bytes, info.payloadOffset, info.payloadLength, packetNumber);
    for (let i = 0; i < 16; i += 4) {
      if (view.getUint32(info.tagOffset + i) !== (sum ^ i) >>> 0) {
        this.unauthentic++;
        return OPEN_UNAUTHENTIC;
      }
    }
    this.#seen.insert(packetNumber);
    this.#seen.dropBelow(this.#seen.largest - REPLAY_WINDOW);
    return packetNumber;
  }

  wipe(): void {
    this.isWiped = true;
  }

  #checksum(bytes: Uint8Array, at: number, length: number, packetNumber: number): number {
    const nonce = Math.imul(packetNumber + 1, 0x9e3779b1) ^ Math.imul(this.pathId, 0x85ebca6b);
    return (crc32c(bytes, at, at + length) ^ nonce) >>> 0;
  }
}

/** The number with these low 32 bits that is nearest to the expected one. */
function nearest(low: number, expected: number): number {
  const number = expected - expected % NUMBERS + low;
  if (number > expected + NUMBERS / 2 && number >= NUMBERS) return number - NUMBERS;
  if (number < expected - NUMBERS / 2) return number + NUMBERS;
  return number;
}
