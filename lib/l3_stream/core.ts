/**
 * The state of a connection and the rules that more than one direction needs: how it ends, how a
 * stream ends, how credit flows back. receive*.ts, transmit*.ts, timeouts.ts, deadlines.ts and
 * migration.ts work on it; connection.ts is the face towards the outside.
 *
 *   init → established → closing → closed
 *     └─────────┴────────────────────┘ (nobody there to say goodbye to)
 */
import { NexusError } from "../base/mod.ts";
import {
  CloseReason,
  closeReasonName,
  FRAME_BYTES_DEFAULT,
  MAX_DATA_MIN,
  MAX_MESSAGE_MIN,
  MAX_STREAMS_MIN,
  STREAM_MESSAGES_INITIAL,
  STREAM_MESSAGES_MIN,
  STREAM_WINDOW_MIN,
  type StreamConfig,
  streamConfig,
} from "./config.ts";
import type { ConnectionEvent } from "./events.ts";
import { Fifo } from "./fifo.ts";
import { portableErasureCodec } from "./fec/erasure_codec.ts";
import {
  CONNECTION_FACTOR,
  ReceiveCredit,
  SendBudget,
  SendCredit,
  usefulBufferBytes,
} from "./flow.ts";
import { Frame, MODE_RELIABLE_ORDERED, MODE_RELIABLE_UNORDERED } from "./frames/frame.ts";
import { decodePhrase, encodePhrase } from "./frames/close.ts";
import { ExtraPaths } from "./extra_paths.ts";
import type { ConnectionOptions } from "./options.ts";
import { Path } from "./path.ts";
import { BlockPool } from "./streams/blocks.ts";
import { PrShared } from "./streams/pr_shared.ts";
import { ConnectionCounters } from "./stats.ts";
import { Scheduler } from "./streams/scheduler.ts";
import {
  PENDING_CLOSE,
  PENDING_RESET,
  PENDING_STOP,
  PENDING_WINDOW,
  RECEIVE_DONE,
  RECEIVE_ENDED,
  RECEIVE_OPEN,
  RECEIVE_RESET,
  SEND_DONE,
  SEND_FINISHED,
  SEND_OPEN,
  SEND_RESET,
  type Stream,
  type StreamLimits,
} from "./streams/stream.ts";
import { StreamTable } from "./streams/table.ts";
import { Timer, TimerTable } from "./timers.ts";

export type ConnectionState = "init" | "established" | "closing" | "closed";

/** §5.2: a closing connection is remembered for three probe timeouts. */
const CLOSE_PTOS = 3;
/** Room for an ACK with all its ranges and a control frame must be there. */
const FRAME_BYTES_MIN = 576;
/** Kept for PR at least, whatever the windows: less could not repair even one busy stream. */
export const PR_HELD_BYTES_MIN = 2 ** 20;
/** Frames kept back under the AEAD limit to say goodbye with. */
export const AEAD_RESERVE = 64;
/**
 * STREAM_CLOSE_ACKs that the peer did not acknowledge, in multiples of its streams. An honest
 * peer has at most about as many as it may have streams open; past this it hoards.
 */
const CLOSE_ACKS_FACTOR = 4;

/** Connection-level frames that wait to be sent, as bits of `pending`. */
export const PENDING_PARAMETERS = 0x01;
export const PENDING_MAX_DATA = 0x02;
export const PENDING_PING = 0x04;

export class ConnectionCore {
  readonly config: StreamConfig;
  readonly isClient: boolean;
  /** The first is the primary one; it carries whatever has no path of its own. */
  readonly paths: Path[];
  readonly extraPaths: ExtraPaths;
  readonly timers = new TimerTable();
  readonly sendCredit = new SendCredit(MAX_DATA_MIN);
  readonly receiveCredit: ReceiveCredit;
  readonly budget: SendBudget;
  readonly limits: StreamLimits;
  readonly table: StreamTable;
  readonly scheduler = new Scheduler();
  /** Streams with control frames to send. */
  readonly controlQueue = new Set<Stream>();
  /** PR streams with a deadline (deadlines.ts), and those with a report to send. */
  readonly timed = new Set<Stream>();
  readonly reports = new Set<Stream>();
  /** PR streams that may have symbols to send: what further paths look at. */
  readonly spreadable = new Set<Stream>();
  /** Streams whose application waits for memory that other streams hold. */
  readonly shortOfMemory = new Set<Stream>();
  readonly events = new Fifo<ConnectionEvent>();
  readonly counters = new ConnectionCounters();
  /** Parse target of the receive path. */
  readonly frame = new Frame();

