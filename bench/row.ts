/** What every benchmark yields: one figure, with its peer of the same run where it has one. */
export interface Row {
  /** Group, such as "e2e"; the part before the slash in the issues. */
  bench: string;
  name: string;
  value: number;
  unit: string;
  /** Who it is compared with. */
  peer?: string;
  /** value / peer's value, or its inverse where lower is better: above 1 is better than the peer. */
  ratio?: number;
}

/** A group of benchmarks. */
export interface Bench {
  readonly name: string;
  /** One line for the listing. */
  readonly about: string;
  run(): AsyncIterable<Row>;
}

/** The middle of the values: what these noisy machines can be compared by. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
