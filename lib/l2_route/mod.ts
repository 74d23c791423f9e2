/** L2 nexroute: semantic addresses, the routing table, resolution and advertisements. */
export * from "./advertisement.ts";
export * from "./breaker.ts";
export * from "./capabilities.ts";
export {
  effectiveLatencyMs,
  type EndpointMetrics,
  type ModelEntry,
  type NodeRoute,
  smoothed,
} from "./entry.ts";
export { type Member, rankMembers, requesterKey } from "./hash.ts";
export * from "./gossip/mod.ts";
export { listModels, type ModelSummary } from "./models.ts";
export { matchesModel, MODEL_NAME_BYTES_MAX } from "./names.ts";
export { formatRegion, parseRegion, type Region, REGION_UNKNOWN, REGIONS } from "./regions.ts";
export {
  type Candidate,
  LOAD_MAX_DEFAULT,
  type Resolution,
  resolve,
  type ResolveOptions,
  TOP_K_DEFAULT,
} from "./resolve.ts";
export * from "./sad.ts";
export {
  affinityKey,
  formatSad,
  parseSad,
  SAD_TEXT_CHARS_MAX,
  sadFromModelField,
} from "./sad_text.ts";
export { normaliseWeights, type Terms, WEIGHTS_DEFAULT } from "./score.ts";
export { RoutingTable, TABLE_NODES_MAX, TableSnapshot } from "./table.ts";
