/** Countries as the SAD names them: ISO 3166-1 numeric on the wire, any of its codes in text. */
import { clip, NexusError } from "../base/mod.ts";
import { ISO_3166_1 } from "./gen/iso3166.ts";

/** The region of a node that did not say where it is. */
export const REGION_UNKNOWN = 0;

/** One country of ISO 3166-1. */
export interface Region {
  readonly alpha2: string;
  readonly alpha3: string;
  readonly numeric: number;
}

/** All countries, ascending by alpha-2. */
export const REGIONS: readonly Region[] = ISO_3166_1.split(" ").map((code) => ({
  alpha2: code.slice(0, 2),
  alpha3: code.slice(2, 5),
  numeric: Number(code.slice(5)),
}));

const byText = new Map<string, number>();
const byNumeric = new Map<number, string>();
for (const { alpha2, alpha3, numeric } of REGIONS) {
  byText.set(alpha2, numeric).set(alpha3, numeric);
  byNumeric.set(numeric, alpha2);
}

/**
 * Numeric code of an alpha-2, alpha-3 (either case) or numeric code. A number need not be assigned:
 * the list grows and a node must be able to name what its peers know. Throws UNKNOWN_REGION.
 */
export function parseRegion(text: string): number {
  const known = byText.get(text.toUpperCase());
  if (known !== undefined) return known;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 0xffff) return Number(text);
  throw new NexusError(
    "UNKNOWN_REGION",
    `cannot read region: "${
      clip(text)
    }" is not an ISO 3166-1 code, expected one like DE, DEU or 276`,
  );
}

/** alpha-2 of a numeric code, the number itself when it is not assigned. */
export function formatRegion(numeric: number): string {
  return byNumeric.get(numeric) ?? String(numeric);
}
