/** What an endpoint tells its driver. */
import type { NexusError, SocketAddress } from "../base/mod.ts";
import type { ConnectionEvent } from "../l3_stream/mod.ts";
import type { HandshakeResult } from "../l4_trust/mod.ts";

/** A handle for one connection: the connection id that we chose for it. */
export type ConnectionId = number;

export type EndpointEvent =
  | { type: "connected"; connection: ConnectionId; handshake: HandshakeResult; initiator: boolean }
  | { type: "failed"; connection: ConnectionId; error: NexusError; initiator: boolean }
  | { type: "connection"; connection: ConnectionId; event: ConnectionEvent }
  | { type: "closed"; connection: ConnectionId };

/** A handshake message for endpoint `owner` of the group: its `receiveStray` takes it. */
export interface Stray {
  readonly owner: number;
  readonly message: Uint8Array;
  /** Where it came from. */
  readonly address: SocketAddress;
}
