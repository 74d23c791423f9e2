/**
 * The receive path: packets are opened, then their frames taken in the order they stand. Every frame is
 * checked against the state of its stream; a broken rule closes the connection with the reason of
 * docs/protocol.md §5.2 and never throws. Frames that would cost too much memory are refused:
 * their packet is not acknowledged, so the peer sends them again later.
 */
import { equalBytes } from "../base/mod.ts";
import { Flag, type FrameInfo, FrameType } from "../l1_link/mod.ts";
import {
  CloseReason,
  MAX_ACK_DELAY_US_MAX,
  MAX_DATA_MIN,
  MAX_MESSAGE_MIN,
  MAX_STREAMS_MIN,
  PATHS_MAX,
  STREAM_MESSAGES_MIN,
  STREAM_VERSION,
  STREAM_WINDOW_MIN,
} from "./config.ts";
import type { ConnectionCore } from "./core.ts";
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
  isAckEliciting,
  MALFORMED,
  MESSAGE,
  PADDING,
  parseFrame,
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
} from "./frames/mod.ts";
import { noteAddress, onChallenge, onValidated } from "./migration.ts";
import type { Path } from "./path.ts";
import { OPEN_REPLAYED, OPEN_UNAUTHENTIC } from "./protection.ts";
import type { Acknowledgement } from "./recovery.ts";
import { REFUSED, StreamFrames, TAKEN } from "./receive_stream.ts";
import { type Landing, RunResult } from "./runs.ts";
import type { SentFramesSink } from "./sent_frames.ts";
import { Timer } from "./timers.ts";

/** What became of a frame given to receiveFrame. */
export const ReceiveResult = {
  OK: 0,
  /** The connection is over. */
  CLOSED: 1,
  /** Not a sealed data frame. */
  NOT_SEALED: 2,
  /** The tag does not fit. */
  UNAUTHENTIC: 3,
  /** Seen before, or too old to know. */
  REPLAYED: 4,
  /** Sealed under a key that this end does not hold. */
  KEY_PHASE: 5,
  /** No path of this connection has that connection id (any more). */
  UNKNOWN_PATH: 6,
} as const;
export type ReceiveResult = (typeof ReceiveResult)[keyof typeof ReceiveResult];

/** PINGs that wait for their answer; more are not answered. */
const PONGS_MAX = 8;

export class Receiver {
  readonly #core: ConnectionCore;
  readonly #sink: SentFramesSink;
  readonly #acknowledgement: Acknowledgement;
  readonly #streams: StreamFrames;
  /** Where the packet in hand arrived, from where, and its size as a frame. */
  #path: Path;
  #peer = 0;
  #frameBytes = 0;

