/**
 * Writes the constants of the wire from schemas/*.json, so that no offset stands in two places.
 *
 *     deno run --allow-read --allow-write schemas/generate.ts          # write
 *     deno run --allow-read schemas/generate.ts --check                # exit 1 when stale
 *
 * One entry of `outputs` per generated file; C and P4 headers join the list with their users.
 */
import link from "./link.json" with { type: "json" };

/** A named range of bytes. */
interface Field {
  readonly name: string;
  readonly at: number;
  readonly bytes: number;
  readonly note?: string;
}

const outputs = [{ path: "lib/l1_link/gen/link.ts", text: linkTypeScript() }];

/** The TypeScript constants of the frame, exactly as they must stand in lib/l1_link/gen/link.ts. */
export function linkTypeScript(): string {
  checkRanges("frame", link.frame.fields, link.frame.constants.HEADER_BYTES);
  const lines = [
    "// Generated from schemas/link.json by schemas/generate.ts. Do not edit.",
    "",
    "/** Frame: sizes in bytes, then where each header field starts. */",
    ...constants(link.frame.constants),
    ...ranges(link.frame.fields),
    "",
    "/** The first word: shift and mask of each part. */",
    ...link.frame.word0.flatMap(({ name, shift, bits }) => [
      `export const WORD0_${name}_SHIFT = ${shift};`,
      `export const WORD0_${name}_MASK = 0x${(2 ** bits - 1).toString(16)};`,
    ]),
    "",
    "/** Options: type(8), length(8), value. */",
    ...constants(link.option.constants),
    ...optionLengths(),
    "",
    "/** Overlay in front of a frame in a UDP datagram. */",
    ...constants(link.overlay.constants),
    ...ranges(link.overlay.fields),
    "",
  ];
  for (const [name, codes] of Object.entries(link.codes)) {
    lines.push(`/** Codes of ${name}. */`, `export const ${name} = {`);
    for (const [code, value] of Object.entries(codes)) lines.push(`  ${code}: ${value},`);
    lines.push("} as const;", "");
  }
  return lines.join("\n").trimEnd() + "\n";
}

function constants(table: Record<string, number>): string[] {
  return Object.entries(table).map(([name, value]) => `export const ${name} = ${value};`);
}

function ranges(fields: readonly Field[]): string[] {
  return fields.map(({ name, at, bytes, note }) =>
    `/** ${bytes === 1 ? `byte ${at}` : `bytes ${at}…${at + bytes - 1}`}${
      note === undefined ? "" : `: ${note}`
    } */\nexport const ${name}_AT = ${at};`
  );
}

/** Two tables by option type; PAD (0) takes any length, a type past the end is unknown. */
function optionLengths(): string[] {
  const min = [0];
  const max = [255];
  for (const { name, min: low, max: high } of link.option.lengths) {
    const type = (link.codes.OptionType as Record<string, number>)[name];
    min[type] = low;
    max[type] = high;
  }
  return [
    "/** Shortest and longest value by option type. */",
    `export const OPTION_VALUE_BYTES_MIN: readonly number[] = [${min.join(", ")}];`,
    `export const OPTION_VALUE_BYTES_MAX: readonly number[] = [${max.join(", ")}];`,
  ];
}

/** Fields must follow each other without a gap and fill the header. */
function checkRanges(what: string, fields: readonly Field[], total: number): void {
  let at = 0;
  for (const field of fields) {
    if (field.at !== at) throw new Error(`${what}: ${field.name} starts at ${field.at}, not ${at}`);
    at += field.bytes;
  }
  if (at !== total) throw new Error(`${what}: fields end at ${at}, not ${total}`);
}

if (import.meta.main) {
  const root = new URL("../", import.meta.url);
  let stale = false;
  for (const { path, text } of outputs) {
    const url = new URL(path, root);
    if (Deno.args.includes("--check")) {
      if (await Deno.readTextFile(url).catch(() => "") === text) continue;
      console.error(`${path} is not what schemas/*.json say: run schemas/generate.ts`);
      stale = true;
    } else {
      await Deno.writeTextFile(url, text);
      console.log(`wrote ${path}`);
    }
  }
  if (stale) Deno.exit(1);
}
