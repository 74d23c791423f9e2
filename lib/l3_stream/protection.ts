/**
 * What the transport needs from whoever holds the keys. Declared here, implemented by L4
 * records, so that this layer never sees a key (docs/protocol.md §5).
 */
import type { FrameInfo } from "../l1_link/mod.ts";
import type { PacketRuns } from "./runs.ts";

/** The tag does not fit the bytes: forged, damaged or sealed under another key. */
export const OPEN_UNAUTHENTIC = -1;
/** The packet number was seen before or is older than the replay window (4,096). */
export const OPEN_REPLAYED = -2;
/** The frame is clear or names a key phase that this end does not hold. */
export const OPEN_KEY_PHASE = -3;

/** Seals and opens the frames of one connection on one path. */
export interface PacketProtection {
  /**
   * Seals the payload in place and writes the tag into the ENCRYPTION_TAG option. Header and
   * options are complete, except for the CRC, which the caller writes afterwards.
   */
  seal(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    payloadOffset: number,
    payloadLength: number,
    packetNumber: number,
  ): void;

  /**
   * Recovers the packet number from its low 32 bits, checks the replay window and opens the
   * payload in place. Returns the packet number, or one of the negative OPEN_ codes; state
   * changes only when the tag verifies.
   */
  open(bytes: Uint8Array, view: DataView, frameOffset: number, info: FrameInfo): number;

  /**
   * Runs of packets in one call; undefined where the engine has none. The headers are those that
   * every frame sent and received on the path has, but for length, number and timestamp.
   */
  openRuns?(sealHeader: Uint8Array, openHeader: Uint8Array): PacketRuns | undefined;

  /** Key phase to stamp on frames sent now (1…255). */
  readonly keyPhase: number;
  /** Frames that may still be sealed under this key. */
  readonly sealsLeft: number;
  /** The same keys for another path of the connection: own numbers, shared limits and wipe. */
  forPath(pathId: number): PacketProtection;
  /** Forgets the keys; nothing can be sealed or opened afterwards. */
  wipe(): void;
}
