/** lib/l1_link/gen/link.ts from the layout: one exported constant per fact. */
import {
  describe,
  type Field,
  GENERATED,
  layout,
  optionLengthTables,
  partsOf,
} from "./link_layout.ts";

/** The TypeScript constants of the frame, exactly as they must stand in lib/l1_link/gen/link.ts. */
export function linkTypeScript(): string {
  const { frame, option, overlay, codes } = layout;
  const { min, max } = optionLengthTables();
  const lines = [
    `// ${GENERATED}`,
    "",
    "/** Frame: sizes in bytes, then where each header field starts. */",
    ...constants(frame.constants),
    ...frame.fields.map(range),
    "",
    "/** Fields that hold several numbers: shift and mask of each part. */",
    ...frame.fields.flatMap(parts),
    "",
    "/** Options: type(8), length(8), value. */",
    ...constants(option.constants),
    "/** Shortest and longest value by option type. */",
    `export const OPTION_VALUE_BYTES_MIN: readonly number[] = [${min.join(", ")}];`,
    `export const OPTION_VALUE_BYTES_MAX: readonly number[] = [${max.join(", ")}];`,
    "",
    "/** Overlay in front of a frame in a UDP datagram. */",
    ...constants(overlay.constants),
    ...overlay.fields.map(range),
    ...overlay.fields.flatMap(parts),
    "",
  ];
  for (const [name, table] of Object.entries(codes)) {
    lines.push(`/** Codes of ${name}. */`, `export const ${name} = {`);
    for (const [code, value] of Object.entries(table)) lines.push(`  ${code}: ${value},`);
    lines.push("} as const;", "");
  }
  return lines.join("\n").trimEnd() + "\n";
}

function constants(table: Record<string, number>): string[] {
  return Object.entries(table).map(([name, value]) => `export const ${name} = ${value};`);
}

function range(field: Field): string {
  return `/** ${describe(field)} */\nexport const ${field.name}_AT = ${field.at};`;
}

function parts(field: Field): string[] {
  return partsOf(field).flatMap(({ name, shift, bits }) => [
    `export const ${field.name}_${name}_SHIFT = ${shift};`,
    `export const ${field.name}_${name}_MASK = 0x${(2 ** bits - 1).toString(16)};`,
  ]);
}
