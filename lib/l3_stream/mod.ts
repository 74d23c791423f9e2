/** L3 nexstream: connections, streams, loss recovery and flow control, without I/O or clock. */
export {
  CloseReason,
  closeReasonName,
  FRAME_BYTES_DEFAULT,
  STREAM_CONFIG_DEFAULT,
  type StreamConfig,
} from "./config.ts";
export {
  CONGESTION_NAMES,
  type CongestionController,
  type CongestionName,
} from "./congestion/mod.ts";
export { Connection, PRIORITY_DEFAULT } from "./connection.ts";
export type { ConnectionState } from "./core.ts";
export type { ConnectionEvent } from "./events.ts";
export {
  checkCode,
  CODE_SYMBOLS_MAX,
  type ErasureCodec,
  PortableErasureCodec,
  portableErasureCodec,
} from "./fec/erasure_codec.ts";
export {
  type Mode,
  MODE_BEST_EFFORT,
  MODE_PROBABILISTIC,
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
  PRIORITY_MAX,
} from "./frames/mod.ts";
export type { ConnectionOptions } from "./options.ts";
export * from "./protection.ts";
export { ReceiveResult } from "./receive.ts";
export { Landing, type PacketRuns, RunBuffers, RunResult, SealRun } from "./runs.ts";
export type { ConnectionStats, PathStats } from "./stats.ts";
export {
  type Block,
  BLOCK_BYTES,
  BlockPool,
  type BlockPoolOptions,
  type BlockSource,
  SLAB_BYTES,
  type SlabMemory,
} from "./streams/blocks.ts";
export { WEIGHT_DEFAULT, WEIGHT_MAX, WEIGHT_MIN } from "./streams/scheduler.ts";
export { PTO_COUNT_MAX } from "./timeouts.ts";
