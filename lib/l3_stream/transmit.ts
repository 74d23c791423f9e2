/**
 * The transmit path: fills one packet and seals it, straight into the caller's buffer. Order in a
 * packet: acknowledgement, connection frames, stream control, stream data by priority. What may
 * leave is decided before: acknowledgements always, the rest within congestion window and pacing,
 * except for probes.
 */
import {
  CRC_BYTES,
  encodeHeader,
  finishFrame,
  HEADER_BYTES,
  type HeaderFields,
  OVERLAY_BYTES,
  putEncryptionTag,
  SEALED_OVERHEAD,
  SEALED_PAYLOAD_OFFSET,
} from "../l1_link/mod.ts";
import { NEVER } from "../base/mod.ts";
import { CloseReason, STREAM_VERSION } from "./config.ts";
import {
  AEAD_RESERVE,
  type ConnectionCore,
  PENDING_MAX_DATA,
  PENDING_PARAMETERS,
  PENDING_PING,
} from "./core.ts";
import {
  appendAck,
  appendClose,
  appendCloseAck,
  appendCongestion,
  appendDataHead,
  appendFecHead,
  appendMessageHead,
  appendNack,
  appendParameters,
  appendPath,
  appendPathClose,
  appendPathOpen,
  appendPing,
  appendReport,
  appendStreamAck,
  appendStreamClose,
  appendStreamCloseAck,
  appendStreamOpen,
  appendStreamReset,
  appendStreamStop,
  appendSymbolHead,
  appendWindowUpdate,
  CONGESTION_BYTES,
  CONN_ACCEPT,
  CONN_INIT,
  DATA_HEAD_BYTES,
  DATA_LENGTH_MAX,
  MESSAGE_HEAD_BYTES,
  nackBytes,
  PADDING,
  Parameters,
  PARAMETERS_BYTES,
  PATH_CHALLENGE,
  PATH_CLOSE,
  PATH_OPEN_BYTES,
  PATH_RESPONSE,
  PING,
  PONG,
  PROBE_BYTES,
  REPORT_BYTES,
  STREAM_ACK_BYTES,
  STREAM_CLOSE_ACK_BYTES,
  STREAM_CLOSE_BYTES,
  STREAM_OPEN_BYTES,
  STREAM_RESET_BYTES,
  STREAM_STOP_BYTES,
  WINDOW_UPDATE_BYTES,
} from "./frames/mod.ts";
import { type Path, sealedHeader } from "./path.ts";
import {
  SENT_ACK,
  SENT_CLOSE_ACK,
  SENT_CONTROL,
  SENT_DATA,
  SENT_MAX_DATA,
  SENT_MESSAGE,
  SENT_MTU_PROBE,
  SENT_PARAMETERS,
  SENT_PATH,
  type SentFrames,
} from "./sent_frames.ts";
import type { PrSender } from "./streams/pr_sender.ts";
import {
  PENDING_CLOSE,
  PENDING_OPEN,
  PENDING_OPEN_ACK,
  PENDING_RESET,
  PENDING_STOP,
  PENDING_WINDOW,
  type Stream,
} from "./streams/stream.ts";

/** A packet with less room than this is full: the rest would carry more head than data. */
const STREAM_ROOM_MIN = 40;
/** Every control frame of one stream, each at most once. */
const STREAM_CONTROL_BYTES_MAX = STREAM_OPEN_BYTES + STREAM_ACK_BYTES + STREAM_CLOSE_BYTES +
  STREAM_RESET_BYTES + STREAM_STOP_BYTES + WINDOW_UPDATE_BYTES;
/**
 * RFC 9000 §13.2.4: an end that only receives asks now and then for an acknowledgement of its own,
 * so that it may forget old ranges.
 */
const ACKS_ALONE_MAX = 16;
/** Datagrams of a train: UDP_MAX_SEGMENTS of Linux before 6.9. */
const TRAIN_PACKETS_MAX = 64;
/** Bytes of a train: the largest IP packet less IPv6, UDP and first overlay header. */
const TRAIN_BYTES_MAX = 65_535 - 48 - OVERLAY_BYTES;

