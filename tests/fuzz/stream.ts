/**
 * Fuzzing of L3: packet payloads into the parser, and into connections (stream_connection.ts).
 * Inputs are a few frames, made up by field or mutations of a corpus that begins with the golden
 * vectors and grows by what reaches something new.
 *
 * The parser must stay inside its bounds, never throw, and what it accepts must give the same
 * bytes when written again, but for what receivers ignore.
 */
import { fromHex, SeededRandom } from "../../lib/base/mod.ts";
import {
  CONN_ACCEPT,
  CONN_INIT,
  DATA_ACK,
  Frame,
  MALFORMED,
  MESSAGE,
  parseFrame,
} from "../../lib/l3_stream/frames/mod.ts";
import vectors from "../vectors/stream.json" with { type: "json" };
import { type FuzzRun, type FuzzTarget, require } from "./fuzzer.ts";
import { mutate } from "./mutate.ts";
import { ConnectionFuzz } from "./stream_connection.ts";
import { appendFrame, FrameComposer, type Hints } from "./stream_frames.ts";

/** Payloads are kept short: the interesting bytes are at the front, and speed finds more. */
const INPUT_BYTES_MAX = 1_000;
/** Bytes around the payload that must not matter. */
const MARGIN = 64;
/** The corpus stops growing here. */
const CORPUS_MAX = 2_048;
/** One input in so many goes to a connection. */
const CONNECTION_SHARE = 16;
/** Longest frame of a composer: parameters, or a symbol of several records. */
const COMPOSED_BYTES_MAX = 900;

export const streamFuzz: FuzzTarget = {
  name: "stream",
  about: "L3: packet payloads for the parser and for live connections",
  start: (seed) => new StreamFuzz(seed),
};

/** Memory that a payload is parsed in, `filler` all around it. */
interface Place {
  readonly filler: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly frame: Frame;
  /** The frames that were parsed, written again. */
  readonly again: Uint8Array;
  readonly againView: DataView;
}

