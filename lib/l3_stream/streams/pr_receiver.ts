/**
 * Receiving half of a probabilistic stream (docs/protocol.md §5.9). The records of every source
 * symbol are taken as it arrives; the newest symbols are kept, so that repair symbols can rebuild
 * those that do not. Nothing ever waits: a message is delivered when its last part is here, and
 * what falls out of the window is given up.
 */
import { NEVER } from "../../base/mod.ts";
import { BLOCK_REPAIRS_MAX } from "../frames/fec.ts";
import type { Frame } from "../frames/frame.ts";
import { parseRecord } from "../frames/record.ts";
import type { SymbolCounts } from "../frames/report.ts";
import { areRecords, SYMBOL_LENGTH_BYTES } from "../frames/symbol.ts";
import { RangeSet } from "../ranges.ts";
import type { PrShared } from "./pr_shared.ts";
import { SymbolWindow, WINDOW_SYMBOLS } from "./symbol_window.ts";

/** Symbols kept: two of the largest blocks, one that is being repaired and one that arrives. */
const KEPT_SYMBOLS = 128;
/** Blocks that wait for more symbols; the oldest gives way. */
const BLOCKS_MAX = 8;
/**
 * Messages of which a part is here, and gaps in one: an honest sender begins at most one message
 * with each symbol of the window and leaves no more gaps than lost symbols. Past this a message is
 * lost.
 */
export const PARTIALS_MAX = WINDOW_SYMBOLS;
const PART_GAPS_MAX = WINDOW_SYMBOLS;
/** What a message in parts costs beside its bytes, about: without it two bytes would cost nothing. */
const PARTIAL_OVERHEAD_BYTES = 256;
/** A report is due after so many newly counted symbols, or so long after the last one. */
export const REPORT_SYMBOLS = 32;
export const REPORT_US = 100_000;

/** What became of a symbol. */
export const SYMBOL_TAKEN = 0;
/** It contradicts others: the peer's code is not ours. */
export const SYMBOL_CONTRADICTS = 1;
/** A message is longer than allowed. */
export const SYMBOL_TOO_LARGE = 2;

/** A block with repair symbols and too few symbols yet. */
interface PendingBlock {
  readonly first: number;
  readonly sourceCount: number;
  readonly symbolBytes: number;
  /** Repair symbols and which ones they are. */
  readonly repairs: Uint8Array[];
  readonly numbers: number[];
}

/** A message of which not all parts are here. */
interface Partial {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly have: RangeSet;
  /** Newest symbol that had a part. */
  symbol: number;
}

const NOTHING = new Uint8Array(0);

export class PrReceiver {
  readonly #window = new SymbolWindow();
  /** Coded source symbols (length first) by number modulo the window; empty: not kept. */
  #kept: Uint8Array[] = [];
  #keptLength = new Uint16Array(0);
  #keptNumber = new Float64Array(0);
  readonly #blocks: PendingBlock[] = [];
  readonly #partial = new Map<number, Partial>();
  #held = 0;
  #reported = 0;
  #reportedUs = 0;

  /** Whole messages in the order they became so; the owner takes them out. */
  readonly completed: Uint8Array<ArrayBuffer>[] = [];
  /** One past the highest message number seen. */
  highest = 0;
  completedCount = 0;
  /** After STREAM_CLOSE: until when symbols that are late may still complete messages. */
  lingerUs = NEVER;
  isOver = false;

  readonly #shared: PrShared;

  constructor(shared: PrShared) {
    this.#shared = shared;
  }

  get counts(): Readonly<SymbolCounts> {
    return this.#window.counts;
  }
  get bytesHeld(): number {
    return this.#held;
  }

  /** Takes the source symbol `symbol`, whose records are bytes[at, at + length). */
  onSource(
    symbol: number,
    bytes: Uint8Array,
    view: DataView,
    at: number,
    length: number,
    totalMax: number,
  ): number {
    const window = this.#window;
    window.advance(symbol + 1);
    if (symbol < window.low || !window.arrive(symbol)) return SYMBOL_TAKEN;
    this.#keep(symbol, bytes, at - SYMBOL_LENGTH_BYTES, SYMBOL_LENGTH_BYTES + length);
    const result = this.#takeRecords(symbol, bytes, view, at, at + length, totalMax);
    if (result !== SYMBOL_TAKEN) return result;
    for (let i = this.#blocks.length - 1; i >= 0; i--) {
      const { first, sourceCount } = this.#blocks[i];
      if (symbol < first || symbol >= first + sourceCount) continue;
      const decoded = this.#tryDecode(i, totalMax);
      if (decoded !== SYMBOL_TAKEN) return decoded;
    }
    return SYMBOL_TAKEN;
  }

