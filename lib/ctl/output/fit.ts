/** Which columns of a table a narrow terminal gets, and how wide each is. */

/** What may happen to a column when the table is too wide. */
export interface Bend {
  /** Its cells may get as narrow as this: in several lines, or cut with "…". */
  readonly narrow?: { readonly by: "wrap" | "cut"; readonly to: number };
  /** It may stand below its row instead. One column of a table. */
  readonly below?: boolean;
  /** It may be left out; the last such column goes first. */
  readonly drop?: boolean;
}

/** What became of the columns. */
export interface Fitted<Column> {
  readonly columns: readonly Column[];
  readonly widths: readonly number[];
  readonly below?: Column;
}

/**
 * Fits columns of these natural widths into `width`: by wrapping, then by putting one below, then
 * by cutting, then by leaving out. What still does not fit is too wide.
 */
export function fit<Column extends Bend>(
  all: readonly Column[],
  natural: (column: Column) => number,
  width: number,
  gap: number,
): Fitted<Column> {
  let columns = [...all];
  let below: Column | undefined;
  for (;;) {
    const widths = columns.map(natural);
    let excess = widths.reduce((sum, each) => sum + each + gap, -gap) - width;
    excess = shrink(columns, widths, excess, "wrap");
    const lower = below === undefined ? columns.find((column) => column.below) : undefined;
    if (excess > 0 && lower !== undefined) {
      below = lower;
      columns = columns.filter((column) => column !== lower);
      continue;
    }
    excess = shrink(columns, widths, excess, "cut");
    const last = columns.findLastIndex((column) => column.drop);
    if (excess <= 0 || last < 0) return { columns, widths, below };
    columns.splice(last, 1);
  }
}

/** Takes from the widest column of the kind until it fits; returns what is still too much. */
function shrink(
  columns: readonly Bend[],
  widths: number[],
  excess: number,
  by: "wrap" | "cut",
): number {
  for (; excess > 0; excess--) {
    let widest = -1;
    columns.forEach(({ narrow }, i) => {
      if (narrow?.by !== by || widths[i] <= narrow.to) return;
      if (widest < 0 || widths[i] > widths[widest]) widest = i;
    });
    if (widest < 0) return excess;
    widths[widest]--;
  }
  return excess;
}
