/**
 * Fuzzing of the reassembler: honest messages among hostile fragments from many sources. Its
 * memory must stay within the limits of docs/protocol.md §2.2 at every step, its accounts must end
 * at zero, and an honest message whose pieces come in one go must come out whole.
 */
import type { SeededRandom } from "../../lib/base/mod.ts";
import {
  decodeFrame,
  encodeHeader,
  finishFrame,
  Flag,
  fragment,
  FrameError,
  FrameInfo,
  FrameType,
  HEADER_BYTES,
  HeaderFields,
  MESSAGE_BYTES_MAX,
  putFragmentInfo,
  Reassembler,
  REASSEMBLY_BYTES_MAX,
  REASSEMBLY_SETS_MAX,
  SET_LIFE_US_MAX,
  SOURCE_BYTES_MAX,
  SOURCE_SETS_MAX,
} from "../../lib/l1_link/mod.ts";
import { require } from "./fuzzer.ts";

/** Hostile sources; enough that all of them together could pass the limits in all. */
const SOURCES = 200;
/** Header, FRAGMENT_INFO, the longest payload we send, CRC. */
const FRAME_BYTES = HEADER_BYTES + 8 + MESSAGE_BYTES_MAX + 8 + 4;

export class FragmentFuzz {
  readonly #random: SeededRandom;
  readonly #reassembler = new Reassembler();
  /** Hears one hostile source only, which shows the limits of a source. */
  readonly #lonely = new Reassembler();
  readonly #bytes = new Uint8Array(FRAME_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #info = new FrameInfo();
  readonly #fields = new HeaderFields();
  #nowUs = 0;
  #honest = 0;
  #drains = 0;
  #bytesHeldMax = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#fields.optionsLength = 8;
    this.#fields.type = FrameType.TRUST_HANDSHAKE;
  }

  summary(): string {
    const { completed, conflicts, evicted } = this.#reassembler.stats();
    return `reassembly held at most ${this.#bytesHeldMax} bytes ` +
      `(${completed} whole, ${this.#honest} of them honest, ${conflicts} conflicts, ${evicted} evicted)`;
  }

  one(): void {
    const random = this.#random;
    const reassembler = this.#reassembler;
    const choice = random.below(4096);
    if (choice === 0) this.#drain();
    else if (choice < 8) this.#nowUs += random.below(SET_LIFE_US_MAX);
    else if (choice < 100) this.#honestMessage();
    else this.#hostile();
    const held = reassembler.bytesHeld;
    if (held > this.#bytesHeldMax) this.#bytesHeldMax = held;
    require(held >= 0 && held <= REASSEMBLY_BYTES_MAX, () => `${held} bytes held`);
    require(reassembler.setsHeld <= REASSEMBLY_SETS_MAX, () => `${reassembler.setsHeld} sets held`);
    require((held > 0) === (reassembler.setsHeld > 0), () => "bytes without sets");
    const next = reassembler.nextTimeoutUs();
    require(
      reassembler.setsHeld === 0 || next <= this.#nowUs + SET_LIFE_US_MAX,
      () => `the next timeout is ${next - this.#nowUs} µs away`,
    );
  }

  #hostile(): void {
    const random = this.#random;
    const small = random.chance(0.7);
    const length = small ? random.below(40) : random.below(MESSAGE_BYTES_MAX);
    const offset = random.chance(0.02)
      ? random.u32()
      : random.chance(0.6)
      ? 16 * random.below(8)
      : random.below(MESSAGE_BYTES_MAX + 8);
    this.#fields.sequence = random.below(SOURCE_SETS_MAX + 8);
    this.#fields.streamId = 0;
    const more = random.chance(0.7);
    const source = random.below(SOURCES);
    const result = this.#bring(`source ${source}`, offset, 1 + random.below(18), more, length);
    // Turn by turn only small fragments, or the limit of bytes hides that of sets.
    if (source < SOURCES / 4 && (small || this.#drains % 2 === 0)) {
      const { bytesHeld, setsHeld } = this.#lonelyAfter();
      require(bytesHeld <= SOURCE_BYTES_MAX, () => `one source holds ${bytesHeld} bytes`);
      require(setsHeld <= SOURCE_SETS_MAX, () => `one source holds ${setsHeld} sets`);
    }
    require(
      result === undefined || result.length <= MESSAGE_BYTES_MAX,
      () => `a message of ${result?.length} bytes`,
    );
  }

  /** The same fragment as just now, from the one source. */
  #lonelyAfter(): Reassembler {
    this.#lonely.add("lonely", this.#info, this.#bytes, this.#nowUs);
    return this.#lonely;
  }

  /** From a source of its own, pieces in any order. */
  #honestMessage(): void {
    const random = this.#random;
    const message = new Uint8Array(1 + random.below(MESSAGE_BYTES_MAX));
    for (let i = 0; i < message.length; i += 97) message[i] = i + this.#honest;
    const pieces = fragment(message, 1200 + random.below(1000));
    if (pieces[0].total === 0) return;
    for (let i = pieces.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [pieces[i], pieces[j]] = [pieces[j], pieces[i]];
    }
    this.#fields.sequence = 0;
    this.#fields.streamId = 1;
    let whole: Uint8Array | undefined;
    for (const { offset, total, more, bytes } of pieces) {
      this.#bytes.set(bytes, HEADER_BYTES + 8);
      whole = this.#bring("honest", offset, total, more, bytes.length);
    }
    require(whole?.length === message.length, () => `an honest message came as ${whole?.length}`);
    for (let i = 0; i < message.length; i++) {
      require(whole![i] === message[i], () => `byte ${i} of an honest message changed`);
    }
    this.#honest++;
  }

  /** Everything times out; nothing may be left. */
  #drain(): void {
    this.#drains++;
    this.#nowUs += SET_LIFE_US_MAX;
    this.#reassembler.expire(this.#nowUs);
    const { bytesHeld, setsHeld } = this.#reassembler;
    require(
      bytesHeld === 0 && setsHeld === 0,
      () => `${setsHeld} sets, ${bytesHeld} bytes are left`,
    );
  }

  /** A fragment as a real frame, whose payload lies in the buffer already. */
  #bring(source: string, offset: number, total: number, more: boolean, length: number) {
    const frameLength = HEADER_BYTES + 8 + length + 4;
    this.#fields.flags = more ? Flag.MORE_FRAGMENTS : 0;
    encodeHeader(this.#bytes, this.#view, 0, this.#fields);
    putFragmentInfo(this.#bytes, this.#view, HEADER_BYTES, offset, total);
    finishFrame(this.#bytes, this.#view, 0, frameLength);
    const code = decodeFrame(this.#bytes, this.#view, 0, frameLength, this.#info);
    require(code === FrameError.OK, () => `a fragment is refused as ${FrameError[code]}`);
    const before = this.#reassembler.bytesHeld;
    const result = this.#reassembler.add(source, this.#info, this.#bytes, this.#nowUs);
    require(
      this.#reassembler.bytesHeld <= before + Math.min(length, SOURCE_BYTES_MAX),
      () => "a fragment holds more than its own bytes",
    );
    return result;
  }
}
