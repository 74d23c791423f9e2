/** One frame of a packet payload, whichever it is. */
import { parseAck } from "./ack.ts";
import { parseClose } from "./close.ts";
import { parseCongestion } from "./congestion.ts";
import { parseData } from "./data.ts";
import { parseFec } from "./fec.ts";
import {
  CONGESTION,
  CONN_ACCEPT,
  CONN_CLOSE,
  CONN_CLOSE_ACK,
  CONN_INIT,
  DATA,
  DATA_ACK,
  DATA_NACK,
  FEC,
  type Frame,
  MALFORMED,
  MESSAGE,
  PADDING,
  PATH_ACCEPT,
  PATH_CHALLENGE,
  PATH_CLOSE,
  PATH_OPEN,
  PATH_RESPONSE,
  PING,
  PONG,
  RECEIVER_REPORT,
  STREAM_ACK,
  STREAM_CLOSE,
  STREAM_CLOSE_ACK,
  STREAM_OPEN,
  STREAM_RESET,
  STREAM_STOP,
  WINDOW_UPDATE,
} from "./frame.ts";
import { parseMessage } from "./message.ts";
import { parseParameters } from "./parameters.ts";
import { parsePathClose, parsePathOpen } from "./path.ts";
import { parseNack } from "./nack.ts";
import { parsePath, parsePing } from "./probe.ts";
import { parseReport } from "./report.ts";
import {
  parseLimit,
  parseStreamClose,
  parseStreamCloseAck,
  parseStreamOpen,
  parseStreamReset,
  parseStreamStop,
} from "./stream.ts";

/**
 * Parses the frame at `at` of a payload that ends at `end` into `frame`. Returns the offset behind
 * it, or MALFORMED (also for the types reserved for later versions).
 */
export function parseFrame(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  frame: Frame,
): number {
  if (at >= end) return MALFORMED;
  const type = bytes[at++];
  frame.type = type;
  switch (type) {
    case DATA:
      return parseData(view, at, end, frame);
    case MESSAGE:
      return parseMessage(view, at, end, frame);
    case FEC:
      return parseFec(view, at, end, frame);
    case DATA_NACK:
      return parseNack(view, at, end, frame);
    case CONGESTION:
      return parseCongestion(view, at, end, frame);
    case RECEIVER_REPORT:
      return parseReport(view, at, end, frame);
    case DATA_ACK:
      return parseAck(view, at, end, frame);
    case WINDOW_UPDATE:
    case STREAM_ACK:
      return parseLimit(view, at, end, frame);
    case PADDING:
    case CONN_CLOSE_ACK:
      return at;
    case STREAM_OPEN:
      return parseStreamOpen(view, at, end, frame);
    case STREAM_CLOSE:
      return parseStreamClose(view, at, end, frame);
    case STREAM_RESET:
      return parseStreamReset(view, at, end, frame);
    case STREAM_CLOSE_ACK:
      return parseStreamCloseAck(view, at, end, frame);
    case STREAM_STOP:
      return parseStreamStop(view, at, end, frame);
    case PING:
    case PONG:
      return parsePing(view, at, end, frame);
    case PATH_CHALLENGE:
    case PATH_RESPONSE:
      return parsePath(view, at, end, frame);
    case PATH_OPEN:
    case PATH_ACCEPT:
      return parsePathOpen(view, at, end, frame);
    case PATH_CLOSE:
      return parsePathClose(view, at, end, frame);
    case CONN_INIT:
    case CONN_ACCEPT:
      return parseParameters(bytes, view, at, end, frame);
    case CONN_CLOSE:
      return parseClose(view, at, end, frame);
    default:
      return MALFORMED;
  }
}

/** Whether a frame of this type obliges the receiver to acknowledge its packet (§5.1, "*"). */
export function isAckEliciting(type: number): boolean {
  switch (type) {
    case PADDING:
    case CONN_CLOSE:
    case CONN_CLOSE_ACK:
    case DATA_ACK:
    case DATA_NACK:
    case RECEIVER_REPORT:
    case CONGESTION:
      return false;
    default:
      return true;
  }
}
