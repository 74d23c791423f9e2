/** Tables and lists of fields for people. */
import { type Paint, PLAIN } from "./paint.ts";
import { printable } from "./values.ts";

/** A column: its head, and what stands in it for a row. */
export interface Column<Row> {
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
}

const GAP = "  ";
/** What stands in a cell without value. */
const NOTHING = "-";

/** Lines with aligned columns, heads first, each ended by a line feed. Blanks at ends are cut. */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  { wide = false, paint = PLAIN, indent = "" }: TableOptions = {},
): string {
  const shown = columns.filter((column) => wide || !column.wide);
  const texts = rows.map((row) => shown.map((column) => printable(column.value(row)) || NOTHING));
  const widths = shown.map((column, i) =>
    Math.max(widthOf(column.head), ...texts.map((line) => widthOf(line[i])))
  );
  const line = (cells: string[], mark: (text: string, i: number) => string): string => {
    let text = indent;
    cells.forEach((cell, i) => {
      const last = i === cells.length - 1;
      const blanks = " ".repeat(widths[i] - widthOf(cell));
      const marked = mark(cell, i);
      if (shown[i].right) text += blanks + marked;
      else text += last ? marked : marked + blanks;
      if (!last) text += GAP;
    });
    return text.trimEnd() + "\n";
  };
  return line(shown.map((column) => column.head), paint.dim) +
    rows.map((row, r) => line(texts[r], (text, i) => shown[i].mark?.(text, row, paint) ?? text))
      .join("");
}

/** `name  value` lines; fields without value are left out. */
export function formatFields(
  fields: ReadonlyArray<readonly [name: string, value: string | undefined]>,
  { paint = PLAIN, indent = "" }: TableOptions = {},
): string {
  const present = fields.filter(([, value]) => value !== undefined && value !== "");
  const width = Math.max(0, ...present.map(([name]) => widthOf(name)));
  return present.map(([name, value]) =>
    `${indent}${paint.dim(name.padEnd(width))}${GAP}${printable(value!)}\n`
  ).join("");
}

/** Cells that a text takes: one for each code point; wide scripts are not counted as two. */
function widthOf(text: string): number {
  return [...text].length;
}
