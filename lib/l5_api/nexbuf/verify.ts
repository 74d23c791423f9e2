/**
 * One pass over a body before anything is read from it. Afterwards every getter of `Reader`
 * stays inside the body and ends.
 *
 * Bounded work: references point behind the object that holds them, so there are no cycles;
 * nesting and the number of objects are limited; and every object reached is charged to a budget of the body's own length,
 * each time it is reached. A writer never shares objects, so an honest body always fits, while a
 * small body that refers to the same object again and again does not.
 */
import { NexusError } from "../../base/mod.ts";
import { FieldKind, type FieldShape, type TableShape, type UnionMember } from "./shape.ts";

/** Tables inside tables, the root included. */
export const DEPTH_MAX = 32;

/**
 * Tables and elements of vectors (scalars apart) and maps in a body. A few bytes each on the wire,
 * they cost a hundred or more as records; this keeps a 64 MiB body of nothing but empty ones from
 * taking gigabytes.
 */
export const OBJECTS_MAX = 262_144;

/** Tables start at multiples of this, so that 8-byte fields are aligned. */
export const TABLE_ALIGNMENT = 8;

/** Why a body was refused; 0 is fine. */
export const VerifyError = {
  Ok: 0,
  TableSize: 1,
  Alignment: 2,
  OffsetBackward: 3,
  OutOfBounds: 4,
  NullElement: 5,
  MapOrder: 6,
  IntegerRange: 7,
  Depth: 8,
  Budget: 9,
  Objects: 10,
} as const;

const REASONS = [
  "fine",
  "table is shorter than its size word or leaves the body",
  "object is not aligned",
  "offset points at or before the end of its own holder",
  "offset, length or count leaves the body",
  "vector element is absent",
  "map keys do not ascend",
  "64-bit integer is 2^53 or more",
  `tables are nested deeper than ${DEPTH_MAX}`,
  "objects reached are larger than the body, so some are shared",
  `body has more than ${OBJECTS_MAX} objects`,
];

/** The typed error of a code, naming the table. */
export function verifyError(code: number, name: string): NexusError {
  return new NexusError("MALFORMED", `cannot read ${name}: ${REASONS[code] ?? code}`);
}

/** Checks a body against the shape of its root table; returns a `VerifyError` code, 0 = fine. */
export function verify(body: Uint8Array, view: DataView, root: TableShape): number {
  const state: State = { body, view, budget: body.length, objects: OBJECTS_MAX };
  return verifyTable(state, 0, root, 1);
}

interface State {
  readonly body: Uint8Array;
  readonly view: DataView;
  /** Bytes that may still be charged. */
  budget: number;
  /** Objects that may still be reached. */
  objects: number;
}

function verifyTable(state: State, at: number, shape: TableShape, depth: number): number {
  const { view } = state;
  if (depth > DEPTH_MAX) return VerifyError.Depth;
  if (at % TABLE_ALIGNMENT !== 0) return VerifyError.Alignment;
  if (at + 4 > view.byteLength) return VerifyError.OutOfBounds;
  const size = view.getUint32(at, true);
  if (size < 4 || at + size > view.byteLength) return VerifyError.TableSize;
  state.budget -= size;
  if (state.budget < 0) return VerifyError.Budget;
  if (--state.objects < 0) return VerifyError.Objects;
  const fields = shape.fields;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i];
    const width = field.kind === FieldKind.Scalars ? 4 : field.width;
    if (field.at + width > size) continue; // written by an older schema
    const code = verifyField(state, at + field.at, at + size, field, depth);
    if (code !== VerifyError.Ok) return code;
  }
  return VerifyError.Ok;
}

/** `fieldAt`: where the field lies; `holderEnd`: references must not point before this. */
function verifyField(
  state: State,
  fieldAt: number,
  holderEnd: number,
  field: FieldShape,
  depth: number,
): number {
  const { view } = state;
  if (field.kind === FieldKind.U64) return verifyU64(view, fieldAt);
  if (field.kind === FieldKind.I64Optional) return verifyI64Optional(view, fieldAt);
  if (field.kind === FieldKind.Union) {
    return verifyUnion(state, fieldAt, holderEnd, field.members!, depth, true);
  }
  const target = view.getUint32(fieldAt, true);
  if (target === 0) return VerifyError.Ok;
  if (target < holderEnd) return VerifyError.OffsetBackward;
  switch (field.kind) {
    case FieldKind.Bytes:
      return verifyBytes(state, target);
    case FieldKind.Table:
      return verifyTable(state, target, field.table!, depth + 1);
    case FieldKind.Scalars:
      return verifyVector(state, target, field.width, field.width);
    case FieldKind.BytesVector:
      return verifyBytesVector(state, target);
    case FieldKind.TableVector:
      return verifyTableVector(state, target, field.table!, depth);
    case FieldKind.UnionVector:
      return verifyUnionVector(state, target, field.members!, depth);
    default:
      return verifyMap(state, target);
  }
}

function verifyU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) < 0x200000 ? VerifyError.Ok : VerifyError.IntegerRange;
}

function verifyI64Optional(view: DataView, at: number): number {
  const high = view.getInt32(at + 4, true);
  const low = view.getUint32(at, true);
  if (high >= -0x200000 && high < 0x200000) {
    return high === -0x200000 && low === 0 ? VerifyError.IntegerRange : VerifyError.Ok;
  }
  return high === -0x80000000 && low === 0 ? VerifyError.Ok : VerifyError.IntegerRange;
}

