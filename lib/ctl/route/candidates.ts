/** The table of candidates: `route resolve`, `infer -v` and the demo show it. */
import type { CandidateInfo } from "../../admin_api/mod.ts";
import { type Column, formatTable, type TableOptions } from "../output/table.ts";
import { shortId } from "../output/values.ts";

/** A candidate and the word on what became of it. */
export type CandidateRow =
  & Pick<CandidateInfo, "nodeId" | "nodeName" | "model" | "chosen" | "score" | "terms" | "rejected">
  & { readonly note?: string };

/** Scores, their terms, and why each candidate won or lost. */
export function formatCandidates(
  candidates: readonly CandidateRow[],
  options: TableOptions = {},
): string {
  return formatTable(COLUMNS, candidates, options);
}

const term = (
  head: string,
  key: keyof NonNullable<CandidateInfo["terms"]>,
): Column<CandidateRow> => ({
  head,
  right: true,
  value: (row) => row.terms === undefined ? "" : row.terms[key].toFixed(2),
  drop: true,
});

const COLUMNS: readonly Column<CandidateRow>[] = [
  {
    head: "NODE",
    value: (row) => row.nodeName ?? shortId(row.nodeId),
    narrow: { by: "cut", to: 8 },
    mark: (text, row, paint) => row.chosen ? paint.bold(text) : text,
  },
  {
    head: "MODEL",
    value: (row) => row.model,
    narrow: { by: "cut", to: 20 },
    mark: (text, row, paint) => row.chosen ? paint.bold(text) : text,
  },
  {
    head: "SCORE",
    right: true,
    value: (row) => row.score === undefined ? "" : row.score.toFixed(3),
    mark: (text, row, paint) => row.chosen ? paint.green(text) : text,
  },
  term("CAP", "capability"),
  term("LAT", "latency"),
  term("COST", "cost"),
  term("CTX", "context"),
  term("TRUST", "trust"),
  term("REGION", "region"),
  {
    head: "VERDICT",
    value: verdictOf,
    narrow: { by: "wrap", to: 32 },
    below: true,
    mark: (text, row, paint) =>
      row.chosen ? paint.green(text) : row.rejected === undefined ? text : paint.yellow(text),
  },
];

function verdictOf(row: CandidateRow): string {
  if (row.chosen) return "chosen";
  return row.rejected === undefined ? row.note ?? "lower score" : `rejected: ${row.rejected}`;
}
