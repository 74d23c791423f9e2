/** What tests/fuzz/main.ts runs: a target makes its own inputs from a seed and judges each one. */

/** A parser or state machine under fuzzing. */
export interface FuzzTarget {
  readonly name: string;
  /** One line for the listing. */
  readonly about: string;
  /** A run that depends on the seed alone. */
  start(seed: number): FuzzRun;
}

export interface FuzzRun {
  /** Makes and judges one input; throws a Finding, or whatever the code under test let escape. */
  one(): void;
  /** What was reached so far, for the progress line. */
  summary(): string;
  /** The input of the last call of `one`, to print with a finding. */
  lastInput(): Uint8Array;
}

/** The code under test did something it must not. */
export class Finding extends Error {
  override readonly name = "Finding";
}

/** A Finding unless the condition holds. */
export function require(condition: boolean, what: () => string): asserts condition {
  if (!condition) throw new Finding(what());
}