function verifyBytes(state: State, at: number): number {
  const { view } = state;
  if (at % 4 !== 0) return VerifyError.Alignment;
  if (at + 4 > view.byteLength) return VerifyError.OutOfBounds;
  const length = view.getUint32(at, true);
  if (length > view.byteLength - at - 4) return VerifyError.OutOfBounds;
  state.budget -= 4 + length;
  return state.budget < 0 ? VerifyError.Budget : VerifyError.Ok;
}

/** A vector or map whose elements refer to objects. */
function verifyReferences(state: State, at: number, width: number): number {
  const code = verifyVector(state, at, width, 4);
  if (code !== VerifyError.Ok) return code;
  state.objects -= state.view.getUint32(at, true);
  return state.objects < 0 ? VerifyError.Objects : VerifyError.Ok;
}

/** Checks and charges count and elements, not what the elements refer to. */
function verifyVector(state: State, at: number, width: number, alignment: number): number {
  const { view } = state;
  if (at % 4 !== 0 || (at + 4) % alignment !== 0) return VerifyError.Alignment;
  if (at + 4 > view.byteLength) return VerifyError.OutOfBounds;
  const count = view.getUint32(at, true);
  if (count > (view.byteLength - at - 4) / width) return VerifyError.OutOfBounds;
  state.budget -= 4 + count * width;
  return state.budget < 0 ? VerifyError.Budget : VerifyError.Ok;
}

function verifyBytesVector(state: State, at: number): number {
  const code = verifyReferences(state, at, 4);
  if (code !== VerifyError.Ok) return code;
  const { view } = state;
  const end = at + 4 + 4 * view.getUint32(at, true);
  for (let element = at + 4; element < end; element += 4) {
    const target = view.getUint32(element, true);
    if (target === 0) return VerifyError.NullElement;
    if (target < end) return VerifyError.OffsetBackward;
    const code = verifyBytes(state, target);
    if (code !== VerifyError.Ok) return code;
  }
  return VerifyError.Ok;
}

function verifyTableVector(state: State, at: number, shape: TableShape, depth: number): number {
  const code = verifyReferences(state, at, 4);
  if (code !== VerifyError.Ok) return code;
  const { view } = state;
  const end = at + 4 + 4 * view.getUint32(at, true);
  for (let element = at + 4; element < end; element += 4) {
    const target = view.getUint32(element, true);
    if (target === 0) return VerifyError.NullElement;
    if (target < end) return VerifyError.OffsetBackward;
    const code = verifyTable(state, target, shape, depth + 1);
    if (code !== VerifyError.Ok) return code;
  }
  return VerifyError.Ok;
}

function verifyUnion(
  state: State,
  at: number,
  holderEnd: number,
  members: readonly UnionMember[],
  depth: number,
  absentAllowed: boolean,
): number {
  const { view } = state;
  const tag = view.getUint8(at);
  const target = view.getUint32(at + 4, true);
  if (tag === 0 || target === 0) return absentAllowed ? VerifyError.Ok : VerifyError.NullElement;
  if (tag > members.length) return VerifyError.Ok; // a newer member: never followed
  if (target < holderEnd) return VerifyError.OffsetBackward;
  const member = members[tag - 1];
  if (member === "bytes") return verifyBytes(state, target);
  return verifyTable(state, target, member, depth + 1);
}

function verifyUnionVector(
  state: State,
  at: number,
  members: readonly UnionMember[],
  depth: number,
): number {
  const code = verifyReferences(state, at, 8);
  if (code !== VerifyError.Ok) return code;
  const end = at + 4 + 8 * state.view.getUint32(at, true);
  for (let element = at + 4; element < end; element += 8) {
    const code = verifyUnion(state, element, end, members, depth, false);
    if (code !== VerifyError.Ok) return code;
  }
  return VerifyError.Ok;
}

function verifyMap(state: State, at: number): number {
  const code = verifyReferences(state, at, 8);
  if (code !== VerifyError.Ok) return code;
  const { view } = state;
  const end = at + 4 + 8 * view.getUint32(at, true);
  let previous = 0;
  for (let element = at + 4; element < end; element += 8) {
    for (let half = element; half < element + 8; half += 4) {
      const target = view.getUint32(half, true);
      if (target === 0) return VerifyError.NullElement;
      if (target < end) return VerifyError.OffsetBackward;
      const code = verifyBytes(state, target);
      if (code !== VerifyError.Ok) return code;
    }
    // Both keys were charged, so comparing them stays inside the same bound.
    const key = view.getUint32(element, true);
    if (previous !== 0 && compareStrings(state, previous, key) >= 0) return VerifyError.MapOrder;
    previous = key;
  }
  return VerifyError.Ok;
}

/** Byte order of two strings of the body. */
function compareStrings({ body, view }: State, a: number, b: number): number {
  const lengthA = view.getUint32(a, true);
  const lengthB = view.getUint32(b, true);
  const shorter = Math.min(lengthA, lengthB);
  for (let i = 4; i < 4 + shorter; i++) {
    if (body[a + i] !== body[b + i]) return body[a + i] - body[b + i];
  }
  return lengthA - lengthB;
}
