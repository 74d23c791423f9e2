/**
 * Reads fields where they lie in a verified body. A table is named by the offset of its start, a
 * vector by the offset of its count, so that walking a body makes no objects. A field that the
 * writer's schema did not have yet (it ends beyond the table's size) reads as its default.
 *
 * Use `openBody` to get a reader: the getters rely on what `verify` has checked.
 */
import { readText } from "./text.ts";
import type { TableShape } from "./shape.ts";
import { verify, VerifyError, verifyError } from "./verify.ts";

const TWO_POW_32 = 4294967296;

/** The root table lies here. */
export const ROOT = 0;

/** What a field of type `u8?`, `bool?` or an optional enum holds when there is none. */
export const NONE_U8 = 0xff;
/** What a `u32?` holds when there is none. */
export const NONE_U32 = 0xffffffff;

/** A verified body, ready to be read; a MALFORMED error names the table when it is not sound. */
export function openBody(body: Uint8Array, root: TableShape): Reader {
  const reader = new Reader(body);
  const code = verify(body, reader.view, root);
  if (code !== VerifyError.Ok) throw verifyError(code, root.name);
  return reader;
}

/** Getters over a verified body. `table` and `vector` are offsets, 0 = absent vector. */
export class Reader {
  readonly view: DataView;

  /** Unverified: for `openBody` and for bodies written in this process. */
  constructor(readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Does the table reach `end` bytes, that is: did its writer know the field? */
  #has(table: number, end: number): boolean {
    return this.view.getUint32(table, true) >= end;
  }

  u8(table: number, field: number, absent: number): number {
    return this.#has(table, field + 1) ? this.view.getUint8(table + field) : absent;
  }
  u16(table: number, field: number, absent: number): number {
    return this.#has(table, field + 2) ? this.view.getUint16(table + field, true) : absent;
  }
  u32(table: number, field: number, absent: number): number {
    return this.#has(table, field + 4) ? this.view.getUint32(table + field, true) : absent;
  }
  u64(table: number, field: number, absent: number): number {
    if (!this.#has(table, field + 8)) return absent;
    const at = table + field;
    return this.view.getUint32(at + 4, true) * TWO_POW_32 + this.view.getUint32(at, true);
  }
  f32(table: number, field: number, absent: number): number {
    return this.#has(table, field + 4) ? this.view.getFloat32(table + field, true) : absent;
  }
  f64(table: number, field: number, absent: number): number {
    return this.#has(table, field + 8) ? this.view.getFloat64(table + field, true) : absent;
  }
  bool(table: number, field: number, absent: boolean): boolean {
    return this.#has(table, field + 1) ? this.view.getUint8(table + field) !== 0 : absent;
  }

  u32Optional(table: number, field: number): number | undefined {
    const value = this.u32(table, field, NONE_U32);
    return value === NONE_U32 ? undefined : value;
  }
  i64Optional(table: number, field: number): number | undefined {
    if (!this.#has(table, field + 8)) return undefined;
    const high = this.view.getInt32(table + field + 4, true);
    if (high === -0x80000000) return undefined; // only none may be that small
    return high * TWO_POW_32 + this.view.getUint32(table + field, true);
  }
  f32Optional(table: number, field: number): number | undefined {
    const value = this.f32(table, field, NaN);
    return value !== value ? undefined : value;
  }
  f64Optional(table: number, field: number): number | undefined {
    const value = this.f64(table, field, NaN);
    return value !== value ? undefined : value;
  }
  boolOptional(table: number, field: number): boolean | undefined {
    const value = this.u8(table, field, NONE_U8);
    return value === NONE_U8 ? undefined : value !== 0;
  }

  /** Text of a `string` field, "" when absent. Decoded (and its UTF-8 checked) only now. */
  string(table: number, field: number): string {
    const at = this.reference(table, field);
    return at === 0 ? "" : this.#text(at);
  }
  /** Text of a `string?` field. */
  stringOptional(table: number, field: number): string | undefined {
    const at = this.reference(table, field);
    return at === 0 ? undefined : this.#text(at);
  }
  /** A view (not a copy) of a `bytes` field, empty when absent. */
  bytesView(table: number, field: number): Uint8Array {
    const at = this.reference(table, field);
    return at === 0 ? this.bytes.subarray(0, 0) : this.#view(at);
  }
  /** A copy of a `bytes` field, empty when absent. */
  bytesCopy(table: number, field: number): Uint8Array<ArrayBuffer> {
    const at = this.reference(table, field);
    return at === 0 ? new Uint8Array(0) : new Uint8Array(this.#view(at));
  }
  /** Offset of the nested table, vector, map, string or bytes in a field; 0 = absent. */
  reference(table: number, field: number): number {
    return this.#has(table, field + 4) ? this.view.getUint32(table + field, true) : 0;
  }

  /** Elements of a vector or entries of a map. */
  count(vector: number): number {
    return vector === 0 ? 0 : this.view.getUint32(vector, true);
  }
  /** Offset of the i-th table of a vector of tables. */
  tableAt(vector: number, i: number): number {
    return this.view.getUint32(vector + 4 + 4 * i, true);
  }
  stringAt(vector: number, i: number): string {
    return this.#text(this.view.getUint32(vector + 4 + 4 * i, true));
  }
  /** A view of the i-th element of a vector of bytes. */
  bytesAt(vector: number, i: number): Uint8Array {
    return this.#view(this.view.getUint32(vector + 4 + 4 * i, true));
  }
  /** Tag of the i-th element of a vector of unions; may be one this schema does not know. */
  unionTagAt(vector: number, i: number): number {
    return this.view.getUint8(vector + 4 + 8 * i);
  }
  /** What the i-th element refers to; only for tags of this schema. */
  unionTableAt(vector: number, i: number): number {
    return this.view.getUint32(vector + 8 + 8 * i, true);
  }
  /** The i-th element as text, for members that are strings. */
  unionStringAt(vector: number, i: number): string {
    return this.#text(this.view.getUint32(vector + 8 + 8 * i, true));
  }
  mapKeyAt(map: number, i: number): string {
    return this.#text(this.view.getUint32(map + 4 + 8 * i, true));
  }
  mapValueAt(map: number, i: number): string {
    return this.#text(this.view.getUint32(map + 8 + 8 * i, true));
  }

  strings(table: number, field: number): string[] {
    const vector = this.reference(table, field);
    const out: string[] = [];
    const count = this.count(vector);
    for (let i = 0; i < count; i++) out.push(this.stringAt(vector, i));
    return out;
  }
  /** Copies of the elements of a vector of bytes. */
  bytesCopies(table: number, field: number): Uint8Array<ArrayBuffer>[] {
    const vector = this.reference(table, field);
    const out: Uint8Array<ArrayBuffer>[] = [];
    const count = this.count(vector);
    for (let i = 0; i < count; i++) out.push(new Uint8Array(this.bytesAt(vector, i)));
    return out;
  }
  map(table: number, field: number): Map<string, string> {
    const map = this.reference(table, field);
    const out = new Map<string, string>();
    const count = this.count(map);
    for (let i = 0; i < count; i++) out.set(this.mapKeyAt(map, i), this.mapValueAt(map, i));
    return out;
  }

  #text(at: number): string {
    return readText(this.bytes, at + 4, this.view.getUint32(at, true));
  }
  #view(at: number): Uint8Array {
    return this.bytes.subarray(at + 4, at + 4 + this.view.getUint32(at, true));
  }
}
