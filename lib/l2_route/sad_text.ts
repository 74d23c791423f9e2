/**
 * Semantic Address Descriptor, text form (protocol.md §6): terms separated by commas, as in
 * `cap=code_gen+tool_use,ctx>=128k,latency<200ms,cost<$0.002,trust>=2,region=DE|FR,region!=US`.
 *
 * Each term is one row of `TERMS`: its operator, how its value is read into a Sad and written back.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { clip, fromHex, NexusError, toHex, utf8 } from "../base/mod.ts";
import {
  ARCHITECTURES,
  CAPABILITIES,
  formatArchitecture,
  formatCapabilities,
  parseArchitecture,
  parseCapabilities,
} from "./capabilities.ts";
import { checkModelPattern } from "./names.ts";
import { formatRegion, parseRegion } from "./regions.ts";
import {
  AFFINITY_BYTES,
  COST_MICROS_MAX,
  encodeSad,
  OPTION_PARTIAL,
  OPTION_RELAX,
  type Sad,
  TRUST_MAX,
} from "./sad.ts";

/** Characters read at all: a hostile `model` value must not cost more than this. */
export const SAD_TEXT_CHARS_MAX = 4096;

/**
 * Reads the text form. `*` alone is the empty SAD. Throws SAD_SYNTAX, which names the term at
 * fault and what is expected in its place.
 *
 * ```ts
 * import { parseSad } from "./mod.ts";
 * console.assert(parseSad("cap=code_gen,ctx>=32k").contextMin === 32768);
 * ```
 */
export function parseSad(text: string): Sad {
  checkLength(text);
  const sad: Sad = {};
  const whole = trim(text);
  if (whole === "") throw syntax("it is empty", "write * for any model");
  if (whole === "*") return sad;
  const seen = new Set<Term>();
  for (const part of whole.split(",")) parseTerm(trim(part), sad, seen);
  try {
    encodeSad(sad); // what text can say must fit the wire
  } catch (error) {
    if (error instanceof NexusError) throw syntax(error.message.replace(/^cannot [^:]*: /, ""));
    throw error;
  }
  return sad;
}

/** Text that `parseSad` reads back to the same SAD; terms ascend by field type. */
export function formatSad(sad: Sad): string {
  const terms: string[] = [];
  for (const term of TERMS) {
    const value = term.format(sad);
    if (value !== undefined) terms.push(term.name + term.operator + value);
  }
  return terms.length === 0 ? "*" : terms.join(",");
}

/**
 * The SAD of an OpenAI `model` value: SAD text when it holds `=`, `<` or `>` or is `*`, else a
 * model name (a trailing `*` matches every name that starts so). Throws SAD_SYNTAX.
 */
export function sadFromModelField(text: string): Sad {
  checkLength(text);
  const whole = trim(text);
  if (whole === "*" || whole === "" || /[=<>]/.test(whole)) return parseSad(whole);
  const fault = checkModelPattern(whole);
  if (fault !== undefined) throw syntax(`model name ${fault}`);
  return { model: whole };
}

interface Term {
  readonly name: string;
  readonly operator: "=" | "!=" | "<" | ">=";
  /** A right term, for error messages. */
  readonly example: string;
  /** Puts the value into the SAD; what is wrong with it otherwise. */
  readonly parse: (value: string, sad: Sad) => string | undefined;
  readonly format: (sad: Sad) => string | undefined;
}

