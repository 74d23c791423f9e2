/**
 * Stream data in outgoing packets: streams in the order of the scheduler, until the packet is full or
 * none has more.
 */
import {
  appendDataHead,
  appendMessageHead,
  DATA_HEAD_BYTES,
  DATA_LENGTH_MAX,
  MESSAGE_HEAD_BYTES,
} from "./frames/mod.ts";
import type { PacketWriter } from "./packet_writer.ts";
import { SENT_DATA, SENT_MESSAGE } from "./sent_frames.ts";
import type { Stream } from "./streams/stream.ts";
import { holdsSymbol, isTurn, writeSymbol } from "./transmit_symbol.ts";

export function writeStreamData(packet: PacketWriter): void {
  const { scheduler, spreadable, paths } = packet.core;
  writeTurns(packet);
  scheduler.unpark();
  // Those that wait for another path's turn: it may be this one's again before that.
  if (paths.length > 1) { for (const stream of spreadable) packet.core.schedule(stream); }
}

function writeTurns(packet: PacketWriter): void {
  const { scheduler } = packet.core;
  while (!packet.isFull) {
    const stream = scheduler.pop();
    if (stream === undefined) return;
    if (stream.prOut !== undefined) {
      if (!isTurn(packet, stream.prOut)) continue;
      if (!writeSymbol(packet, stream, stream.prOut)) return scheduler.unpop(stream);
    } else if (!writeDataOf(packet, stream)) {
      if (stream.messagesOut?.needsRoom && !makeRoom(packet, stream)) return;
    }
    putBack(packet, stream);
  }
}

/** A stream was served: queues it again when it has more. */
export function putBack(packet: PacketWriter, stream: Stream): void {
  const { scheduler, sendCredit } = packet.core;
  packet.core.closeWhenSent(stream);
  if (stream.hasLost || stream.hasNew(sendCredit)) {
    if (stream.prOut !== undefined && holdsSymbol(packet, stream.prOut)) scheduler.park(stream);
    else scheduler.putBack(stream);
  } else if (stream.isOpenToSend) scheduler.block(stream);
  else scheduler.endTurn(stream);
}

function writeDataOf(packet: PacketWriter, stream: Stream): boolean {
  return stream.bytesOut !== undefined ? writeBytes(packet, stream) : writeMessage(packet, stream);
}

function writeBytes(packet: PacketWriter, stream: Stream): boolean {
  const { core } = packet;
  const sender = stream.bytesOut!;
  const room = Math.min(packet.end - packet.at - DATA_HEAD_BYTES, DATA_LENGTH_MAX);
  if (!sender.pick(stream.sendCredit, core.sendCredit, room)) return false;
  const { offset, length } = sender;
  packet.at = appendDataHead(packet.view, packet.at, stream.id, offset, length);
  sender.copyTo(offset, length, packet.bytes, packet.at);
  packet.at += length;
  if (packet.dataStream === 0) {
    packet.dataStream = stream.id;
    packet.dataOffset = offset;
    packet.dataLength = length;
  } else packet.sent.push(SENT_DATA, stream.id, offset, length);
  stream.turnBytes -= length;
  packet.ackEliciting = true;
  if (sender.isRepeat) core.counters.bytesRetransmitted += length;
  return true;
}

function writeMessage(packet: PacketWriter, stream: Stream): boolean {
  const { core } = packet;
  const sender = stream.messagesOut!;
  if (!sender.pick(stream.sendCredit, core.sendCredit, packet.end - packet.at)) return false;
  const { message, total, offset, length } = sender;
  packet.at = appendMessageHead(
    packet.view,
    packet.at,
    stream.mode,
    stream.id,
    message,
    total,
    offset,
    length,
  );
  sender.copyPicked(packet.bytes, packet.at);
  packet.at += length;
  stream.turnBytes -= MESSAGE_HEAD_BYTES + length; // empty messages use a turn up as well
  if (stream.isBestEffort) core.tellWritable(stream);
  else packet.sent.push(SENT_MESSAGE, stream.id, message, offset, length);
  packet.ackEliciting = true;
  if (sender.isRepeat) core.counters.bytesRetransmitted += length;
  return true;
}

/**
 * A best-effort message is longer than what is left of the packet: it gets the next one, or
 * this one without the acknowledgement, or is given up when no packet is long enough. False:
 * this packet is done.
 */
function makeRoom(packet: PacketWriter, stream: Stream): boolean {
  const { core } = packet;
  if (packet.ackEliciting) {
    core.scheduler.unpop(stream);
    return false;
  }
  packet.startOver();
  if (writeMessage(packet, stream)) return true;
  if (packet.path.probes > 0) { // a packet of the base size; the next ones may be larger
    core.scheduler.unpop(stream);
    return false;
  }
  stream.messagesOut!.dropFirst();
  core.counters.messagesDropped++;
  return true;
}