class StreamFuzz implements FuzzRun {
  readonly #random: SeededRandom;
  readonly #composer: FrameComposer;
  readonly #connections: ConnectionFuzz;
  readonly #corpus: Uint8Array[] = [...vectors.frames, ...vectors.malformed]
    .map(({ hex }) => fromHex(hex)).filter(({ length }) => length <= INPUT_BYTES_MAX);
  readonly #reached = new Set<string>();
  readonly #hints: Hints = {
    own: [1, 3, 5, 7],
    others: [0x80000000, 0x80000002, 0x80000004, 0x80000006],
    sent: [0, 1, 2, 9],
    parametersType: CONN_INIT,
    nodeId: new Uint8Array(16).fill(1),
    token: [1, 2],
    symbol: 0,
  };
  readonly #input = new Uint8Array(INPUT_BYTES_MAX);
  readonly #inputView = new DataView(this.#input.buffer);
  #length = 0;
  #wasConnection = false;
  // The same payload in different surroundings: a read outside shows as a difference.
  readonly #places: Place[] = [0x00, 0xff].map((filler) => {
    const bytes = new Uint8Array(INPUT_BYTES_MAX + 2 * MARGIN).fill(filler);
    const again = new Uint8Array(INPUT_BYTES_MAX + MARGIN);
    const [view, againView] = [new DataView(bytes.buffer), new DataView(again.buffer)];
    return { filler, bytes, view, frame: new Frame(), again, againView };
  });
  #inputs = 0;
  #frames = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#composer = new FrameComposer(this.#random);
    this.#connections = new ConnectionFuzz(new SeededRandom(seed ^ 0x636f6e6e));
  }

  summary(): string {
    const perInput = (this.#frames / Math.max(1, this.#inputs)).toFixed(2);
    return `${this.#corpus.length} in the corpus, ${this.#reached.size} kinds reached, ` +
      `${perInput} frames accepted of each; ${this.#connections.summary()}`;
  }

  lastInput(): Uint8Array {
    return this.#wasConnection ? this.#connections.lastInput() : this.#input.slice(0, this.#length);
  }

  one(): void {
    this.#wasConnection = this.#random.below(CONNECTION_SHARE) === 0;
    if (this.#wasConnection) return this.#connections.one();
    this.#inputs++;
    const kind = this.#random.below(8);
    if (kind === 0) this.#composed();
    else if (kind === 1) this.#noise();
    else this.#mutated();
    this.#judge();
  }

  #mutated(): void {
    const random = this.#random;
    const parent = this.#pick();
    this.#input.set(parent);
    this.#length = mutate(this.#input, parent.length, INPUT_BYTES_MAX, random, this.#pick());
  }

  #composed(): void {
    const random = this.#random;
    let at = 0;
    while (at + COMPOSED_BYTES_MAX <= INPUT_BYTES_MAX && (at === 0 || random.chance(0.5))) {
      at = this.#composer.append(this.#input, this.#inputView, at, this.#hints, 0.5);
    }
    this.#length = at;
  }

  #noise(): void {
    this.#length = this.#random.below(80);
    this.#random.fill(this.#input.subarray(0, this.#length));
  }

  #pick(): Uint8Array {
    return this.#corpus[this.#random.below(this.#corpus.length)];
  }

  /** Parses the payload frame by frame in both places and judges each frame. */
  #judge(): void {
    const [first, second] = this.#places;
    for (const { bytes, filler } of this.#places) {
      for (let i = 0; i < this.#length; i++) bytes[MARGIN + i] = this.#input[i];
      bytes.fill(filler, MARGIN + this.#length, MARGIN + this.#length + MARGIN);
    }
    const end = MARGIN + this.#length;
    let kinds = "";
    for (let at = MARGIN; at < end;) {
      const next = parseFrame(first.bytes, first.view, at, end, first.frame);
      const other = parseFrame(second.bytes, second.view, at, end, second.frame);
      require(next === other, () => `bytes around the payload matter: ${next} or ${other}`);
      const { type, mode } = first.frame;
      kinds += `${type}.${type === MESSAGE ? mode & 7 : ""}.${next === MALFORMED},`;
      if (next === MALFORMED) break;
      require(next > at && next <= end, () => `a frame at ${at} ends at ${next} of ${end}`);
      this.#frames++;
      this.#checkAgain(at, next);
      at = next;
    }
    if (this.#corpus.length >= CORPUS_MAX || this.#reached.has(kinds)) return;
    this.#reached.add(kinds);
    this.#corpus.push(this.#input.slice(0, this.#length));
  }

  /** The frame at [at, next), written again, is the same. */
  #checkAgain(at: number, next: number): void {
    const [first, second] = this.#places;
    const length = write(first);
    require(length === write(second), () => "bytes around the payload reach a length");
    for (let i = 0; i < length; i++) {
      require(first.again[i] === second.again[i], () => "bytes around the payload reach a field");
    }
    if (isWrittenOtherwise(first, at)) return this.#checkFixed(length);
    require(length === next - at, () => `${next - at} bytes are ${length} when written again`);
    for (let i = 0; i < length; i++) {
      const expected = first.bytes[at + i] & (i === 1 ? flagsMask(first.frame.type) : 0xff);
      require(
        first.again[i] === expected,
        () => `byte ${i} is ${first.again[i]} when written again, not ${expected}`,
      );
    }
  }

  /** What encoders write otherwise means the same when parsed once more. */
  #checkFixed(length: number): void {
    const [first, second] = this.#places;
    const next = parseFrame(second.again, second.againView, 0, length, first.frame);
    require(next === length, () => `written again it ends at ${next}, not ${length}`);
    const bytes = second.again.slice(0, length);
    const again = appendFrame(first.again, first.againView, 0, first.frame, bytes);
    require(again === length, () => "written twice it has another length");
    for (let i = 0; i < length; i++) {
      require(first.again[i] === bytes[i], () => `byte ${i} changes when written twice`);
    }
  }
}

function write({ again, againView, frame, bytes }: Place): number {
  return appendFrame(again, againView, 0, frame, bytes);
}

/** Extensions that are not ours, and ECN counts of nothing. */
function isWrittenOtherwise({ frame, bytes }: Place, at: number): boolean {
  if (frame.type === DATA_ACK) return frame.hasEcn && frame.ect0 + frame.ect1 + frame.ce === 0;
  if (frame.type !== CONN_INIT && frame.type !== CONN_ACCEPT) return false;
  const length = bytes[at + 55] << 8 | bytes[at + 56];
  const isOurs = length === 3 && bytes[at + 57] === 1 && bytes[at + 58] === 1 &&
    frame.parameters.maxPaths > 0;
  return length !== 0 && !isOurs;
}

/** Bits of the byte behind the type that mean something. */
function flagsMask(type: number): number {
  return type === MESSAGE ? 0x07 : type === DATA_ACK ? 0x01 : 0xff;
}
