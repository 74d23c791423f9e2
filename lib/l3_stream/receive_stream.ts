/**
 * The receive path of stream frames: every frame is checked against the state of its stream. A
 * broken rule closes the connection with the reason of docs/protocol.md §5.2 and never throws.
 */
import { CloseReason } from "./config.ts";
import type { ConnectionCore } from "./core.ts";
import { endLinger, watch } from "./deadlines.ts";
import {
  type Frame,
  type Mode,
  MODE_BEST_EFFORT,
  MODE_PROBABILISTIC,
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
} from "./frames/mod.ts";
import type { Landing } from "./runs.ts";
import {
  PART_COMPLETED,
  PART_CONTRADICTS,
  PART_KNOWN,
  PART_REFUSED,
} from "./streams/message_receiver.ts";
import { SYMBOL_CONTRADICTS, SYMBOL_TOO_LARGE } from "./streams/pr_receiver.ts";
import { PROBABILITY_PPM_MAX, REPORT_IMPOSSIBLE } from "./streams/pr_sender.ts";
import {
  PENDING_OPEN_ACK,
  PENDING_STOP,
  PENDING_WINDOW,
  RECEIVE_DONE,
  RECEIVE_OPEN,
  RECEIVE_RESET,
  SEND_DONE,
  SEND_OPEN,
  type Stream,
} from "./streams/stream.ts";
import { ID_FORGOTTEN, ID_LIVE, ID_UNSEEN } from "./streams/table.ts";

/** RU messages that have arrived in part, over all streams of a connection. */
const PARTIAL_MESSAGES_MAX = 16_384;
/** Message events that the application has not taken. */
const QUEUED_MESSAGES_MAX = 65_536;
/** BE and PR messages that the application has not taken; more are thrown away. */
const QUEUED_UNRELIABLE_MAX = 1_024;
export const QUEUED_UNRELIABLE_BYTES_MAX = 4 * 2 ** 20;

/** A frame was taken, or ignored for good. */
export const TAKEN = 0;
/** A frame cannot be taken now: do not acknowledge its packet. */
export const REFUSED = 1;

/** Handlers of the frames that name a stream; each returns TAKEN or REFUSED. */
export class StreamFrames {
  readonly #core: ConnectionCore;
  /** Data arrived that had arrived before; the receive path clears it. */
  isRepeat = false;

  constructor(core: ConnectionCore) {
    this.#core = core;
  }

  onWindowUpdate(frame: Frame): number {
    const stream = this.#known(frame);
    if (stream !== undefined) this.#core.raiseStreamLimit(stream, frame.limit);
    return TAKEN;
  }

