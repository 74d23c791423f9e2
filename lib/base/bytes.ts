/**
 * Bytes: hexadecimal, comparison, and a big-endian cursor for cold-path records
 * (certificates, handshake bodies, advertisements). Hot paths use DataView directly.
 */
import { NexusError } from "./errors.ts";

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 bytes of a string. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return utf8Encoder.encode(text);
}

/** String of UTF-8 bytes; a MALFORMED error when they are not UTF-8. */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return utf8Decoder.decode(bytes);
  } catch {
    throw new NexusError("MALFORMED", "cannot read text: bytes are not UTF-8");
  }
}

/** Lower-case hexadecimal of bytes. */
export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += (byte < 16 ? "0" : "") + byte.toString(16);
  return out;
}

/** Bytes of a hexadecimal string of either case; a MALFORMED error otherwise. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new NexusError("MALFORMED", `cannot read hexadecimal: "${clip(text)}" is not hex`);
  }
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

/** base64url without padding (RFC 4648 §5). */
export function toBase64Url(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Bytes of base64url text; a MALFORMED error otherwise. */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) {
    throw new NexusError(
      "MALFORMED",
      `cannot read base64url: "${clip(text)}" has other characters`,
    );
  }
  try {
    return Uint8Array.from(
      atob(text.replaceAll("-", "+").replaceAll("_", "/")),
      (char) => char.charCodeAt(0),
    );
  } catch {
    throw new NexusError("MALFORMED", `cannot read base64url: "${clip(text)}" is cut short`);
  }
}

/** One array with all parts in order. */
export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Negative, zero or positive as `a` sorts before, with or after `b` (byte order). */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** Equality for public values. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return compareBytes(a, b) === 0;
}

/** Whether `bytes` has `other` at `at`; makes no view. */
export function equalBytesAt(bytes: Uint8Array, at: number, other: Uint8Array): boolean {
  for (let i = 0; i < other.length; i++) if (bytes[at + i] !== other[i]) return false;
  return true;
}

/** Equality whose time depends on the length only: for tags, proofs and tokens. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

/** Shortens text from outside for an error message and makes control characters visible. */
export function clip(text: string, charsMax = 60): string {
  const short = text.length > charsMax ? text.slice(0, charsMax) + "…" : text;
  // deno-lint-ignore no-control-regex
  return short.replace(/[\x00-\x1f\x7f]/g, "\uFFFD");
}

const TWO_POW_32 = 4294967296;

/** Reads a u64 that fits a safe integer; -1 when it does not. */
export function readU64(view: DataView, at: number): number {
  const high = view.getUint32(at);
  return high >= 0x200000 ? -1 : high * TWO_POW_32 + view.getUint32(at + 4);
}

/** Writes a safe integer as a big-endian u64. */
export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_POW_32));
  view.setUint32(at + 4, value >>> 0);
}

/** Cursor over big-endian bytes. Every read past the end is a MALFORMED error naming `what`. */
export class ByteReader {
  readonly #view: DataView;
  #at = 0;

  constructor(readonly bytes: Uint8Array, readonly what: string) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get offset(): number {
    return this.#at;
  }
  get remaining(): number {
    return this.bytes.length - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }
  u24(): number {
    const at = this.#take(3);
    return this.#view.getUint8(at) * 65536 + this.#view.getUint16(at + 1);
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }
  /** A u64 below 2⁵³. */
  u64(): number {
    const value = readU64(this.#view, this.#take(8));
    if (value < 0) {
      throw new NexusError("MALFORMED", `cannot read ${this.what}: integer is 2^53 or more`);
    }
    return value;
  }
  /** A view (not a copy) of the next `length` bytes. */
  take(length: number): Uint8Array {
    const at = this.#take(length);
    return this.bytes.subarray(at, at + length);
  }
  bytes8(): Uint8Array {
    return this.take(this.u8());
  }
  bytes16(): Uint8Array {
    return this.take(this.u16());
  }
  /** The end must be here. */
  end(): void {
    if (this.remaining !== 0) {
      throw new NexusError(
        "MALFORMED",
        `cannot read ${this.what}: ${this.remaining} spare bytes at ${this.#at}`,
      );
    }
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.bytes.length - at) {
      throw new NexusError(
        "MALFORMED",
        `cannot read ${this.what}: ${length} bytes wanted at ${at}, ${this.remaining} left`,
      );
    }
    this.#at = at + length;
    return at;
  }
}

/** Growing big-endian writer. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #at = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#at;
  }

  // The place is taken first: growing replaces the view.
  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value);
    return this;
  }
  u24(value: number): this {
    const at = this.#grow(3);
    this.#view.setUint8(at, value >>> 16);
    this.#view.setUint16(at + 1, value & 0xffff);
    return this;
  }
  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value);
    return this;
  }
  u64(value: number): this {
    const at = this.#grow(8);
    writeU64(this.#view, at, value);
    return this;
  }
  put(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }
  bytes8(bytes: Uint8Array): this {
    return this.u8(checkLength(bytes, 0xff)).put(bytes);
  }
  bytes16(bytes: Uint8Array): this {
    return this.u16(checkLength(bytes, 0xffff)).put(bytes);
  }
  /** Overwrites a u16 already written, for lengths known late. */
  patchU16(at: number, value: number): this {
    this.#view.setUint16(at, value);
    return this;
  }
  /** A copy of what was written. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }

  #grow(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) {
      const bigger = new Uint8Array(Math.max(2 * this.#bytes.length, at + length));
      bigger.set(this.#bytes);
      this.#bytes = bigger;
      this.#view = new DataView(bigger.buffer);
    }
    this.#at = at + length;
    return at;
  }
}

function checkLength(bytes: Uint8Array, max: number): number {
  if (bytes.length > max) {
    throw new NexusError(
      "TOO_LARGE",
      `cannot write field: ${bytes.length} bytes, expected at most ${max}`,
    );
  }
  return bytes.length;
}