  /** Takes a repair symbol, bytes[at, at + length), as a FEC frame has it. */
  onRepair(frame: Frame, bytes: Uint8Array, totalMax: number): number {
    const { symbol: first, sourceCount, repair, dataAt, dataLength } = frame;
    const window = this.#window;
    window.advance(first + sourceCount);
    this.#forgetOldBlocks();
    if (first < window.low || this.#hasAll(first, sourceCount)) return SYMBOL_TAKEN;
    let index = this.#blocks.findIndex((block) => block.first === first);
    if (index < 0) {
      if (this.#blocks.length >= BLOCKS_MAX) this.#forgetBlock(0);
      index = this.#blocks.length;
      const symbolBytes = dataLength;
      this.#blocks.push({ first, sourceCount, symbolBytes, repairs: [], numbers: [] });
    }
    const block = this.#blocks[index];
    if (block.sourceCount !== sourceCount || block.symbolBytes !== dataLength) {
      return SYMBOL_CONTRADICTS;
    }
    if (block.numbers.includes(repair) || !this.#take(dataLength)) return SYMBOL_TAKEN;
    block.repairs.push(bytes.slice(dataAt, dataAt + dataLength));
    block.numbers.push(repair);
    return this.#tryDecode(index, totalMax);
  }

  /** Whether a report should go out with the next acknowledgement; it then counts as made. */
  takeReport(nowUs: number): boolean {
    const news = this.#window.settled - this.#reported;
    if (news < REPORT_SYMBOLS && (news === 0 || nowUs < this.#reportedUs + REPORT_US)) return false;
    this.#reported = this.#window.settled;
    this.#reportedUs = nowUs;
    return true;
  }

  /** Nothing more will be taken: gives all memory back. */
  clear(): void {
    this.#blocks.length = 0;
    this.#kept = [];
    this.#keptLength = new Uint16Array(0);
    this.#partial.clear();
    this.#give(this.#held);
    this.lingerUs = NEVER;
  }

  // ---- messages ---------------------------------------------------------------------------

  #takeRecords(
    symbol: number,
    bytes: Uint8Array,
    view: DataView,
    at: number,
    end: number,
    totalMax: number,
  ): number {
    const record = this.#shared.record;
    while (at < end) {
      at = parseRecord(view, at, end, record);
      if (record.total > totalMax) return SYMBOL_TOO_LARGE;
      this.highest = Math.max(this.highest, record.message + 1);
      if (record.dataLength < record.total) {
        if (!this.#takePart(symbol, bytes)) return SYMBOL_CONTRADICTS;
      } else {
        const { dataAt, dataLength } = record;
        this.#complete(bytes.slice(dataAt, dataAt + dataLength) as Uint8Array<ArrayBuffer>);
      }
    }
    return SYMBOL_TAKEN;
  }

  #takePart(symbol: number, bytes: Uint8Array): boolean {
    const { message, total, offset, dataAt, dataLength } = this.#shared.record;
    let partial = this.#partial.get(message);
    if (partial === undefined) {
      this.#forgetOldPartials();
      const isFull = this.#partial.size >= PARTIALS_MAX;
      if (isFull || !this.#take(total + PARTIAL_OVERHEAD_BYTES)) return true; // it is lost
      partial = { bytes: new Uint8Array(total), have: new RangeSet(), symbol };
      this.#partial.set(message, partial);
    }
    if (partial.bytes.length !== total) return false;
    if (partial.have.count >= PART_GAPS_MAX && !partial.have.contains(offset - 1)) return true;
    partial.symbol = Math.max(partial.symbol, symbol);
    partial.bytes.set(bytes.subarray(dataAt, dataAt + dataLength), offset);
    partial.have.insertRange(offset, offset + dataLength - 1);
    if (!partial.have.containsRange(0, total - 1)) return true;
    this.#partial.delete(message);
    this.#give(total + PARTIAL_OVERHEAD_BYTES);
    this.#complete(partial.bytes);
    return true;
  }

  #complete(message: Uint8Array<ArrayBuffer>): void {
    this.completedCount++;
    this.completed.push(message);
  }

  /** A message none of whose parts is in the window any more gets no others. */
  #forgetOldPartials(): void {
    for (const [number, { symbol, bytes }] of this.#partial) {
      if (symbol >= this.#window.low) continue;
      this.#partial.delete(number);
      this.#give(bytes.length + PARTIAL_OVERHEAD_BYTES);
    }
  }

  // ---- blocks -----------------------------------------------------------------------------

  #hasAll(first: number, sourceCount: number): boolean {
    for (let i = 0; i < sourceCount; i++) if (!this.#window.has(first + i)) return false;
    return true;
  }

  /** Rebuilds the block if enough is here. */
  #tryDecode(index: number, totalMax: number): number {
    const { first, sourceCount, symbolBytes, repairs, numbers } = this.#blocks[index];
    if (first < this.#window.low || this.#hasAll(first, sourceCount)) {
      this.#forgetBlock(index);
      return SYMBOL_TAKEN;
    }
    let have = repairs.length;
    for (let i = 0; i < sourceCount; i++) if (this.#isKept(first + i)) have++;
    if (have < sourceCount) return SYMBOL_TAKEN;
    const { decoder } = this.#shared;
    decoder.begin(sourceCount, BLOCK_REPAIRS_MAX, symbolBytes);
    for (let i = 0; i < sourceCount; i++) {
      if (!this.#isKept(first + i)) continue;
      const place = (first + i) % KEPT_SYMBOLS;
      if (this.#keptLength[place] > symbolBytes) return SYMBOL_CONTRADICTS;
      decoder.put(i, this.#kept[place], this.#keptLength[place]);
    }
    for (let i = 0; i < repairs.length; i++) {
      decoder.put(sourceCount + numbers[i], repairs[i], symbolBytes);
    }
    this.#forgetBlock(index);
    decoder.decode();
    for (let i = 0; i < sourceCount; i++) {
      if (this.#window.has(first + i)) continue;
      const result = this.#takeRebuilt(first + i, decoder.offsetOf(i), symbolBytes, totalMax);
      if (result !== SYMBOL_TAKEN) return result;
    }
    return SYMBOL_TAKEN;
  }

  #takeRebuilt(symbol: number, at: number, symbolBytes: number, totalMax: number): number {
    const { bytes, view } = this.#shared.decoder;
    const from = at + SYMBOL_LENGTH_BYTES;
    const length = view.getUint16(at);
    const fits = length + SYMBOL_LENGTH_BYTES <= symbolBytes;
    if (!fits || !areRecords(view, from, from + length, this.#shared.record)) {
      return SYMBOL_CONTRADICTS;
    }
    this.#window.recover(symbol);
    return this.#takeRecords(symbol, bytes, view, from, from + length, totalMax);
  }

  #forgetOldBlocks(): void {
    for (let i = this.#blocks.length - 1; i >= 0; i--) {
      if (this.#blocks[i].first < this.#window.low) this.#forgetBlock(i);
    }
  }

  #forgetBlock(index: number): void {
    const [{ repairs, symbolBytes }] = this.#blocks.splice(index, 1);
    this.#give(repairs.length * symbolBytes);
  }

  // ---- memory -----------------------------------------------------------------------------

  /** Keeps a symbol for rebuilding others; the memory of its place is used again. */
  #keep(symbol: number, bytes: Uint8Array, at: number, length: number): void {
    if (this.#kept.length === 0) this.#makeKept();
    const place = symbol % KEPT_SYMBOLS;
    if (this.#kept[place].length < length) {
      const before = this.#kept[place].length;
      this.#keptLength[place] = 0;
      if (!this.#take(length - before)) return; // it cannot help others, nothing worse
      this.#kept[place] = new Uint8Array(length);
    }
    this.#kept[place].set(bytes.subarray(at, at + length));
    this.#keptLength[place] = length;
    this.#keptNumber[place] = symbol;
  }

  /** Not before the first symbol: most streams send one way only. */
  #makeKept(): void {
    this.#kept = new Array(KEPT_SYMBOLS).fill(NOTHING);
    this.#keptLength = new Uint16Array(KEPT_SYMBOLS);
    this.#keptNumber = new Float64Array(KEPT_SYMBOLS).fill(-1);
  }

  #isKept(symbol: number): boolean {
    const place = symbol % KEPT_SYMBOLS;
    return this.#keptNumber[place] === symbol && this.#keptLength[place] > 0;
  }

  #take(bytes: number): boolean {
    if (this.#shared.heldBytes + bytes > this.#shared.heldBytesMax) return false;
    this.#shared.heldBytes += bytes;
    this.#held += bytes;
    return true;
  }

  #give(bytes: number): void {
    this.#held -= bytes;
    this.#shared.heldBytes -= bytes;
  }
}