  /** The live stream of a frame that cannot open one; undefined: ignore it, or a violation. */
  #known(frame: Frame): Stream | undefined {
    const core = this.#core;
    const stream = core.table.get(frame.stream);
    if (stream !== undefined) return stream;
    if (core.table.meaning(frame.stream) !== ID_FORGOTTEN) {
      core.fail(CloseReason.STREAM_STATE, `stream ${frame.stream} is not open`);
    }
    return undefined;
  }

  /** The stream of a frame that opens one if need be; undefined as above. */
  #opened(frame: Frame, mode: Mode, priority: number): Stream | undefined {
    const core = this.#core;
    const known = core.table.get(frame.stream);
    if (known !== undefined) {
      if (known.mode === mode) return known;
      core.fail(CloseReason.STREAM_STATE, `stream ${frame.stream} has another mode`);
      return undefined;
    }
    const meaning = core.table.meaning(frame.stream);
    if (meaning === ID_FORGOTTEN) return undefined;
    if (meaning !== ID_UNSEEN) {
      core.fail(CloseReason.STREAM_STATE, `stream ${frame.stream} is not the peer's to open`);
      return undefined;
    }
    const stream = core.table.accept(frame.stream, mode, priority);
    if (stream === undefined) {
      core.fail(CloseReason.STREAM_LIMIT, `more than ${core.config.maxStreams} streams are open`);
      return undefined;
    }
    core.events.push({ type: "streamOpened", stream: stream.id, mode, priority });
    return stream;
  }

  onStreamOpen(frame: Frame): number {
    const core = this.#core;
    if (!isMode(frame.mode)) {
      return this.#violation(CloseReason.FRAME_ENCODING, `mode is ${frame.mode}, expected 1…4`);
    }
    const isPr = frame.mode === MODE_PROBABILISTIC;
    if (isPr && !(frame.limit >= 1 && frame.limit <= PROBABILITY_PPM_MAX)) {
      const why = `probability is ${frame.limit}, expected 1…${PROBABILITY_PPM_MAX} millionths`;
      return this.#violation(CloseReason.FRAME_ENCODING, why);
    }
    if (core.table.meaning(frame.stream) === ID_LIVE && core.table.get(frame.stream)!.isLocal) {
      return this.#violation(CloseReason.STREAM_STATE, `stream ${frame.stream} is ours`);
    }
    const stream = this.#opened(frame, frame.mode, frame.priority);
    if (stream === undefined) return TAKEN;
    stream.priority = frame.priority;
    if (stream.prOut !== undefined) stream.prOut.probabilityPpm = frame.limit;
    else core.raiseStreamLimit(stream, frame.limit);
    core.addPending(stream, PENDING_OPEN_ACK);
    return TAKEN;
  }

  onStreamAck(frame: Frame): number {
    const stream = this.#known(frame);
    if (stream === undefined) return TAKEN;
    if (!stream.isLocal) {
      return this.#violation(CloseReason.STREAM_STATE, `stream ${frame.stream} is the peer's own`);
    }
    stream.openAcked = true;
    this.#core.raiseStreamLimit(stream, frame.limit);
    return TAKEN;
  }

  /** `landing`: where `bytes` come from, if it may keep them there. */
  onData(frame: Frame, bytes: Uint8Array, landing?: Landing): number {
    const core = this.#core;
    const stream = this.#opened(frame, MODE_RELIABLE_ORDERED, 0);
    if (stream === undefined) return TAKEN;
    const receiver = stream.bytesIn!;
    const end = frame.offset + frame.dataLength;
    if (stream.finalSize >= 0 && end > stream.finalSize) {
      const why = `stream ${stream.id} goes past its final size ${stream.finalSize}`;
      return this.#violation(CloseReason.FINAL_SIZE, why);
    }
    if (end <= receiver.contiguous && frame.dataLength > 0) this.isRepeat = true;
    if (stream.receiveState !== RECEIVE_OPEN) return TAKEN;
    if (!receiver.canTake(frame.offset)) return REFUSED;
    const grown = end - receiver.highest;
    if (grown > 0 && !this.#count(stream, end, grown)) return TAKEN;
    if (landing === undefined) {
      receiver.take(frame.offset, bytes, frame.dataAt, frame.dataLength);
    } else receiver.takeLanded(landing, frame.offset, frame.dataAt, frame.dataLength);
    if (stream.stopped) {
      core.discard(stream);
    } else if (receiver.readable && !stream.readableTold) {
      stream.readableTold = true;
      core.events.push({ type: "readable", stream: stream.id });
    }
    core.checkReceive(stream);
    return TAKEN;
  }

  /** Counts bytes against the stream's and the connection's limit; false: exceeded. */
  #count(stream: Stream, end: number, grown: number): boolean {
    const core = this.#core;
    if (end <= stream.receiveCredit.limit && core.receiveCredit.receive(grown)) return true;
    core.fail(CloseReason.FLOW_CONTROL, `stream ${stream.id} exceeds a limit with byte ${end}`);
    return false;
  }

  onMessage(frame: Frame, bytes: Uint8Array, view: DataView): number {
    if (frame.mode === MODE_BEST_EFFORT) return this.#onBestEffort(frame, bytes);
    if (frame.mode === MODE_PROBABILISTIC) return this.#onSymbol(frame, bytes, view);
    if (frame.mode !== MODE_RELIABLE_UNORDERED) {
      return this.#violation(CloseReason.FRAME_ENCODING, `message mode is ${frame.mode}`);
    }
    const core = this.#core;
    const stream = this.#opened(frame, MODE_RELIABLE_UNORDERED, 0);
    if (stream === undefined) return TAKEN;
    const receiver = stream.messagesIn!;
    if (frame.message >= stream.receiveCredit.limit) {
      const why = `stream ${stream.id} exceeds its limit with message ${frame.message}`;
      return this.#violation(CloseReason.FLOW_CONTROL, why);
    }
    if (frame.total > core.config.maxMessageBytes) {
      const why = `message of ${frame.total} bytes, limit is ${core.config.maxMessageBytes}`;
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, why);
    }
    if (stream.receiveState === RECEIVE_RESET || stream.receiveState === RECEIVE_DONE) return TAKEN;
    if (stream.finalSize >= 0 && frame.message >= stream.finalSize) {
      const why = `stream ${stream.id} goes past its ${stream.finalSize} messages`;
      return this.#violation(CloseReason.FINAL_SIZE, why);
    }
    if (receiver.isNew(frame.message)) {
      if (
        core.queuedMessages >= QUEUED_MESSAGES_MAX || core.partialMessages >= PARTIAL_MESSAGES_MAX
      ) return REFUSED;
      if (!core.receiveCredit.receive(frame.total)) {
        return this.#violation(CloseReason.FLOW_CONTROL, "the connection's limit is exceeded");
      }
    }
    const partialBefore = receiver.partialCount;
    const result = receiver.take(
      frame.message,
      frame.total,
      frame.offset,
      bytes,
      frame.dataAt,
      frame.dataLength,
    );
    core.partialMessages += receiver.partialCount - partialBefore;
    if (result === PART_REFUSED) return REFUSED;
    if (result === PART_CONTRADICTS) {
      const why = `message ${frame.message} of stream ${stream.id} changes its length`;
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, why);
    }
    if (result === PART_COMPLETED) this.#deliver(stream, receiver.takeCompleted());
    else if (result === PART_KNOWN) this.isRepeat = true;
    core.checkReceive(stream);
    return TAKEN;
  }

  #deliver(stream: Stream, message: Uint8Array<ArrayBuffer>): void {
    const core = this.#core;
    if (stream.stopped) {
      core.consumeStream(stream, 1);
      core.consumeConnection(message.length);
      return;
    }
    core.queueMessage(stream, message);
  }

  #onBestEffort(frame: Frame, bytes: Uint8Array): number {
    const stream = this.#opened(frame, MODE_BEST_EFFORT, 0);
    if (stream === undefined) return TAKEN;
    if (frame.offset !== 0 || frame.dataLength !== frame.total) {
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, "best-effort message is cut");
    }
    if (stream.receiveState !== RECEIVE_OPEN || stream.stopped) return TAKEN;
    const message = bytes.slice(frame.dataAt, frame.dataAt + frame.dataLength);
    this.#queueUnreliable(stream, message as Uint8Array<ArrayBuffer>);
    return TAKEN;
  }

  /** Nobody holds the sender back, so what nobody reads is dropped. */
  #queueUnreliable(stream: Stream, message: Uint8Array<ArrayBuffer>): void {
    const core = this.#core;
    const isFull = core.queuedUnreliable >= QUEUED_UNRELIABLE_MAX ||
      core.queuedUnreliableBytes + message.length > QUEUED_UNRELIABLE_BYTES_MAX;
    if (isFull && core.queuedUnreliable > 0) {
      core.counters.messagesDropped++;
      return;
    }
    core.queuedUnreliable++;
    core.queuedUnreliableBytes += message.length;
    core.queueMessage(stream, message);
  }

  #onSymbol(frame: Frame, bytes: Uint8Array, view: DataView): number {
    const stream = this.#opened(frame, MODE_PROBABILISTIC, 0);
    if (stream === undefined || stream.receiveState !== RECEIVE_OPEN || stream.stopped) {
      return TAKEN;
    }
    const { symbol, dataAt, dataLength } = frame;
    const totalMax = this.#core.config.maxMessageBytes;
    const result = stream.prIn!.onSource(symbol, bytes, view, dataAt, dataLength, totalMax);
    return this.#afterSymbol(stream, result);
  }

  onFec(frame: Frame, bytes: Uint8Array): number {
    const stream = this.#opened(frame, MODE_PROBABILISTIC, 0);
    if (stream === undefined || stream.receiveState !== RECEIVE_OPEN || stream.stopped) {
      return TAKEN;
    }
    const result = stream.prIn!.onRepair(frame, bytes, this.#core.config.maxMessageBytes);
    return this.#afterSymbol(stream, result);
  }

  #afterSymbol(stream: Stream, result: number): number {
    const core = this.#core;
    const receiver = stream.prIn!;
    if (result === SYMBOL_CONTRADICTS || result === SYMBOL_TOO_LARGE) {
      const why = result === SYMBOL_TOO_LARGE
        ? `message of stream ${stream.id} is longer than ${core.config.maxMessageBytes} bytes`
        : `symbols of stream ${stream.id} contradict each other`;
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, why);
    }
    if (stream.finalSize >= 0 && receiver.highest > stream.finalSize) {
      const why = `stream ${stream.id} goes past its ${stream.finalSize} messages`;
      return this.#violation(CloseReason.FINAL_SIZE, why);
    }
    for (const message of receiver.completed) this.#queueUnreliable(stream, message);
    receiver.completed.length = 0;
    if (receiver.takeReport(core.nowUs)) core.reports.add(stream);
    core.checkReceive(stream);
    return TAKEN;
  }

  onReport(frame: Frame): number {
    const stream = this.#known(frame);
    if (stream === undefined) return TAKEN;
    if (stream.prOut === undefined) {
      return this.#violation(CloseReason.STREAM_STATE, `stream ${frame.stream} has another mode`);
    }
    if (stream.prOut.onReport(frame.counts) === REPORT_IMPOSSIBLE) {
      const why = `report of stream ${frame.stream} counts symbols that were never sent`;
      return this.#violation(CloseReason.PROTOCOL_VIOLATION, why);
    }
    return TAKEN;
  }

  onStreamClose(frame: Frame): number {
    const core = this.#core;
    const stream = this.#known(frame);
    if (stream === undefined) return TAKEN;
    if (stream.receiveState === RECEIVE_RESET || stream.receiveState === RECEIVE_DONE) return TAKEN;
    const seen = stream.bytesIn?.highest ?? stream.messagesIn?.highest ?? stream.prIn?.highest ?? 0;
    const isOther = stream.finalSize >= 0 && stream.finalSize !== frame.finalSize;
    if (isOther || frame.finalSize < seen) {
      const why = `final size of stream ${stream.id} is ${frame.finalSize}, ${seen} was seen`;
      return this.#violation(CloseReason.FINAL_SIZE, why);
    }
    if (!stream.isUnreliable && frame.finalSize > stream.receiveCredit.limit) {
      const why = `final size of stream ${stream.id} is above its limit`;
      return this.#violation(CloseReason.FLOW_CONTROL, why);
    }
    if (stream.prIn !== undefined && stream.finalSize < 0) {
      // Symbols that were sent before may have been overtaken.
      stream.prIn.lingerUs = core.nowUs + core.primary.recovery.ptoUs();
      watch(core, stream);
    }
    stream.finalSize = frame.finalSize;
    stream.pending &= ~PENDING_WINDOW;
    core.checkReceive(stream);
    return TAKEN;
  }

  onStreamReset(frame: Frame): number {
    const core = this.#core;
    const stream = this.#known(frame);
    if (stream === undefined) return TAKEN;
    const bytesIn = stream.bytesIn;
    const counted = bytesIn?.highest ?? stream.messagesIn?.begunBytes ?? 0;
    const isOther = bytesIn !== undefined && stream.finalSize >= 0 &&
      stream.finalSize !== frame.finalSize;
    if (stream.receiveState !== RECEIVE_OPEN) {
      if (bytesIn === undefined || !isOther) return TAKEN;
    }
    if (isOther || frame.finalSize < counted || stream.isUnreliable && frame.finalSize !== 0) {
      const why = `stream ${stream.id} is reset at ${frame.finalSize}, ${counted} was counted`;
      return this.#violation(CloseReason.FINAL_SIZE, why);
    }
    const grown = frame.finalSize - counted;
    const isOverStream = bytesIn !== undefined && frame.finalSize > stream.receiveCredit.limit;
    if (isOverStream || !core.receiveCredit.receive(grown)) {
      const why = `stream ${stream.id} exceeds a limit with its final size ${frame.finalSize}`;
      return this.#violation(CloseReason.FLOW_CONTROL, why);
    }
    const partialBefore = stream.messagesIn?.partialCount ?? 0;
    const unread = bytesIn?.clear() ?? stream.messagesIn?.clear() ?? 0;
    core.partialMessages -= partialBefore;
    core.consumeConnection(grown + unread);
    stream.receiveState = RECEIVE_RESET;
    stream.finalSize = frame.finalSize;
    stream.pending &= ~(PENDING_WINDOW | PENDING_STOP);
    if (!stream.stopped) {
      core.events.push({ type: "reset", stream: stream.id, error: frame.error });
    }
    core.checkReceive(stream);
    return TAKEN;
  }

  onStreamCloseAck(frame: Frame): number {
    const core = this.#core;
    const stream = this.#known(frame);
    if (stream === undefined) return TAKEN;
    if (stream.finalSize >= 0) endLinger(core, stream);
    // §5.3: the acceptor has everything of ours, and our acknowledgements of everything of its.
    const isPremature = !stream.isLocal || stream.sendState === SEND_OPEN || !stream.allSent ||
      stream.receiveState === RECEIVE_OPEN;
    if (isPremature) {
      const why = `STREAM_CLOSE_ACK for stream ${stream.id}, which is not over`;
      return this.#violation(CloseReason.STREAM_STATE, why);
    }
    stream.closeAckReceived = true;
    stream.clearSend();
    core.tellShortOfMemory();
    stream.sendState = SEND_DONE;
    stream.pending = 0;
    core.checkForget(stream);
    return TAKEN;
  }

  onStreamStop(frame: Frame): number {
    const core = this.#core;
    const stream = this.#known(frame);
    if (stream === undefined) return TAKEN;
    const before = stream.sendState;
    core.resetSend(stream, frame.error);
    if (stream.sendState !== before) {
      core.events.push({ type: "stopped", stream: stream.id, error: frame.error });
    }
    return TAKEN;
  }

  #violation(reason: number, why: string): number {
    this.#core.fail(reason, why);
    return TAKEN;
  }
}

function isMode(mode: number): mode is Mode {
  return mode === MODE_RELIABLE_ORDERED || mode === MODE_RELIABLE_UNORDERED ||
    mode === MODE_BEST_EFFORT || mode === MODE_PROBABILISTIC;
}
