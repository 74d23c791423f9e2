/** What the admin server needs from the node. The node implements it, tests fake it. */
import type {
  ConnectionInfo,
  DrainResponse,
  InferEvent,
  InferRequest,
  Invite,
  InviteRequest,
  NodeInfo,
  NodeSummary,
  PeerInfo,
  ResolveResponse,
  RouteTable,
  TrustMic,
  VersionInfo,
} from "../../admin_api/mod.ts";

/** Errors are thrown as NexusError; `statusOf` in errors.ts maps their codes to HTTP. */
export interface AdminBackend {
  /** True once the node serves: mesh joined, bridge answering, not draining. */
  ready(): boolean;
  version(): VersionInfo;
  node(): NodeInfo;
  nodes(): NodeSummary[];
  peers(): PeerInfo[];
  connections(): ConnectionInfo[];
  routes(): RouteTable;
  /** Throws SAD_SYNTAX when the text does not parse. No candidate is not an error. */
  resolve(sad: string): ResolveResponse | Promise<ResolveResponse>;
  /**
   * Runs one request. The signal fires when the client goes away or the server closes; the
   * provider must then stop. What it throws before the first event becomes an HTTP error, later
   * an `error` event.
   */
  infer(request: InferRequest, signal: AbortSignal): AsyncIterable<InferEvent>;
  /** Throws NOT_A_CA when the mesh's CA is not on this node. */
  createInvite(request: InviteRequest): Invite | Promise<Invite>;
  mic(): TrustMic;
  /** No new work; returns at once. */
  drain(): DrainResponse;
  /** Drains, then ends the process; returns at once. */
  shutdown(deadlineMs?: number): DrainResponse;
  /** Prometheus text, see ../metrics.ts. */
  metrics(): Promise<string>;
}