const TERMS: readonly Term[] = [
  {
    name: "arch",
    operator: "=",
    example: "arch=moe",
    parse(value, sad) {
      if (!(ARCHITECTURES as readonly string[]).includes(value)) {
        return `architecture "${clip(value)}" is unknown, expected one of ${
          ARCHITECTURES.join(", ")
        }`;
      }
      sad.arch = parseArchitecture(value);
    },
    format: ({ arch }) => arch === undefined ? undefined : formatArchitecture(arch),
  },
  {
    name: "cap",
    operator: "=",
    example: "cap=code_gen+tool_use",
    parse(value, sad) {
      for (const part of value.split("+")) {
        if (!(CAPABILITIES as readonly string[]).includes(trim(part))) {
          return `capability "${clip(trim(part))}" is unknown, expected one of ${
            CAPABILITIES.join(", ")
          }`;
        }
      }
      sad.capabilities = parseCapabilities(value);
    },
    format: ({ capabilities }) => capabilities ? formatCapabilities(capabilities) : undefined,
  },
  {
    name: "ctx",
    operator: ">=",
    example: "ctx>=128k",
    parse(value, sad) {
      const match = /^(\d{1,10})([kKmM]?)$/.exec(value);
      if (match === null) {
        return `"${clip(value)}" is not a number of tokens, expected one like 32768, 32k or 1m`;
      }
      const tokens = Number(match[1]) * TOKEN_UNITS[match[2].toLowerCase()];
      if (tokens > 0xffffffff) return `${clip(value)} tokens is more than ${0xffffffff}`;
      sad.contextMin = tokens;
    },
    format: ({ contextMin }) => contextMin === undefined ? undefined : formatTokens(contextMin),
  },
  {
    name: "latency",
    operator: "<",
    example: "latency<200ms",
    parse(value, sad) {
      const match = /^(\d{1,10}(?:\.\d{1,3})?)(ms|s)$/.exec(value);
      if (match === null) {
        return `"${clip(value)}" is not a time with its unit, expected one like 200ms or 2s`;
      }
      const ms = match[2] === "s" ? decimal(match[1], 3) : Number(match[1]);
      if (!Number.isInteger(ms)) return `"${clip(value)}" is finer than a millisecond`;
      if (ms > 0xffffffff) return `${clip(value)} is more than ${0xffffffff}ms`;
      sad.latencyMsMax = ms;
    },
    format: ({ latencyMsMax }) => latencyMsMax === undefined ? undefined : `${latencyMsMax}ms`,
  },
  {
    name: "cost",
    operator: "<",
    example: "cost<$0.002 or cost<$0.002/1k",
    parse(value, sad) {
      const match = /^\$(\d{1,10}(?:\.\d{1,20})?)(\/1k)?$/i.exec(value);
      if (match === null) {
        return `"${
          clip(value)
        }" is not an amount of US dollars, expected one like $0.002 or $0.002/1k`;
      }
      const micros = decimal(match[1], 6);
      if (Number.isNaN(micros)) return `${clip(value)} is finer than a millionth of a dollar`;
      if (micros > COST_MICROS_MAX) return `${clip(value)} is more than $2147.483647`;
      sad.costMax = { micros, per1k: match[2] !== undefined };
    },
    format: ({ costMax }) =>
      costMax === undefined
        ? undefined
        : `$${formatDecimal(costMax.micros, 6)}${costMax.per1k ? "/1k" : ""}`,
  },
  {
    name: "trust",
    operator: ">=",
    example: "trust>=2",
    parse(value, sad) {
      if (!/^\d$/.test(value) || Number(value) > TRUST_MAX) {
        return `"${clip(value)}" is not a trust level, expected 0…${TRUST_MAX}`;
      }
      sad.trustMin = Number(value);
    },
    format: ({ trustMin }) => trustMin === undefined ? undefined : String(trustMin),
  },
  {
    name: "region",
    operator: "=",
    example: "region=DE|FR",
    parse(value, sad) {
      const regions = parseRegions(value);
      if (typeof regions === "string") return regions;
      sad.regionPrefer = regions;
    },
    format: ({ regionPrefer }) => formatRegions(regionPrefer),
  },
  {
    name: "region",
    operator: "!=",
    example: "region!=US|CN",
    parse(value, sad) {
      const regions = parseRegions(value);
      if (typeof regions === "string") return regions;
      sad.regionExclude = regions;
    },
    format: ({ regionExclude }) => formatRegions(regionExclude),
  },
  {
    name: "publisher",
    operator: "=",
    example: "publisher=00112233445566778899aabbccddeeff",
    parse(value, sad) {
      if (!/^[0-9a-fA-F]{32}$/.test(value)) return `"${clip(value)}" is not 32 hex digits`;
      sad.publisher = fromHex(value);
    },
    format: ({ publisher }) => publisher === undefined ? undefined : toHex(publisher),
  },
  {
    name: "benchmark",
    operator: ">=",
    example: "benchmark>=0.85",
    parse(value, sad) {
      const score = /^\d{1,10}(\.\d{1,20})?$/.test(value) ? decimal(value, 3) : undefined;
      if (score === undefined) return `"${clip(value)}" is not a score, expected one like 0.85`;
      if (Number.isNaN(score)) return `${clip(value)} is finer than a thousandth`;
      if (score > 0xffffffff) return `${clip(value)} is more than 4294967.295`;
      sad.benchmarkMin = score;
    },
    format: ({ benchmarkMin }) =>
      benchmarkMin === undefined ? undefined : formatDecimal(benchmarkMin, 3),
  },
  {
    name: "custom",
    operator: "=",
    example: "custom=c0ffee",
    parse(value, sad) {
      if (!/^([0-9a-fA-F]{2}){1,255}$/.test(value)) {
        return `"${clip(value)}" is not hexadecimal of 1…255 bytes`;
      }
      sad.custom = fromHex(value);
    },
    format: ({ custom }) => custom === undefined ? undefined : toHex(custom),
  },
  {
    name: "model",
    operator: "=",
    example: "model=llama-3*",
    parse(value, sad) {
      const name = unescapeName(value);
      if (name === undefined) return `"${clip(value)}" has a % that is not %2C or %25 or the like`;
      const fault = checkModelPattern(name);
      if (fault !== undefined) return `name ${fault}`;
      sad.model = name;
    },
    format: ({ model }) => model === undefined ? undefined : escapeName(model),
  },
  {
    name: "affinity",
    operator: "=",
    example: "affinity=session-42",
    parse(value, sad) {
      if (value === "") return "it is empty, expected 16 hex digits or any text";
      sad.affinity = affinityKey(value);
    },
    format: ({ affinity }) => affinity === undefined ? undefined : toHex(affinity),
  },
  {
    name: "opt",
    operator: "=",
    example: "opt=partial+relax",
    parse(value, sad) {
      let bits = 0;
      for (const part of value.split("+")) {
        const bit = OPTION_WORDS[trim(part)];
        if (bit === undefined) {
          return `option "${clip(trim(part))}" is unknown, expected partial or relax`;
        }
        bits |= bit;
      }
      sad.options = bits;
    },
    format: ({ options }) =>
      options
        ? Object.keys(OPTION_WORDS).filter((word) => OPTION_WORDS[word] & options).join("+")
        : undefined,
  },
];

