/** What an endpoint is made from, and what a call of `connect` asks for. */
import type { RandomFill, SocketAddress } from "../base/mod.ts";
import type { BlockSource, ErasureCodec, StreamConfig } from "../l3_stream/mod.ts";
import type { HandshakeConfig, MicRequirements } from "../l4_trust/mod.ts";

/** Handshakes, open and half-open, and connections in all, unless the options say less. */
export const CONNECTIONS_MAX = 65_536;

/** What the endpoint needs of a port's peer table. */
export interface PeerNumbers {
  peer(address: SocketAddress): number;
  /** Whether peerAddress has an answer, for tables where making one takes time. */
  knowsPeer?(peer: number): boolean;
  peerAddress(peer: number): SocketAddress | undefined;
}

/**
 * One of `size` endpoints that share an address: the connection ids that it chooses leave `index`
 * when divided by `size`, and frames are steered by that (ffi/native/steer.c).
 */
export interface EndpointGroup {
  readonly index: number;
  readonly size: number;
}

export interface EndpointOptions extends HandshakeConfig {
  random: RandomFill;
  /** The port's peer table: peers are small numbers here. */
  peers: PeerNumbers;
  /**
   * Largest frame that the port and its pool take, bytes: what path MTU discovery may find on a
   * connection. Default 1,200. Handshake frames never exceed 1,200.
   */
  frameBytesMax?: number;
  stream?: Partial<StreamConfig>;
  /**
   * Whether the port takes trains as one descriptor (Port.trains). Otherwise each frame has its own.
   */
  trains?: boolean;
  /** Memory of the send buffers of all connections. Default: ordinary memory. */
  blocks?: BlockSource;
  /** Who computes the repair symbols of PR streams. Default: the portable codec. */
  erasureCodec?: ErasureCodec;
  /** Connections and handshakes at once; default CONNECTIONS_MAX. */
  connectionsMax?: number;
  /** Refuse new connections from others: false for a pure client. */
  acceptConnections?: boolean;
  group?: EndpointGroup;
}

export interface ConnectOptions {
  /** Where the node is: a numeric address. */
  address: SocketAddress;
  /** The node that must answer; any node at that address when left out. */
  nodeId?: Uint8Array;
  /** What the answering node's certificate must certify. */
  requirements?: MicRequirements;
  /** Joining a mesh: proves knowledge of an invite secret. */
  invite?: { id: Uint8Array; secret: Uint8Array };
  /** Whole SAD, sent sealed in FINISH. */
  sad?: Uint8Array;
}
