/** Values as people read and write them. */
import { usageError } from "../exit.ts";

/** Characters that could steer a terminal or turn text around: C0, C1, bidirectional controls. */
// deno-lint-ignore no-control-regex
const STEERING = /[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
// deno-lint-ignore no-control-regex
const STEERING_BUT_LINES = /(?![\n\t])[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text from other machines, safe for a terminal and on one line. */
export function printable(text: string): string {
  return text.replace(STEERING, "\uFFFD");
}

/** The same for text that may have lines. */
export function printableLines(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(STEERING_BUT_LINES, "\uFFFD");
}

/** First eight digits of an id: enough to tell a handful of nodes apart. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** "0.42 ms", "3.1 ms", "240 ms", "1.25 s". */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** "12s", "3m 5s", "2h 10m", "29d 3h". */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  const [d, h, m] = [Math.floor(s / 86_400), Math.floor(s / 3_600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return h > 0 ? `${d}d ${h}h` : `${d}d`;
  if (h > 0) return m > 0 ? `${h}h ${m}m` : `${h}h`;
  return m > 0 ? (s % 60 > 0 ? `${m}m ${s % 60}s` : `${m}m`) : `${s}s`;
}

/** "812 B", "1.4 kB", "3.20 MB": powers of 1,000. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** "128k", "8000": a context window, k = 1,024 as in a SAD. */
export function formatTokens(tokens: number): string {
  return tokens > 0 && tokens % 1024 === 0 ? `${tokens / 1024}k` : String(tokens);
}

/** "$0.002", "$0.0005/1k", "free". */
export function formatCost(micros: number, per1k: boolean): string {
  if (micros === 0) return "free";
  const dollars = (micros / 1e6).toFixed(6).replace(/\.?0+$/, "");
  return `$${dollars}${per1k ? "/1k" : ""}`;
}

/** "2026-07-01 12:00:00 UTC" of Unix seconds. */
export function formatTime(unixS: number): string {
  const date = new Date(unixS * 1000);
  if (Number.isNaN(date.getTime())) return String(unixS);
  return date.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

/** How long ago, of Unix milliseconds. */
export function formatAgo(unixMs: number, nowMs: number): string {
  const seconds = (nowMs - unixMs) / 1000;
  return seconds < 1 ? "now" : `${formatDuration(seconds)} ago`;
}

const UNIT_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Whole seconds of "90s", "15m", "1h", "30d"; seconds without a unit. USAGE otherwise. */
export function parseDuration(text: string, flag: string, maxS: number): number {
  const match = /^(\d{1,9})([smhd]?)$/.exec(text.trim());
  const seconds = match === null ? 0 : Number(match[1]) * UNIT_S[match[2] || "s"];
  if (match === null || seconds < 1 || seconds > maxS) {
    throw usageError(
      `cannot read ${flag}: "${printable(text)}" is no duration from 1s to ${
        formatDuration(maxS)
      }, expected one like 90s, 15m, 1h or 30d`,
    );
  }
  return seconds;
}

/** A whole number of a flag within its range; USAGE otherwise. */
export function parseInteger(text: string, flag: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text.trim()) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    throw usageError(
      `cannot read ${flag}: "${printable(text)}" is no whole number from ${min} to ${max}`,
    );
  }
  return value;
}

/** A number of a flag within its range; USAGE otherwise. */
export function parseNumber(text: string, flag: string, min: number, max: number): number {
  const value = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    throw usageError(
      `cannot read ${flag}: "${printable(text)}" is no number from ${min} to ${max}`,
    );
  }
  return value;
}