const TERM_NAMES = [...new Set(TERMS.map((term) => term.name))];
const TOKEN_UNITS: Record<string, number> = { "": 1, k: 1024, m: 1048576 };
const OPTION_WORDS: Record<string, number> = Object.assign(Object.create(null), {
  partial: OPTION_PARTIAL,
  relax: OPTION_RELAX,
});

/** The 8-byte key of an affinity text: itself when 16 hex digits, else hashed (SHA-256). */
export function affinityKey(text: string): Uint8Array {
  return /^[0-9a-fA-F]{16}$/.test(text)
    ? fromHex(text)
    : sha256(utf8(text)).slice(0, AFFINITY_BYTES);
}

function checkLength(text: string): void {
  if (text.length > SAD_TEXT_CHARS_MAX) {
    throw syntax(`it has ${text.length} characters, expected at most ${SAD_TEXT_CHARS_MAX}`);
  }
}

function parseTerm(text: string, sad: Sad, seen: Set<Term>): void {
  const match = /^([A-Za-z_0-9-]*)[ \t]*(!=|<=|>=|<|>|=)[ \t]*(.*)$/s.exec(text);
  if (match === null) {
    throw syntax(
      `term "${clip(text)}" has no operator`,
      `terms look like ${TERMS[1].example},${TERMS[2].example}; a model name is model=NAME`,
    );
  }
  const [, name, operatorRead, value] = match;
  if (!TERM_NAMES.includes(name)) {
    throw syntax(`term "${clip(name)}" is unknown, expected one of ${TERM_NAMES.join(", ")}`);
  }
  const operator = operatorRead === "<=" ? "<" : operatorRead; // both mean "at most"
  const named = TERMS.filter((term) => term.name === name);
  const term = named.find((candidate) => candidate.operator === operator);
  if (term === undefined) {
    throw syntax(
      `term "${clip(text)}" has the operator ${operatorRead}, expected ${
        named.map((each) => each.example).join(" or ")
      }`,
    );
  }
  if (seen.has(term)) throw syntax(`term ${name}${term.operator} stands twice`);
  seen.add(term);
  const fault = term.parse(value, sad);
  if (fault !== undefined) throw syntax(`term "${clip(text)}": ${fault}`, `as in ${term.example}`);
}

function parseRegions(value: string): number[] | string {
  const regions = new Set<number>();
  for (const part of value.split("|")) {
    try {
      regions.add(parseRegion(trim(part)));
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
      return error.message.replace(/^cannot [^:]*: /, "");
    }
  }
  return [...regions].sort((a, b) => a - b);
}

function formatRegions(regions: readonly number[] | undefined): string | undefined {
  if (!regions?.length) return undefined;
  return [...new Set(regions)].sort((a, b) => a - b).map(formatRegion).join("|");
}

function formatTokens(tokens: number): string {
  if (tokens === 0) return "0";
  if (tokens % TOKEN_UNITS.m === 0) return `${tokens / TOKEN_UNITS.m}m`;
  if (tokens % TOKEN_UNITS.k === 0) return `${tokens / TOKEN_UNITS.k}k`;
  return String(tokens);
}

/** Decimal text × 10^places as an integer, exactly; NaN when it has more places than that. */
function decimal(text: string, places: number): number {
  const [whole, fraction = ""] = text.split(".");
  const digits = fraction.replace(/0+$/, "");
  return digits.length > places ? NaN : Number(whole + digits.padEnd(places, "0"));
}

function formatDecimal(value: number, places: number): string {
  const digits = String(value).padStart(places + 1, "0");
  const fraction = digits.slice(-places).replace(/0+$/, "");
  return digits.slice(0, -places) + (fraction === "" ? "" : "." + fraction);
}

/** A comma would end the term, blanks at the ends would be trimmed. */
function escapeName(name: string): string {
  return name.replace(
    /[%,]|^[ \t]|[ \t]$/g,
    (char) => "%" + char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0"),
  );
}

function unescapeName(text: string): string | undefined {
  if (/%(?![0-7][0-9a-fA-F])/.test(text)) return undefined;
  return text.replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

/** Only blanks: other white space may be part of a name. */
function trim(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

function syntax(detail: string, hint?: string): NexusError {
  return new NexusError("SAD_SYNTAX", `cannot read SAD: ${detail}`, { hint });
}
