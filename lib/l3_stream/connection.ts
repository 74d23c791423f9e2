/**
 * A connection between two authenticated nodes, without network or clock (docs/protocol.md §5).
 * How to drive it: hand every frame of its connection id to receiveFrame and every due
 * nextTimeoutUs to handleTimeout; after either, and after any call of the application, take frames
 * with pollFrame until it returns 0 and events with pollEvent until there are none; then wait
 * until nextTimeoutUs. Time never goes backwards. When `state` is "closed" it can be forgotten.
 */
import { NexusError } from "../base/mod.ts";
import { type FrameInfo, SEALED_OVERHEAD } from "../l1_link/mod.ts";
import { ConnectionCore, type ConnectionState, PENDING_PING } from "./core.ts";
import type { ConnectionEvent } from "./events.ts";
import { MESSAGE_HEAD_BYTES, type Mode, PRIORITY_MAX } from "./frames/mod.ts";
import { validate } from "./migration.ts";
import type { ConnectionOptions } from "./options.ts";
import { Receiver, type ReceiveResult } from "./receive.ts";
import type { Landing } from "./runs.ts";
import { SentFramesSink } from "./sent_frames.ts";
import {
  type ConnectionMemory,
  connectionMemory,
  type ConnectionStats,
  connectionStats,
  type PathStats,
  pathStats,
} from "./stats.ts";
import { MESSAGE_OVERHEAD_BYTES } from "./streams/message_sender.ts";
import { PROBABILITY_PPM_DEFAULT, PROBABILITY_PPM_MAX } from "./streams/pr_sender.ts";
import { WEIGHT_MAX, WEIGHT_MIN } from "./streams/scheduler.ts";
import {
  PENDING_OPEN,
  PENDING_STOP,
  PENDING_WINDOW,
  RECEIVE_OPEN,
  SEND_FINISHED,
  SEND_OPEN,
  type Stream,
} from "./streams/stream.ts";
import { handleTimeouts, nextTimeoutUs } from "./timeouts.ts";
import { Transmitter } from "./transmit.ts";

/** Priority of streams whose opener does not care. */
export const PRIORITY_DEFAULT = 7;

export class Connection {
  readonly #core: ConnectionCore;
  readonly #sink: SentFramesSink;
  readonly #receiver: Receiver;
  readonly #transmitter: Transmitter;

  /** INVALID_CONFIG when a setting is outside of what docs/protocol.md §5.2 allows. */
  constructor(options: ConnectionOptions) {
    this.#core = new ConnectionCore(options);
    this.#sink = new SentFramesSink(this.#core);
    this.#receiver = new Receiver(this.#core, this.#sink);
    this.#transmitter = new Transmitter(this.#core);
  }

  // ---- in ---------------------------------------------------------------------------------

  /**
   * Takes a decoded frame (CRC checked) and opens it in place. `ecn` is the codepoint of the IP
   * header, 0 when unknown; `peer` the port's number of the address it came from. Whatever the
   * peer sent, this returns a code and never throws.
   */
  receiveFrame(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    info: FrameInfo,
    nowUs: number,
    ecn: number,
    peer: number,
  ): ReceiveResult {
    this.#core.nowUs = nowUs;
    return this.#receiver.receiveFrame(bytes, view, frameOffset, info, ecn, peer);
  }

  /**
   * Goes on with the train that the landing names: how many results it has now, to be given to
   * receiveResult in order before the next call. 0: it is done, or the landing is full; -1: this
   * connection has no runs.
   */
  openTrain(bytes: Uint8Array, landing: Landing): number {
    const { state, primary, options } = this.#core;
    if (state !== "established") return -1;
    return primary.runs(options.localNodeId, options.peerNodeId)?.open(bytes, landing) ?? -1;
  }

  /** Takes result `i` of openTrain, but one of kind FRAME. As receiveFrame otherwise. */
  receiveResult(
    landing: Landing,
    i: number,
    nowUs: number,
    ecn: number,
    peer: number,
  ): ReceiveResult {
    this.#core.nowUs = nowUs;
    return this.#receiver.receiveResult(landing, i, ecn, peer);
  }

