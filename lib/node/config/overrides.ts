/** Config keys from environment variables and command-line flags. */
import { parse } from "yaml";
import { clip } from "../../base/mod.ts";
import { alternatives, configLeaves, type JsonSchema, type Leaf } from "./json_schema.ts";
import type { ConfigMistake } from "./mistakes.ts";
import { suggest } from "./suggest.ts";

/** One key set from outside the file. */
export interface Override {
  readonly path: readonly string[];
  readonly value: unknown;
  /** `NEXUS_ADMIN_LISTEN`, `--set admin.listen` or `--admin`, for mistakes. */
  readonly where: string;
}

/** Variable that sets a key: "limits.deadline_ms" → NEXUS_LIMITS_DEADLINE_MS. */
export function envName(key: string): string {
  return "NEXUS_" + key.replaceAll(".", "_").toUpperCase();
}

/**
 * Overrides from variables `NEXUS_SECTION_KEY`. A variable of a known section with an unknown key
 * is a mistake; other NEXUS_ variables belong to others. An empty value counts as not set.
 */
export function readEnv(
  env: Readonly<Record<string, string>>,
  mistakes: ConfigMistake[],
): Override[] {
  const leaves = configLeaves();
  const names = new Map([...leaves].map(([key, leaf]) => [envName(key), leaf]));
  const sections = new Set([...leaves.values()].map((leaf) => envName(leaf.path[0])));
  const overrides: Override[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith("NEXUS_") || text === "") continue;
    const leaf = names.get(name);
    const section = name.split("_", 2).join("_");
    if (leaf !== undefined) {
      const override = read(leaf, text, name, mistakes);
      if (override !== undefined) overrides.push(override);
    } else if (sections.has(section)) {
      const guess = suggest(name, [...names.keys()]);
      mistakes.push({
        where: name,
        key: "",
        message: "unknown variable" +
          (guess === undefined
            ? `, known are ${
              [...names.keys()].filter((n) => n.startsWith(section + "_")).join(", ")
            }`
            : `, did you mean ${guess}?`),
      });
    }
  }
  return overrides;
}

/** What flags said: `section.key` → text, and the flags that are not `--set section.key`. */
export interface Flags {
  readonly overrides?: Readonly<Record<string, string>>;
  readonly flagNames?: Readonly<Record<string, string>>;
}

/** Overrides from flags. Unknown keys are mistakes. */
export function readFlags(
  { overrides: flags = {}, flagNames = {} }: Flags,
  mistakes: ConfigMistake[],
): Override[] {
  const leaves = configLeaves();
  const overrides: Override[] = [];
  for (const [key, text] of Object.entries(flags)) {
    const leaf = leaves.get(key);
    const where = flagNames[key] ?? `--set ${clip(key, 64)}`;
    if (leaf !== undefined) {
      const override = read(leaf, text, where, mistakes);
      if (override !== undefined) overrides.push(override);
      continue;
    }
    const guess = suggest(key, [...leaves.keys()]);
    mistakes.push({
      where,
      key: "",
      message: "unknown key" + (guess === undefined ? "" : `, did you mean "${guess}"?`),
    });
  }
  return overrides;
}

function read(
  { path, schema }: Leaf,
  text: string,
  where: string,
  mistakes: ConfigMistake[],
): Override | undefined {
  try {
    return { path, value: readValue(schema, text), where };
  } catch {
    mistakes.push({
      where,
      key: where.startsWith("--") ? "" : path.join("."),
      message: "cannot be read, expected the value as YAML or JSON",
    });
  }
}

/**
 * Text as the type that the key wants: text stays as it is (a name may be "123"), lists of text
 * may be written with commas, everything else is YAML (which includes JSON).
 */
function readValue(schema: JsonSchema, text: string): unknown {
  const types = alternatives(schema);
  const list = types.find((type) => type.type === "array");
  if (list !== undefined && !/^\s*[[{]/.test(text)) {
    const items = alternatives(list.items ?? {});
    if (items.some((item) => item.type === "string")) {
      return text.split(",").map((part) => part.trim()).filter((part) => part !== "");
    }
  }
  const textOnly = types.every((type) => type.type === "string" || type.enum !== undefined);
  if (textOnly) return text;
  if (types.every((type) => NUMERIC.has(type.type ?? "") || type.type === "string")) {
    return /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) ? Number(text) : text;
  }
  return parse(text, { schema: "core", maxAliasCount: 0 });
}

const NUMERIC = new Set(["integer", "number"]);
