/** The node itself, the nodes it knows, and the connections between them. */
import { z } from "zod";
import { NodeIdText, Sha256Text } from "./common.ts";
import { CertificateSummary } from "./trust.ts";

/** `starting` until ready, `draining` once no new work is taken. */
export const NodeState = z.enum(["starting", "running", "draining"]);
export type NodeState = z.infer<typeof NodeState>;

/** What answers requests on the node, and whether it can. */
export const ProviderInfo = z.object({
  name: z.string(),
  state: z.enum(["starting", "ready", "down", "stopped"]),
  detail: z.string().optional().meta({ description: "Why it is not ready" }),
  models: z.number().int(),
  active: z.number().int(),
  queueDepth: z.number().int(),
}).meta({ id: "Provider" });
export type ProviderInfo = z.infer<typeof ProviderInfo>;

/** `GET /api/v1/node`. */
export const NodeInfo = z.object({
  id: NodeIdText,
  name: z.string(),
  state: NodeState,
  notReady: z.array(z.string()).meta({
    description: "Why /readyz says no, one line each; empty when ready",
  }),
  version: z.string(),
  region: z.string().optional(),
  vni: z.number().int(),
  pid: z.number().int(),
  startedAtMs: z.number().meta({ description: "Unix milliseconds" }),
  uptimeS: z.number(),
  stateDir: z.string(),
  addresses: z.object({
    link: z.array(z.string()).meta({ description: "Where the mesh port listens" }),
    advertised: z.array(z.string()),
    admin: z.string().optional(),
    bridge: z.string().optional(),
  }),
  port: z.object({
    kind: z.string().meta({ description: "Port implementation in use", example: "udp" }),
    reason: z.string().optional().meta({ description: "Why not a faster one" }),
  }),
  crypto: z.string().meta({ description: "Crypto engine in use", example: "node:crypto" }),
  certificate: CertificateSummary.optional().meta({
    description: "Missing until the node has joined a mesh",
  }),
  ca: z.object({ fingerprint: Sha256Text, here: z.boolean() }).optional().meta({
    description: "Root of the mesh, and whether its key lives on this node",
  }),
  models: z.array(z.string()),
  providers: z.array(ProviderInfo),
  connections: z.number().int(),
  activeRequests: z.number().int(),
}).meta({ id: "NodeInfo" });
export type NodeInfo = z.infer<typeof NodeInfo>;

/** One node of the mesh as this node sees it. */
export const NodeSummary = z.object({
  id: NodeIdText,
  name: z.string().optional(),
  self: z.boolean(),
  addresses: z.array(z.string()),
  connected: z.boolean(),
  rttMs: z.number().optional(),
  load: z.number().optional().meta({ description: "0 idle … 1 full" }),
  queueDepth: z.number().int().optional(),
  draining: z.boolean().optional(),
  models: z.array(z.string()),
  capabilities: z.array(z.string()),
  region: z.string().optional(),
  lastSeenMs: z.number().optional().meta({ description: "Unix milliseconds" }),
}).meta({ id: "NodeSummary" });
export type NodeSummary = z.infer<typeof NodeSummary>;

/** `GET /api/v1/nodes`. */
export const NodeList = z.object({ nodes: z.array(NodeSummary) }).meta({ id: "NodeList" });
export type NodeList = z.infer<typeof NodeList>;

/** A node that this one remembers across restarts, or was told of as a seed. */
export const PeerInfo = z.object({
  id: NodeIdText.optional().meta({ description: "Missing for a seed that never answered" }),
  addresses: z.array(z.string()),
  source: z.enum(["seed", "invite", "gossip", "inbound"]),
  connected: z.boolean(),
  fingerprint: Sha256Text.optional().meta({ description: "Pinned key" }),
  lastSeenMs: z.number().optional(),
  lastError: z.string().optional(),
}).meta({ id: "Peer" });
export type PeerInfo = z.infer<typeof PeerInfo>;

/** `GET /api/v1/peers`. */
export const PeerList = z.object({ peers: z.array(PeerInfo) }).meta({ id: "PeerList" });
export type PeerList = z.infer<typeof PeerList>;

/** One NexStream connection; counters since it opened. */
export const ConnectionInfo = z.object({
  id: z.number().int().meta({ description: "Local connection id" }),
  nodeId: NodeIdText,
  name: z.string().optional(),
  address: z.string(),
  side: z.enum(["client", "server"]),
  role: z.enum(["node", "client", "joining"]),
  state: z.string(),
  suite: z.string(),
  ageS: z.number(),
  rttMs: z.number().optional(),
  congestionWindowBytes: z.number(),
  inFlightBytes: z.number(),
  streamsOpen: z.number().int(),
  packetsSent: z.number().int(),
  packetsReceived: z.number().int(),
  packetsLost: z.number().int(),
  bytesSent: z.number(),
  bytesReceived: z.number(),
  bytesRetransmitted: z.number(),
}).meta({ id: "Connection" });
export type ConnectionInfo = z.infer<typeof ConnectionInfo>;

/** `GET /api/v1/connections`. */
export const ConnectionList = z.object({ connections: z.array(ConnectionInfo) })
  .meta({ id: "ConnectionList" });
export type ConnectionList = z.infer<typeof ConnectionList>;

/** Longest drain deadline that a request may ask for: an hour. */
export const DRAIN_MS_MAX = 3_600_000;

/** `POST /api/v1/shutdown`; an empty body means the node's own deadline. */
export const ShutdownRequest = z.strictObject({
  deadlineMs: z.number().int().min(0).max(DRAIN_MS_MAX).optional(),
}).meta({ id: "ShutdownRequest" });
export type ShutdownRequest = z.infer<typeof ShutdownRequest>;

/** `POST /api/v1/drain`: an empty object. Drained nodes wait for `shutdown`. */
export const DrainRequest = z.strictObject({}).meta({ id: "DrainRequest" });
export type DrainRequest = z.infer<typeof DrainRequest>;

/** Accepted: the node finishes what runs. */
export const DrainResponse = z.object({ state: NodeState, activeRequests: z.number().int() })
  .meta({ id: "DrainResponse" });
export type DrainResponse = z.infer<typeof DrainResponse>;
