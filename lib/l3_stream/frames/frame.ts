/**
 * The frames inside a packet (docs/protocol.md §5.1): their type bytes and the record they are
 * parsed into. One `Frame` is reused for every frame of every packet: parsing makes no objects.
 */

import type { SymbolCounts } from "./report.ts";

export const PADDING = 0x00;
export const CONN_INIT = 0x01;
export const CONN_ACCEPT = 0x02;
export const CONN_CLOSE = 0x03;
export const CONN_CLOSE_ACK = 0x04;
export const PATH_CHALLENGE = 0x05;
export const PATH_RESPONSE = 0x06;
export const PATH_OPEN = 0x07;
export const PATH_ACCEPT = 0x08;
export const PATH_CLOSE = 0x09;
export const STREAM_OPEN = 0x10;
export const STREAM_ACK = 0x11;
export const STREAM_CLOSE = 0x12;
export const STREAM_RESET = 0x13;
export const STREAM_CLOSE_ACK = 0x14;
export const STREAM_STOP = 0x15;
export const DATA_ACK = 0x20;
export const DATA_NACK = 0x21;
export const WINDOW_UPDATE = 0x22;
export const RECEIVER_REPORT = 0x23;
export const PING = 0x30;
export const PONG = 0x31;
export const CONGESTION = 0x40;
export const DATA = 0x50;
export const MESSAGE = 0x51;
export const FEC = 0x52;

/** Result of a parser whose bytes are not a frame; every other result is the offset behind it. */
export const MALFORMED = -1;

/** Delivery modes (§5.3). */
export const MODE_RELIABLE_ORDERED = 1;
export const MODE_RELIABLE_UNORDERED = 2;
export const MODE_BEST_EFFORT = 3;
export const MODE_PROBABILISTIC = 4;
export type Mode = 1 | 2 | 3 | 4;

/** Streams of higher priority go first; 15 is the most urgent. */
export const PRIORITY_MAX = 15;

/** Which end opened a stream follows from its id (§5.3). */
export const CLIENT_STREAM_ID_MAX = 0x7fffffff;
export const SERVER_STREAM_ID_MIN = 0x80000000;
export const SERVER_STREAM_ID_MAX = 0xfffffffe;

/** What CONN_INIT and CONN_ACCEPT announce (§5.2). */
export class Parameters {
  version = 0;
  nodeId = new Uint8Array(16);
  maxStreams = 0;
  maxData = 0;
  streamWindow = 0;
  streamMessages = 0;
  maxMessage = 0;
  maxAckDelayUs = 0;
  idleTimeoutMs = 0;
  /** Extension: paths beside the first that the sender accepts; 0 when left out. */
  maxPaths = 0;
}

/** A parsed frame. `type` says which fields mean something. */
export class Frame {
  type = PADDING;
  stream = 0;
  mode = 0;
  priority = 0;
  /**
   * STREAM_OPEN, STREAM_ACK: window; WINDOW_UPDATE: limit. Bytes or messages; STREAM_OPEN of a PR
   * stream: asked probability in millionths.
   */
  limit = 0;
  finalSize = 0;
  /** STREAM_RESET, STREAM_STOP: the application's code. CONN_CLOSE: reason. */
  error = 0;
  /** DATA: stream offset; MESSAGE: offset in the message. */
  offset = 0;
  message = 0;
  /** MESSAGE: bytes of the whole message. */
  total = 0;
  /** MESSAGE of mode 4: number of the source symbol; FEC: of the first one of the block. */
  symbol = 0;
  /** FEC: source symbols of the block, and which of its repair symbols this is. */
  sourceCount = 0;
  repair = 0;
  /** DATA, MESSAGE, FEC, CONN_CLOSE: where the carried bytes are in the packet's buffer. */
  dataAt = 0;
  dataLength = 0;
  /** PING, PONG. */
  id = 0;
  /** PATH_CHALLENGE, PATH_RESPONSE: 8 opaque bytes as two halves. */
  tokenHigh = 0;
  tokenLow = 0;
  /** PATH_OPEN, PATH_ACCEPT, PATH_CLOSE. */
  path = 0;
  connectionId = 0;
  /** DATA_ACK. */
  largest = 0;
  ackDelayUs = 0;
  /** DATA_ACK, DATA_NACK: highest, lowest of each range (descending in DATA_ACK); reused. */
  readonly ranges: number[] = [];
  hasEcn = false;
  ect0 = 0;
  ect1 = 0;
  /** Also of CONGESTION. */
  ce = 0;
  bytesInFlight = 0;
  /** RECEIVER_REPORT. */
  readonly counts: SymbolCounts = { received: 0, recovered: 0, lost: 0, gaps: 0 };
  readonly parameters = new Parameters();
}
