/** P4_16 header types and constants of overlay, frame and options (P4_16 1.2.4 §7.2.2). */
import { describe, type Field, GENERATED, layout, partsOf } from "./link_layout.ts";

/** The text of p4/gen/nexlink.p4. */
export function linkP4(): string {
  const { frame, option, overlay, codes } = layout;
  return [
    `// ${GENERATED}`,
    "#ifndef NEXLINK_P4",
    "#define NEXLINK_P4",
    "",
    "// Sizes are in bytes.",
    ...constants(frame.constants),
    ...constants(option.constants),
    ...constants(overlay.constants),
    "",
    "header nexlink_overlay_t {",
    ...overlay.fields.flatMap((field) => members(field, "OVERLAY_")),
    "}",
    "",
    "header nexlink_frame_t {",
    ...frame.fields.flatMap((field) => members(field, "")),
    "}",
    "",
    "// In front of each option value.",
    "header nexlink_option_t {",
    "    bit<1> critical;",
    "    bit<7> option_type;",
    "    bit<8> length;",
    "}",
    "",
    "// Values of the options that have one length.",
    ...option.lengths.filter(({ min, max }) => min === max).flatMap(({ name, min }) => [
      `header nexlink_${name.toLowerCase()}_t {`,
      `    bit<${8 * min}> value;`,
      "}",
    ]),
    "",
    ...Object.entries(codes).flatMap(([name, table]) => codeConstants(name, table)),
    "#endif",
    "",
  ].join("\n");
}

function constants(table: Record<string, number>): string[] {
  return Object.entries(table).map(([name, value]) => `const bit<32> NEXLINK_${name} = ${value};`);
}

/** One member per number: a field's parts where it has them. */
function members(field: Field, prefix: string): string[] {
  const base = field.name.slice(prefix.length).toLowerCase();
  const parts = partsOf(field);
  if (parts.length === 0) {
    const about = describe(field).replaceAll("…", "-");
    return [`    bit<${8 * field.bytes}> ${base}; // ${about}`];
  }
  // `type` is a keyword of P4.
  return parts.map(({ name, bits }) =>
    `    bit<${bits}> ${name === "TYPE" ? "frame_type" : name.toLowerCase()};`
  );
}

/** How many bits a code takes in the header, so that constants compare without a cast. */
const CODE_BITS: Record<string, number> = { Flag: 8, FrameType: 16, OptionType: 7, Qos: 4 };

function codeConstants(name: string, table: Record<string, number>): string[] {
  const snake = name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
  const bits = CODE_BITS[name] ?? 8;
  return [
    ...Object.entries(table).map(([code, value]) =>
      `const bit<${bits}> NEXLINK_${snake}_${code} = ${value};`
    ),
    "",
  ];
}