  state: ConnectionState = "init";
  /** Time of the call in progress. */
  nowUs: number;
  lastReceivedUs: number;
  /** Largest message that the peer takes. */
  maxMessageBytes = MAX_MESSAGE_MIN;
  hasParameters = false;
  peerIdleTimeoutMs = 0;
  /** Bits of PENDING_. */
  pending = PENDING_PARAMETERS;
  nextPingId = 1;
  /** PINGs to answer. */
  readonly pongs: number[] = [];
  /** Forgotten streams to tell the opener about: those to send, and all it does not know yet. */
  readonly closeAcks = new Set<number>();
  readonly closeAcksUnacked = new Set<number>();
  /** Messages that wait to be read, how many of them came without credit, and their bytes. */
  queuedMessages = 0;
  queuedUnreliable = 0;
  queuedUnreliableBytes = 0;
  /** RU messages that have arrived in part, over all streams. */
  partialMessages = 0;

  closeReason: number = CloseReason.NO_ERROR;
  closePhrase: Uint8Array = new Uint8Array(0);
  /** CONN_CLOSE, CONN_CLOSE_ACK are to be sent. */
  closeDue = false;
  closeAckDue = false;

  /** Of the options: where paths end their search for the MTU. */
  readonly #frameBytesMax: number;

  constructor(readonly options: ConnectionOptions) {
    const { nowUs, side } = options;
    const config = streamConfig(options.config);
    const frameBytesMax = options.frameBytesMax ?? FRAME_BYTES_DEFAULT;
    if (!(frameBytesMax >= FRAME_BYTES_MIN && frameBytesMax <= 65_535)) {
      throw new NexusError(
        "INVALID_CONFIG",
        `cannot make connection: frameBytesMax is ${frameBytesMax}, expected ${FRAME_BYTES_MIN}…65535`,
      );
    }
    this.config = config;
    this.isClient = side === "client";
    this.nowUs = nowUs;
    this.lastReceivedUs = nowUs;
    this.#frameBytesMax = frameBytesMax;
    this.paths = [];
    this.addPath(0, options.localConnectionId, options.peerConnectionId, options.peer ?? 0);
    this.extraPaths = new ExtraPaths(this);
    // A message counts in whole when it begins: one must fit whenever the last was taken.
    const dataInitial = Math.max(config.initialDataBytes, 2 * config.maxMessageBytes);
    const { maxDataBytes, streamWindowBytes, streamMessages } = config;
    this.receiveCredit = new ReceiveCredit(
      Math.min(dataInitial, maxDataBytes),
      maxDataBytes,
      config.maxMessageBytes,
    );
    this.budget = new SendBudget(config);
    this.limits = {
      sendBufferBytes: config.sendBufferBytes,
      budget: this.budget,
      blocks: options.blocks ?? new BlockPool(),
      receiveBytes: Math.min(config.initialStreamWindowBytes, streamWindowBytes),
      receiveBytesMax: streamWindowBytes,
      receiveMessages: Math.min(STREAM_MESSAGES_INITIAL, streamMessages),
      receiveMessagesMax: streamMessages,
      sendBytes: STREAM_WINDOW_MIN,
      sendMessages: STREAM_MESSAGES_MIN,
      probabilistic: new PrShared(
        options.erasureCodec ?? portableErasureCodec,
        Math.max(config.maxDataBytes, PR_HELD_BYTES_MIN),
        config.repairDelayUs,
      ),
    };
    this.table = new StreamTable(side, MAX_STREAMS_MIN, config.maxStreams, this.limits);
    this.timers.set(Timer.Connect, nowUs + config.connectTimeoutMs * 1_000);
    this.restartIdle();
  }

  /** Whether data may still flow. */
  get isOpen(): boolean {
    return this.state === "init" || this.state === "established";
  }

  get primary(): Path {
    return this.paths[0];
  }

  /** Whether any ack-eliciting frame waits that the primary path carries. */
  get hasWork(): boolean {
    return !this.scheduler.isEmpty || this.hasControl;
  }
  /** The same without stream data. */
  get hasControl(): boolean {
    return this.pending !== 0 || this.controlQueue.size > 0 || this.closeAcks.size > 0 ||
      this.pongs.length > 0 || this.extraPaths.frames.length > 0;
  }

