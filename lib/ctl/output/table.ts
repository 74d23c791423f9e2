/** Tables and lists of fields for people. */
import { type Bend, fit } from "./fit.ts";
import { type Paint, PLAIN } from "./paint.ts";
import { printable } from "./values.ts";
import { cut, widthOf, wrapWords } from "./wrap.ts";

/** A column: its head, and what stands in it for a row. */
export interface Column<Row> extends Bend {
  readonly head: string;
  readonly value: (row: Row) => string;
  /** Numbers stand right. */
  readonly right?: boolean;
  /** Shown with `-o wide` only. */
  readonly wide?: boolean;
  /** Colours a cell; the width is that of the text without colour. */
  readonly mark?: (text: string, row: Row, paint: Paint) => string;
}

/** How a table is drawn. */
export interface TableOptions {
  readonly wide?: boolean;
  readonly paint?: Paint;
  /** Text in front of each line. */
  readonly indent?: string;
  /** Of the terminal; without it lines are as long as they need. */
  readonly width?: number;
}

const GAP = "  ";
/** What stands in a cell without value. */
const NOTHING = "-";

/**
 * Lines with aligned columns, heads first, each ended by a line feed. Blanks at ends are cut. In a
 * `width` that is too small, columns bend as they allow.
 */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  { wide = false, paint = PLAIN, indent = "", width = Infinity }: TableOptions = {},
): string {
  const asked = columns.filter((column) => wide || !column.wide);
  const texts = new Map(
    asked.map((column) => [column, rows.map((row) => printable(column.value(row)))]),
  );
  const natural = (column: Column<Row>) =>
    Math.max(widthOf(column.head), ...texts.get(column)!.map((text) => widthOf(text || NOTHING)));
  const fitted = fit(asked, natural, width - indent.length, GAP.length);
  const { columns: shown, widths, below } = fitted;
  const line = (cells: readonly string[], mark: (text: string, i: number) => string): string => {
    let text = indent;
    cells.forEach((cell, i) => {
      const last = i === cells.length - 1;
      const blanks = " ".repeat(Math.max(0, widths[i] - widthOf(cell)));
      const marked = mark(cell, i);
      if (shown[i].right) text += blanks + marked;
      else text += last ? marked : marked + blanks;
      if (!last) text += GAP;
    });
    return text.trimEnd() + "\n";
  };

  let out = line(shown.map((column) => column.head), paint.dim);
  rows.forEach((row, r) => {
    const cells = shown.map((column, i) => cellLines(column, texts.get(column)![r], widths[i]));
    const height = Math.max(...cells.map((lines) => lines.length));
    const mark = (text: string, i: number) =>
      texts.get(shown[i])![r] === "" ? paint.dim(text) : shown[i].mark?.(text, row, paint) ?? text;
    for (let n = 0; n < height; n++) out += line(cells.map((lines) => lines[n] ?? ""), mark);
    if (below === undefined) return;
    const margin = indent + " ".repeat((widths[0] ?? 0) + GAP.length);
    for (const text of wrapWords(texts.get(below)![r], width - margin.length)) {
      if (text !== "") out += margin + (below.mark?.(text, row, paint) ?? text) + "\n";
    }
  });
  return out;
}

/** A cell's text in the lines that its column's width asks for. */
function cellLines<Row>({ narrow }: Column<Row>, text: string, width: number): string[] {
  if (text === "") return [NOTHING];
  if (widthOf(text) <= width || narrow === undefined) return [text];
  const lines = narrow.by === "wrap" ? wrapWords(text, width) : [text];
  return lines.map((line) => cut(line, width));
}

/** `name  value` lines; fields without value are left out, long values go on below themselves. */
export function formatFields(
  fields: ReadonlyArray<readonly [name: string, value: string | undefined]>,
  { paint = PLAIN, indent = "", width = Infinity }: TableOptions = {},
): string {
  const present = fields.filter(([, value]) => value !== undefined && value !== "");
  const names = Math.max(0, ...present.map(([name]) => widthOf(name)));
  const start = indent.length + names + GAP.length;
  return present.map(([name, value]) => {
    const text = printable(value!);
    const lines = widthOf(text) <= width - start ? [text] : wrapWords(text, width - start);
    return `${indent}${paint.dim(name.padEnd(names))}${GAP}` +
      lines.join("\n" + " ".repeat(start)) + "\n";
  }).join("");
}
