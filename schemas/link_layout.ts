/** schemas/link.json as the generators see it: checked once, and the shifts of parts worked out. */
import json from "./link.json" with { type: "json" };

/** A named range of bytes. */
export interface Field {
  readonly name: string;
  readonly at: number;
  readonly bytes: number;
  readonly note?: string;
  /** Named bits of the field from the most significant down; they fill it. */
  readonly parts?: readonly { readonly name: string; readonly bits: number }[];
}

/** Bits inside a field, counted from the least significant. */
export interface Part {
  readonly name: string;
  readonly shift: number;
  readonly bits: number;
}

/** Shortest and longest value of an option, by its type. */
export interface OptionLength {
  readonly name: string;
  readonly type: number;
  readonly min: number;
  readonly max: number;
}

/** First line of each generated file, without the comment sign. */
export const GENERATED =
  "Code generated from schemas/link.json by schemas/generate.ts. Do not edit.";

const frameFields: readonly Field[] = json.frame.fields;
const overlayFields: readonly Field[] = json.overlay.fields;
checkFields("frame", frameFields, json.frame.constants.HEADER_BYTES);
checkFields("overlay", overlayFields, json.overlay.constants.OVERLAY_BYTES);

/** Everything the generators write. */
export const layout = {
  frame: { constants: json.frame.constants as Record<string, number>, fields: frameFields },
  overlay: { constants: json.overlay.constants as Record<string, number>, fields: overlayFields },
  option: {
    constants: json.option.constants as Record<string, number>,
    lengths: json.option.lengths.map(({ name, min, max }): OptionLength => {
      const type = (json.codes.OptionType as Record<string, number>)[name];
      if (type === undefined) throw new Error(`option ${name} has lengths but no code`);
      return { name, type, min, max };
    }),
  },
  codes: json.codes as Record<string, Record<string, number>>,
};

/** The parts of a field with their places; none for a plain number. */
export function partsOf(field: Field): Part[] {
  let shift = 8 * field.bytes;
  return (field.parts ?? []).map(({ name, bits }) => ({ name, shift: shift -= bits, bits }));
}

/** "byte 3" or "bytes 3…5", and the note. */
export function describe({ at, bytes, note }: Field): string {
  const range = bytes === 1 ? `byte ${at}` : `bytes ${at}…${at + bytes - 1}`;
  return note === undefined ? range : `${range}: ${note}`;
}

/** Tables by option type; PAD (0) takes any length, a type past the end is unknown. */
export function optionLengthTables(): { min: number[]; max: number[] } {
  const min = [0];
  const max = [255];
  for (const each of layout.option.lengths) {
    min[each.type] = each.min;
    max[each.type] = each.max;
  }
  return { min, max };
}

/** Fields must follow each other without a gap and fill the header, parts their field. */
function checkFields(what: string, fields: readonly Field[], total: number): void {
  let at = 0;
  for (const field of fields) {
    if (field.at !== at) throw new Error(`${what}: ${field.name} starts at ${field.at}, not ${at}`);
    at += field.bytes;
    const bits = field.parts?.reduce((sum, part) => sum + part.bits, 0);
    if (bits !== undefined && bits !== 8 * field.bytes) {
      throw new Error(`${what}: parts of ${field.name} are ${bits} bits, not ${8 * field.bytes}`);
    }
  }
  if (at !== total) throw new Error(`${what}: fields end at ${at}, not ${total}`);
}
