/**
 * What `verify` must know about a table: where its references and 64-bit integers lie. Plain
 * scalars need no entry, every bit pattern of theirs is a value. The offsets themselves live in
 * the layout object of each message file; a schema compiler will write both.
 */

/** How a field is checked. */
export const FieldKind = {
  /** string or bytes: u32 length and that many bytes */
  Bytes: 0,
  /** u32 count and that many scalars of `width` bytes */
  Scalars: 1,
  /** u32 count and that many u32 offsets of strings or byte arrays */
  BytesVector: 2,
  /** u32 count and that many (key offset, value offset) of strings, keys strictly ascending */
  Map: 3,
  /** offset of a table */
  Table: 4,
  /** u32 count and that many u32 offsets of tables */
  TableVector: 5,
  /** tag u8, three zero bytes, offset u32 */
  Union: 6,
  /** u32 count and that many unions */
  UnionVector: 7,
  /** u64 below 2^53 */
  U64: 8,
  /** i64 of magnitude below 2^53, or none (the minimum) */
  I64Optional: 9,
} as const;

/** One checked field; `at` is its offset in the table's fixed part. */
export interface FieldShape {
  readonly kind: number;
  readonly at: number;
  /** Bytes of the field inside the fixed part; of one element for Scalars. */
  readonly width: number;
  /** For Table and TableVector. */
  readonly table: TableShape | undefined;
  /** For Union and UnionVector: `members[tag - 1]`. */
  readonly members: readonly UnionMember[] | undefined;
}

/** A table, or "bytes" for a string or byte array. */
export type UnionMember = TableShape | "bytes";

/** A table's checked fields; `name` is for error messages. */
export interface TableShape {
  readonly name: string;
  readonly fields: readonly FieldShape[];
}

/** A string or bytes field. */
export function bytesField(at: number): FieldShape {
  return { kind: FieldKind.Bytes, at, width: 4, table: undefined, members: undefined };
}

/** A vector of scalars, `width` (1, 2, 4 or 8) bytes each. */
export function scalarsField(at: number, width: number): FieldShape {
  return { kind: FieldKind.Scalars, at, width, table: undefined, members: undefined };
}

/** A vector of strings or byte arrays. */
export function bytesVectorField(at: number): FieldShape {
  return { kind: FieldKind.BytesVector, at, width: 4, table: undefined, members: undefined };
}

/** A map of strings to strings. */
export function mapField(at: number): FieldShape {
  return { kind: FieldKind.Map, at, width: 4, table: undefined, members: undefined };
}

/** A nested table. */
export function tableField(at: number, table: TableShape): FieldShape {
  return { kind: FieldKind.Table, at, width: 4, table, members: undefined };
}

/** A vector of tables. */
export function tableVectorField(at: number, table: TableShape): FieldShape {
  return { kind: FieldKind.TableVector, at, width: 4, table, members: undefined };
}

/** A union; `members[tag - 1]` is what the tag stands for. */
export function unionField(at: number, members: readonly UnionMember[]): FieldShape {
  return { kind: FieldKind.Union, at, width: 8, table: undefined, members };
}

/** A vector of unions. */
export function unionVectorField(at: number, members: readonly UnionMember[]): FieldShape {
  return { kind: FieldKind.UnionVector, at, width: 4, table: undefined, members };
}

/** A u64 field. */
export function u64Field(at: number): FieldShape {
  return { kind: FieldKind.U64, at, width: 8, table: undefined, members: undefined };
}

/** An `i64?` field. */
export function i64OptionalField(at: number): FieldShape {
  return { kind: FieldKind.I64Optional, at, width: 8, table: undefined, members: undefined };
}
