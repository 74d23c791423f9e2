/** The routing table and what the resolver makes of a SAD. */
import { z } from "zod";
import { NodeIdText, SAD_TEXT_CHARS_MAX } from "./common.ts";

/** One model on one node. */
export const RouteEntry = z.object({
  nodeId: NodeIdText,
  nodeName: z.string().optional(),
  model: z.string(),
  arch: z.string().optional(),
  capabilities: z.array(z.string()),
  context: z.number().int(),
  latencyMs: z.number().meta({ description: "As advertised" }),
  effectiveLatencyMs: z.number().optional().meta({
    description: "As measured and inflated by load",
  }),
  costMicros: z.number().meta({ description: "Millionths of a US dollar" }),
  costPer1k: z.boolean().meta({ description: "Cost is per 1,000 tokens, else per request" }),
  trust: z.number().int(),
  benchmark: z.number().optional(),
  publisher: NodeIdText.optional(),
  region: z.string().optional(),
  load: z.number().optional(),
  queueDepth: z.number().int().optional(),
  maxConcurrency: z.number().int().optional(),
  local: z.boolean(),
  breaker: z.enum(["closed", "open", "half-open"]).optional(),
  expiresInS: z.number().optional(),
}).meta({ id: "Route" });
export type RouteEntry = z.infer<typeof RouteEntry>;

/** `GET /api/v1/routes`: one whole version of the table. */
export const RouteTable = z.object({
  version: z.number().int(),
  routes: z.array(RouteEntry),
}).meta({ id: "RouteTable" });
export type RouteTable = z.infer<typeof RouteTable>;

/** A SAD in its text form. Whether it parses is for the node to say (SAD_SYNTAX). */
export const SadText = z.string().max(SAD_TEXT_CHARS_MAX)
  .meta({ example: "cap=code_gen+tool_use,ctx>=32k,latency<500ms" });

/** `POST /api/v1/routes/resolve`. */
export const ResolveRequest = z.strictObject({ sad: SadText }).meta({ id: "ResolveRequest" });
export type ResolveRequest = z.infer<typeof ResolveRequest>;

/** The weighted terms of a score, each 0 … 1 before its weight. */
export const ScoreTerms = z.object({
  capability: z.number(),
  latency: z.number(),
  cost: z.number(),
  context: z.number(),
  trust: z.number(),
  region: z.number(),
}).meta({ id: "ScoreTerms" });
export type ScoreTerms = z.infer<typeof ScoreTerms>;

/** A model that was considered: either scored, or rejected with the reason in words. */
export const CandidateInfo = z.object({
  nodeId: NodeIdText,
  nodeName: z.string().optional(),
  model: z.string(),
  chosen: z.boolean(),
  score: z.number().optional(),
  terms: ScoreTerms.optional(),
  rejected: z.string().optional().meta({ example: "context 8192 is below 32768" }),
  note: z.string().optional().meta({ description: "Why a scored candidate was not chosen" }),
}).meta({ id: "Candidate" });
export type CandidateInfo = z.infer<typeof CandidateInfo>;

/** Answer of resolve: candidates that pass first, best first, then the rejected ones. */
export const ResolveResponse = z.object({
  sad: z.string().meta({ description: "Canonical text form" }),
  tableVersion: z.number().int().optional(),
  durationUs: z.number(),
  candidates: z.array(CandidateInfo),
}).meta({ id: "ResolveResponse" });
export type ResolveResponse = z.infer<typeof ResolveResponse>;
