/** Who shall answer: the `model` member, an alias of it, and the `x-nexus-sad` header. */
import { clip, equalBytes, errorMessage, NexusError } from "../../base/mod.ts";
import { encodeSad, formatSad, parseSad, type Sad, sadFromModelField } from "../../l2_route/mod.ts";
import { type HttpError, invalid } from "./errors.ts";

/** Adds constraints to the request's own, as SAD text. */
export const SAD_HEADER = "x-nexus-sad";

/**
 * The SAD of a request. `aliases` maps whole `model` values to SAD text or model names and is
 * looked at first. Throws 400, naming `model` or the header.
 */
export function selectModel(
  model: unknown,
  header: string | null,
  aliases: ReadonlyMap<string, string>,
): Sad {
  if (typeof model !== "string") {
    const fault = model === undefined ? "is missing" : `is ${typeof model}`;
    throw invalid(
      "model",
      `cannot choose model: "model" ${fault}, expected a model name or SAD text`,
      model === undefined ? "missing_required_parameter" : "invalid_type",
    );
  }
  const own = explained("model", () => sadFromModelField(aliases.get(model) ?? model));
  if (header === null) return own;
  const added = explained(SAD_HEADER, () => parseSad(header));
  const both = mergeSads(own, added);
  explained(SAD_HEADER, () => encodeSad(both)); // both together must fit the wire, too
  return both;
}

function explained<T>(param: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof NexusError)) throw error;
    const hint = error.hint === undefined ? "" : ` (${error.hint})`;
    throw invalid(param, errorMessage(error) + hint, "invalid_model_selector");
  }
}

/**
 * What satisfies both: the stricter bound, all capabilities, all exclusions, all preferences.
 * Fields that can have one value only (model, arch, publisher, custom, affinity, and the unit of
 * a cost) must agree; a 400 names the one that does not.
 */
export function mergeSads(a: Sad, b: Sad): Sad {
  const merged: Sad = {
    arch: same("arch", a, b, a.arch, b.arch),
    capabilities: (a.capabilities ?? 0) | (b.capabilities ?? 0),
    contextMin: bound(Math.max, a.contextMin, b.contextMin),
    latencyMsMax: bound(Math.min, a.latencyMsMax, b.latencyMsMax),
    costMax: a.costMax,
    trustMin: bound(Math.max, a.trustMin, b.trustMin),
    regionPrefer: union(a.regionPrefer, b.regionPrefer),
    regionExclude: union(a.regionExclude, b.regionExclude),
    publisher: same("publisher", a, b, a.publisher, b.publisher),
    benchmarkMin: bound(Math.max, a.benchmarkMin, b.benchmarkMin),
    custom: same("custom", a, b, a.custom, b.custom),
    model: same("model", a, b, a.model, b.model),
    affinity: same("affinity", a, b, a.affinity, b.affinity),
    options: (a.options ?? 0) | (b.options ?? 0),
  };
  if (a.costMax !== undefined && b.costMax !== undefined) {
    if (a.costMax.per1k !== b.costMax.per1k) throw conflict("cost", a, b);
    const micros = Math.min(a.costMax.micros, b.costMax.micros);
    merged.costMax = { micros, per1k: a.costMax.per1k };
  } else merged.costMax = a.costMax ?? b.costMax;
  return Object.fromEntries(
    Object.entries(merged).filter(([, value]) => value !== undefined && value !== 0),
  );
}

function same<T extends number | string | Uint8Array>(
  field: string,
  whole: Sad,
  other: Sad,
  a: T | undefined,
  b: T | undefined,
): T | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  const agree = a instanceof Uint8Array && b instanceof Uint8Array ? equalBytes(a, b) : a === b;
  if (!agree) throw conflict(field, whole, other);
  return a;
}

function conflict(field: string, a: Sad, b: Sad): HttpError {
  return invalid(
    SAD_HEADER,
    `cannot choose model: ${field} of "model" and of the header ${SAD_HEADER} disagree: ` +
      `"${clip(formatSad(a))}" and "${clip(formatSad(b))}"`,
    "invalid_model_selector",
  );
}

function bound(
  stricter: (a: number, b: number) => number,
  a: number | undefined,
  b: number | undefined,
): number | undefined {
  return a === undefined ? b : b === undefined ? a : stricter(a, b);
}

function union(a: number[] | undefined, b: number[] | undefined): number[] | undefined {
  if (a === undefined && b === undefined) return undefined;
  return [...new Set([...a ?? [], ...b ?? []])].sort((x, y) => x - y);
}