  constructor(core: ConnectionCore, sink: SentFramesSink) {
    this.#core = core;
    this.#sink = sink;
    this.#path = core.primary;
    this.#streams = new StreamFrames(core);
    this.#acknowledgement = {
      largest: 0,
      ackDelayUs: 0,
      ranges: core.frame.ranges,
      rangeCount: 0,
      ce: undefined,
    };
  }

  /** As Connection.receiveFrame. */
  receiveFrame(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    info: FrameInfo,
    ecn: number,
    peer: number,
  ): ReceiveResult {
    const result = this.#open(bytes, view, frameOffset, info, ecn, peer);
    if (result !== ReceiveResult.OK) this.#core.counters.framesDropped++;
    return result;
  }

  #open(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    info: FrameInfo,
    ecn: number,
    peer: number,
  ): ReceiveResult {
    const core = this.#core;
    if (core.state === "closed") return ReceiveResult.CLOSED;
    const isSealed = info.type === FrameType.DATA && (info.flags & Flag.ENCRYPTED) !== 0 &&
      info.tagOffset >= 0;
    if (!isSealed) return ReceiveResult.NOT_SEALED;
    let path: Path | undefined = core.primary;
    if (info.streamId !== path.localConnectionId) {
      path = core.extraPaths.withConnectionId(info.streamId);
      if (path === undefined) return ReceiveResult.UNKNOWN_PATH;
    }
    const packetNumber = path.protection.open(bytes, view, frameOffset, info);
    if (packetNumber < 0) {
      return packetNumber === OPEN_REPLAYED
        ? ReceiveResult.REPLAYED
        : packetNumber === OPEN_UNAUTHENTIC
        ? ReceiveResult.UNAUTHENTIC
        : ReceiveResult.KEY_PHASE;
    }
    core.counters.packetsReceived++;
    core.counters.bytesReceived += info.length;
    core.lastReceivedUs = core.nowUs;
    const end = info.payloadOffset + info.payloadLength;
    if (core.state === "closing") {
      this.#receiveClosing(bytes, view, info.payloadOffset, end);
      return ReceiveResult.OK;
    }
    core.restartIdle();
    this.#receivePayload(
      path,
      bytes,
      view,
      info.payloadOffset,
      end,
      packetNumber,
      ecn,
      peer,
      info.length,
    );
    return ReceiveResult.OK;
  }

  /** As Connection.receiveResult. */
  receiveResult(landing: Landing, i: number, ecn: number, peer: number): ReceiveResult {
    const core = this.#core;
    const kind = landing.kind(i);
    if (kind !== RunResult.DATA && kind !== RunResult.PACKET) {
      core.counters.framesDropped++;
      return kind === RunResult.FORGED ? ReceiveResult.UNAUTHENTIC : ReceiveResult.REPLAYED;
    }
    if (core.state === "closed") return ReceiveResult.CLOSED;
    const path = core.primary;
    const packets = kind === RunResult.DATA ? landing.packets(i) : 1;
    core.counters.packetsReceived += packets;
    core.counters.bytesReceived += landing.frameBytes(i);
    core.lastReceivedUs = core.nowUs;
    const at = landing.at(i);
    const end = at + landing.length(i);
    const { bytes, view } = landing;
    if (core.state === "closing") {
      if (kind === RunResult.PACKET) this.#receiveClosing(bytes, view, at, end);
      return ReceiveResult.OK;
    }
    core.restartIdle();
    if (kind === RunResult.DATA) {
      this.#receiveData(path, landing, i, ecn, peer);
      return ReceiveResult.OK;
    }
    this.#receivePayload(
      path,
      bytes,
      view,
      at,
      end,
      landing.packetNumber(i),
      ecn,
      peer,
      landing.frameBytes(i),
      landing,
    );
    return ReceiveResult.OK;
  }

  /**
   * Takes the packet payload bytes[at, end), already opened, that arrived on `path` from `peer` in
   * a frame of `frameBytes`. `landing`: where `bytes` come from, if stream data may stay there.
   */
  #receivePayload(
    path: Path,
    bytes: Uint8Array,
    view: DataView,
    at: number,
    end: number,
    packetNumber: number,
    ecn: number,
    peer: number,
    frameBytes: number,
    landing?: Landing,
  ): void {
    const core = this.#core;
    const { frame } = core;
    this.#path = path;
    this.#peer = peer;
    this.#frameBytes = frameBytes;
    let ackEliciting = false;
    let isProbing = true;
    let isHurried = false;
    this.#streams.isRepeat = false;
    if (at >= end) return core.fail(CloseReason.PROTOCOL_VIOLATION, "packet holds no frame");
    while (at < end) {
      at = parseFrame(bytes, view, at, end, frame);
      if (at === MALFORMED) {
        const why = `frame of type 0x${frame.type.toString(16)} is malformed`;
        return core.fail(CloseReason.FRAME_ENCODING, why);
      }
      if (isAckEliciting(frame.type)) ackEliciting = true;
      if (!isProbingFrame(frame.type)) isProbing = false;
      if (frame.type === CONN_INIT || frame.type === CONN_ACCEPT) isHurried = true;
      if (this.#onFrame(frame, bytes, view, landing) === REFUSED) return;
      if (!core.isOpen) return;
    }
    if (peer !== path.peer || path.validation !== undefined || path.leftPeer >= 0) {
      noteAddress(
        core,
        path,
        peer,
        this.#frameBytes,
        !isProbing && packetNumber > path.acks.largest,
      );
    }
    path.acks.onPacket(packetNumber, ackEliciting, ecn, core.nowUs);
    if (isHurried) path.acks.hurry(core.nowUs);
    if (this.#streams.isRepeat) path.acks.onRepeatedData(core.nowUs);
  }

  /**
   * Takes packets of one DATA frame each, successive in numbers and offsets, as a run landed them.
   * As #receivePayload otherwise.
   */
  #receiveData(path: Path, landing: Landing, result: number, ecn: number, peer: number): void {
    const core = this.#core;
    const { frame } = core;
    const packetNumber = landing.packetNumber(result);
    const packets = landing.packets(result);
    this.#path = path;
    this.#peer = peer;
    this.#frameBytes = landing.frameBytes(result);
    this.#streams.isRepeat = false;
    frame.type = DATA;
    frame.stream = landing.stream(result);
    frame.offset = landing.offset(result);
    frame.dataAt = landing.at(result);
    frame.dataLength = landing.length(result);
    if (frame.offset + frame.dataLength > Number.MAX_SAFE_INTEGER) {
      return core.fail(CloseReason.FRAME_ENCODING, "DATA frame is malformed");
    }
    if (this.#streams.onData(frame, landing.bytes, landing) === REFUSED) return;
    if (!core.isOpen) return;
    if (peer !== path.peer || path.validation !== undefined || path.leftPeer >= 0) {
      noteAddress(
        core,
        path,
        peer,
        this.#frameBytes,
        packetNumber + packets - 1 > path.acks.largest,
      );
    }
    path.acks.onPackets(packetNumber, packets, true, ecn, core.nowUs);
    if (this.#streams.isRepeat) path.acks.onRepeatedData(core.nowUs);
  }

  /** A packet that arrived while the connection closes: only the goodbyes matter. */
  #receiveClosing(bytes: Uint8Array, view: DataView, at: number, end: number): void {
    const core = this.#core;
    while (at < end) {
      at = parseFrame(bytes, view, at, end, core.frame);
      if (at === MALFORMED) return;
      if (core.frame.type === CONN_CLOSE_ACK) return core.forgetConnection();
      if (core.frame.type === CONN_CLOSE) return core.onPeerClose(0, bytes.subarray(0, 0));
    }
  }

  #onFrame(
    frame: Frame,
    bytes: Uint8Array,
    view: DataView,
    landing: Landing | undefined,
  ): number {
    const core = this.#core;
    switch (frame.type) {
      case DATA:
        return this.#streams.onData(frame, bytes, landing);
      case MESSAGE:
        return this.#streams.onMessage(frame, bytes, view);
      case FEC:
        return this.#streams.onFec(frame, bytes);
      case RECEIVER_REPORT:
        return this.#streams.onReport(frame);
      case DATA_ACK:
        return this.#onAck(frame);
      case DATA_NACK:
        return this.#onNack(frame);
      case CONGESTION:
        this.#path.peerCe = Math.max(this.#path.peerCe, frame.ce);
        this.#path.peerBytesInFlight = frame.bytesInFlight;
        return TAKEN;
      case WINDOW_UPDATE:
        return this.#onWindowUpdate(frame);
      case STREAM_OPEN:
        return this.#streams.onStreamOpen(frame);
      case STREAM_ACK:
        return this.#streams.onStreamAck(frame);
      case STREAM_CLOSE:
        return this.#streams.onStreamClose(frame);
      case STREAM_RESET:
        return this.#streams.onStreamReset(frame);
      case STREAM_CLOSE_ACK:
        return this.#streams.onStreamCloseAck(frame);
      case STREAM_STOP:
        return this.#streams.onStreamStop(frame);
      case PING:
        if (core.pongs.length < PONGS_MAX) core.pongs.push(frame.id);
        return TAKEN;
      case PATH_CHALLENGE:
        onChallenge(this.#path, frame, this.#peer, this.#frameBytes);
        return TAKEN;
      case PATH_RESPONSE:
        if (this.#path.validation?.isAnswer(frame.tokenHigh, frame.tokenLow)) {
          onValidated(core, this.#path);
        }
        return TAKEN;
      case PATH_OPEN:
        core.extraPaths.onPathOpen(frame);
        return TAKEN;
      case PATH_ACCEPT:
        core.extraPaths.onPathAccept(frame);
        return TAKEN;
      case PATH_CLOSE:
        core.extraPaths.onPathClose(frame);
        return TAKEN;
      case CONN_INIT:
      case CONN_ACCEPT:
        return this.#onParameters(frame);
      case CONN_CLOSE:
        core.onPeerClose(
          frame.error,
          bytes.subarray(frame.dataAt, frame.dataAt + frame.dataLength),
        );
        return TAKEN;
      case CONN_CLOSE_ACK:
        return this.#violation(CloseReason.PROTOCOL_VIOLATION, "CONN_CLOSE_ACK without CONN_CLOSE");
      case PONG:
      case PADDING:
        return TAKEN;
      default:
        return this.#violation(CloseReason.INTERNAL, `frame type ${frame.type} has no handler`);
    }
  }

  #violation(reason: number, why: string): number {
    this.#core.fail(reason, why);
    return TAKEN;
  }

  // ---- connection -------------------------------------------------------------------------

  #onParameters(frame: Frame): number {
    const core = this.#core;
    const given = frame.parameters;
    if ((frame.type === CONN_INIT) === core.isClient) {
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, "parameters from the wrong side");
    }
    if (core.hasParameters) return TAKEN; // sent again before our acknowledgement arrived
    if (given.version !== STREAM_VERSION) {
      const why = `version is ${given.version}, expected ${STREAM_VERSION}`;
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, why);
    }
    if (!equalBytes(given.nodeId, core.options.peerNodeId)) {
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, "node id is not the peer's");
    }
    if (
      given.maxStreams < MAX_STREAMS_MIN || given.maxData < MAX_DATA_MIN ||
      given.streamWindow < STREAM_WINDOW_MIN || given.streamMessages < STREAM_MESSAGES_MIN ||
      given.maxMessage < MAX_MESSAGE_MIN || given.maxAckDelayUs > MAX_ACK_DELAY_US_MAX
    ) {
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, "a parameter is out of its range");
    }
    core.hasParameters = true;
    core.table.localMax = given.maxStreams;
    core.limits.sendBytes = given.streamWindow;
    core.limits.sendMessages = given.streamMessages;
    core.maxMessageBytes = given.maxMessage;
    for (const path of core.paths) path.recovery.maxAckDelayUs = given.maxAckDelayUs;
    core.extraPaths.peerMax = Math.min(given.maxPaths, PATHS_MAX);
    core.peerIdleTimeoutMs = given.idleTimeoutMs;
    if (core.sendCredit.raise(given.maxData)) core.scheduler.unblockAll();
    core.raiseAllLimits();
    core.timers.stop(Timer.Connect);
    core.restartIdle();
    core.state = "established";
    core.events.push({ type: "established" });
    return TAKEN;
  }

  #onAck(frame: Frame): number {
    const core = this.#core;
    const path = this.#path;
    const ack = this.#acknowledgement;
    ack.largest = frame.largest;
    ack.ackDelayUs = frame.ackDelayUs;
    ack.rangeCount = frame.ranges.length / 2;
    ack.ce = frame.hasEcn && !path.ecn.hasFailed ? frame.ce : undefined;
    const largestBefore = path.recovery.largestAcked;
    this.#sink.path = path;
    if (path.recovery.onAck(ack, core.nowUs, this.#sink) !== 0) {
      const why = `packet ${frame.largest} or a lower one was acknowledged but never sent`;
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, why);
    }
    path.ecn.onAck(frame, frame.largest > largestBefore);
    path.ptosUnanswered = 0;
    if (path.recovery.ptoCount === 0) path.probes = 0;
    if (core.shortOfMemory.size > 0) core.tellShortOfMemory();
    return TAKEN;
  }

  /** Ranges from the oldest to the newest, as repairs only go forward. */
  #onNack({ ranges }: Frame): number {
    this.#sink.path = this.#path;
    for (let i = ranges.length - 2; i >= 0; i -= 2) {
      this.#path.recovery.onNack(ranges[i + 1], ranges[i], this.#sink);
    }
    return TAKEN;
  }

  #onWindowUpdate(frame: Frame): number {
    const core = this.#core;
    if (frame.stream === 0) {
      if (core.sendCredit.raise(frame.limit)) core.scheduler.unblockAll();
      return TAKEN;
    }
    return this.#streams.onWindowUpdate(frame);
  }
}

/** RFC 9000 §9.1: frames of a packet that only finds out whether an address can be reached. */
function isProbingFrame(type: number): boolean {
  return type === PATH_CHALLENGE || type === PATH_RESPONSE || type === PADDING;
}
