/**
 * The embedded provider's language: a splitter that stands for a tokenizer, a filter for stop
 * sequences, and small seeded grammars for prose, code and JSON. All of it pure.
 */
import type { SeededRandom } from "../../base/mod.ts";

/** A token is a run of up to 8 characters of one word with the blank before it. */
const TOKEN = /\s?[^\s]{1,8}|\s/gu;

/** The tokens of a text, in order; joined they are the text. */
export function* splitTokens(text: string): Generator<string> {
  for (const match of text.matchAll(TOKEN)) yield match[0];
}

/** How many tokens a text has, counted up to `countMax` so that hostile sizes cost little. */
export function countTokens(text: string, countMax = Infinity): number {
  let count = 0;
  if (text !== "") { for (const _ of splitTokens(text)) if (++count >= countMax) break; }
  return count;
}

/**
 * Cuts a stream of text at the stop sequence that is complete first (the longest, where several
 * end together), because there a model stops to generate. How the text comes in pieces does not
 * matter.
 */
export class StopFilter {
  readonly #stops: readonly string[];
  #held = "";
  #stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** What of the text so far is certain to stand before any stop sequence. */
  push(piece: string): string {
    if (this.#stopped) return "";
    const text = this.#held + piece;
    let cut: { start: number; end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      if (cut === undefined || end < cut.end || (end === cut.end && start < cut.start)) {
        cut = { start, end };
      }
    }
    if (cut !== undefined) {
      this.#stopped = true;
      this.#held = "";
      return text.slice(0, cut.start);
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => suffixThatBegins(text, stop)));
    this.#held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** What was held back when no more text comes. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }
}

/** Length of the longest end of `text` with which `stop` begins. */
function suffixThatBegins(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) {
    if (stop.startsWith(text.slice(text.length - n))) return n;
  }
  return 0;
}

const NOUNS = "mesh node route frame stream token packet window key model tensor peer queue hash"
  .split(" ");
const VERBS = "finds carries seals opens checks routes counts signs streams measures holds"
  .split(" ");
const QUALITIES = "small quick sealed distant signed honest bounded careful nearby".split(" ");

function pick(random: SeededRandom, words: readonly string[]): string {
  return words[random.below(words.length)];
}

/** Three to six sentences. */
export function prose(random: SeededRandom): string {
  const sentences = Array.from({ length: 3 + random.below(4) }, () => {
    const subject = `${pick(random, QUALITIES)} ${pick(random, NOUNS)}`;
    const object = `${pick(random, QUALITIES)} ${pick(random, NOUNS)}`;
    return `The ${subject} ${pick(random, VERBS)} the ${object}.`;
  });
  return sentences.join(" ");
}

/** One TypeScript function in a fence. */
export function code(random: SeededRandom): string {
  const [item, list, result] = [pick(random, NOUNS), pick(random, NOUNS) + "s", "total"];
  const name = `${pick(random, VERBS)}${list[0].toUpperCase()}${list.slice(1)}`;
  const limit = 1 + random.below(64);
  return [
    "```ts",
    `/** ${pick(random, QUALITIES)} sum over all ${list}. */`,
    `export function ${name}(${list}: number[]): number {`,
    `  let ${result} = 0;`,
    `  for (const ${item} of ${list}) {`,
    `    if (${item} > ${limit}) ${result} += ${item} % ${limit};`,
    "  }",
    `  return ${result};`,
    "}",
    "```",
  ].join("\n");
}

/** Schemas nest in earnest to a handful of levels; below this, `null` is answered. */
const SCHEMA_DEPTH_MAX = 16;

/** A JSON value that fits the common part of JSON Schema (type, enum, const, properties, items). */
export function sample(schema: unknown, random: SeededRandom, depth = 0): unknown {
  if (typeof schema !== "object" || schema === null || depth > SCHEMA_DEPTH_MAX) return null;
  const s = schema as Record<string, unknown>;
  if ("const" in s) return s.const;
  if (Array.isArray(s.enum) && s.enum.length > 0) return s.enum[random.below(s.enum.length)];
  const choice = [s.anyOf, s.oneOf].find((list) => Array.isArray(list) && list.length > 0);
  if (choice !== undefined) return sample((choice as unknown[])[0], random, depth + 1);
  const type = Array.isArray(s.type) ? s.type[0] : s.type;
  switch (type ?? ("properties" in s ? "object" : "string")) {
    case "object": {
      const properties = typeof s.properties === "object" ? Object.entries(s.properties ?? {}) : [];
      return Object.fromEntries(
        properties.map(([key, value]) => [key, sample(value, random, depth + 1)]),
      );
    }
    case "array":
      return [sample(s.items, random, depth + 1)];
    case "integer":
    case "number": {
      const low = typeof s.minimum === "number" ? s.minimum : 0;
      const high = typeof s.maximum === "number" ? s.maximum : low + 100;
      return low + random.below(Math.floor(high - low) + 1);
    }
    case "boolean":
      return random.chance(0.5);
    case "null":
      return null;
    default:
      return `${pick(random, QUALITIES)} ${pick(random, NOUNS)}`;
  }
}
