/** What L4 and the endpoint make a connection from. */
import type { RandomFill } from "../base/mod.ts";
import type { StreamConfig } from "./config.ts";
import type { ErasureCodec } from "./fec/erasure_codec.ts";
import type { PacketProtection } from "./protection.ts";
import type { RunBuffers } from "./runs.ts";
import type { BlockSource } from "./streams/blocks.ts";

/** What a connection is made from; the handshake knows all of it. */
export interface ConnectionOptions {
  side: "client" | "server";
  /** 16 bytes each. */
  localNodeId: Uint8Array;
  peerNodeId: Uint8Array;
  localConnectionId: number;
  peerConnectionId: number;
  protection: PacketProtection;
  random: RandomFill;
  nowUs: number;
  /** Where frames go at first: the port's number of the peer's address. Default 0. */
  peer?: number;
  /** Whether two such numbers differ in nothing but the UDP port. Default: they never do. */
  isSameHost?: (a: number, b: number) => boolean;
  /**
   * Largest frame to send, header and CRC included: what the port and its pool take. Paths begin
   * at 1,200 bytes and search up to this, unless config.searchMtu is false. Default 1,200.
   */
  frameBytesMax?: number;
  config?: Partial<StreamConfig>;
  /** For runs, where the protection has them; shared by all connections of an endpoint. */
  runBuffers?: RunBuffers;
  /** Memory of send buffers; may serve many connections. Default: a pool of its own. */
  blocks?: BlockSource;
  /** Who computes the repair symbols of PR. Default: the portable codec. */
  erasureCodec?: ErasureCodec;
}
