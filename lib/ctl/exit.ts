/** Exit codes, and how a failure is told: one line, a hint, no stack (06-ctl.md). */
import { errorMessage, NexusError } from "../base/mod.ts";

/** What the shell sees. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  unreachable: 5,
  /** EX_CONFIG of sysexits.h: `nexus daemon` for mistakes that a restart cannot mend. */
  config: 78,
  /** 128 + SIGINT, as shells count. */
  interrupted: 130,
} as const;

const USAGE: ReadonlySet<string> = new Set([
  "USAGE",
  "SAD_SYNTAX",
  "UNKNOWN_CAPABILITY",
  "UNKNOWN_ARCHITECTURE",
  "UNKNOWN_REGION",
  "INVALID_ADDRESS",
  "INVALID_NODE_ID",
  "INVALID_REQUEST",
  "INVALID_INVITE",
]);
const NOT_FOUND: ReadonlySet<string> = new Set([
  "NOT_FOUND",
  "MODEL_NOT_FOUND",
  "FILE_NOT_FOUND",
  "CONFIG_NOT_FOUND",
]);
const DENIED: ReadonlySet<string> = new Set([
  "UNAUTHORIZED",
  "HOST_REFUSED",
  "TOKEN_UNREADABLE",
  "TOKEN_MISSING",
  "FILE_DENIED",
  "JOIN_REFUSED",
  "INVITE_REFUSED",
  "INVITE_EXPIRED",
  "TRUST_FAILURE",
]);
const UNREACHABLE: ReadonlySet<string> = new Set([
  "UNREACHABLE",
  "CONNECT_TIMEOUT",
  "HANDSHAKE_TIMEOUT",
  "PEER_UNRESPONSIVE",
  "PEER_UNREACHABLE",
  "ALERT_OVERLOADED",
  "UNKNOWN_HOST",
]);

/** A signal ended the command; the code is 128 + its number. Nothing is printed for it. */
export class Interrupted extends Error {
  constructor(readonly exitCode: number, cause?: unknown) {
    super("interrupted", { cause });
  }
}

/** A failure whose exit code is not the one of its kind. */
export class Failure extends Error {
  constructor(readonly error: unknown, readonly exitCode: number) {
    super(errorMessage(error), { cause: error });
  }
}

/** Exit code of anything that was thrown. */
export function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof Interrupted || thrown instanceof Failure) return thrown.exitCode;
  // The reader of a pipe has seen enough, as in `nexus infer … | head -1`.
  if (thrown instanceof Deno.errors.BrokenPipe) return EXIT.done;
  if (!(thrown instanceof NexusError)) return EXIT.failed;
  if (USAGE.has(thrown.code) || isFlagMistake(thrown)) return EXIT.usage;
  if (NOT_FOUND.has(thrown.code)) return EXIT.notFound;
  if (DENIED.has(thrown.code) || isHandshakeRefusal(thrown.code)) return EXIT.denied;
  if (UNREACHABLE.has(thrown.code)) return EXIT.unreachable;
  return EXIT.failed;
}

/** The other end told us no (docs/protocol.md §4.4); busy and broken are no refusals. */
function isHandshakeRefusal(code: string): boolean {
  return code.startsWith("ALERT_") && code !== "ALERT_OVERLOADED" && code !== "ALERT_INTERNAL";
}

/** A config whose mistakes all stand on the command line. */
function isFlagMistake(error: NexusError): boolean {
  const { mistakes } = error as { mistakes?: readonly { readonly where: string }[] };
  return error.code === "CONFIG_INVALID" && mistakes !== undefined &&
    mistakes.every(({ where }) => where.startsWith("--"));
}

/** Causes told with --verbose at most. */
const CAUSES_MAX = 5;

/** Lines for standard error; none for what needs no words. */
export function failureLines(thrown: unknown, verbose: boolean): string[] {
  if (thrown instanceof Interrupted || thrown instanceof Deno.errors.BrokenPipe) return [];
  if (thrown instanceof Failure) return failureLines(thrown.error, verbose);
  if (!(thrown instanceof NexusError)) {
    const told = verbose && thrown instanceof Error && thrown.stack !== undefined
      ? thrown.stack
      : errorMessage(thrown);
    return [
      ...`internal error: ${told}`.split("\n").map((line) => `nexus: ${line}`),
      ...(verbose ? [] : ["hint: run it again with --verbose and report what it prints"]),
    ];
  }
  // A config can have several mistakes, one line each.
  const lines = thrown.message.split("\n").map((line) => `nexus: ${line}`);
  if (thrown.hint !== undefined) lines.push(`hint: ${thrown.hint}`);
  if (!verbose) return lines;
  lines.push(`  code: ${thrown.code}`);
  let cause = thrown.cause;
  for (let i = 0; cause !== undefined && i < CAUSES_MAX; i++) {
    lines.push(`  because: ${errorMessage(cause).replaceAll("\n", " ")}`);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return lines;
}

/** A mistake on the command line. */
export function usageError(message: string, hint?: string): NexusError {
  return new NexusError("USAGE", message, { hint });
}