  /** Effective idle timeout in milliseconds; 0: none (§5.2). */
  get idleTimeoutMs(): number {
    const own = this.config.idleTimeoutMs;
    const peers = this.peerIdleTimeoutMs;
    return own === 0 ? peers : peers === 0 ? own : Math.min(own, peers);
  }

  /** The peer gave a sign of life, or was asked for one. */
  restartIdle(): void {
    const idleMs = this.idleTimeoutMs;
    if (idleMs > 0) {
      // RFC 9000 §10.1: never shorter than three probe timeouts.
      const idleUs = Math.max(idleMs * 1_000, CLOSE_PTOS * this.primary.recovery.ptoUs());
      this.timers.set(Timer.Idle, this.nowUs + idleUs);
    }
    if (this.config.keepAliveMs > 0) {
      this.timers.set(Timer.KeepAlive, this.nowUs + this.config.keepAliveMs * 1_000);
    }
  }

  // ---- the end ----------------------------------------------------------------------------

  /** The peer broke a rule: closes with the reason and says why. */
  fail(reason: number, why: string): void {
    const error = new NexusError(closeReasonName(reason), `cannot go on: ${why}`);
    this.close(reason, why, error);
  }

  /** Our close: CONN_CLOSE goes out until it is answered. */
  close(reason: number, phrase: string, error?: NexusError): void {
    if (!this.isOpen) return;
    this.closeReason = reason;
    this.closePhrase = encodePhrase(phrase);
    this.closeDue = true;
    this.timers.set(Timer.CloseRepeat, this.nowUs + this.#closePtoUs());
    this.#enterClosing({ type: "closed", reason, phrase, byPeer: false, error });
  }

  /** The peer's CONN_CLOSE: answered, and answered again for a while. */
  onPeerClose(reason: number, phraseBytes: Uint8Array): void {
    this.closeAckDue = true;
    if (!this.isOpen) return;
    const phrase = decodePhrase(phraseBytes);
    const name = closeReasonName(reason);
    const error = reason === CloseReason.NO_ERROR
      ? undefined
      : new NexusError(name, `cannot go on: peer closed with ${name}: ${phrase}`);
    this.#enterClosing({ type: "closed", reason, phrase, byPeer: true, error });
  }

  /** The peer is not there any more: over without a word. */
  giveUp(code: string, why: string): void {
    if (!this.isOpen) return;
    const error = new NexusError(code, `cannot go on: ${why}`);
    const reason = CloseReason.IDLE_TIMEOUT;
    this.events.push({ type: "closed", reason, phrase: why, byPeer: false, error });
    this.forgetConnection();
  }

  /** Nothing is sent or received any more. */
  forgetConnection(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#dropSendBuffers();
    this.closeDue = this.closeAckDue = false;
    this.timers.stopAll();
    for (const path of this.paths) path.protection.wipe();
  }

  /** Repeats CONN_CLOSE while the answer is missing. */
  repeatClose(): void {
    this.closeDue = true;
    this.timers.set(Timer.CloseRepeat, this.nowUs + this.#closePtoUs());
  }

  /** Nothing is sent any more: the blocks may serve other connections. */
  #dropSendBuffers(): void {
    for (const stream of this.table.values()) stream.clearSend();
  }

  #closePtoUs(): number {
    const { rtt, recovery } = this.primary;
    return rtt.ptoUs(recovery.maxAckDelayUs);
  }

  #enterClosing(event: ConnectionEvent): void {
    this.state = "closing";
    this.#dropSendBuffers();
    const repeatUs = this.timers.at(Timer.CloseRepeat);
    this.timers.stopAll();
    this.timers.set(Timer.CloseRepeat, repeatUs);
    this.timers.set(Timer.Close, this.nowUs + CLOSE_PTOS * this.#closePtoUs());
    this.events.push(event);
  }

  // ---- paths ------------------------------------------------------------------------------

