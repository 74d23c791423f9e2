/** Flags of `up` and `daemon` as config keys. */
import { usageError } from "../exit.ts";

/** Collects a flag that may be repeated. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** A flag that stands for a config key, and what was given with it. */
export type Shorthand = readonly [flag: string, key: string, value: string | undefined];

/** Config keys that flags set. */
export interface FlagOverrides {
  /** "section.key" → text. */
  overrides: Record<string, string>;
  /** "section.key" → the shorthand that set it. */
  flagNames: Record<string, string>;
}

/**
 * What `--set section.key=value` flags and shorthands such as --listen say. A key set twice is a
 * mistake. Whether it exists is for the config to say.
 */
export function overridesOf(
  sets: readonly string[],
  shorthands: readonly Shorthand[],
): FlagOverrides {
  const overrides: Record<string, string> = {};
  const flagNames: Record<string, string> = {};
  for (const [flag, key, value] of shorthands) {
    if (value === undefined) continue;
    overrides[key] = value;
    flagNames[key] = flag;
  }
  for (const text of sets) {
    const at = text.indexOf("=");
    const key = text.slice(0, Math.max(0, at)).trim();
    if (!/^[a-z_]+(\.[a-z_]+)*$/.test(key)) {
      throw usageError(
        `cannot read --set: "${text}" is no section.key=value`,
        "for example --set limits.deadline_ms=30000",
      );
    }
    if (Object.hasOwn(overrides, key)) {
      throw usageError(`cannot set ${key}: it is set twice, expected one flag for it`);
    }
    overrides[key] = text.slice(at + 1);
  }
  return { overrides, flagNames };
}
