/** Flags of `up` and `daemon` as config keys. */
import { usageError } from "../exit.ts";

/** Collects a flag that may be repeated. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/**
 * "section.key" → text, from `--set section.key=value` flags and shorthands such as --listen.
 * A key set twice is a mistake. Whether it exists is for the config to say.
 */
export function overridesOf(
  sets: readonly string[],
  shorthands: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const overrides: Record<string, string> = {};
  for (const [key, value] of Object.entries(shorthands)) {
    if (value !== undefined) overrides[key] = value;
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
    if (Object.hasOwn(overrides, key)) throw usageError(`cannot set ${key}: it is set twice`);
    overrides[key] = text.slice(at + 1);
  }
  return overrides;
}