  addPath(id: number, localConnectionId: number, peerConnectionId: number, peer: number): void {
    const { protection, random } = this.options;
    const path = new Path({
      id,
      localConnectionId,
      peerConnectionId,
      protection: id === 0 ? protection : protection.forPath(id),
      peer,
      frameBytesMax: this.#frameBytesMax,
      random,
      config: this.config,
    });
    if (id !== 0) path.recovery.maxAckDelayUs = this.primary.recovery.maxAckDelayUs;
    this.paths.push(path);
  }

  // ---- streams ----------------------------------------------------------------------------

  /** Queues a stream for sending when it has something that its own credit lets out. */
  schedule(stream: Stream): void {
    if (!stream.hasLost && !stream.isOpenToSend) return;
    this.scheduler.push(stream);
    if (stream.prOut !== undefined) this.spreadable.add(stream);
  }

  addPending(stream: Stream, bit: number): void {
    stream.pending |= bit;
    this.controlQueue.add(stream);
  }

  /** Queues STREAM_CLOSE once everything of a finished stream went out. */
  closeWhenSent(stream: Stream): void {
    if (stream.sendState === SEND_FINISHED && stream.allSent && !stream.closeAcked) {
      this.addPending(stream, PENDING_CLOSE);
    }
  }

  /** Gives up our direction. */
  resetSend(stream: Stream, error: number): void {
    if (stream.sendState !== SEND_OPEN && stream.sendState !== SEND_FINISHED) return;
    // §5.3: bytes that the connection's credit counted, so that both ends count the same.
    stream.resetSize = stream.bytesOut?.sent ?? stream.messagesOut?.begunBytes ?? 0;
    stream.resetError = error;
    stream.sendState = SEND_RESET;
    stream.clearSend();
    stream.pending &= ~PENDING_CLOSE;
    this.addPending(stream, PENDING_RESET);
    this.tellShortOfMemory();
  }

  /** Our direction may be over: everything and its end are acknowledged. */
  checkSendDone(stream: Stream): void {
    if (stream.sendState === SEND_FINISHED && stream.closeAcked && stream.allAcked) {
      stream.sendState = SEND_DONE;
      this.checkForget(stream);
    }
  }

  /** The peer's direction may be over: all is in, or all was taken. */
  checkReceive(stream: Stream): void {
    if (stream.receiveState === RECEIVE_OPEN && stream.allArrived) {
      stream.receiveState = RECEIVE_ENDED;
      stream.pending &= ~(PENDING_WINDOW | PENDING_STOP);
      if (!stream.stopped) this.events.push({ type: "peerFinished", stream: stream.id });
    }
    const isOver = stream.receiveState === RECEIVE_ENDED || stream.receiveState === RECEIVE_RESET;
    if (isOver && stream.allTaken) {
      stream.receiveState = RECEIVE_DONE;
      stream.prIn?.clear();
      this.checkForget(stream);
    }
  }

  /** Forgets a stream that is over on both sides; an acceptor tells the opener. */
  checkForget(stream: Stream): void {
    if (stream.sendState !== SEND_DONE || stream.receiveState !== RECEIVE_DONE) return;
    if (stream.isLocal && !stream.closeAckReceived) return;
    if (this.table.get(stream.id) !== stream || !this.isOpen) return;
    this.table.forget(stream);
    this.scheduler.forget(stream);
    this.controlQueue.delete(stream);
    this.timed.delete(stream);
    this.reports.delete(stream);
    this.spreadable.delete(stream);
    this.shortOfMemory.delete(stream);
    this.events.push({ type: "streamClosed", stream: stream.id });
    if (stream.isLocal) return;
    this.closeAcks.add(stream.id);
    this.closeAcksUnacked.add(stream.id);
    if (this.closeAcksUnacked.size > CLOSE_ACKS_FACTOR * this.config.maxStreams) {
      this.fail(CloseReason.PROTOCOL_VIOLATION, "peer acknowledges no STREAM_CLOSE_ACK");
    }
  }

  /** The application waits for so much buffer space. */
  wantBuffer(stream: Stream, bytes: number): void {
    stream.wantedBytes = bytes;
    if (this.budget.isShort(stream.bufferedBytes)) this.shortOfMemory.add(stream);
  }

  /** Tells an application that waits for buffer space that there is some. */
  tellWritable(stream: Stream): void {
    const { wantedBytes, bufferedBytes } = stream;
    if (wantedBytes === 0 || !this.isOpen) return;
    if (!this.budget.takes(wantedBytes, bufferedBytes)) return;
    stream.wantedBytes = 0;
    this.shortOfMemory.delete(stream);
    this.events.push({ type: "writable", stream: stream.id });
  }

