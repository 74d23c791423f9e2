/**
 * The transmit path: decides what the next packet carries and where it goes. Order in a packet:
 * acknowledgement, connection frames, stream control, stream data by priority. What may leave is
 * decided before: acknowledgements always, the rest within congestion window and pacing, except
 * for probes. transmit_*.ts write the frames, packet_writer.ts has the packet.
 */
import { CRC_BYTES, SEALED_OVERHEAD } from "../l1_link/mod.ts";
import { CloseReason } from "./config.ts";
import { AEAD_RESERVE, type ConnectionCore } from "./core.ts";
import {
  appendAck,
  appendClose,
  appendCloseAck,
  appendCongestion,
  appendNack,
  appendPath,
  CONGESTION_BYTES,
  nackBytes,
  PADDING,
  PATH_CHALLENGE,
  PATH_RESPONSE,
  PROBE_BYTES,
} from "./frames/mod.ts";
import { PacketWriter } from "./packet_writer.ts";
import type { Path } from "./path.ts";
import { SENT_ACK, SENT_MTU_PROBE } from "./sent_frames.ts";
import {
  STREAM_CONTROL_BYTES_MAX,
  writeCloseAcks,
  writeConnectionFrames,
  writePathFrames,
  writePathResponses,
  writePongs,
  writeStreamControl,
} from "./transmit_control.ts";
import { writeStreamData } from "./transmit_data.ts";
import { writeRun } from "./transmit_run.ts";
import { writeReports, writeSpread } from "./transmit_symbol.ts";

/**
 * RFC 9000 §13.2.4: an end that only receives asks now and then for an acknowledgement of its own,
 * so that it may forget old ranges.
 */
const ACKS_ALONE_MAX = 16;

export class Transmitter {
  readonly #core: ConnectionCore;
  /** What the last poll wrote; see its `peer`, `ecn`, `count` and `segment`. */
  readonly packet: PacketWriter;
  readonly #token = new Uint8Array(8);
  readonly #tokenView = new DataView(this.#token.buffer);
  /** Ranges of a DATA_NACK. */
  readonly #missing: number[] = [];

  constructor(core: ConnectionCore) {
    this.#core = core;
    this.packet = new PacketWriter(core);
  }

  /** As Connection.pollFrame. */
  poll(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    bytesMax: number,
    packetsMax: number,
    timestampHigh: number,
    timestampLow: number,
  ): number {
    const core = this.#core;
    const { packet } = this;
    packet.borrow(bytes, view);
    const { protection } = core.primary;
    if (protection.sealsLeft <= AEAD_RESERVE && core.isOpen) {
      core.close(CloseReason.AEAD_LIMIT, "this key has sealed as many frames as it may");
    }
    if (core.state === "closed") return 0;
    if (protection.sealsLeft <= 0) {
      core.forgetConnection();
      return 0;
    }
    const runBytes = writeRun(
      packet,
      frameOffset,
      bytesMax,
      packetsMax,
      timestampHigh,
      timestampLow,
    );
    if (runBytes > 0) return runBytes;
    for (let i = 0; i < core.paths.length; i++) {
      const path = core.paths[i];
      // A probe may be all that gets through: it must not be lost to its size.
      const pathBytes = path.probes > 0 ? path.mtu.baseBytes : path.frameBytes;
      const frameBytes = Math.min(bytesMax, pathBytes);
      if (frameBytes < SEALED_OVERHEAD + STREAM_CONTROL_BYTES_MAX) continue;
      packet.begin(path, frameOffset, frameBytes);
      if (path.validation !== undefined || path.strayResponses.length > 0) {
        this.#writeAddressProbe(frameOffset, bytesMax);
        if (!packet.isEmpty) return packet.seal(frameOffset, timestampHigh, timestampLow);
      }
      if (!path.isUsable) continue;
      if (core.state !== "closing") this.#fill(path, frameBytes);
      else if (path === core.primary) this.#writeGoodbye();
      if (packet.isEmpty) this.#writeMtuProbe(frameOffset, bytesMax);
      if (!packet.isEmpty) return packet.seal(frameOffset, timestampHigh, timestampLow);
    }
    return 0;
  }

