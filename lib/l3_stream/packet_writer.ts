/**
 * The packet being written: the writers of the transmit path (transmit*.ts) append frames to it, then
 * it is sealed in place and handed to loss recovery.
 */
import {
  CRC_BYTES,
  encodeHeader,
  finishFrame,
  HEADER_BYTES,
  type HeaderFields,
  putEncryptionTag,
  SEALED_OVERHEAD,
  SEALED_PAYLOAD_OFFSET,
} from "../l1_link/mod.ts";
import type { ConnectionCore } from "./core.ts";
import { appendPing, PING, PROBE_BYTES } from "./frames/mod.ts";
import { type Path, sealedHeader } from "./path.ts";
import { SENT_CONTROL, SENT_DATA, type SentFrames } from "./sent_frames.ts";

/** A packet with less room than this is full: the rest would carry more head than data. */
const STREAM_ROOM_MIN = 40;

/**
 * Where a packet goes and what is in it so far. The buffers are the caller's and only borrowed during
 * a call. One per connection.
 */
export class PacketWriter {
  readonly core: ConnectionCore;
  readonly #header: HeaderFields;

  path: Path;
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  /** The payload: where it begins, ends so far, and must end. */
  start = 0;
  at = 0;
  end = 0;
  sent: SentFrames = [];
  /** The first DATA frame; stream 0: none. Most packets hold nothing else and need no array. */
  dataStream = 0;
  dataOffset = 0;
  dataLength = 0;
  ackEliciting = false;
  hasAck = false;
  /** The packet says nothing about congestion: it is a path MTU probe or goes elsewhere. */
  isProbe = false;

  /** Where the last packet goes, as Path.peer, and the ECN field of its IP header. */
  peer = 0;
  ecn = 0;
  /** How many packets the last call wrote, and bytes from one to the next when it was a run. */
  count = 0;
  segment = 0;

  constructor(core: ConnectionCore) {
    this.core = core;
    this.path = core.primary;
    const { options } = core;
    this.#header = sealedHeader(options.localNodeId, options.peerNodeId);
  }

  /** Packets are written to these buffers from now on. */
  borrow(bytes: Uint8Array, view: DataView): void {
    this.bytes = bytes;
    this.view = view;
    this.count = 1;
    this.segment = 0;
  }

  /** Starts an empty packet for a path. */
  begin(path: Path, frameOffset: number, frameBytes: number): void {
    this.path = path;
    this.peer = path.peer;
    this.start = this.at = frameOffset + SEALED_PAYLOAD_OFFSET;
    this.end = frameOffset + frameBytes - CRC_BYTES;
    if (this.sent.length > 0) this.sent.length = 0;
    this.dataStream = 0;
    this.ackEliciting = false;
    this.hasAck = false;
    this.isProbe = false;
  }

  get isEmpty(): boolean {
    return this.at === this.start;
  }
  get isFull(): boolean {
    return !this.fits(STREAM_ROOM_MIN);
  }

  fits(length: number): boolean {
    return this.end - this.at >= length;
  }

  /** Drops what was written, when that was nothing but an acknowledgement. */
  startOver(): void {
    this.at = this.start;
    this.sent.length = 0;
    this.hasAck = false;
  }

  /** Adds a PING, if there is room. */
  ping(): void {
    if (!this.fits(PROBE_BYTES)) return;
    this.at = appendPing(this.view, this.at, PING, this.core.nextPingId++);
    this.ackEliciting = true;
  }

  /** A control frame of a stream was written; `bit` of PENDING_ to set again when it is lost. */
  sentControl(id: number, bit: number): void {
    this.sent.push(SENT_CONTROL, id, bit);
    this.ackEliciting = true;
  }

  /**
   * Seals the packet and records it for loss recovery. The timestamp is wall time in ns as two
   * halves. Returns the bytes of its frame, which begins at `frameOffset`.
   */
  seal(frameOffset: number, timestampHigh: number, timestampLow: number): number {
    const { core, bytes, view, start } = this;
    const { protection, recovery, numbers } = this.path;
    const payloadBytes = this.at - start;
    const length = SEALED_OVERHEAD + payloadBytes;
    const packetNumber = numbers.next;
    const header = this.#header;
    header.streamId = this.path.peerConnectionId;
    header.length = length;
    header.sequence = packetNumber >>> 0;
    header.keyPhase = protection.keyPhase;
    header.timestampHigh = timestampHigh;
    header.timestampLow = timestampLow;
    encodeHeader(bytes, view, frameOffset, header);
    putEncryptionTag(bytes, frameOffset + HEADER_BYTES);
    const runs = core.options.runBuffers === undefined
      ? undefined
      : this.path.runs(core.options.localNodeId, core.options.peerNodeId);
    if (runs === undefined) {
      protection.seal(bytes, view, frameOffset, start, payloadBytes, packetNumber);
      finishFrame(bytes, view, frameOffset, length);
    } else runs.sealFrame(bytes, frameOffset, length, packetNumber);

    const isFirstSinceReceived = this.ackEliciting && recovery.packetsInFlight === 0;
    this.#record(packetNumber, this.isProbe ? 0 : length);
    if (isFirstSinceReceived && core.isOpen) core.restartIdle(); // RFC 9000 §10.1
    core.counters.packetsSent++;
    core.counters.bytesSent += length;
    numbers.advance();
    this.ecn = this.path.ecn.codepoint;
    this.path.ecn.onSent(1);
    return length;
  }

  /** `bytes` is 0 for a probe, see LossRecovery.onSent. */
  #record(packetNumber: number, bytes: number): void {
    const { recovery } = this.path;
    const { nowUs } = this.core;
    const stream = this.dataStream;
    const offset = this.dataOffset;
    const length = this.dataLength;
    if (stream !== 0 && this.sent.length === 0) {
      recovery.onSentData(packetNumber, bytes, stream, offset, length, nowUs);
      return;
    }
    if (stream !== 0) this.sent.push(SENT_DATA, stream, offset, length);
    recovery.onSent(packetNumber, bytes, this.ackEliciting, this.sent, nowUs);
    if (this.ackEliciting) this.sent = []; // recovery keeps the other
  }
}
