/**
 * Control frames in outgoing packets: those of the connection and its paths, and those of streams.
 */
import { STREAM_VERSION } from "./config.ts";
import { type ConnectionCore, PENDING_MAX_DATA, PENDING_PARAMETERS, PENDING_PING } from "./core.ts";
import {
  appendParameters,
  appendPath,
  appendPathClose,
  appendPathOpen,
  appendPing,
  appendStreamAck,
  appendStreamClose,
  appendStreamCloseAck,
  appendStreamOpen,
  appendStreamReset,
  appendStreamStop,
  appendWindowUpdate,
  CONN_ACCEPT,
  CONN_INIT,
  Parameters,
  PARAMETERS_BYTES,
  PATH_CLOSE,
  PATH_OPEN_BYTES,
  PATH_RESPONSE,
  PONG,
  PROBE_BYTES,
  STREAM_ACK_BYTES,
  STREAM_CLOSE_ACK_BYTES,
  STREAM_CLOSE_BYTES,
  STREAM_OPEN_BYTES,
  STREAM_RESET_BYTES,
  STREAM_STOP_BYTES,
  WINDOW_UPDATE_BYTES,
} from "./frames/mod.ts";
import type { PacketWriter } from "./packet_writer.ts";
import { SENT_CLOSE_ACK, SENT_MAX_DATA, SENT_PARAMETERS, SENT_PATH } from "./sent_frames.ts";
import {
  PENDING_CLOSE,
  PENDING_OPEN,
  PENDING_OPEN_ACK,
  PENDING_RESET,
  PENDING_STOP,
  PENDING_WINDOW,
  type Stream,
} from "./streams/stream.ts";

/** Every control frame of one stream, each at most once. */
export const STREAM_CONTROL_BYTES_MAX = STREAM_OPEN_BYTES + STREAM_ACK_BYTES + STREAM_CLOSE_BYTES +
  STREAM_RESET_BYTES + STREAM_STOP_BYTES + WINDOW_UPDATE_BYTES;

export function writeConnectionFrames(packet: PacketWriter): void {
  const { core } = packet;
  if ((core.pending & PENDING_PARAMETERS) !== 0 && packet.fits(PARAMETERS_BYTES)) {
    core.pending &= ~PENDING_PARAMETERS;
    const type = core.isClient ? CONN_INIT : CONN_ACCEPT;
    const parameters = ownParameters(core);
    packet.at = appendParameters(packet.bytes, packet.view, packet.at, type, parameters);
    packet.sent.push(SENT_PARAMETERS);
    packet.ackEliciting = true;
  }
  if ((core.pending & PENDING_MAX_DATA) !== 0 && packet.fits(WINDOW_UPDATE_BYTES)) {
    core.pending &= ~PENDING_MAX_DATA;
    packet.at = appendWindowUpdate(packet.view, packet.at, 0, core.grantConnection());
    packet.sent.push(SENT_MAX_DATA);
    packet.ackEliciting = true;
  }
  if ((core.pending & PENDING_PING) !== 0 && packet.fits(PROBE_BYTES)) {
    core.pending &= ~PENDING_PING;
    packet.ping();
  }
}

export function writePathFrames(packet: PacketWriter): void {
  const { frames } = packet.core.extraPaths;
  while (frames.length > 0 && packet.fits(PATH_OPEN_BYTES)) {
    const type = frames.shift()!;
    const path = frames.shift()!;
    const connectionId = frames.shift()!;
    packet.at = type === PATH_CLOSE
      ? appendPathClose(packet.view, packet.at, path)
      : appendPathOpen(packet.view, packet.at, type, path, connectionId);
    packet.sent.push(SENT_PATH, type, path, connectionId);
    packet.ackEliciting = true;
  }
}

export function writePongs(packet: PacketWriter): void {
  const { pongs } = packet.core;
  while (pongs.length > 0 && packet.fits(PROBE_BYTES)) {
    packet.at = appendPing(packet.view, packet.at, PONG, pongs.shift()!);
    packet.ackEliciting = true;
  }
}

export function writePathResponses(packet: PacketWriter): void {
  const { pathResponses } = packet.path;
  while (pathResponses.length > 0 && packet.fits(PROBE_BYTES)) {
    const high = pathResponses.shift()!;
    const low = pathResponses.shift()!;
    packet.at = appendPath(packet.view, packet.at, PATH_RESPONSE, high, low);
    packet.ackEliciting = true;
  }
}

export function writeCloseAcks(packet: PacketWriter): void {
  const { core } = packet;
  for (const id of core.closeAcks) {
    if (!packet.fits(STREAM_CLOSE_ACK_BYTES)) return;
    core.closeAcks.delete(id);
    packet.at = appendStreamCloseAck(packet.view, packet.at, id);
    packet.sent.push(SENT_CLOSE_ACK, id);
    packet.ackEliciting = true;
  }
}

export function writeStreamControl(packet: PacketWriter): void {
  const { core } = packet;
  for (const stream of core.controlQueue) {
    if (!packet.fits(STREAM_CONTROL_BYTES_MAX)) return;
    core.controlQueue.delete(stream);
    // §5.3: until the peer knows the stream, its STREAM_OPEN goes before whatever else.
    const isUnknown = !stream.openAcked && stream.openPacket !== packet.path.numbers.next;
    if (stream.pending !== 0 && isUnknown) stream.pending |= PENDING_OPEN;
    writeControlOf(packet, stream);
  }
}

function writeControlOf(packet: PacketWriter, stream: Stream): void {
  const { id, pending } = stream;
  const view = packet.view;
  stream.pending = 0;
  if ((pending & PENDING_OPEN) !== 0) {
    const window = stream.openWindow;
    packet.at = appendStreamOpen(view, packet.at, id, stream.mode, stream.priority, window);
    stream.openPacket = packet.path.numbers.next;
    packet.sentControl(id, PENDING_OPEN);
  }
  if ((pending & PENDING_OPEN_ACK) !== 0) {
    packet.at = appendStreamAck(view, packet.at, id, stream.receiveCredit.limit);
    packet.sentControl(id, PENDING_OPEN_ACK);
  }
  if ((pending & PENDING_WINDOW) !== 0) {
    packet.at = appendWindowUpdate(view, packet.at, id, packet.core.grantStream(stream));
    packet.sentControl(id, PENDING_WINDOW);
  }
  if ((pending & PENDING_CLOSE) !== 0) {
    packet.at = appendStreamClose(view, packet.at, id, stream.sendSize);
    packet.sentControl(id, PENDING_CLOSE);
  }
  if ((pending & PENDING_RESET) !== 0) {
    packet.at = appendStreamReset(view, packet.at, id, stream.resetError, stream.resetSize);
    packet.sentControl(id, PENDING_RESET);
  }
  if ((pending & PENDING_STOP) !== 0) {
    packet.at = appendStreamStop(view, packet.at, id, stream.stopError);
    packet.sentControl(id, PENDING_STOP);
  }
}

function ownParameters(core: ConnectionCore): Parameters {
  const { config, options } = core;
  const own = new Parameters();
  own.version = STREAM_VERSION;
  own.nodeId = options.localNodeId as Uint8Array<ArrayBuffer>;
  own.maxStreams = config.maxStreams;
  own.maxData = core.receiveCredit.limit;
  own.streamWindow = core.limits.receiveBytes;
  own.streamMessages = core.limits.receiveMessages;
  own.maxMessage = config.maxMessageBytes;
  own.maxAckDelayUs = config.maxAckDelayUs;
  own.idleTimeoutMs = config.idleTimeoutMs;
  own.maxPaths = config.maxPaths;
  return own;
}
