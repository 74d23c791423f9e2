/**
 * Symbols of probabilistic streams in outgoing packets: whose turn it is among the paths, one symbol
 * of a stream in each packet, and the reports that tell the other end what arrived.
 */
import { SEALED_OVERHEAD } from "../l1_link/mod.ts";
import { watch } from "./deadlines.ts";
import { appendFecHead, appendReport, appendSymbolHead, REPORT_BYTES } from "./frames/mod.ts";
import type { PacketWriter } from "./packet_writer.ts";
import type { Path } from "./path.ts";
import type { PrSender } from "./streams/pr_sender.ts";
import type { Stream } from "./streams/stream.ts";

/** Symbols on a path beside the first (NS-PR-003). */
export function writeSpread(packet: PacketWriter): void {
  const { core } = packet;
  for (const stream of core.spreadable) {
    if (packet.isFull) return;
    const sender = stream.prOut!;
    if (!sender.sendable) core.spreadable.delete(stream);
    else if (isTurn(packet, sender)) {
      if (!writeSymbol(packet, stream, sender)) return;
      core.closeWhenSent(stream);
    }
  }
}

/**
 * Symbols go around the paths, so that what one path loses in a row is spread over blocks; a path
 * whose window or pacing has no room is passed over, and so is one that carries less than the
 * block's repairs take, as long as another carries them.
 */
export function isTurn(packet: PacketWriter, sender: PrSender): boolean {
  const { paths, nowUs } = packet.core;
  if (isForOthers(packet, sender)) return false;
  for (let i = 0; i < paths.length; i++) {
    const path = paths[(sender.nextPath + i) % paths.length];
    if (path === packet.path) return true;
    const { recovery, frameBytes } = path;
    if (
      path.isUsable && path.probes === 0 && carries(path, sender) && recovery.canSend(frameBytes) &&
      recovery.pacingDelayUs(frameBytes, nowUs) <= 0
    ) return false;
  }
  return true;
}

function carries({ frameBytes }: Path, sender: PrSender): boolean {
  return frameBytes - SEALED_OVERHEAD >= sender.repairRoom;
}

/** Whether the next symbol is too long for this packet's path, but not for another. */
function isForOthers(packet: PacketWriter, sender: PrSender): boolean {
  return !carries(packet.path, sender) &&
    packet.core.paths.some((path) => path.isUsable && carries(path, sender));
}

/** Room for a symbol that any usable path has, as any may have to carry the repairs. */
function symbolRoom(packet: PacketWriter): number {
  let room = packet.end - packet.start;
  for (const { isUsable, frameBytes } of packet.core.paths) {
    if (isUsable) room = Math.min(room, frameBytes - SEALED_OVERHEAD);
  }
  return room;
}

/** Whether this packet has its one symbol of the stream. */
export function holdsSymbol(packet: PacketWriter, sender: PrSender): boolean {
  return sender.lastPacket === packet.path.numbers.next && sender.lastPath === packet.path.id;
}

/** Writes a symbol; false: not into this packet. */
export function writeSymbol(packet: PacketWriter, stream: Stream, sender: PrSender): boolean {
  const { core } = packet;
  if (holdsSymbol(packet, sender)) return false;
  const roomMax = symbolRoom(packet);
  if (!sender.pick(packet.end - packet.at, roomMax, core.nowUs)) {
    if (!sender.needsRoom) return true; // what was to be sent is not wanted any more
    if (packet.ackEliciting) return false;
    packet.startOver(); // without the acknowledgement, which gets a packet of its own
    if (!sender.pick(packet.end - packet.start, roomMax, core.nowUs)) {
      // A probe has the base size, the next packet may be larger. Else all paths have shrunk.
      const isLost = packet.path.probes === 0 && !isForOthers(packet, sender);
      if (isLost) sender.dropRepairs();
      core.closeWhenSent(stream); // they may have been the last that was to be sent
      return false;
    }
  }
  packet.at = sender.isRepair
    ? appendFecHead(
      packet.view,
      packet.at,
      stream.id,
      sender.symbol,
      sender.sourceCount,
      sender.repair,
      sender.length,
    )
    : appendSymbolHead(packet.view, packet.at, stream.id, sender.symbol);
  sender.copyPicked(packet.bytes, packet.at);
  packet.at += sender.length;
  sender.lastPacket = packet.path.numbers.next;
  sender.lastPath = packet.path.id;
  // Other paths are not shared with streams of other modes.
  if (packet.path === core.primary) stream.turnBytes -= sender.length;
  sender.nextPath = core.paths.indexOf(packet.path) + 1;
  packet.ackEliciting = true;
  watch(core, stream);
  core.tellWritable(stream);
  return true;
}

/** Reports ride with acknowledgements; a lost one is made up for by the next. */
export function writeReports(packet: PacketWriter): void {
  const { reports } = packet.core;
  for (const stream of reports) {
    if (!packet.fits(REPORT_BYTES)) return;
    reports.delete(stream);
    packet.at = appendReport(packet.view, packet.at, stream.id, stream.prIn!.counts);
  }
}
