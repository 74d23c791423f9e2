/**
 * Writes a body in one pass: a table's fixed part first, then what it refers to, each reference
 * filled in when its target is placed. The buffer grows and is kept for the next body.
 *
 * Call `begin`, then `table` for the root, then the setters with `table + offset` of the field,
 * then `view` or `finish`. Every byte of the body is written, so nothing of an earlier body can
 * show through.
 */
import { NexusError } from "../../base/mod.ts";
import { NONE_U32, NONE_U8 } from "./reader.ts";
import { compareText } from "./text.ts";
import { TABLE_ALIGNMENT } from "./verify.ts";

/** Short ASCII is copied by a loop; above, encodeInto's call overhead pays off. */
const SHORT_TEXT_CHARS_MAX = 32;

/** A buffer that one large body made this big is dropped instead of kept. */
const KEPT_BYTES_MAX = 1 << 20;

const TWO_POW_32 = 4294967296;

const encoder = new TextEncoder();

/** Growing little-endian writer. Positions are offsets in its buffer. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #at = 0;
  #base = 0;
  /** Largest body this writer makes; a larger one is a TOO_LARGE error. */
  readonly #bodyBytesMax: number;

  constructor(bodyBytesMax: number, capacity = 1024) {
    this.#bodyBytesMax = bodyBytesMax;
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Starts a new body behind `reserved` bytes (a multiple of 8) that the caller fills later. */
  begin(reserved = 0): void {
    if (this.#bytes.length > KEPT_BYTES_MAX) {
      this.#bytes = new Uint8Array(1024);
      this.#view = new DataView(this.#bytes.buffer);
    }
    this.#at = this.#base = reserved;
  }

  /** Bytes of the body so far. */
  get bodyLength(): number {
    return this.#at - this.#base;
  }
  /** The buffer as a view for the reserved bytes. Changes when the buffer grows. */
  get dataView(): DataView {
    return this.#view;
  }
  /** Reserved bytes and body, in place: valid until the next `begin`. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at);
  }
  /** Reserved bytes and body, copied. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }

  /** Places a table with a fixed part of `size` zero bytes and returns its position. */
  table(size: number): number {
    const at = this.#place(TABLE_ALIGNMENT, 0, size);
    this.#view.setUint32(at, size, true);
    return at;
  }
  /** Places a table and refers to it from the field at `field`. */
  tableIn(field: number, size: number): number {
    const at = this.table(size);
    this.#view.setUint32(field, at - this.#base, true);
    return at;
  }
  /**
   * Places a vector of `count` absent references (width 4), map entries or unions (width 8) and
   * refers to it from `field`; returns the position of its first element.
   */
  referencesIn(field: number, count: number, width: number): number {
    const at = this.#place(4, 4, count * width);
    this.#view.setUint32(at, count, true);
    this.#view.setUint32(field, at - this.#base, true);
    return at + 4;
  }

  u8(at: number, value: number): void {
    if ((value & 0xff) !== value) throw refused("u8", value);
    this.#view.setUint8(at, value);
  }
  u16(at: number, value: number): void {
    if ((value & 0xffff) !== value) throw refused("u16", value);
    this.#view.setUint16(at, value, true);
  }
  u32(at: number, value: number): void {
    if (value >>> 0 !== value) throw refused("u32", value);
    this.#view.setUint32(at, value, true);
  }
  u64(at: number, value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw refused("u64 below 2^53", value);
    this.#putInteger(at, value);
  }
  f32(at: number, value: number): void {
    this.#view.setFloat32(at, value, true);
  }
  f64(at: number, value: number): void {
    this.#view.setFloat64(at, value, true);
  }
  bool(at: number, value: boolean): void {
    this.#view.setUint8(at, value ? 1 : 0);
  }

  u8Optional(at: number, value: number | undefined): void {
    if (value === NONE_U8) throw refused("u8? below 255", value);
    this.u8(at, value ?? NONE_U8);
  }
  u32Optional(at: number, value: number | undefined): void {
    if (value === NONE_U32) throw refused("u32? below 2^32 - 1", value);
    this.u32(at, value ?? NONE_U32);
  }
  i64Optional(at: number, value: number | undefined): void {
    if (value === undefined) {
      this.#view.setUint32(at, 0, true);
      this.#view.setUint32(at + 4, 0x80000000, true);
    } else {
      if (!Number.isSafeInteger(value)) throw refused("i64 of magnitude below 2^53", value);
      this.#putInteger(at, value);
    }
  }
  f32Optional(at: number, value: number | undefined): void {
    this.#view.setFloat32(at, value ?? NaN, true);
  }
  f64Optional(at: number, value: number | undefined): void {
    this.#view.setFloat64(at, value ?? NaN, true);
  }
  boolOptional(at: number, value: boolean | undefined): void {
    this.#view.setUint8(at, value === undefined ? NONE_U8 : value ? 1 : 0);
  }

  /** A `string` field, whose default is "": nothing is written for it. */
  string(field: number, text: string): void {
    if (text !== "") this.stringElement(field, text);
  }
  /** A `string?` field. */
  stringOptional(field: number, text: string | undefined): void {
    if (text !== undefined) this.stringElement(field, text);
  }
  /** Places a string, empty or not, and refers to it from `field`. */
  stringElement(field: number, text: string): void {
    const chars = text.length;
    if (chars > this.#bodyBytesMax) throw this.#tooLarge(chars);
    const at = this.#place(4, 4, 0);
    this.#view.setUint32(field, at - this.#base, true);
    this.#reserve(chars);
    let end = at + 4;
    if (chars <= SHORT_TEXT_CHARS_MAX) {
      const bytes = this.#bytes;
      let i = 0;
      for (; i < chars; i++) {
        const code = text.charCodeAt(i);
        if (code >= 0x80) break;
        bytes[end + i] = code;
      }
      end = i === chars ? end + chars : this.#encode(text, end);
    } else {
      end = this.#encode(text, end);
    }
    this.#at = end;
    this.#view.setUint32(at, end - at - 4, true);
    this.#checkSize();
  }
  /** A `bytes` field, whose default is no bytes: nothing is written for them. */
  bytes(field: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.bytesElement(field, bytes);
  }
  /** Places bytes, empty or not, and refers to them from `field`. */
  bytesElement(field: number, bytes: Uint8Array): void {
    if (bytes.length > this.#bodyBytesMax) throw this.#tooLarge(bytes.length);
    const at = this.#place(4, 4, 0);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, at + 4);
    this.#at = at + 4 + bytes.length;
    this.#view.setUint32(at, bytes.length, true);
    this.#view.setUint32(field, at - this.#base, true);
    this.#checkSize();
  }
  strings(field: number, texts: readonly string[]): void {
    if (texts.length === 0) return;
    const first = this.referencesIn(field, texts.length, 4);
    for (let i = 0; i < texts.length; i++) this.stringElement(first + 4 * i, texts[i]);
  }
  bytesVector(field: number, items: readonly Uint8Array[]): void {
    if (items.length === 0) return;
    const first = this.referencesIn(field, items.length, 4);
    for (let i = 0; i < items.length; i++) this.bytesElement(first + 4 * i, items[i]);
  }
  /** A map, its keys sorted by their UTF-8 bytes. */
  map(field: number, map: ReadonlyMap<string, string>): void {
    if (map.size === 0) return;
    const entries: [key: string, value: string][] = [];
    for (const [key, value] of map) entries.push([key.toWellFormed(), value]);
    if (entries.length > 1) entries.sort((a, b) => compareText(a[0], b[0]));
    const first = this.referencesIn(field, entries.length, 8);
    for (let i = 0; i < entries.length; i++) {
      const [key, value] = entries[i];
      // Keys that differ only in unpaired surrogates become one key in UTF-8.
      if (i > 0 && entries[i - 1][0] === key) {
        throw new NexusError("INVALID_VALUE", "cannot encode map: two keys have the same UTF-8");
      }
      this.stringElement(first + 8 * i, key);
      this.stringElement(first + 8 * i + 4, value);
    }
  }

  /** Moves to where `lead` bytes further on is aligned, takes lead + length bytes, zeroes them. */
  #place(alignment: number, lead: number, length: number): number {
    const from = this.#at;
    const offset = from - this.#base;
    const at = from + (-(offset + lead) & (alignment - 1));
    const end = at + lead + length;
    if (end > this.#bytes.length) this.#grow(end);
    this.#bytes.fill(0, from, end);
    this.#at = end;
    this.#checkSize();
    return at;
  }

  /** Encodes text at `at` and returns its end. Grows only as the text turns out not to be ASCII. */
  #encode(text: string, at: number): number {
    let rest = text;
    for (;;) {
      const { read, written } = encoder.encodeInto(rest, this.#bytes.subarray(at));
      at += written;
      if (read === rest.length) return at;
      rest = rest.slice(read);
      this.#grow(at + 3 * rest.length); // a UTF-16 unit takes at most 3 bytes
    }
  }

  #putInteger(at: number, value: number): void {
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setUint32(at + 4, Math.floor(value / TWO_POW_32) >>> 0, true);
  }

  #reserve(length: number): void {
    if (this.#at + length > this.#bytes.length) this.#grow(this.#at + length);
  }

  #grow(needed: number): void {
    const bigger = new Uint8Array(Math.max(2 * this.#bytes.length, needed));
    bigger.set(this.#bytes);
    this.#bytes = bigger;
    this.#view = new DataView(bigger.buffer);
  }

  #checkSize(): void {
    if (this.#at - this.#base > this.#bodyBytesMax) throw this.#tooLarge(this.#at - this.#base);
  }
  #tooLarge(length: number): NexusError {
    return new NexusError(
      "TOO_LARGE",
      `cannot encode message: body is ${length} bytes or more, expected at most ${this.#bodyBytesMax}`,
    );
  }
}

function refused(type: string, value: number | undefined): NexusError {
  return new NexusError(
    "INVALID_VALUE",
    `cannot encode field: value is ${value}, expected ${type}`,
  );
}