  /** The time of nextTimeoutUs came (or any other; calling too often does no harm). */
  handleTimeout(nowUs: number): void {
    this.#core.nowUs = nowUs;
    handleTimeouts(this.#core, this.#sink);
  }

  /** The port forgot the number of an address and now has another one for it. */
  renumberPeer(from: number, to: number): void {
    for (const path of this.#core.paths) {
      if (path.peer === from) path.peer = to;
      if (path.leftPeer === from) path.leftPeer = to;
      if (path.validation?.peer === from) path.validation.peer = to;
    }
  }

  /**
   * Moves to another address of the peer, or says that this end's own may have changed (with the
   * present one): a challenge goes there, frames follow when it is answered (RFC 9000 §9). Ends in
   * a "migrated" or "migrationFailed" event; a later call replaces an earlier one.
   */
  migrate(peer: number, nowUs: number): void {
    const core = this.#core;
    this.#mustBeOpen("migrate");
    core.nowUs = nowUs;
    validate(core, core.primary, peer, true);
  }

  /**
   * Opens another path to an address of the peer, for PR data, and for all once the first path
   * fails; its id. `localConnectionId` is for the peer's packets on it: not 0, and no other of this
   * end's. Ends in "pathUsable" or "pathClosed". PATH_LIMIT when the peer accepts no more; CLOSED.
   */
  openPath(peer: number, localConnectionId: number): number {
    this.#mustBeOpen("open path");
    return this.#core.extraPaths.open(peer, localConnectionId);
  }

  /** The answer to "pathRequested", with a connection id as for openPath. */
  acceptPath(path: number, localConnectionId: number): boolean {
    return this.#core.isOpen && this.#core.extraPaths.accept(path, localConnectionId);
  }

  /** Gives up a path other than the first, or refuses a requested one. */
  closePath(path: number): void {
    if (this.#core.isOpen) this.#core.extraPaths.close(path);
  }

  // ---- out --------------------------------------------------------------------------------

  /**
   * Writes one complete sealed frame (header to CRC) at `frameOffset` and returns its length; 0:
   * nothing to send now. `view` covers the same memory as `bytes`. The timestamp is wall time in
   * ns as two halves. Where the frame goes is in `polledPeer` afterwards, the ECN field of its IP
   * header in `polledEcn`.
   */
  pollFrame(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    bytesMax: number,
    nowUs: number,
    timestampHigh: number,
    timestampLow: number,
  ): number {
    return this.pollTrain(
      bytes,
      view,
      frameOffset,
      bytesMax,
      1,
      nowUs,
      timestampHigh,
      timestampLow,
    );
  }

  /**
   * As pollFrame, for up to `packetsMax` frames of one length with room for an overlay between them:
   * bytes from the first to the end of the last. How many is in `polledPackets`, and for more than
   * one the bytes from one to the next in `polledSegment`.
   */
  pollTrain(
    bytes: Uint8Array,
    view: DataView,
    frameOffset: number,
    bytesMax: number,
    packetsMax: number,
    nowUs: number,
    timestampHigh: number,
    timestampLow: number,
  ): number {
    this.#core.nowUs = nowUs;
    return this.#transmitter.poll(
      bytes,
      view,
      frameOffset,
      bytesMax,
      packetsMax,
      timestampHigh,
      timestampLow,
    );
  }

  get polledPackets(): number {
    return this.#transmitter.packet.count;
  }
  get polledSegment(): number {
    return this.#transmitter.packet.segment;
  }
  /** Largest frame that is sent now. */
  get frameBytes(): number {
    return this.#core.primary.frameBytes;
  }

  /** The port's number of the address that the last frame of pollFrame goes to. */
  get polledPeer(): number {
    return this.#transmitter.packet.peer;
  }

  /** ECN field (RFC 3168 §5) that the last frame of pollFrame leaves with. */
  get polledEcn(): number {
    return this.#transmitter.packet.ecn;
  }

  /** When handleTimeout and pollFrame want to be called next; NEVER when nothing is pending. */
  nextTimeoutUs(): number {
    return nextTimeoutUs(this.#core);
  }

  /** The next event, in the order things happened. */
  pollEvent(): ConnectionEvent | undefined {
    return this.#core.events.shift();
  }

  // ---- application ------------------------------------------------------------------------

  /**
   * Opens a stream; its id. `probability` (0 … 1) is what each message of a PR stream is to arrive
   * with, both ways. STREAM_LIMIT when the peer allows no more now or all ids are used, INVALID_PRIORITY,
   * INVALID_PROBABILITY, CLOSED.
   */
  openStream(
    mode: Mode,
    priority: number = PRIORITY_DEFAULT,
    probability: number = PROBABILITY_PPM_DEFAULT / 1e6,
  ): number {
    const core = this.#core;
    this.#mustBeOpen("open stream");
    if (!(Number.isInteger(priority) && priority >= 0 && priority <= PRIORITY_MAX)) {
      throw new NexusError(
        "INVALID_PRIORITY",
        `cannot open stream: priority is ${priority}, expected 0…${PRIORITY_MAX}`,
      );
    }
    const probabilityPpm = Math.round(1e6 * probability);
    if (!(probabilityPpm >= 1 && probabilityPpm <= PROBABILITY_PPM_MAX)) {
      throw new NexusError(
        "INVALID_PROBABILITY",
        `cannot open stream: probability is ${probability}, expected 0.000001…0.999999`,
      );
    }
    if (core.table.isUsedUp) {
      throw new NexusError(
        "STREAM_LIMIT",
        "cannot open stream: this connection has used every stream id, open a new connection",
      );
    }
    if (core.table.isFull) {
      throw new NexusError(
        "STREAM_LIMIT",
        `cannot open stream: ${core.table.localMax} streams are open and the peer allows no more, ` +
          "close one first",
      );
    }
    const stream = core.table.open(mode, priority);
    if (stream.prOut !== undefined) stream.prOut.probabilityPpm = probabilityPpm;
    core.addPending(stream, PENDING_OPEN);
    return stream.id;
  }

  /**
   * Sets the share that this end's direction of a stream has of its priority class, in relation to
   * the others there: WEIGHT_MIN…WEIGHT_MAX, at first WEIGHT_DEFAULT. The peer does not learn it.
   * INVALID_WEIGHT, STREAM_CLOSED, CLOSED.
   */
  setWeight(stream: number, weight: number): void {
    if (!(Number.isInteger(weight) && weight >= WEIGHT_MIN && weight <= WEIGHT_MAX)) {
      throw new NexusError(
        "INVALID_WEIGHT",
        `cannot set weight: weight is ${weight}, expected ${WEIGHT_MIN}…${WEIGHT_MAX}`,
      );
    }
    this.#mustBeSending("set weight", stream).weight = weight;
  }

  /**
   * Appends bytes to an RO stream; how many were copied into the send buffer. Fewer than given:
   * a "writable" event tells when to go on. STREAM_CLOSED when this direction is over, CLOSED.
   */
  write(stream: number, bytes: Uint8Array): number {
    const target = this.#mustBeSending("write", stream);
    if (target.bytesOut === undefined) throw wrongMode("write", stream, "sendMessage()");
    const core = this.#core;
    core.fitSendBuffers();
    const taken = target.bytesOut.write(bytes);
    if (taken < bytes.length) {
      const refill = core.budget.refill(target.bufferedBytes);
      core.wantBuffer(target, Math.min(bytes.length - taken, refill));
    }
    if (taken > 0) core.schedule(target);
    return taken;
  }

  /**
   * The next bytes of an RO stream in order; undefined: none now. A view, valid until the next call
   * for this stream, which a reader that waits for more has made as well.
   */
  read(stream: number): Uint8Array<ArrayBuffer> | undefined {
    const core = this.#core;
    const source = core.table.get(stream);
    if (source?.bytesIn === undefined) return undefined;
    source.readableTold = false;
    const bytes = source.bytesIn.read();
    if (bytes === undefined || !core.isOpen) return bytes;
    core.consumeStream(source, bytes.length);
    core.consumeConnection(bytes.length);
    core.checkReceive(source);
    return bytes;
  }

  /** The next message of a message stream, in the order they became whole; undefined: none now. */
  readMessage(stream: number): Uint8Array<ArrayBuffer> | undefined {
    const core = this.#core;
    const source = core.table.get(stream);
    if (source === undefined || source.bytesOut !== undefined) return undefined;
    source.readableTold = false;
    const message = core.takeMessage(source);
    if (message !== undefined && core.isOpen) core.checkReceive(source);
    return message;
  }

  /**
   * Queues a message (copied) on an RU, BE or PR stream. False: the send buffer is full, a
   * "writable" event tells when to try again. MESSAGE_TOO_LARGE when the peer (RU, PR) or a packet
   * (BE) will never take it; STREAM_CLOSED, CLOSED.
   */
  sendMessage(stream: number, bytes: Uint8Array): boolean {
    const core = this.#core;
    const target = this.#mustBeSending("send message", stream);
    const out = target.messagesOut ?? target.prOut;
    if (out === undefined) throw wrongMode("send message", stream, "write()");
    const bytesMax = target.isBestEffort ? this.bestEffortBytesMax : core.maxMessageBytes;
    if (bytes.length > bytesMax) {
      if (target.isBestEffort || core.hasParameters) {
        throw new NexusError(
          "MESSAGE_TOO_LARGE",
          `cannot send message: it is ${bytes.length} bytes, expected at most ${bytesMax}`,
        );
      }
      target.wantedBytes = bytes.length; // the peer's parameters may allow it
      return false;
    }
    core.fitSendBuffers();
    if (!out.enqueue(bytes)) {
      core.wantBuffer(target, bytes.length + MESSAGE_OVERHEAD_BYTES);
      return false;
    }
    core.schedule(target);
    return true;
  }

  /** Ends our direction after everything written. Nothing happens when it is over already. */
  finish(stream: number): void {
    const target = this.#core.table.get(stream);
    if (target === undefined || target.sendState !== SEND_OPEN || !this.#core.isOpen) return;
    target.sendState = SEND_FINISHED;
    target.prOut?.finish();
    this.#core.schedule(target);
    this.#core.closeWhenSent(target);
  }

  /** Gives up our direction: what was not delivered is dropped. Nothing happens when it is over. */
  reset(stream: number, error: number): void {
    const target = this.#core.table.get(stream);
    if (target !== undefined && this.#core.isOpen) this.#core.resetSend(target, error);
  }

  /** Asks the peer to give up its direction and throws away what still comes. */
  stop(stream: number, error: number): void {
    const core = this.#core;
    const target = core.table.get(stream);
    if (target === undefined || target.stopped || !core.isOpen) return;
    target.stopped = true;
    target.stopError = error;
    core.discard(target);
    if (target.receiveState === RECEIVE_OPEN) {
      target.pending &= ~PENDING_WINDOW;
      core.addPending(target, PENDING_STOP);
    }
    core.checkReceive(target);
  }

  /** Asks the peer for a sign of life. */
  ping(): void {
    if (this.#core.isOpen) this.#core.pending |= PENDING_PING;
  }

  /** Ends the connection: says so to the peer and forgets it when answered, or after a while. */
  close(reason: number, phrase: string, nowUs: number): void {
    const core = this.#core;
    if (!core.isOpen) return;
    core.nowUs = nowUs;
    core.close(reason, phrase);
  }

  // ---- getters ----------------------------------------------------------------------------

  /**
   * "init" until the peer's parameters are here, "closing" while goodbyes are exchanged (the
   * "closed" event comes at its start), "closed" when the connection can be forgotten.
   */
  get state(): ConnectionState {
    return this.#core.state;
  }
  get side(): "client" | "server" {
    return this.#core.options.side;
  }
  get localConnectionId(): number {
    return this.#core.primary.localConnectionId;
  }
  get peerConnectionId(): number {
    return this.#core.primary.peerConnectionId;
  }
  get peerNodeId(): Uint8Array {
    return this.#core.options.peerNodeId;
  }
  /** The port's number of the address that frames go to. */
  get peer(): number {
    return this.#core.primary.peer;
  }
  get lastReceivedUs(): number {
    return this.#core.lastReceivedUs;
  }
  /** Whether something other than data waits to be sent: windows, ends of streams, answers. */
  get hasControl(): boolean {
    return this.#core.hasControl;
  }
  /** Streams of both ends that are not forgotten. */
  get openStreamCount(): number {
    return this.#core.table.size;
  }
  /** Largest message that a BE stream carries now; follows the path MTU both ways. */
  get bestEffortBytesMax(): number {
    return this.#core.primary.frameBytes - SEALED_OVERHEAD - MESSAGE_HEAD_BYTES;
  }

  /** What is known of each path, the first one first. */
  pathStats(): PathStats[] {
    return this.#core.paths.map(pathStats);
  }

  /** A snapshot. */
  stats(): ConnectionStats {
    return connectionStats(this.#core);
  }

  /** Adds the buffers of every stream up; for tests and reports, not for every packet. */
  memory(): ConnectionMemory {
    return connectionMemory(this.#core);
  }

  // ---- checks -----------------------------------------------------------------------------

  #mustBeOpen(doing: string): void {
    const { state, isOpen } = this.#core;
    if (!isOpen) throw new NexusError("CLOSED", `cannot ${doing}: connection is ${state}`);
  }

  #mustBeSending(doing: string, stream: number): Stream {
    this.#mustBeOpen(doing);
    const target = this.#core.table.get(stream);
    if (target === undefined || target.sendState !== SEND_OPEN) {
      throw new NexusError(
        "STREAM_CLOSED",
        `cannot ${doing}: stream ${stream} is not open for sending`,
      );
    }
    return target;
  }
}

function wrongMode(doing: string, stream: number, instead: string): NexusError {
  return new NexusError(
    "WRONG_MODE",
    `cannot ${doing}: stream ${stream} has another mode, expected ${instead}`,
  );
}