export class Transmitter {
  readonly #core: ConnectionCore;
  readonly #header: HeaderFields;
  readonly #token = new Uint8Array(8);
  readonly #tokenView = new DataView(this.#token.buffer);

  // The packet being written; the buffers are the caller's and only borrowed during a call.
  #path: Path;
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  #at = 0;
  #end = 0;
  #sent: SentFrames = [];
  /** The first DATA frame; stream 0: none. Most packets hold nothing else and need no array. */
  #dataStream = 0;
  #dataOffset = 0;
  #dataLength = 0;
  #ackEliciting = false;
  #hasAck = false;
  /** Ranges of a DATA_NACK. */
  readonly #missing: number[] = [];
  /** The packet says nothing about congestion: it is a path MTU probe or goes elsewhere. */
  #isProbe = false;

  /** Where the last packet goes, as Path.peer, and the ECN field of its IP header. */
  peer = 0;
  ecn = 0;
  /** How many packets the last call wrote, and bytes from one to the next when it was a run. */
  packets = 0;
  segment = 0;

  constructor(core: ConnectionCore) {
    this.#core = core;
    this.#path = core.primary;
    const { options } = core;
    this.#header = sealedHeader(options.localNodeId, options.peerNodeId);
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
    this.#bytes = bytes;
    this.#view = view;
    this.packets = 1;
    this.segment = 0;
    const { protection } = core.primary;
    if (protection.sealsLeft <= AEAD_RESERVE && core.isOpen) {
      core.close(CloseReason.AEAD_LIMIT, "this key has sealed as many frames as it may");
    }
    if (core.state === "closed") return 0;
    if (protection.sealsLeft <= 0) {
      core.forgetConnection();
      return 0;
    }
    const runBytes = this.#pollRun(
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
      const start = this.#begin(path, frameOffset, frameBytes);
      if (path.validation !== undefined || path.strayResponses.length > 0) {
        this.#writeAddressProbe(frameOffset, bytesMax);
        if (this.#at > start) return this.#seal(frameOffset, start, timestampHigh, timestampLow);
      }
      if (!path.isUsable) continue;
      if (core.state !== "closing") this.#fill(start, frameBytes);
      else if (path === core.primary) this.#writeGoodbye();
      if (this.#at === start) this.#writeMtuProbe(frameOffset, bytesMax);
      if (this.#at > start) return this.#seal(frameOffset, start, timestampHigh, timestampLow);
    }
    return 0;
  }

  /** Starts an empty packet; where its payload begins. */
  #begin(path: Path, frameOffset: number, frameBytes: number): number {
    const start = frameOffset + SEALED_PAYLOAD_OFFSET;
    this.#path = path;
    this.peer = path.peer;
    this.#at = start;
    this.#end = frameOffset + frameBytes - CRC_BYTES;
    if (this.#sent.length > 0) this.#sent.length = 0;
    this.#dataStream = 0;
    this.#ackEliciting = false;
    this.#hasAck = false;
    this.#isProbe = false;
    return start;
  }

  #writeGoodbye(): void {
    const core = this.#core;
    if (core.closeAckDue) this.#at = appendCloseAck(this.#bytes, this.#at);
    if (core.closeDue) {
      const { closeReason, closePhrase } = core;
      this.#at = appendClose(this.#bytes, this.#view, this.#at, closeReason, closePhrase);
    }
    core.closeAckDue = core.closeDue = false;
  }

  /**
   * A packet of nothing but PATH_CHALLENGE, PATH_RESPONSE and PADDING to an address that frames do
   * not go to, or not yet. Padding tells whether the path carries the base size (RFC 9000 §8.2.1).
   */
  #writeAddressProbe(frameOffset: number, bytesMax: number): void {
    const core = this.#core;
    const path = this.#path;
    const { validation, strayResponses } = path;
    if (!core.isOpen) return;
    let frameBytes = Math.min(bytesMax, path.mtu.baseBytes);
    if (strayResponses.length > 0) {
      this.peer = strayResponses.shift()!;
      // As long as the packet it answers: nobody is sent more than they sent.
      frameBytes = Math.min(frameBytes, strayResponses.shift()!);
      const high = strayResponses.shift()!;
      const low = strayResponses.shift()!;
      this.#at = appendPath(this.#view, this.#at, PATH_RESPONSE, high, low);
    } else if (validation !== undefined && validation.sendUs <= core.nowUs) {
      frameBytes = Math.min(frameBytes, validation.bytesLeft);
      if (frameBytes < SEALED_OVERHEAD + PROBE_BYTES) return validation.block();
      this.peer = validation.peer;
      core.options.random(this.#token);
      const high = this.#tokenView.getUint32(0);
      const low = this.#tokenView.getUint32(4);
      this.#at = appendPath(this.#view, this.#at, PATH_CHALLENGE, high, low);
      validation.onSent(frameBytes, high, low, core.nowUs);
    } else return;
    const end = frameOffset + frameBytes - CRC_BYTES;
    this.#bytes.fill(PADDING, this.#at, end);
    this.#at = Math.max(this.#at, end);
    this.#ackEliciting = true;
    this.#isProbe = true;
  }

  /**
   * With nothing else to send or no window for it: a packet of PING and PADDING that finds out
   * whether the path carries it (RFC 8899 §4.1).
   */
  #writeMtuProbe(frameOffset: number, bytesMax: number): void {
    const core = this.#core;
    const { mtu, recovery } = this.#path;
    if (core.state !== "established" || recovery.largestAcked < 0) return;
    const probeBytes = mtu.probeBytes(core.nowUs);
    if (probeBytes === 0 || probeBytes > bytesMax) return;
    this.#end = frameOffset + probeBytes - CRC_BYTES;
    this.#writePing();
    this.#bytes.fill(PADDING, this.#at, this.#end);
    this.#at = this.#end;
    this.#sent.push(SENT_MTU_PROBE, probeBytes);
    this.#isProbe = true;
    mtu.onProbeSent();
  }

