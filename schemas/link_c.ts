/** A C header of overlay, frame and options, for bpf/ and ffi/: constants, structs and checks. */
import {
  describe,
  type Field,
  GENERATED,
  layout,
  optionLengthTables,
  partsOf,
} from "./link_layout.ts";

/** The text of ffi/native/gen/nx_link.h and bpf/gen/nx_link.h: needs no other header, only the compiler. */
export function linkC(): string {
  const { frame, option, overlay, codes } = layout;
  const { min, max } = optionLengthTables();
  return [
    `/* ${GENERATED} */`,
    "#ifndef NX_LINK_H",
    "#define NX_LINK_H",
    "",
    "/* Numbers as they lie on the wire: big-endian, byte by byte where no C type has the width. */",
    "typedef __UINT8_TYPE__ nx_u8;",
    "typedef __UINT16_TYPE__ nx_be16;",
    "typedef __UINT32_TYPE__ nx_be32;",
    "typedef __UINT64_TYPE__ nx_be64;",
    "",
    "/* Frame: sizes in bytes, then where each header field starts. */",
    ...constants(frame.constants),
    ...frame.fields.map(range),
    "",
    "/* Fields that hold several numbers: shift and mask of each part, in host order. */",
    ...frame.fields.flatMap(parts),
    "",
    ...struct("nx_frame_header", frame.fields, frame.constants.HEADER_BYTES),
    "",
    "/* Options: type(8), length(8), value. */",
    ...constants(option.constants),
    ...option.lengths.flatMap(({ name, min, max }) => [
      `#define NX_OPTION_${name}_BYTES_MIN ${min}u`,
      `#define NX_OPTION_${name}_BYTES_MAX ${max}u`,
    ]),
    "/* Initializers of tables by option type. */",
    `#define NX_OPTION_VALUE_BYTES_MIN {${min.join(", ")}}`,
    `#define NX_OPTION_VALUE_BYTES_MAX {${max.join(", ")}}`,
    "",
    "/* Overlay in front of a frame in a UDP datagram. */",
    ...constants(overlay.constants),
    ...overlay.fields.map(range),
    ...overlay.fields.flatMap(parts),
    "",
    ...struct("nx_overlay_header", overlay.fields, overlay.constants.OVERLAY_BYTES),
    "",
    ...Object.entries(codes).flatMap(([name, table]) => enumeration(name, table)),
    "#endif",
    "",
  ].join("\n");
}

function constants(table: Record<string, number>): string[] {
  return Object.entries(table).map(([name, value]) => `#define NX_${name} ${value}u`);
}

function range(field: Field): string {
  const about = describe(field).replaceAll("…", "-");
  return `#define NX_${field.name}_AT ${field.at}u /* ${about} */`;
}

function parts(field: Field): string[] {
  return partsOf(field).flatMap(({ name, shift, bits }) => [
    `#define NX_${field.name}_${name}_SHIFT ${shift}u`,
    `#define NX_${field.name}_${name}_MASK 0x${(2 ** bits - 1).toString(16)}u`,
  ]);
}

/** C types by width; other widths are byte arrays. */
const TYPES: Record<number, string> = { 1: "nx_u8", 2: "nx_be16", 4: "nx_be32", 8: "nx_be64" };

/** The struct, and assertions that the compiler lays it out as the wire does. */
function struct(name: string, fields: readonly Field[], total: number): string[] {
  return [
    `struct ${name} {`,
    ...fields.map((field) => {
      const type = TYPES[field.bytes];
      const member = field.name.toLowerCase();
      return type === undefined ? `\tnx_u8 ${member}[${field.bytes}];` : `\t${type} ${member};`;
    }),
    "};",
    `_Static_assert(sizeof(struct ${name}) == ${total}, "${name} is ${total} bytes");`,
    ...fields.map((field) =>
      `_Static_assert(__builtin_offsetof(struct ${name}, ${field.name.toLowerCase()}) == ` +
      `NX_${field.name}_AT, "${field.name}");`
    ),
  ];
}

function enumeration(name: string, table: Record<string, number>): string[] {
  const snake = name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`);
  return [
    `enum nx_${snake.toLowerCase()} {`,
    ...Object.entries(table).map(([code, value]) =>
      `\tNX_${snake.toUpperCase()}_${code} = ${value},`
    ),
    "};",
    "",
  ];
}
