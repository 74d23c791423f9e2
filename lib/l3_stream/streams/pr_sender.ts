/**
 * Sending half of a probabilistic stream (docs/protocol.md §5.9). Queued messages go out as source
 * symbols, one to a packet: small ones share a symbol, large ones are cut. A block of source
 * symbols ends when it is full, when its time is up or when no more will come; then as many repair
 * symbols follow as the asked probability needs at the losses that the receiver reports. What was
 * sent is kept until its block has ended and never sent again.
 *
 *   queue → open block (source symbols, sent as they are made) → repairs (sent) → next block
 */
import { NEVER } from "../../base/mod.ts";
import { LossEstimate } from "../fec/loss_estimate.ts";
import { repairsNeeded } from "../fec/redundancy.ts";
import { BLOCK_SOURCES_MAX, FEC_HEAD_BYTES } from "../frames/fec.ts";
import { appendRecordHead, RECORD_HEAD_BYTES } from "../frames/record.ts";
import type { SymbolCounts } from "../frames/report.ts";
import { SYMBOL_BYTES_MAX, SYMBOL_HEAD_BYTES, SYMBOL_LENGTH_BYTES } from "../frames/symbol.ts";
import { MESSAGE_OVERHEAD_BYTES } from "./message_sender.ts";
import type { PrShared } from "./pr_shared.ts";

/** Symbols that the memory of a block starts with. */
const SLOTS_MIN = 8;
const MILLION = 1_000_000;
/** §5.9: asked probability of a stream that was opened by its data. */
export const PROBABILITY_PPM_DEFAULT = 990_000;
export const PROBABILITY_PPM_MAX = 999_999;

/** A report tells of symbols that were never sent. */
export const REPORT_IMPOSSIBLE = -1;

export class PrSender {
  readonly #shared: PrShared;
  readonly #estimate = new LossEstimate();
  /** Repairs by (sources, symbols of a message, blocks of a message); cleared by each report. */
  readonly #needed = new Map<number, number>();
  /** Asked probability in millionths. */
  probabilityPpm = PROBABILITY_PPM_DEFAULT;

  readonly #queue: Uint8Array[] = [];
  /** Number of #queue[0], and how much of it is in symbols. */
  #firstMessage = 0;
  #firstSent = 0;
  #bufferedBytes = 0;
  #finished = false;

  /** The block: symbols of #stride bytes, sources then repairs, each source with its length first. */
  #slab: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#slab.buffer);
  #stride = 0;
  readonly #lengths = new Uint16Array(BLOCK_SOURCES_MAX);
  /** Number of the block's first source symbol. */
  #first = 0;
  #sources = 0;
  #repairs = 0;
  #repairsSent = 0;
  /** Bytes of each symbol of the block, its longest source's. */
  #symbolBytes = 0;
  /** Most source symbols of the block that one message has, and most blocks that one spans. */
  #messageSymbols = 0;
  #messageBlocks = 0;
  /** Symbols of this block that the message in hand has, and blocks that it spans. */
  #handSymbols = 0;
  #handBlocks = 0;
  /** When the open block ends at the latest. */
  #flushUs = NEVER;

  // What pick() chose.
  isRepair = false;
  /** Number of the source symbol, or of the first one of the repaired block. */
  symbol = 0;
  sourceCount = 0;
  repair = 0;
  length = 0;
  /** The last pick() found something that needs more room. */
  needsRoom = false;
  /** Packet that holds the newest symbol: one packet never holds two, they would be lost together. */
  lastPacket = -1;
  lastPath = -1;
  /** Place of the path whose turn it is to take a symbol. */
  nextPath = 0;
  #pickedAt = 0;

  /** Counters. */
  sourcesSent = 0;
  repairsSent = 0;

  constructor(readonly bufferBytesMax: number, shared: PrShared) {
    this.#shared = shared;
  }

