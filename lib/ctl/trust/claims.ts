/** Claims of a certificate as flags. */
import { parseCapabilities, parseRegion, parseSad } from "../../l2_route/mod.ts";
import type { MicClaims, NodeRole } from "../../l4_trust/mod.ts";
import { usageError } from "../exit.ts";

/** What the flags say. */
export interface ClaimFlags {
  readonly capabilities?: string;
  readonly context?: string;
  readonly model?: string[];
  readonly region?: string[];
}

/** Claims of flags; errors of the SAD's own words. */
export function claimsOf(flags: ClaimFlags): MicClaims {
  const { capabilities, context, model, region } = flags;
  return {
    capabilities: capabilities === undefined ? undefined : parseCapabilities(capabilities),
    contextWindow: context === undefined ? undefined : contextOf(context),
    modelNames: model,
    regions: region?.map(parseRegion),
  };
}

/** "node" or "client"; USAGE otherwise. */
export function roleOf(text: string): NodeRole {
  if (text === "node" || text === "client") return text;
  throw usageError(`cannot read --role: "${text}" is no role, expected node or client`);
}

function contextOf(text: string): number {
  // The SAD has the grammar of sizes ("32k"); a comma would start another term.
  const context = /^\d+[a-zA-Z]?$/.test(text) ? parseSad(`ctx>=${text}`).contextMin : undefined;
  if (context === undefined) {
    throw usageError(`cannot read --context: "${text}" is no number of tokens such as 32k`);
  }
  return context;
}