  /** Send buffers became smaller: that may be what others wait for. */
  tellShortOfMemory(): void {
    for (const stream of this.shortOfMemory) this.tellWritable(stream);
  }

  /** Send buffers follow what congestion control lets out and the paths can hold. */
  fitSendBuffers(): void {
    let bytes = 0;
    for (const { recovery } of this.paths) {
      bytes += usefulBufferBytes(recovery.congestion.windowBytes, recovery.rtt.minUs);
    }
    this.budget.usefulBytes = bytes;
  }

  // ---- credit -----------------------------------------------------------------------------

  /** Bytes that the application took or will never get: the connection's credit flows back. */
  consumeConnection(bytes: number): void {
    this.receiveCredit.consume(bytes, this.nowUs);
    if (this.receiveCredit.shouldUpdate) this.pending |= PENDING_MAX_DATA;
  }

  /** The same for the stream's credit, in bytes on RO, messages on RU. */
  consumeStream(stream: Stream, amount: number): void {
    stream.receiveCredit.consume(amount, this.nowUs);
    if (
      stream.receiveState === RECEIVE_OPEN && stream.finalSize < 0 && !stream.stopped &&
      stream.receiveCredit.shouldUpdate
    ) {
      this.addPending(stream, PENDING_WINDOW);
    }
  }

  /** The limit of the connection to announce now. */
  grantConnection(): number {
    this.receiveCredit.update(this.nowUs, this.#rttUs);
    return this.receiveCredit.limit;
  }

  /** The limit of a stream to announce now. */
  grantStream(stream: Stream): number {
    const { receiveCredit } = stream;
    receiveCredit.update(this.nowUs, this.#rttUs);
    if (stream.mode === MODE_RELIABLE_ORDERED) {
      this.receiveCredit.ensureWindow(CONNECTION_FACTOR * receiveCredit.window);
      if (this.receiveCredit.shouldUpdate) this.pending |= PENDING_MAX_DATA;
    }
    return receiveCredit.limit;
  }

  /**
   * Shortest round-trip time of the primary path in microseconds; 0 before it was measured. Not the
   * smoothed one: a window that fills queues would lengthen that, and grow without end.
   */
  get #rttUs(): number {
    const { rtt } = this.primary;
    return rtt.hasSample ? rtt.minUs : 0;
  }

  /** Throws away what an RO stream has in order, as if the application had read it. */
  discard(stream: Stream): void {
    for (let piece = stream.bytesIn?.read(); piece !== undefined; piece = stream.bytesIn?.read()) {
      this.consumeConnection(piece.length);
    }
    while (this.takeMessage(stream) !== undefined);
  }

  /** A whole message waits for the application, which is told once until it has read. */
  queueMessage(stream: Stream, message: Uint8Array<ArrayBuffer>): void {
    stream.inbox.push(message);
    this.queuedMessages++;
    if (stream.readableTold) return;
    stream.readableTold = true;
    this.events.push({ type: "readable", stream: stream.id });
  }

  /** The oldest waiting message; taking it gives the peer new credit. */
  takeMessage(stream: Stream): Uint8Array<ArrayBuffer> | undefined {
    const message = stream.inbox.shift();
    if (message === undefined) return undefined;
    this.queuedMessages--;
    if (stream.isUnreliable) {
      this.queuedUnreliable--;
      this.queuedUnreliableBytes -= message.length;
    } else if (this.isOpen) {
      this.consumeStream(stream, 1);
      this.consumeConnection(message.length);
    }
    return message;
  }

  /** New limits for a stream that we send on; they never shrink. */
  raiseStreamLimit(stream: Stream, limit: number): void {
    if (stream.sendCredit.raise(limit)) this.schedule(stream);
  }

  /** The peer's parameters hold for every stream that exists already. */
  raiseAllLimits(): void {
    for (const stream of this.table.values()) {
      if (stream.mode === MODE_RELIABLE_ORDERED) {
        this.raiseStreamLimit(stream, this.limits.sendBytes);
      } else if (stream.mode === MODE_RELIABLE_UNORDERED) {
        this.raiseStreamLimit(stream, this.limits.sendMessages);
      }
      this.tellWritable(stream);
    }
  }
}
