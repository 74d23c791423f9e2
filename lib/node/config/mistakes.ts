/** Mistakes of a config: where each is, in one line, and the error that carries them all. */
import type { z } from "zod";
import { clip, NexusError } from "../../base/mod.ts";
import { suggest } from "./suggest.ts";

/** Steps from the root of the config to a value. */
export type KeyPath = readonly (string | number)[];

/** One mistake. `where` is `file:line`, a variable or a flag. */
export interface ConfigMistake {
  readonly where: string;
  readonly line?: number;
  /** `providers[0].url`; empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
}

/** More are counted, not listed: one wrong indent must not fill the terminal. */
const MISTAKES_SHOWN_MAX = 10;
/** Of a key that is not ours: the file may be another one, with secrets in it. */
const KEY_CHARS_MAX = 32;

/** The config cannot be used. The message has one line for each mistake. */
export class ConfigError extends NexusError {
  readonly mistakes: readonly ConfigMistake[];

  /** Code CONFIG_INVALID. */
  constructor(mistakes: readonly ConfigMistake[]) {
    const lines = mistakes.slice(0, MISTAKES_SHOWN_MAX).map(mistakeLine);
    const rest = mistakes.length - lines.length;
    if (rest > 0) lines.push(`and ${rest} more`);
    super("CONFIG_INVALID", lines.join("\n"));
    this.mistakes = mistakes;
  }
}

/** `node.yaml:7: link.lisen: unknown key, did you mean "listen"?` */
export function mistakeLine({ where, key, message }: ConfigMistake): string {
  return [where, key, message].filter((part) => part !== "").join(": ");
}

/** `providers[0].models[1].context` */
export function formatPath(path: KeyPath): string {
  let text = "";
  for (const step of path) {
    text += typeof step === "number"
      ? `[${step}]`
      : (text === "" ? "" : ".") + clip(step, KEY_CHARS_MAX);
  }
  return text;
}

/** A mistake before it is known where in the file it stands. */
export interface Found {
  readonly path: KeyPath;
  readonly message: string;
  /** The key itself is wrong, not its value. */
  readonly unknownKey?: boolean;
}

/**
 * Mistakes that zod found in `raw`, in our words. `keysAt` names the keys that may stand at a
 * path, for suggestions.
 */
export function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  raw: unknown,
  keysAt: (path: KeyPath) => string[],
  base: KeyPath = [],
): Found[] {
  return issues.flatMap((issue) => {
    const path = [...base, ...issue.path as (string | number)[]];
    const value = isSecret(path) ? HIDDEN : valueAt(raw, path);
    switch (issue.code) {
      case "unrecognized_keys":
        return issue.keys.map((key) => unknownKey(path, key, keysAt(path)));
      case "invalid_union":
        return describeUnion(issue, raw, keysAt, path);
      default:
        return [{ path, message: describe(issue, value) }];
    }
  });
}

/** An unknown key with the nearest known one, or all known ones when none is near. */
export function unknownKey(path: KeyPath, key: string, known: string[]): Found {
  const guess = suggest(key, known);
  const help = guess !== undefined
    ? `, did you mean "${guess}"?`
    : known.length === 0
    ? ""
    : `, expected one of ${known.join(", ")}`;
  return { path: [...path, key], message: "unknown key" + help, unknownKey: true };
}

/** A value that fits none of several types: speak of the type that it resembles most. */
function describeUnion(
  issue: z.core.$ZodIssueInvalidUnion,
  raw: unknown,
  keysAt: (path: KeyPath) => string[],
  path: KeyPath,
): Found[] {
  const value = valueAt(raw, path);
  if (issue.discriminator !== undefined) {
    const options = (issue as { options?: readonly unknown[] }).options ?? [];
    const misspelt = value === undefined ? misspeltKey(path, raw, keysAt) : undefined;
    return [misspelt ?? { path, message: describeChoice(value, options) }];
  }
  // A branch whose own type fits fails further inside, or by a rule of ours.
  const inside = issue.errors.find((branch) =>
    branch.length > 0 &&
    branch.every((each) => each.path.length > 0 || each.code !== "invalid_type")
  );
  if (inside !== undefined) return describeIssues(inside, raw, keysAt, path);
  const expected = issue.errors.flatMap((branch) =>
    branch.filter((each) => each.code === "invalid_type").map((each) => typeWords(each.expected))
  );
  return [{ path, message: `${is(value)}, expected ${[...new Set(expected)].join(" or ")}` }];
}

/** The key that stands where the one at `path` is missing, when it looks like it. */
function misspeltKey(
  path: KeyPath,
  raw: unknown,
  keysAt: (path: KeyPath) => string[],
): Found | undefined {
  const above = path.slice(0, -1);
  const wanted = String(path[path.length - 1]);
  const section = valueAt(raw, above);
  if (typeof section !== "object" || section === null) return undefined;
  const known = keysAt(above);
  const typo = Object.keys(section).find((key) =>
    !known.includes(key) && suggest(key, known) === wanted
  );
  return typo === undefined ? undefined : unknownKey(above, typo, known);
}

/** Values that must not be repeated in an error, since errors are logged. */
function isSecret([section, key]: KeyPath): boolean {
  return (section === "mesh" && key === "join") || (section === "bridge" && key === "api_keys");
}

const HIDDEN = Symbol("a value that is not shown");

function describe(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case "invalid_type":
      return value === undefined
        ? `is missing, expected ${typeWords(issue.expected)}`
        : `${is(value)}, expected ${typeWords(issue.expected)}`;
    case "invalid_value":
      return describeChoice(value, issue.values);
    case "too_small": {
      const least = `${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}`;
      return `${is(value)}, expected ${least}${unit(issue.origin, issue.minimum)}`;
    }
    case "too_big": {
      const most = `${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}`;
      return `${is(value)}, expected ${most}${unit(issue.origin, issue.maximum)}`;
    }
    case "invalid_format":
    case "custom":
      return issue.message.startsWith("expected ") && typeof value !== "object"
        ? `${is(value)}, ${issue.message}`
        : issue.message;
    default:
      return issue.message;
  }
}

function describeChoice(value: unknown, options: readonly unknown[]): string {
  const words = options.map(String);
  const guess = typeof value === "string" ? suggest(value, words) : undefined;
  const start = value === undefined ? "is missing" : is(value);
  return `${start}, expected ${words.length > 1 ? "one of " : ""}${words.join(", ")}` +
    (guess === undefined ? "" : `; did you mean "${guess}"?`);
}

/** What stands there, in words; never more than a short piece of it. */
function is(value: unknown): string {
  if (value === null) return "is empty";
  if (value === HIDDEN) return "is something else";
  if (Array.isArray(value)) return `is a list of ${value.length}`;
  if (typeof value === "object") return "is a section";
  return typeof value === "string" ? `is "${clip(value, 40)}"` : `is ${String(value)}`;
}

function typeWords(expected: string): string {
  return TYPE_WORDS[expected] ?? expected;
}

const TYPE_WORDS: Record<string, string> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a section with keys",
  record: "a section with keys",
};

function unit(origin: string, count: number | bigint): string {
  const one = Number(count) === 1;
  if (origin === "string") return one ? " character" : " characters";
  return origin === "array" ? (one ? " entry" : " entries") : "";
}

/** The value at a path of plain data, undefined where the path leaves it. */
export function valueAt(raw: unknown, path: KeyPath): unknown {
  let at: unknown = raw;
  for (const step of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, step)) return undefined;
    at = (at as Record<string | number, unknown>)[step];
  }
  return at;
}
