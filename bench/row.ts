/** What every benchmark yields: one figure, with its peer of the same run where it has one. */
export interface Row {
  /** Group, such as "e2e"; the part before the slash in the issues. */
  bench: string;
  name: string;
  value: number;
  unit: string;
  /** Who it is compared with. */
  peer?: string;
  /** The peer's figure of the same run, in the same unit. */
  peerValue?: number;
  /** value / peer's value, or its inverse where lower is better: above 1 is better than the peer. */
  ratio?: number;
  /** Plain value / peer's value, where lower is better and a target is set in these terms. */
  quotient?: number;
  /** What it is to reach, such as "ratio ≥ 2"; "value", "ratio" or "quotient" of this row. */
  target?: string;
  /** Whether the target is reached. */
  met?: boolean;
}

/** A group of benchmarks. */
export interface Bench {
  readonly name: string;
  /** One line for the listing. */
  readonly about: string;
  run(): AsyncIterable<Row>;
}

/** What a row is measured by: the field, how it has to compare, and the bound. */
export type Target = readonly ["value" | "ratio" | "quotient", "≥" | "≤" | "<", number];

/** The row with its target and whether it is reached. */
export function withTarget(row: Row, [field, relation, bound]: Target): Row {
  const figure = row[field] ?? NaN;
  const met = relation === "≥"
    ? figure >= bound
    : relation === "≤"
    ? figure <= bound
    : figure < bound;
  return { ...row, target: `${field} ${relation} ${bound}`, met };
}

/** The middle of the values: what these noisy machines can be compared by. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The middle of the ratios of each round: load that comes and goes hits both of a pair. */
export function paired(values: readonly number[], peers: readonly number[]): number {
  return median(values.map((value, round) => value / peers[round]));
}