  #writeGoodbye(): void {
    const { packet } = this;
    const core = this.#core;
    if (core.closeAckDue) packet.at = appendCloseAck(packet.bytes, packet.at);
    if (core.closeDue) {
      const { closeReason, closePhrase } = core;
      packet.at = appendClose(packet.bytes, packet.view, packet.at, closeReason, closePhrase);
    }
    core.closeAckDue = core.closeDue = false;
  }

  /**
   * A packet of nothing but PATH_CHALLENGE, PATH_RESPONSE and PADDING to an address that frames do
   * not go to, or not yet. Padding tells whether the path carries the base size (RFC 9000 §8.2.1).
   */
  #writeAddressProbe(frameOffset: number, bytesMax: number): void {
    const { packet } = this;
    const core = this.#core;
    const { path } = packet;
    const { validation, strayResponses } = path;
    if (!core.isOpen) return;
    let frameBytes = Math.min(bytesMax, path.mtu.baseBytes);
    if (strayResponses.length > 0) {
      packet.peer = strayResponses.shift()!;
      // As long as the packet it answers: nobody is sent more than they sent.
      frameBytes = Math.min(frameBytes, strayResponses.shift()!);
      const high = strayResponses.shift()!;
      const low = strayResponses.shift()!;
      packet.at = appendPath(packet.view, packet.at, PATH_RESPONSE, high, low);
    } else if (validation !== undefined && validation.sendUs <= core.nowUs) {
      frameBytes = Math.min(frameBytes, validation.bytesLeft);
      if (frameBytes < SEALED_OVERHEAD + PROBE_BYTES) return validation.block();
      packet.peer = validation.peer;
      core.options.random(this.#token);
      const high = this.#tokenView.getUint32(0);
      const low = this.#tokenView.getUint32(4);
      packet.at = appendPath(packet.view, packet.at, PATH_CHALLENGE, high, low);
      validation.onSent(frameBytes, high, low, core.nowUs);
    } else return;
    const end = frameOffset + frameBytes - CRC_BYTES;
    packet.bytes.fill(PADDING, packet.at, end);
    packet.at = Math.max(packet.at, end);
    packet.ackEliciting = true;
    packet.isProbe = true;
  }

  /**
   * With nothing else to send or no window for it: a packet of PING and PADDING that finds out
   * whether the path carries it (RFC 8899 §4.1).
   */
  #writeMtuProbe(frameOffset: number, bytesMax: number): void {
    const { packet } = this;
    const core = this.#core;
    const { mtu, numbers, recovery } = packet.path;
    if (core.state !== "established" || recovery.largestAcked < 0) return;
    const probeBytes = mtu.probeBytes(core.nowUs);
    if (probeBytes === 0 || probeBytes > bytesMax) return;
    packet.end = frameOffset + probeBytes - CRC_BYTES;
    packet.ping();
    packet.bytes.fill(PADDING, packet.at, packet.end);
    packet.at = packet.end;
    packet.sent.push(SENT_MTU_PROBE, probeBytes);
    packet.isProbe = true;
    mtu.onProbeSent(numbers.next);
  }

  /** Writes what may leave now; leaves the packet empty when that is nothing. */
  #fill(path: Path, frameBytes: number): void {
    const { packet } = this;
    const core = this.#core;
    const { nowUs } = core;
    const mustAck = path.acks.deadlineUs <= nowUs;
    const hasWork = path.hasWork ||
      (path === core.primary ? core.hasWork : core.spreadable.size > 0);
    const maySend = path.maySend(frameBytes, hasWork, nowUs);
    if (!maySend && !mustAck) return;
    // A probe repeats the newest acknowledgement: the last one may be what was lost.
    if (mustAck || path.acks.owed || path.probes > 0) this.#writeAck();
    if (packet.hasAck && core.reports.size > 0) writeReports(packet);
    if (maySend) {
      this.#writeFrames();
      if (path.probes > 0) {
        path.probes--;
        if (!packet.ackEliciting) packet.ping();
      }
    }
    if (!packet.ackEliciting && !mustAck) {
      packet.at = packet.start; // an acknowledgement that can still wait is not worth a packet
      return;
    }
    this.#askForAck();
    if (packet.hasAck) path.acks.onSent(nowUs);
  }

  /** Adds a PING when many packets held nothing but an acknowledgement. */
  #askForAck(): void {
    const { packet } = this;
    const { path } = packet;
    path.acksAlone = packet.ackEliciting ? 0 : path.acksAlone + 1;
    if (path.acksAlone < ACKS_ALONE_MAX || path.recovery.packetsInFlight > 0) return;
    path.acksAlone = 0;
    packet.ping();
  }

  #writeAck(): void {
    const { packet } = this;
    const { acks } = packet.path;
    if (acks.count === 0) return;
    const delayUs = acks.delayUs(this.#core.nowUs);
    packet.at = appendAck(packet.view, packet.at, packet.end, acks, delayUs);
    packet.sent.push(SENT_ACK, acks.largest);
    packet.hasAck = true;
    const missing = acks.takeMissing(this.#missing, this.#core.nowUs);
    if (missing > 0 && packet.fits(nackBytes(missing))) {
      packet.at = appendNack(packet.view, packet.at, this.#missing, missing);
    }
    this.#writeCongestion();
  }

  /** §5.4: with an acknowledgement, when packets were marked since, at most once a round trip. */
  #writeCongestion(): void {
    const { packet } = this;
    const { nowUs } = this.#core;
    const { path } = packet;
    const { ce } = path.acks;
    if (ce <= path.toldCe || nowUs < path.toldCeUs + path.rtt.smoothedUs) return;
    if (!packet.fits(CONGESTION_BYTES)) return;
    packet.at = appendCongestion(packet.view, packet.at, ce, path.recovery.bytesInFlight);
    path.toldCe = ce;
    path.toldCeUs = nowUs;
  }

  #writeFrames(): void {
    const { packet } = this;
    const core = this.#core;
    if (packet.path.pathResponses.length > 0) writePathResponses(packet);
    if (packet.path !== core.primary) return writeSpread(packet);
    if (core.pending !== 0) writeConnectionFrames(packet);
    if (core.extraPaths.frames.length > 0) writePathFrames(packet);
    if (core.pongs.length > 0) writePongs(packet);
    if (core.closeAcks.size > 0) writeCloseAcks(packet);
    if (core.controlQueue.size > 0) writeStreamControl(packet);
    if (core.scheduler.isEmpty) return;
    writeStreamData(packet);
    // Data that was the last of its stream lets STREAM_CLOSE go along.
    if (core.controlQueue.size > 0) writeStreamControl(packet);
  }
}
