/**
 * Runs: the part of the transmit path for bulk. A train of full packets, each one DATA frame of the
 * same stream, is sealed by one call of the engine straight from the send buffer (see runs.ts).
 */
import { OVERLAY_BYTES, SEALED_OVERHEAD } from "../l1_link/mod.ts";
import { AEAD_RESERVE, type ConnectionCore } from "./core.ts";
import { DATA_HEAD_BYTES, DATA_LENGTH_MAX } from "./frames/mod.ts";
import type { PacketWriter } from "./packet_writer.ts";
import type { Path } from "./path.ts";
import { putBack } from "./transmit_data.ts";

/** Datagrams of a train: UDP_MAX_SEGMENTS of Linux before 6.9. */
const TRAIN_PACKETS_MAX = 64;
/** Bytes of a train: the largest IP packet less IPv6, UDP and first overlay header. */
const TRAIN_BYTES_MAX = 65_535 - 48 - OVERLAY_BYTES;

/**
 * Bulk: when nothing but bytes of one stream is due, for at least one full packet of them, writes
 * as many such packets as fit, in one call of the engine. Bytes from the first frame to the end of
 * the last; 0: not now.
 */
export function writeRun(
  packet: PacketWriter,
  frameOffset: number,
  bytesMax: number,
  packetsMax: number,
  timestampHigh: number,
  timestampLow: number,
): number {
  const { core } = packet;
  const { primary: path, scheduler } = core;
  const { runBuffers } = core.options;
  if (runBuffers === undefined || scheduler.isEmpty || !isBulkOnly(core, path)) return 0;
  const stream = scheduler.peek()!;
  const sender = stream.bytesOut;
  const { frameBytes } = path;
  if (sender === undefined || sender.hasLost || frameBytes > bytesMax) return 0;
  const dataEach = Math.min(
    frameBytes - SEALED_OVERHEAD - DATA_HEAD_BYTES,
    DATA_LENGTH_MAX,
  );
  const sendable = Math.min(sender.sendable(stream.sendCredit), core.sendCredit.left);
  if (sendable < dataEach || !path.maySend(frameBytes, true, core.nowUs)) return 0;
  const runs = path.runs(core.options.localNodeId, core.options.peerNodeId);
  if (runs === undefined) return 0;
  const trainBytesMax = Math.min(bytesMax, TRAIN_BYTES_MAX);
  const count = Math.min(
    packetsMax,
    TRAIN_PACKETS_MAX,
    Math.max(1, Math.floor((trainBytesMax + OVERLAY_BYTES) / (frameBytes + OVERLAY_BYTES))),
    Math.floor(sendable / dataEach),
    Math.ceil(scheduler.turnBytes(stream) / dataEach),
    path.recovery.packetsAllowed(frameBytes, core.nowUs),
    path.numbers.inSequence,
    path.protection.sealsLeft - AEAD_RESERVE,
  );
  if (count <= 0) return 0;
  const run = runBuffers.sealRun;
  const length = count * dataEach;
  const pieces = sender.pieces(sender.sent, length, run.addresses, run.lengths);
  if (pieces === 0) return 0;
  sender.pick(stream.sendCredit, core.sendCredit, length);
  const first = path.numbers.next;
  run.set(
    frameOffset,
    count,
    first,
    stream.id,
    sender.offset,
    dataEach,
    length,
    timestampHigh,
    timestampLow,
    pieces,
  );
  const bytes = runs.seal(packet.bytes, run);
  const wasIdle = path.recovery.packetsInFlight === 0;
  path.recovery.onSentRun(
    first,
    count,
    frameBytes,
    stream.id,
    sender.offset,
    dataEach,
    core.nowUs,
  );
  if (wasIdle) core.restartIdle(); // RFC 9000 §10.1
  core.counters.packetsSent += count;
  core.counters.bytesSent += count * frameBytes;
  path.numbers.advance(count);
  path.acksAlone = 0;
  packet.peer = path.peer;
  packet.ecn = path.ecn.codepoint;
  path.ecn.onSent(count);
  packet.count = count;
  packet.segment = count > 1 ? frameBytes + OVERLAY_BYTES : 0;
  scheduler.pop();
  stream.turnBytes -= length;
  putBack(packet, stream);
  return bytes;
}

/** Whether there is nothing to send but stream data. */
function isBulkOnly(core: ConnectionCore, path: Path): boolean {
  return core.state === "established" && core.paths.length === 1 && core.pending === 0 &&
    path.probes === 0 && path.validation === undefined && path.strayResponses.length === 0 &&
    !path.hasWork && !path.acks.owed && path.acks.deadlineUs > core.nowUs &&
    core.pongs.length === 0 && core.closeAcks.size === 0 && core.controlQueue.size === 0;
}
