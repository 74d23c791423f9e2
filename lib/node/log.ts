/**
 * Logs of the node: structured records on standard error, logfmt on a terminal, JSON lines
 * otherwise. Properties and texts that look like secrets are blanked before they are written.
 *
 * ```ts
 * import { nodeLog, startLog } from "./log.ts";
 * startLog({ level: "info", format: "auto" });
 * nodeLog("mesh").info("peer connected", { node: "0011", rttMs: 1.2 });
 * ```
 */
import {
  configureSync,
  getLogfmtFormatter,
  getLogger,
  type Logger,
  type LogLevel,
  type LogRecord,
  resetSync,
} from "@logtape/logtape";
import { toHex } from "../base/mod.ts";

/** What `log:` in the config says. */
export interface LogOptions {
  readonly level: "trace" | "debug" | "info" | "warning" | "error";
  readonly format: "auto" | "logfmt" | "json";
  /** Where lines go; default: standard error. */
  readonly write?: (line: string) => void;
}

/** Levels as the rest of the program names them. */
export type { LogLevel };

const ROOT = "nexus";

/** A line longer than this is cut: a log must not become the place of a 40 MB prompt. */
export const LINE_CHARS_MAX = 16_384;

/** The logger of one part of the node, such as "mesh" or "admin". */
export function nodeLog(part: string): Logger {
  return getLogger([ROOT, part]);
}

/** Starts logging; called again it changes level and format. */
export function startLog(options: LogOptions): void {
  const write = options.write ?? writeStandardError;
  const logfmt = options.format === "logfmt" ||
    (options.format === "auto" && Deno.stderr.isTerminal());
  const format = logfmt ? formatLogfmt : formatJson;
  configureSync({
    reset: true,
    sinks: {
      // What is written must be on the way when the process dies: no buffering.
      out: (record: LogRecord) => write(limit(format(redactRecord(record)))),
    },
    loggers: [
      { category: [ROOT], lowestLevel: options.level, sinks: ["out"] },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["out"] },
    ],
  });
}

/** Stops logging; records are dropped until `startLog`. */
export function stopLog(): void {
  resetSync();
}

const logfmtFormatter = getLogfmtFormatter({ categorySeparator: "." });

function formatLogfmt(record: LogRecord): string {
  return logfmtFormatter(record).trimEnd();
}

/** One flat JSON object; the record's own words win over properties of the same name. */
function formatJson(record: LogRecord): string {
  return JSON.stringify({
    time: new Date(record.timestamp).toISOString(),
    level: record.level,
    logger: record.category.join("."),
    message: record.message.map((part) => typeof part === "string" ? part : plainText(part)).join(
      "",
    ),
    ...Object.fromEntries(
      Object.entries(record.properties).map((
        [key, value],
      ) => [OWN.has(key) ? key + "_" : key, value]),
    ),
  });
}

const OWN = new Set(["time", "level", "logger", "message"]);

/** Names of properties whose values never appear, whatever they are. */
const SECRET_NAME = new RegExp(
  "^(seed|secret|token|password|passphrase|authorization|cookie|prompt|completion|messages)$" +
    "|(api|private|signing|write|traffic|shared)_?key|_?(secret|token|password|seed)$",
  "i",
);

/** Texts that are secrets wherever they stand: invite and admin tokens, bearer and API keys. */
const SECRET_TEXT =
  /\b(?:nxi1_|nxa_|sk-)[A-Za-z0-9_-]{8,}|\b(?:Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi;

const REDACTED = "[redacted]";
/** Deeper structures are not for logs. */
const DEPTH_MAX = 5;

/** The record without secrets, its values plain data. */
export function redactRecord(record: LogRecord): LogRecord {
  // A template such as "got {token}" repeats a property inside the message.
  const secrets = new Set<unknown>();
  const properties = redact(record.properties, 0, secrets);
  return {
    ...record,
    message: record.message.map((part, index) =>
      index % 2 === 1 && secrets.has(part) ? REDACTED : plain(part, 0)
    ),
    properties,
  };
}

/** Text without what looks like a secret. */
export function redactText(text: string): string {
  return text.replace(SECRET_TEXT, REDACTED);
}

function redact(
  properties: Record<string, unknown>,
  depth: number,
  secrets?: Set<unknown>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).map(([key, value]) => {
      const secret = SECRET_NAME.test(key) && typeof value !== "number" && value !== undefined;
      if (secret) secrets?.add(value);
      return [key, secret ? REDACTED : plain(value, depth, secrets)];
    }),
  );
}

/** Anything as plain data: errors as text, bytes as hex, nothing that cannot be written. */
function plain(value: unknown, depth: number, secrets?: Set<unknown>): unknown {
  switch (typeof value) {
    case "string":
      return redactText(value);
    case "bigint":
    case "symbol":
    case "function":
      return String(value);
    case "object":
      break;
    default:
      return value;
  }
  if (value === null) return null;
  if (value instanceof Error) return redactText(errorText(value));
  if (value instanceof Uint8Array) {
    return value.length <= 64 ? toHex(value) : `${value.length} bytes`;
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (depth >= DEPTH_MAX) return "…";
  if (Array.isArray(value)) {
    return value.slice(0, 100).map((each) => plain(each, depth + 1, secrets));
  }
  if (value instanceof Map) return redact(Object.fromEntries(value), depth + 1, secrets);
  if (value instanceof Set) return plain([...value], depth, secrets);
  return redact(value as Record<string, unknown>, depth + 1, secrets);
}

function plainText(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** "CODE: message" down the chain of causes. */
function errorText(error: Error): string {
  const parts: string[] = [];
  let at: unknown = error;
  for (let depth = 0; at instanceof Error && depth < DEPTH_MAX; depth++, at = at.cause) {
    const code = (at as { code?: unknown }).code;
    parts.push(typeof code === "string" ? `${code}: ${at.message}` : at.message);
  }
  return parts.join("; because ");
}

function limit(line: string): string {
  return (line.length > LINE_CHARS_MAX ? line.slice(0, LINE_CHARS_MAX) + "…" : line) + "\n";
}

const encoder = new TextEncoder();

/** Whole lines, now. A terminal or pipe that is gone must not end the node. */
function writeStandardError(line: string): void {
  try {
    const bytes = encoder.encode(line);
    let at = 0;
    while (at < bytes.length) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // Nowhere left to say so.
  }
}
