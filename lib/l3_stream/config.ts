/**
 * What a connection may be told and what it assumes (docs/protocol.md §5.2). Windows bound the
 * memory that a peer can make this end hold.
 */
import { NexusError } from "../base/mod.ts";
import type { CongestionName } from "./congestion/mod.ts";

/** Why a connection ended (§5.2). */
export const CloseReason = {
  NO_ERROR: 0,
  INTERNAL: 1,
  FLOW_CONTROL: 2,
  STREAM_LIMIT: 3,
  STREAM_STATE: 4,
  FINAL_SIZE: 5,
  FRAME_ENCODING: 6,
  PROTOCOL_VIOLATION: 7,
  /** Never sent: the peer did not answer for too long. */
  IDLE_TIMEOUT: 8,
  AEAD_LIMIT: 9,
  GOING_AWAY: 10,
  REVOKED: 11,
  REPLACED: 12,
} as const;

const reasonNames = new Map<number, string>(
  Object.entries(CloseReason).map(([name, code]) => [code, name]),
);

/** The word for a reason, for messages and error codes. */
export function closeReasonName(reason: number): string {
  return reasonNames.get(reason) ?? `REASON_${reason}`;
}

/** §5.2: the only version. */
export const STREAM_VERSION = 1;

/** §5.2: what a sender assumes before the peer's parameters; nobody may announce less. */
export const MAX_STREAMS_MIN = 16;
export const MAX_DATA_MIN = 65_536;
export const STREAM_WINDOW_MIN = 65_536;
export const STREAM_MESSAGES_MIN = 64;
export const MAX_MESSAGE_MIN = 65_536;
/** §5.2: assumed before the peer's parameters. */
export const MAX_ACK_DELAY_US_DEFAULT = 25_000;

/** Messages of an RU stream before use shows what the window has to be. */
export const STREAM_MESSAGES_INITIAL = 1_024;

/** NS-C-005: streams of one connection at most. */
export const MAX_STREAMS_MAX = 65_536;
/** Ours: paths beside the first, by one end. Each costs a replay window and a congestion state. */
export const PATHS_MAX = 16;
/** §5.4: above a second, probe timeouts would stop meaning anything. */
export const MAX_ACK_DELAY_US_MAX = 1_000_000;
/** Frames start at this size, header and CRC included (01-link.md, Ports). */
export const FRAME_BYTES_DEFAULT = 1_200;

/** Settings of one connection; all have defaults. */
export interface StreamConfig {
  /** Streams that the peer may have open at once. */
  maxStreams: number;
  /** Most bytes that the peer may have on the way or unread here, over all streams. */
  maxDataBytes: number;
  /** The same for one reliable ordered stream. */
  streamWindowBytes: number;
  /** Most messages that the peer may have on the way or undelivered on one RU stream. */
  streamMessages: number;
  /** Largest message that the peer may send. */
  maxMessageBytes: number;
  /** Most bytes that a stream keeps for sending or sending again; write() takes no more. */
  sendBufferBytes: number;
  /** The same over all streams. */
  sendBufferTotalBytes: number;
  /** What these two windows and the buffer start with; they grow when use shows the need. */
  initialDataBytes: number;
  initialStreamWindowBytes: number;
  initialSendBufferBytes: number;
  /** Longest that an acknowledgement is held back. */
  maxAckDelayUs: number;
  /** The connection ends after so long without a sign of the peer; 0: never. */
  idleTimeoutMs: number;
  /** A PING is sent after so long without a sign of the peer; 0: never. */
  keepAliveMs: number;
  /** The peer's parameters must arrive within this. NS-C-002. */
  connectTimeoutMs: number;
  /** PR: a block of messages gets its repair symbols after so long at the latest. */
  repairDelayUs: number;
  congestion: CongestionName;
  /** Paths beside the first that the peer may have open at once (NS-PR-003); 0…PATHS_MAX. */
  maxPaths: number;
  /** Look for the largest frame the path carries (RFC 8899); false: frameBytesMax from the start. */
  searchMtu: boolean;
  /** Send packets with ECT(0) as long as the path and the peer treat it right (NS-CC-006). */
  ecn: boolean;
  /** Round-trip time of the handshake, when known: better than RFC 9002's 333 ms. */
  initialRttUs?: number;
}

const MIB = 1_048_576;

/** Defaults: 1,024 streams and 60 s are NS-C-003 and NS-C-005, the rest is ours. */
export const STREAM_CONFIG_DEFAULT: Readonly<StreamConfig> = {
  maxStreams: 1_024,
  // Grown to where use shows the need; 16 MiB carry 1.3 Gbit/s over 100 ms.
  maxDataBytes: 24 * MIB,
  streamWindowBytes: 16 * MIB,
  streamMessages: 16_384,
  maxMessageBytes: MIB,
  sendBufferBytes: 16 * MIB,
  sendBufferTotalBytes: 32 * MIB,
  // Several initial congestion windows. All streams together stay within the connection's window,
  // so a stream's may be large enough to seldom have to grow.
  initialDataBytes: 1_024 * 1_024,
  initialStreamWindowBytes: 512 * 1_024,
  initialSendBufferBytes: 64 * 1_024,
  maxAckDelayUs: MAX_ACK_DELAY_US_DEFAULT,
  idleTimeoutMs: 60_000,
  keepAliveMs: 0,
  connectTimeoutMs: 5_000,
  // Long enough to share repairs among packets of a busy stream, short beside a retransmission.
  repairDelayUs: 20_000,
  congestion: "cubic",
  maxPaths: 4,
  searchMtu: true,
  ecn: true,
};

/** Fills in the defaults and refuses what §5.2 does not allow: an INVALID_CONFIG error. */
export function streamConfig(given: Partial<StreamConfig> = {}): StreamConfig {
  const config = { ...STREAM_CONFIG_DEFAULT, ...given };
  const u32Max = 0xffffffff;
  check("maxStreams", config.maxStreams, MAX_STREAMS_MIN, MAX_STREAMS_MAX);
  check("maxDataBytes", config.maxDataBytes, MAX_DATA_MIN, 2 ** 40);
  check("streamWindowBytes", config.streamWindowBytes, STREAM_WINDOW_MIN, 2 ** 40);
  check("streamMessages", config.streamMessages, STREAM_MESSAGES_MIN, u32Max);
  check("maxMessageBytes", config.maxMessageBytes, MAX_MESSAGE_MIN, config.maxDataBytes);
  check("sendBufferBytes", config.sendBufferBytes, 1, 2 ** 40);
  check("sendBufferTotalBytes", config.sendBufferTotalBytes, 1, 2 ** 40);
  check("initialDataBytes", config.initialDataBytes, MAX_DATA_MIN, 2 ** 40);
  check("initialStreamWindowBytes", config.initialStreamWindowBytes, STREAM_WINDOW_MIN, 2 ** 40);
  check("initialSendBufferBytes", config.initialSendBufferBytes, 1, 2 ** 40);
  check("maxAckDelayUs", config.maxAckDelayUs, 0, MAX_ACK_DELAY_US_MAX);
  check("idleTimeoutMs", config.idleTimeoutMs, 0, u32Max);
  check("keepAliveMs", config.keepAliveMs, 0, u32Max);
  check("maxPaths", config.maxPaths, 0, PATHS_MAX);
  check("repairDelayUs", config.repairDelayUs, 0, 10_000_000);
  check("connectTimeoutMs", config.connectTimeoutMs, 1, u32Max);
  return config;
}

function check(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new NexusError(
      "INVALID_CONFIG",
      `cannot configure connection: ${name} is ${value}, expected ${min}…${max}`,
    );
  }
}