  /** Writes what may leave now; leaves #at at `start` when that is nothing. */
  #fill(start: number, frameBytes: number): void {
    const { nowUs } = this.#core;
    const path = this.#path;
    const mustAck = path.acks.deadlineUs <= nowUs;
    const maySend = this.#maySend(path, frameBytes);
    if (!maySend && !mustAck) return;
    // A probe repeats the newest acknowledgement: the last one may be what was lost.
    if (mustAck || path.acks.owed || path.probes > 0) this.#writeAck();
    if (this.#hasAck && this.#core.reports.size > 0) this.#writeReports();
    if (maySend) {
      this.#writeFrames(start);
      if (path.probes > 0) {
        path.probes--;
        if (!this.#ackEliciting) this.#writePing();
      }
    }
    if (!this.#ackEliciting && !mustAck) {
      this.#at = start; // an acknowledgement that can still wait is not worth a packet
      return;
    }
    this.#askForAck();
    if (this.#hasAck) path.acks.onSent(nowUs);
  }

  /** Adds a PING when many packets held nothing but an acknowledgement. */
  #askForAck(): void {
    const path = this.#path;
    path.acksAlone = this.#ackEliciting ? 0 : path.acksAlone + 1;
    if (path.acksAlone < ACKS_ALONE_MAX || path.recovery.packetsInFlight > 0) return;
    path.acksAlone = 0;
    this.#writePing();
  }

  /** Whether there is something ack-eliciting and window and pacing let it out. */
  #maySend(path: Path, frameBytes: number): boolean {
    const core = this.#core;
    path.pacingUs = NEVER;
    // A peer that does not know yet where we are cannot acknowledge what fills the window: answers
    // to its challenges do not wait for it. There is one for each packet of the peer at most.
    if (path.probes > 0 || path.pathResponses.length > 0) return true;
    const hasWork = path.hasWork ||
      (path === core.primary ? core.hasWork : core.spreadable.size > 0);
    if (!hasWork) {
      path.recovery.onNothingToSend();
      return false;
    }
    if (!path.recovery.canSend(frameBytes)) return false;
    const delayUs = path.recovery.pacingDelayUs(frameBytes, core.nowUs);
    if (delayUs <= 0) return true;
    path.pacingUs = core.nowUs + delayUs;
    return false;
  }

