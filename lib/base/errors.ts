/**
 * One error type for the whole stack. `code` is for programs, `message` for people and reads
 * "cannot X: Y is Z, expected W". Hot paths return numeric codes instead and make a
 * NexusError at the edge (a throw costs about 6 µs here).
 */
export class NexusError extends Error {
  override readonly name = "NexusError";
  /** Stable upper-case word, documented where it is thrown. */
  readonly code: string;
  /** What to do next, one line, when there is something to do. */
  readonly hint?: string;

  constructor(code: string, message: string, options?: { cause?: unknown; hint?: string }) {
    super(message, options);
    this.code = code;
    this.hint = options?.hint;
  }
}

/** The message of anything that was thrown. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Guards an invariant of our own. Never used on what a peer sent. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}
