/**
 * What a client asks that a certificate can vouch for (protocol.md §4.5). What the certificate
 * does not say is not certified, so it does not meet a requirement.
 */
import { equalBytes, formatNodeId, NexusError } from "../../base/mod.ts";
import { matchesModel, OPTION_PARTIAL, type Sad } from "../../l2_route/mod.ts";
import type { VerifiedMic } from "./chain.ts";

/** Requirements on the answering node's certificate; absent asks nothing. */
export interface MicRequirements {
  /** Capability bits that must all be claimed. */
  readonly capabilities?: number;
  /** Tokens of context at least. */
  readonly contextMin?: number;
  /** Trust level 0…4; levels above 1 cannot be certified in this version. */
  readonly trustMin?: number;
  /** Node id of the publisher: the node itself or one of its issuers. */
  readonly publisher?: Uint8Array;
  /** ISO 3166-1 numeric codes that the node must not be in. */
  readonly regionExclude?: readonly number[];
  /** Model name, exact or with a trailing `*`. */
  readonly model?: string;
}

/** A MODEL_NAME claim that vouches for every name: for nodes whose names would not fit. */
export const ANY_MODEL_NAME = "*";

/** The part of a SAD that certificates vouch for. */
export function requirementsOfSad(sad: Sad): MicRequirements {
  const partial = ((sad.options ?? 0) & OPTION_PARTIAL) !== 0;
  return {
    capabilities: partial ? undefined : sad.capabilities,
    contextMin: sad.contextMin,
    trustMin: sad.trustMin,
    publisher: sad.publisher,
    regionExclude: sad.regionExclude,
    model: sad.model,
  };
}

/** Throws CONSTRAINT_NOT_MET, naming the first requirement that `mic` does not certify. */
export function checkRequirements(mic: VerifiedMic, requirements: MicRequirements): void {
  const { claims } = mic.leaf;
  const { capabilities, contextMin, trustMin, publisher, regionExclude, model } = requirements;
  if (capabilities !== undefined && (capabilities & ~mic.capabilities) !== 0) {
    throw notMet("capabilities", hex(mic.capabilities), hex(capabilities));
  }
  if (contextMin !== undefined && contextMin > (claims.contextWindow ?? 0)) {
    throw notMet("context", claims.contextWindow ?? "not certified", `at least ${contextMin}`);
  }
  if (trustMin !== undefined && trustMin > mic.trustLevel) {
    throw notMet("trust level", mic.trustLevel, `at least ${trustMin}`);
  }
  if (publisher !== undefined && !mic.publishers.some((id) => equalBytes(id, publisher))) {
    throw notMet(
      "publisher",
      mic.publishers.map(formatNodeId).join(" or "),
      formatNodeId(publisher),
    );
  }
  if (regionExclude !== undefined && regionExclude.length > 0) {
    checkRegions(claims.regions, regionExclude);
  }
  const vouches = (name: string) => name === ANY_MODEL_NAME || matchesModel(model!, name);
  if (model !== undefined && !(claims.modelNames ?? []).some(vouches)) {
    throw notMet("model", claims.modelNames?.join(", ") ?? "not certified", model);
  }
}

function checkRegions(regions: readonly number[] | undefined, exclude: readonly number[]): void {
  if (regions === undefined || regions.some((region) => exclude.includes(region))) {
    throw notMet("region", regions?.join(", ") ?? "not certified", `none of ${exclude.join(", ")}`);
  }
}

function hex(bits: number): string {
  return "0x" + (bits >>> 0).toString(16);
}

function notMet(what: string, found: string | number, expected: string): NexusError {
  return new NexusError(
    "CONSTRAINT_NOT_MET",
    `cannot use node: its certified ${what} is ${found}, expected ${expected}`,
  );
}