  #writeAck(): void {
    const { acks } = this.#path;
    if (acks.count === 0) return;
    const delayUs = acks.delayUs(this.#core.nowUs);
    this.#at = appendAck(this.#view, this.#at, this.#end, acks, delayUs);
    this.#sent.push(SENT_ACK, acks.largest);
    this.#hasAck = true;
    const missing = acks.takeMissing(this.#missing, this.#core.nowUs);
    if (missing > 0 && this.#fits(nackBytes(missing))) {
      this.#at = appendNack(this.#view, this.#at, this.#missing, missing);
    }
    this.#writeCongestion();
  }

  /** §5.4: with an acknowledgement, when packets were marked since, at most once a round trip. */
  #writeCongestion(): void {
    const { nowUs } = this.#core;
    const path = this.#path;
    const { ce } = path.acks;
    if (ce <= path.toldCe || nowUs < path.toldCeUs + path.rtt.smoothedUs) return;
    if (!this.#fits(CONGESTION_BYTES)) return;
    this.#at = appendCongestion(this.#view, this.#at, ce, path.recovery.bytesInFlight);
    path.toldCe = ce;
    path.toldCeUs = nowUs;
  }

  #writeFrames(start: number): void {
    const core = this.#core;
    if (this.#path.pathResponses.length > 0) this.#writePathResponses();
    if (this.#path !== core.primary) return this.#writeSpread(start);
    if (core.pending !== 0) this.#writeConnectionFrames();
    if (core.extraPaths.frames.length > 0) this.#writePathFrames();
    if (core.pongs.length > 0) this.#writePongs();
    if (core.closeAcks.size > 0) this.#writeCloseAcks();
    if (core.controlQueue.size > 0) this.#writeStreamControl();
    if (core.scheduler.isEmpty) return;
    this.#writeStreamData(start);
    // Data that was the last of its stream lets STREAM_CLOSE go along.
    if (core.controlQueue.size > 0) this.#writeStreamControl();
  }

  #fits(length: number): boolean {
    return this.#end - this.#at >= length;
  }

  #writePing(): void {
    const core = this.#core;
    if (!this.#fits(PROBE_BYTES)) return;
    this.#at = appendPing(this.#view, this.#at, PING, core.nextPingId++);
    this.#ackEliciting = true;
  }

  // ---- connection frames ------------------------------------------------------------------

  #writeConnectionFrames(): void {
    const core = this.#core;
    if ((core.pending & PENDING_PARAMETERS) !== 0 && this.#fits(PARAMETERS_BYTES)) {
      core.pending &= ~PENDING_PARAMETERS;
      const type = core.isClient ? CONN_INIT : CONN_ACCEPT;
      const parameters = ownParameters(core);
      this.#at = appendParameters(this.#bytes, this.#view, this.#at, type, parameters);
      this.#sent.push(SENT_PARAMETERS);
      this.#ackEliciting = true;
    }
    if ((core.pending & PENDING_MAX_DATA) !== 0 && this.#fits(WINDOW_UPDATE_BYTES)) {
      core.pending &= ~PENDING_MAX_DATA;
      this.#at = appendWindowUpdate(this.#view, this.#at, 0, core.grantConnection());
      this.#sent.push(SENT_MAX_DATA);
      this.#ackEliciting = true;
    }
    if ((core.pending & PENDING_PING) !== 0 && this.#fits(PROBE_BYTES)) {
      core.pending &= ~PENDING_PING;
      this.#writePing();
    }
  }

