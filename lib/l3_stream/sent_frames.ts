/**
 * What a packet carried, as one flat array of numbers: enough to act when it is acknowledged or
 * lost, without an object per frame. A packet with nothing but one DATA frame has no array, see
 * LossRecovery.onSentData. Each entry is a kind and its numbers:
 *
 *   ACK largest · DATA stream offset length · MESSAGE stream message offset length ·
 *   CONTROL stream bit · CLOSE_ACK stream · PARAMETERS · MAX_DATA ·
 *   MTU_PROBE bytes · PATH type path connection-id
 */
import { type ConnectionCore, PENDING_MAX_DATA, PENDING_PARAMETERS } from "./core.ts";
import type { Path } from "./path.ts";
import type { RecoverySink } from "./recovery.ts";
import {
  PENDING_CLOSE,
  PENDING_OPEN,
  PENDING_RESET,
  PENDING_STOP,
  PENDING_WINDOW,
  RECEIVE_OPEN,
  SEND_DONE,
  SEND_FINISHED,
  SEND_RESET,
  type Stream,
} from "./streams/stream.ts";

export type SentFrames = number[];

export const SENT_ACK = 0;
export const SENT_DATA = 1;
export const SENT_MESSAGE = 2;
export const SENT_CONTROL = 3;
export const SENT_CLOSE_ACK = 4;
export const SENT_PARAMETERS = 5;
export const SENT_MAX_DATA = 6;
export const SENT_MTU_PROBE = 7;
export const SENT_PATH = 8;

/** Numbers of an entry by kind, the kind included. */
const SIZES = [2, 4, 5, 3, 2, 1, 1, 2, 4];

/** Acts on the fate of packets. One per connection. */
export class SentFramesSink implements RecoverySink<SentFrames> {
  readonly #core: ConnectionCore;
  /** The path whose packets the next calls are about. */
  path: Path;

  constructor(core: ConnectionCore) {
    this.#core = core;
    this.path = core.primary;
  }

  onAcked(frames: SentFrames): void {
    const core = this.#core;
    for (let i = 0; i < frames.length; i += SIZES[frames[i]]) {
      const kind = frames[i];
      if (kind === SENT_ACK) {
        this.path.acks.onAckAcked(frames[i + 1]);
      } else if (kind === SENT_CLOSE_ACK) {
        core.closeAcksUnacked.delete(frames[i + 1]);
      } else if (kind === SENT_MTU_PROBE) {
        this.path.onMtuProbeAcked(frames[i + 1]);
      } else if (kind <= SENT_CONTROL) {
        if (kind === SENT_DATA) {
          this.onAckedData(frames[i + 1], frames[i + 2], frames[i + 3]);
          continue;
        }
        const stream = core.table.get(frames[i + 1]);
        if (stream === undefined) continue;
        if (kind === SENT_MESSAGE) {
          stream.messagesOut?.onAcked(frames[i + 2], frames[i + 3], frames[i + 4]);
        } else {
          this.#onControlAcked(stream, frames[i + 2]);
          continue;
        }
        core.tellWritable(stream);
        core.checkSendDone(stream);
      }
    }
  }

  onLost(frames: SentFrames): void {
    for (let i = 0; i < frames.length; i += SIZES[frames[i]]) {
      if (frames[i] === SENT_MTU_PROBE) this.path.mtu.onProbeLost(frames[i + 1]);
    }
    this.onRepeat(frames);
  }

  /** Queues what still matters again. */
  onRepeat(frames: SentFrames): void {
    const core = this.#core;
    for (let i = 0; i < frames.length; i += SIZES[frames[i]]) {
      const kind = frames[i];
      if (kind === SENT_PARAMETERS) core.pending |= PENDING_PARAMETERS;
      else if (kind === SENT_MAX_DATA) core.pending |= PENDING_MAX_DATA;
      else if (kind === SENT_PATH) {
        core.extraPaths.onFrameLost(frames[i + 1], frames[i + 2], frames[i + 3]);
      } else if (kind === SENT_CLOSE_ACK) {
        if (core.closeAcksUnacked.has(frames[i + 1])) core.closeAcks.add(frames[i + 1]);
      } else if (kind === SENT_DATA) {
        this.onLostData(frames[i + 1], frames[i + 2], frames[i + 3]);
      } else if (kind !== SENT_ACK && kind <= SENT_CONTROL) {
        const stream = core.table.get(frames[i + 1]);
        if (stream === undefined || stream.sendState === SEND_DONE && kind !== SENT_CONTROL) {
          continue;
        }
        if (kind === SENT_MESSAGE) {
          stream.messagesOut?.onLost(frames[i + 2], frames[i + 3], frames[i + 4]);
          core.schedule(stream);
        } else {
          this.#onControlLost(stream, frames[i + 2]);
        }
      }
    }
  }

  onAckedData(streamId: number, offset: number, length: number): void {
    const core = this.#core;
    const stream = core.table.get(streamId);
    if (stream === undefined) return;
    stream.bytesOut?.onAcked(offset, length);
    core.tellWritable(stream);
    core.checkSendDone(stream);
  }

  onLostData(streamId: number, offset: number, length: number): void {
    const core = this.#core;
    const stream = core.table.get(streamId);
    if (stream === undefined || stream.sendState === SEND_DONE) return;
    stream.bytesOut?.onLost(offset, length);
    core.schedule(stream);
  }

  onPacketsAcked(bytesLargest: number, markedPackets: number): void {
    this.path.ecn.onPacketsAcked(markedPackets);
    if (this.path.mtu.isLarge(bytesLargest)) this.path.mtu.onLargeAcked();
  }

  onPacketLost(packetNumber: number, bytes: number): void {
    this.path.ecn.onPacketLost(packetNumber);
    this.path.mtu.onPacketLost(packetNumber);
    if (this.path.mtu.isLarge(bytes)) this.path.onLargeLost(packetNumber);
  }

  /** What was lost arrived after all. */
  onLateAck(frames: SentFrames): void {
    this.onAcked(frames);
  }

  #onControlAcked(stream: Stream, bit: number): void {
    const core = this.#core;
    if (bit === PENDING_OPEN) {
      stream.openAcked = true;
    } else if (bit === PENDING_CLOSE) {
      stream.closeAcked = true;
      core.checkSendDone(stream);
    } else if (bit === PENDING_RESET && stream.sendState === SEND_RESET) {
      stream.sendState = SEND_DONE;
      core.checkForget(stream);
    }
  }

  #onControlLost(stream: Stream, bit: number): void {
    const stillMatters = bit === PENDING_OPEN
      ? !stream.openAcked
      : bit === PENDING_CLOSE
      ? stream.sendState === SEND_FINISHED && !stream.closeAcked
      : bit === PENDING_RESET
      ? stream.sendState === SEND_RESET
      : bit === PENDING_STOP || bit === PENDING_WINDOW
      ? stream.receiveState === RECEIVE_OPEN
      : true;
    if (stillMatters) this.#core.addPending(stream, bit);
  }
}
