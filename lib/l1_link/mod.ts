/**
 * L1 nexlink: frames on the wire and the ports that move them.
 *
 * Decode with `decodeFrame` into a `FrameInfo`; encode with `encodeHeader`, the option writers and
 * `finishFrame`, or in one go with `buildFrame`. Frames lie in the slots of a `Pool`, travel as
 * descriptors of a `Burst`, and enter and leave through a `Port`.
 */
export * from "./gen/link.ts";
export { crc32c } from "./crc32c.ts";
export { CANONICAL_BYTES_MAX, frameCrc, writeCanonicalHeader } from "./canonical.ts";
export { FrameInfo } from "./frame_info.ts";
export { decodeFrame, FrameError, frameError } from "./decode.ts";
export {
  buildFrame,
  encodeHeader,
  finishFrame,
  HeaderFields,
  PLAIN_OVERHEAD,
  SEALED_OVERHEAD,
  SEALED_PAYLOAD_OFFSET,
  SEALED_TAG_OFFSET,
} from "./encode.ts";
export * from "./options.ts";
export * from "./overlay.ts";
export * from "./fragments.ts";
export { HEADROOM_BYTES, Pool, type PoolOptions, SLOT_BYTES } from "./pool.ts";
export {
  type PoolMemory,
  type PoolMemorySource,
  type PoolPages,
  sharedPoolMemory,
} from "./pool_memory.ts";
export { PoolSet, SLOT_COUNTS_DEFAULT, type SlotCounts } from "./pool_set.ts";
export { Burst, BURST_FRAMES_MAX, DESCRIPTOR_ECN_MASK } from "./burst.ts";
export { emptyPortStats, type Port, type PortStats } from "./port.ts";
export { PEERS_KNOWN_MAX, PEERS_LEARNED_MAX, PeerTable } from "./peers.ts";
export { FrameQueue, RX_QUEUE_FRAMES_MAX } from "./frame_queue.ts";
export { type Fate, type FaultScript, MemoryNetwork, MemoryPort } from "./memory_port.ts";
export * from "./ring.ts";