  #writePathFrames(): void {
    const { frames } = this.#core.extraPaths;
    while (frames.length > 0 && this.#fits(PATH_OPEN_BYTES)) {
      const type = frames.shift()!;
      const path = frames.shift()!;
      const connectionId = frames.shift()!;
      this.#at = type === PATH_CLOSE
        ? appendPathClose(this.#view, this.#at, path)
        : appendPathOpen(this.#view, this.#at, type, path, connectionId);
      this.#sent.push(SENT_PATH, type, path, connectionId);
      this.#ackEliciting = true;
    }
  }

  // PONG and PATH_RESPONSE are not sent again when lost: the asker asks again.

  #writePongs(): void {
    const { pongs } = this.#core;
    while (pongs.length > 0 && this.#fits(PROBE_BYTES)) {
      this.#at = appendPing(this.#view, this.#at, PONG, pongs.shift()!);
      this.#ackEliciting = true;
    }
  }

  #writePathResponses(): void {
    const { pathResponses } = this.#path;
    while (pathResponses.length > 0 && this.#fits(PROBE_BYTES)) {
      const high = pathResponses.shift()!;
      const low = pathResponses.shift()!;
      this.#at = appendPath(this.#view, this.#at, PATH_RESPONSE, high, low);
      this.#ackEliciting = true;
    }
  }

  #writeCloseAcks(): void {
    const core = this.#core;
    for (const id of core.closeAcks) {
      if (!this.#fits(STREAM_CLOSE_ACK_BYTES)) return;
      core.closeAcks.delete(id);
      this.#at = appendStreamCloseAck(this.#view, this.#at, id);
      this.#sent.push(SENT_CLOSE_ACK, id);
      this.#ackEliciting = true;
    }
  }

  // ---- stream control ---------------------------------------------------------------------

  #writeStreamControl(): void {
    const core = this.#core;
    for (const stream of core.controlQueue) {
      if (!this.#fits(STREAM_CONTROL_BYTES_MAX)) return;
      core.controlQueue.delete(stream);
      // §5.3: until the peer knows the stream, its STREAM_OPEN goes before whatever else.
      const isUnknown = !stream.openAcked && stream.openPacket !== this.#path.numbers.next;
      if (stream.pending !== 0 && isUnknown) stream.pending |= PENDING_OPEN;
      this.#writeControlOf(stream);
    }
  }

  #writeControlOf(stream: Stream): void {
    const { id, pending } = stream;
    const view = this.#view;
    stream.pending = 0;
    if ((pending & PENDING_OPEN) !== 0) {
      const window = stream.openWindow;
      this.#at = appendStreamOpen(view, this.#at, id, stream.mode, stream.priority, window);
      stream.openPacket = this.#path.numbers.next;
      this.#sentControl(id, PENDING_OPEN);
    }
    if ((pending & PENDING_OPEN_ACK) !== 0) {
      this.#at = appendStreamAck(view, this.#at, id, stream.receiveCredit.limit);
      this.#sentControl(id, PENDING_OPEN_ACK);
    }
    if ((pending & PENDING_WINDOW) !== 0) {
      this.#at = appendWindowUpdate(view, this.#at, id, this.#core.grantStream(stream));
      this.#sentControl(id, PENDING_WINDOW);
    }
    if ((pending & PENDING_CLOSE) !== 0) {
      this.#at = appendStreamClose(view, this.#at, id, stream.sendSize);
      this.#sentControl(id, PENDING_CLOSE);
    }
    if ((pending & PENDING_RESET) !== 0) {
      this.#at = appendStreamReset(view, this.#at, id, stream.resetError, stream.resetSize);
      this.#sentControl(id, PENDING_RESET);
    }
    if ((pending & PENDING_STOP) !== 0) {
      this.#at = appendStreamStop(view, this.#at, id, stream.stopError);
      this.#sentControl(id, PENDING_STOP);
    }
  }

  #sentControl(id: number, bit: number): void {
    this.#sent.push(SENT_CONTROL, id, bit);
    this.#ackEliciting = true;
  }

  // ---- stream data ------------------------------------------------------------------------

  #writeStreamData(start: number): void {
    const { scheduler, spreadable, paths } = this.#core;
    this.#writeTurns(start);
    scheduler.unpark();
    // Those that wait for another path's turn: it may be this one's again before that.
    if (paths.length > 1) { for (const stream of spreadable) this.#core.schedule(stream); }
  }

  #writeTurns(start: number): void {
    const { scheduler } = this.#core;
    while (this.#fits(STREAM_ROOM_MIN)) {
      const stream = scheduler.pop();
      if (stream === undefined) return;
      if (stream.prOut !== undefined) {
        if (!this.#isTurn(stream.prOut)) continue;
        if (!this.#writeSymbol(stream, stream.prOut, start)) return scheduler.unpop(stream);
      } else if (!this.#writeDataOf(stream)) {
        if (stream.messagesOut?.needsRoom && !this.#makeRoom(stream, start)) return;
      }
      this.#putBack(stream);
    }
  }

  /** A stream was served: queues it again when it has more. */
  #putBack(stream: Stream): void {
    const { scheduler, sendCredit } = this.#core;
    this.#core.closeWhenSent(stream);
    if (stream.hasLost || stream.hasNew(sendCredit)) {
      if (stream.prOut !== undefined && this.#holdsSymbol(stream.prOut)) scheduler.park(stream);
      else scheduler.putBack(stream);
    } else if (stream.isOpenToSend) scheduler.block(stream);
    else scheduler.endTurn(stream);
  }

  #writeDataOf(stream: Stream): boolean {
    return stream.bytesOut !== undefined ? this.#writeBytes(stream) : this.#writeMessage(stream);
  }

  #writeBytes(stream: Stream): boolean {
    const core = this.#core;
    const sender = stream.bytesOut!;
    const room = Math.min(this.#end - this.#at - DATA_HEAD_BYTES, DATA_LENGTH_MAX);
    if (!sender.pick(stream.sendCredit, core.sendCredit, room)) return false;
    const { offset, length } = sender;
    this.#at = appendDataHead(this.#view, this.#at, stream.id, offset, length);
    sender.copyTo(offset, length, this.#bytes, this.#at);
    this.#at += length;
    if (this.#dataStream === 0) {
      this.#dataStream = stream.id;
      this.#dataOffset = offset;
      this.#dataLength = length;
    } else this.#sent.push(SENT_DATA, stream.id, offset, length);
    stream.turnBytes -= length;
    this.#ackEliciting = true;
    if (sender.isRepeat) core.counters.bytesRetransmitted += length;
    return true;
  }

  #writeMessage(stream: Stream): boolean {
    const core = this.#core;
    const sender = stream.messagesOut!;
    if (!sender.pick(stream.sendCredit, core.sendCredit, this.#end - this.#at)) return false;
    const { message, total, offset, length } = sender;
    this.#at = appendMessageHead(
      this.#view,
      this.#at,
      stream.mode,
      stream.id,
      message,
      total,
      offset,
      length,
    );
    sender.copyPicked(this.#bytes, this.#at);
    this.#at += length;
    stream.turnBytes -= MESSAGE_HEAD_BYTES + length; // empty messages use a turn up as well
    if (stream.isBestEffort) core.tellWritable(stream);
    else this.#sent.push(SENT_MESSAGE, stream.id, message, offset, length);
    this.#ackEliciting = true;
    if (sender.isRepeat) core.counters.bytesRetransmitted += length;
    return true;
  }

  /**
   * A best-effort message is longer than what is left of the packet: it gets the next one, or
   * this one without the acknowledgement, or is given up when no packet is long enough. False:
   * this packet is done.
   */
  #makeRoom(stream: Stream, start: number): boolean {
    const core = this.#core;
    if (this.#ackEliciting) {
      core.scheduler.unpop(stream);
      return false;
    }
    this.#at = start;
    this.#sent.length = 0;
    this.#hasAck = false;
    if (this.#writeMessage(stream)) return true;
    if (this.#path.probes > 0) { // a packet of the base size; the next ones may be larger
      core.scheduler.unpop(stream);
      return false;
    }
    stream.messagesOut!.dropFirst();
    core.counters.messagesDropped++;
    return true;
  }

  // ---- probabilistic streams --------------------------------------------------------------

  /** Symbols on a path beside the first (NS-PR-003). */
  #writeSpread(start: number): void {
    const core = this.#core;
    for (const stream of core.spreadable) {
      if (!this.#fits(STREAM_ROOM_MIN)) return;
      const sender = stream.prOut!;
      if (!sender.sendable) core.spreadable.delete(stream);
      else if (this.#isTurn(sender)) {
        if (!this.#writeSymbol(stream, sender, start)) return;
        core.closeWhenSent(stream);
      }
    }
  }

  /**
   * Symbols go around the paths, so that what one path loses in a row is spread over blocks; a path
   * whose window or pacing has no room is passed over.
   */
  #isTurn(sender: PrSender): boolean {
    const { paths, nowUs } = this.#core;
    for (let i = 0; i < paths.length; i++) {
      const path = paths[(sender.nextPath + i) % paths.length];
      if (path === this.#path) return true;
      const { recovery, frameBytes } = path;
      if (
        path.isUsable && path.probes === 0 && recovery.canSend(frameBytes) &&
        recovery.pacingDelayUs(frameBytes, nowUs) <= 0
      ) return false;
    }
    return true;
  }

  /** Room for a symbol that any usable path has, as any may have to carry the repairs. */
  #symbolRoom(start: number): number {
    let room = this.#end - start;
    for (const { isUsable, frameBytes } of this.#core.paths) {
      if (isUsable) room = Math.min(room, frameBytes - SEALED_OVERHEAD);
    }
    return room;
  }

  /** Whether this packet has its one symbol of the stream. */
  #holdsSymbol(sender: PrSender): boolean {
    return sender.lastPacket === this.#path.numbers.next && sender.lastPath === this.#path.id;
  }

  /** Writes a symbol; false: not into this packet. */
  #writeSymbol(stream: Stream, sender: PrSender, start: number): boolean {
    const core = this.#core;
    if (this.#holdsSymbol(sender)) return false;
    const roomMax = this.#symbolRoom(start);
    if (!sender.pick(this.#end - this.#at, roomMax, core.nowUs)) {
      if (!sender.needsRoom) return true; // what was to be sent is not wanted any more
      if (this.#ackEliciting) return false;
      this.#at = start; // without the acknowledgement, which gets a packet of its own
      this.#sent.length = 0;
      this.#hasAck = false;
      if (!sender.pick(this.#end - start, roomMax, core.nowUs)) {
        // A probe has the base size, the next packet may be larger. Else the path has shrunk.
        if (this.#path.probes === 0) sender.dropRepairs();
        core.closeWhenSent(stream); // they may have been the last that was to be sent
        return false;
      }
    }
    this.#at = sender.isRepair
      ? appendFecHead(
        this.#view,
        this.#at,
        stream.id,
        sender.symbol,
        sender.sourceCount,
        sender.repair,
        sender.length,
      )
      : appendSymbolHead(this.#view, this.#at, stream.id, sender.symbol);
    sender.copyPicked(this.#bytes, this.#at);
    this.#at += sender.length;
    sender.lastPacket = this.#path.numbers.next;
    sender.lastPath = this.#path.id;
    // Other paths are not shared with streams of other modes.
    if (this.#path === core.primary) stream.turnBytes -= sender.length;
    sender.nextPath = core.paths.indexOf(this.#path) + 1;
    this.#ackEliciting = true;
    core.watch(stream);
    core.tellWritable(stream);
    return true;
  }

  /** Reports ride with acknowledgements; a lost one is made up for by the next. */
  #writeReports(): void {
    const { reports } = this.#core;
    for (const stream of reports) {
      if (!this.#fits(REPORT_BYTES)) return;
      reports.delete(stream);
      this.#at = appendReport(this.#view, this.#at, stream.id, stream.prIn!.counts);
    }
  }

  // ---- runs -------------------------------------------------------------------------------

  /**
   * Bulk: when nothing but bytes of one stream is due, for at least one full packet of them, writes
   * as many such packets as fit, in one call of the engine. Bytes from the first frame to the end of
   * the last; 0: not now.
   */
  #pollRun(
    frameOffset: number,
    bytesMax: number,
    packetsMax: number,
    timestampHigh: number,
    timestampLow: number,
  ): number {
    const core = this.#core;
    const { primary: path, scheduler } = core;
    const { runBuffers } = core.options;
    if (runBuffers === undefined || scheduler.isEmpty || !this.#isBulkOnly(path)) return 0;
    const stream = scheduler.peek()!;
    const sender = stream.bytesOut;
    const { frameBytes } = path;
    if (sender === undefined || sender.hasLost || frameBytes > bytesMax) return 0;
    const dataEach = Math.min(
      frameBytes - SEALED_OVERHEAD - DATA_HEAD_BYTES,
      DATA_LENGTH_MAX,
    );
    const sendable = Math.min(sender.sendable(stream.sendCredit), core.sendCredit.left);
    if (sendable < dataEach || !this.#maySend(path, frameBytes)) return 0;
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
    const bytes = runs.seal(this.#bytes, run);
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
    this.peer = path.peer;
    this.ecn = path.ecn.codepoint;
    path.ecn.onSent(count);
    this.packets = count;
    this.segment = count > 1 ? frameBytes + OVERLAY_BYTES : 0;
    scheduler.pop();
    stream.turnBytes -= length;
    this.#putBack(stream);
    return bytes;
  }

  /** Whether there is nothing to send but stream data. */
  #isBulkOnly(path: Path): boolean {
    const core = this.#core;
    return core.state === "established" && core.paths.length === 1 && core.pending === 0 &&
      path.probes === 0 && path.validation === undefined && path.strayResponses.length === 0 &&
      !path.hasWork && !path.acks.owed && path.acks.deadlineUs > core.nowUs &&
      core.pongs.length === 0 && core.closeAcks.size === 0 && core.controlQueue.size === 0;
  }

  // ---- sealing ----------------------------------------------------------------------------

  #seal(
    frameOffset: number,
    start: number,
    timestampHigh: number,
    timestampLow: number,
  ): number {
    const core = this.#core;
    const { protection, recovery, numbers } = this.#path;
    const bytes = this.#bytes;
    const view = this.#view;
    const payloadBytes = this.#at - start;
    const length = SEALED_OVERHEAD + payloadBytes;
    const packetNumber = numbers.next;
    const header = this.#header;
    header.streamId = this.#path.peerConnectionId;
    header.length = length;
    header.sequence = packetNumber >>> 0;
    header.keyPhase = protection.keyPhase;
    header.timestampHigh = timestampHigh;
    header.timestampLow = timestampLow;
    encodeHeader(bytes, view, frameOffset, header);
    putEncryptionTag(bytes, frameOffset + HEADER_BYTES);
    const runs = core.options.runBuffers === undefined
      ? undefined
      : this.#path.runs(core.options.localNodeId, core.options.peerNodeId);
    if (runs === undefined) {
      protection.seal(bytes, view, frameOffset, start, payloadBytes, packetNumber);
      finishFrame(bytes, view, frameOffset, length);
    } else runs.sealFrame(bytes, frameOffset, length, packetNumber);

    const isFirstSinceReceived = this.#ackEliciting && recovery.packetsInFlight === 0;
    this.#record(packetNumber, this.#isProbe ? 0 : length);
    if (isFirstSinceReceived && core.isOpen) core.restartIdle(); // RFC 9000 §10.1
    core.counters.packetsSent++;
    core.counters.bytesSent += length;
    numbers.advance();
    this.ecn = this.#path.ecn.codepoint;
    this.#path.ecn.onSent(1);
    return length;
  }

  /** `bytes` is 0 for a probe, see LossRecovery.onSent. */
  #record(packetNumber: number, bytes: number): void {
    const { recovery } = this.#path;
    const { nowUs } = this.#core;
    const stream = this.#dataStream;
    const offset = this.#dataOffset;
    const length = this.#dataLength;
    if (stream !== 0 && this.#sent.length === 0) {
      recovery.onSentData(packetNumber, bytes, stream, offset, length, nowUs);
      return;
    }
    if (stream !== 0) this.#sent.push(SENT_DATA, stream, offset, length);
    recovery.onSent(packetNumber, bytes, this.#ackEliciting, this.#sent, nowUs);
    if (this.#ackEliciting) this.#sent = []; // recovery keeps the other
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