  /** Messages accepted so far: the final size once no more are sent. */
  get end(): number {
    return this.#firstMessage + this.#queue.length;
  }
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }
  get hasRepairs(): boolean {
    return this.#repairsSent < this.#repairs;
  }
  /** What a packet must have room for to take the next repair symbol; 0 when it is a source's turn. */
  get repairRoom(): number {
    return this.hasRepairs ? FEC_HEAD_BYTES + this.#symbolBytes : 0;
  }
  /** Whether a symbol could go out now. */
  get sendable(): boolean {
    return this.#queue.length > 0 || this.hasRepairs;
  }
  get allSent(): boolean {
    return this.#queue.length === 0 && this.#sources === 0;
  }
  /** When flush() wants to be called; NEVER when no block is open. */
  get deadlineUs(): number {
    return this.#flushUs;
  }
  /** Share of symbols that the path loses, as the reports have it. */
  get lossRate(): number {
    return this.#estimate.lossRate;
  }

  /** Copies the message; false when the buffer is full. One is always taken by an empty buffer. */
  enqueue(bytes: Uint8Array): boolean {
    const cost = bytes.length + MESSAGE_OVERHEAD_BYTES;
    if (this.#bufferedBytes > 0 && this.#bufferedBytes + cost > this.bufferBytesMax) return false;
    this.#bufferedBytes += cost;
    this.#queue.push(bytes.slice());
    return true;
  }

  /** No more messages will come: the last block need not wait. */
  finish(): void {
    this.#finished = true;
    if (this.#queue.length === 0) this.#endBlock();
  }

  /** Ends the open block when its time is up. */
  flush(nowUs: number): void {
    if (nowUs >= this.#flushUs) this.#endBlock();
  }

  /**
   * Chooses the next symbol for a packet with `room` bytes left, of which a packet without
   * acknowledgement would have `roomMax`. False: nothing to send, or `needsRoom`.
   */
  pick(room: number, roomMax: number, nowUs: number): boolean {
    this.needsRoom = false;
    if (!this.hasRepairs && this.#queue.length > 0) {
      if (!this.#fitsBlock(roomMax)) this.#endBlock();
      if (!this.hasRepairs) return this.#pickSource(room, roomMax, nowUs);
    }
    return this.hasRepairs && this.#pickRepair(room);
  }

  /** Copies the symbol that pick() chose. */
  copyPicked(into: Uint8Array, at: number): void {
    into.set(this.#slab.subarray(this.#pickedAt, this.#pickedAt + this.length), at);
  }

  /** No packet has room for this block's repairs any more: the path carries less than before. */
  dropRepairs(): void {
    this.#beginBlock();
  }

  /** Takes a report; 0, or REPORT_IMPOSSIBLE. */
  onReport(counts: Readonly<SymbolCounts>): number {
    const covered = counts.received + counts.recovered + counts.lost;
    if (covered > this.#first + this.#sources) return REPORT_IMPOSSIBLE;
    if (this.#estimate.onReport(counts)) this.#needed.clear();
    return 0;
  }

  /** Forgets everything: the stream was reset. */
  clear(): void {
    this.#firstMessage = this.end;
    this.#queue.length = 0;
    this.#firstSent = 0;
    this.#bufferedBytes = 0;
    this.#beginBlock();
    this.#slab = new Uint8Array(0);
  }

  // ---- source symbols ---------------------------------------------------------------------

  /** Whether the next message may begin in this block: one that a block can hold is never split. */
  #fitsBlock(roomMax: number): boolean {
    if (this.#sources === 0 || this.#firstSent > 0) return true;
    const symbols = Math.ceil(this.#queue[0].length / Math.max(1, recordBytesMax(roomMax)));
    return symbols <= 1 || this.#sources + symbols <= BLOCK_SOURCES_MAX;
  }

  #pickSource(room: number, roomMax: number, nowUs: number): boolean {
    if (this.#sources === 0) this.#stride = SYMBOL_LENGTH_BYTES + symbolBytesMax(roomMax);
    const bytesMax = Math.min(symbolBytesMax(roomMax), this.#stride - SYMBOL_LENGTH_BYTES);
    const left = this.#queue[0].length - this.#firstSent;
    const wanted = Math.min(RECORD_HEAD_BYTES + left, bytesMax);
    if (wanted < RECORD_HEAD_BYTES || room < SYMBOL_HEAD_BYTES + wanted) {
      this.needsRoom = true;
      return false;
    }
    this.#makeSlots(this.#sources + 1);
    const start = this.#sources * this.#stride;
    const bytes = this.#fill(
      start + SYMBOL_LENGTH_BYTES,
      Math.min(bytesMax, room - SYMBOL_HEAD_BYTES),
      roomMax,
    );
    this.#view.setUint16(start, bytes);
    this.#lengths[this.#sources] = SYMBOL_LENGTH_BYTES + bytes;
    this.#choose(false, this.#first + this.#sources, start, SYMBOL_LENGTH_BYTES + bytes);
    this.#symbolBytes = Math.max(this.#symbolBytes, this.length);
    if (this.#sources++ === 0) this.#flushUs = nowUs + this.#shared.delayUs;
    this.sourcesSent++;
    const isLast = this.#finished && this.#queue.length === 0;
    if (isLast || this.#sources === BLOCK_SOURCES_MAX) this.#endBlock();
    return true;
  }

  /** Puts records into a symbol: as many whole messages as fit, or a part of one. */
  #fill(at: number, bytesMax: number, roomMax: number): number {
    const start = at;
    const end = at + bytesMax;
    while (this.#queue.length > 0) {
      const message = this.#queue[0];
      const offset = this.#firstSent;
      const left = message.length - offset;
      if (at > start && at + RECORD_HEAD_BYTES + left > end) break;
      const length = Math.min(left, end - at - RECORD_HEAD_BYTES);
      if (length === 0 && left > 0) break;
      at = appendRecordHead(this.#view, at, this.#firstMessage, message.length, offset, length);
      this.#slab.set(
        length === message.length ? message : message.subarray(offset, offset + length),
        at,
      );
      at += length;
      this.#countHand(offset === 0, message.length, roomMax);
      this.#firstSent += length;
      if (this.#firstSent < message.length) break;
      this.#queue.shift();
      this.#firstMessage++;
      this.#firstSent = 0;
      this.#bufferedBytes -= message.length + MESSAGE_OVERHEAD_BYTES;
    }
    return at - start;
  }

  /** The message in hand got one symbol more. */
  #countHand(isBegin: boolean, messageBytes: number, roomMax: number): void {
    if (isBegin) {
      const symbols = Math.ceil(messageBytes / Math.max(1, recordBytesMax(roomMax)));
      this.#handSymbols = 0;
      this.#handBlocks = Math.max(1, Math.ceil((this.#sources + symbols) / BLOCK_SOURCES_MAX));
    }
    this.#handSymbols++;
    this.#messageSymbols = Math.max(this.#messageSymbols, this.#handSymbols);
    this.#messageBlocks = Math.max(this.#messageBlocks, this.#handBlocks);
  }

  // ---- repair symbols ---------------------------------------------------------------------

  /** The open block gets its repairs; without any, the next one begins. */
  #endBlock(): void {
    if (this.#sources === 0 || this.hasRepairs) return;
    this.#flushUs = NEVER;
    this.#repairs = this.#repairsFor(this.#sources, this.#messageSymbols, this.#messageBlocks);
    if (this.#repairs === 0) return this.#beginBlock();
    const count = this.#sources + this.#repairs;
    this.#makeSlots(count);
    const { codec, offsets } = this.#shared;
    for (let i = 0; i < count; i++) offsets[i] = i * this.#stride;
    for (let i = 0; i < this.#sources; i++) {
      const at = offsets[i];
      this.#slab.fill(0, at + this.#lengths[i], at + this.#symbolBytes);
    }
    codec.encode(
      this.#slab,
      offsets,
      this.#sources,
      this.#repairs,
      this.#symbolBytes,
    );
  }

  /** A message may fail in any of its blocks: each gets its share of what may go wrong. */
  #repairsFor(sources: number, symbols: number, blocks: number): number {
    const key = (blocks * BLOCK_SOURCES_MAX + symbols) * (BLOCK_SOURCES_MAX + 1) + sources;
    let needed = this.#needed.get(key);
    if (needed === undefined) {
      const failureMax = (1 - this.probabilityPpm / MILLION) / blocks;
      needed = repairsNeeded(sources, symbols, failureMax, this.#estimate.model);
      this.#needed.set(key, needed);
    }
    return needed;
  }

  #pickRepair(room: number): boolean {
    if (room < FEC_HEAD_BYTES + this.#symbolBytes) {
      this.needsRoom = true;
      return false;
    }
    const slot = this.#sources + this.#repairsSent;
    this.#choose(true, this.#first, slot * this.#stride, this.#symbolBytes);
    this.sourceCount = this.#sources;
    this.repair = this.#repairsSent++;
    this.repairsSent++;
    if (!this.hasRepairs) this.#beginBlock(); // the slab stays as it is until the next source
    return true;
  }

  #choose(isRepair: boolean, symbol: number, at: number, length: number): void {
    this.isRepair = isRepair;
    this.symbol = symbol;
    this.#pickedAt = at;
    this.length = length;
  }

  #beginBlock(): void {
    this.#first += this.#sources;
    this.#sources = this.#repairs = this.#repairsSent = 0;
    this.#symbolBytes =
      this.#messageSymbols =
      this.#messageBlocks =
      this.#handSymbols =
        0;
    this.#flushUs = NEVER;
  }

  #makeSlots(count: number): void {
    if (count * this.#stride <= this.#slab.length) return;
    let slots = SLOTS_MIN;
    while (slots < count) slots *= 2;
    const slab = new Uint8Array(slots * this.#stride);
    slab.set(this.#slab.subarray(0, this.#sources * this.#stride));
    this.#slab = slab;
    this.#view = new DataView(slab.buffer);
  }
}

/** Room that an acknowledgement may take without a symbol having to wait for it. */
const ACK_ROOM = 64;

/** Bytes of a symbol for packets that have so much room; repairs need a longer head. */
function symbolBytesMax(roomMax: number): number {
  const headBytes = Math.max(SYMBOL_HEAD_BYTES, FEC_HEAD_BYTES + SYMBOL_LENGTH_BYTES);
  return Math.min(SYMBOL_BYTES_MAX, roomMax - ACK_ROOM - headBytes);
}

function recordBytesMax(roomMax: number): number {
  return symbolBytesMax(roomMax) - RECORD_HEAD_BYTES;
}
