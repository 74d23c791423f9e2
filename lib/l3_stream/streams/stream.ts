/**
 * One stream: two directions, each with its credit and its way to end (docs/protocol.md §5.3).
 *
 *   sending    OPEN → FINISHED (finish) → DONE (everything and STREAM_CLOSE acknowledged)
 *                └──────────┴→ RESET (reset, STREAM_STOP) → DONE (STREAM_RESET acknowledged)
 *   receiving  OPEN → ENDED (final size reached) → DONE (the application took all)
 *                └→ RESET (STREAM_RESET) → DONE (the application took what was queued)
 */
import { Fifo } from "../fifo.ts";
import { NEVER } from "../../base/mod.ts";
import { ReceiveCredit, type SendBudget, SendCredit } from "../flow.ts";
import {
  type Mode,
  MODE_BEST_EFFORT,
  MODE_PROBABILISTIC,
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
} from "../frames/frame.ts";
import type { BlockSource } from "./blocks.ts";
import { ByteReceiver } from "./byte_receiver.ts";
import { ByteSender } from "./byte_sender.ts";
import { MessageReceiver } from "./message_receiver.ts";
import { MessageSender } from "./message_sender.ts";
import { PrReceiver } from "./pr_receiver.ts";
import { PrSender } from "./pr_sender.ts";
import type { PrShared } from "./pr_shared.ts";
import { WEIGHT_DEFAULT } from "./scheduler.ts";

export const SEND_OPEN = 0;
export const SEND_FINISHED = 1;
export const SEND_RESET = 2;
export const SEND_DONE = 3;

export const RECEIVE_OPEN = 0;
export const RECEIVE_ENDED = 1;
export const RECEIVE_RESET = 2;
export const RECEIVE_DONE = 3;

/** Control frames that wait to be sent, as bits of `pending`. */
export const PENDING_OPEN = 0x01;
export const PENDING_OPEN_ACK = 0x02;
export const PENDING_CLOSE = 0x04;
export const PENDING_RESET = 0x08;
export const PENDING_STOP = 0x10;
export const PENDING_WINDOW = 0x20;

/** What a new stream starts with. */
export interface StreamLimits {
  /** PR only; the other modes keep to the budget. */
  sendBufferBytes: number;
  budget: SendBudget;
  /** Memory of send buffers. */
  blocks: BlockSource;
  /** What we allow the peer, at first and at most. */
  receiveBytes: number;
  receiveBytesMax: number;
  receiveMessages: number;
  receiveMessagesMax: number;
  /** What the peer allows us. */
  sendBytes: number;
  sendMessages: number;
  /** For PR. */
  probabilistic: PrShared;
}

export class Stream {
  /** Bytes on RO, messages on RU; not used on BE and PR. */
  readonly sendCredit: SendCredit;
  readonly receiveCredit: ReceiveCredit;
  /** RO. */
  readonly bytesOut?: ByteSender;
  readonly bytesIn?: ByteReceiver;
  /** RU and BE. */
  readonly messagesOut?: MessageSender;
  /** RU. */
  readonly messagesIn?: MessageReceiver;
  /** PR. */
  readonly prOut?: PrSender;
  readonly prIn?: PrReceiver;

  sendState = SEND_OPEN;
  /** The peer has STREAM_CLOSE. */
  closeAcked = false;
  resetError = 0;
  /** final_size of our STREAM_RESET. */
  resetSize = 0;

  receiveState = RECEIVE_OPEN;
  /** final_size of the peer's STREAM_CLOSE or STREAM_RESET; -1 unknown. */
  finalSize = -1;
  /** stop() was called: what arrives is thrown away. */
  stopped = false;
  stopError = 0;
  /** RU, BE and PR: whole messages not yet read. */
  readonly inbox = new Fifo<Uint8Array<ArrayBuffer>>();
  /** A "readable" event is queued or was taken without a read() since. */
  readableTold = false;

  /** The peer is known to have our STREAM_OPEN. Streams of the peer need none. */
  openAcked: boolean;
  /** The last packet that carries our STREAM_OPEN. */
  openPacket = -1;
  /** STREAM_CLOSE_ACK arrived. */
  closeAckReceived = false;
  /** Bits of PENDING_. */
  pending = 0;
  /** Buffer space that the application waits for; 0: it does not wait. */
  wantedBytes = 0;

  /** Share of its priority class, WEIGHT_MIN…WEIGHT_MAX. */
  weight = WEIGHT_DEFAULT;
  /** What is left of its turn; below 0: overdrawn. Whoever picks data for a packet takes it off. */
  turnBytes = 0;
  /** Owned by Scheduler. */
  scheduled = false;
  nextScheduled: Stream | undefined = undefined;

  constructor(
    readonly id: number,
    readonly mode: Mode,
    public priority: number,
    /** Opened by this end. */
    readonly isLocal: boolean,
    limits: StreamLimits,
  ) {
    this.openAcked = !isLocal;
    if (mode === MODE_RELIABLE_ORDERED) {
      this.sendCredit = new SendCredit(limits.sendBytes);
      this.receiveCredit = new ReceiveCredit(limits.receiveBytes, limits.receiveBytesMax);
      this.bytesOut = new ByteSender(limits.budget, limits.blocks);
      this.bytesIn = new ByteReceiver();
    } else {
      const isReliable = mode === MODE_RELIABLE_UNORDERED;
      this.sendCredit = new SendCredit(isReliable ? limits.sendMessages : 0);
      this.receiveCredit = isReliable
        ? new ReceiveCredit(limits.receiveMessages, limits.receiveMessagesMax)
        : new ReceiveCredit(0, 0);
      if (mode === MODE_PROBABILISTIC) {
        this.prOut = new PrSender(limits.sendBufferBytes, limits.probabilistic);
        this.prIn = new PrReceiver(limits.probabilistic);
      } else {
        this.messagesOut = new MessageSender(mode, limits.budget);
        if (isReliable) this.messagesIn = new MessageReceiver();
      }
    }
  }

  get isBestEffort(): boolean {
    return this.mode === MODE_BEST_EFFORT;
  }
  /** BE or PR: nothing is sent again and no credit limits it. */
  get isUnreliable(): boolean {
    return this.mode === MODE_BEST_EFFORT || this.mode === MODE_PROBABILISTIC;
  }
  /** `window` of our STREAM_OPEN. */
  get openWindow(): number {
    return this.prOut?.probabilityPpm ?? this.receiveCredit.limit;
  }
  /** When a PR stream has something to do by time; NEVER: it has not. */
  get deadlineUs(): number {
    return this.prOut === undefined ? NEVER : Math.min(this.prOut.deadlineUs, this.prIn!.lingerUs);
  }
  /** final_size for our STREAM_CLOSE: bytes or messages. */
  get sendSize(): number {
    return (this.bytesOut ?? this.messagesOut ?? this.prOut!).end;
  }
  get bufferedBytes(): number {
    return (this.bytesOut ?? this.messagesOut ?? this.prOut!).bufferedBytes;
  }
  /** Bytes of the peer's direction that wait to be whole, in order, or read. */
  get heldBytes(): number {
    let bytes = (this.bytesIn ?? this.messagesIn ?? this.prIn)?.bytesHeld ?? 0;
    for (const message of this.inbox) bytes += message.length;
    return bytes;
  }
  get allSent(): boolean {
    return (this.bytesOut ?? this.messagesOut ?? this.prOut!).allSent;
  }
  get allAcked(): boolean {
    return this.prOut?.allSent ?? (this.bytesOut ?? this.messagesOut!).allAcked;
  }
  get hasLost(): boolean {
    return (this.bytesOut ?? this.messagesOut)?.hasLost ?? false;
  }
  /** New data that only the connection's credit could hold back. */
  hasNew(connection: SendCredit): boolean {
    if (this.bytesOut !== undefined) {
      return this.bytesOut.sendable(this.sendCredit) > 0 && connection.left > 0;
    }
    return this.prOut?.sendable ?? this.messagesOut!.sendable(this.sendCredit, connection);
  }
  /** Whether the stream's own credit lets more out. */
  get isOpenToSend(): boolean {
    if (this.bytesOut !== undefined) return this.bytesOut.sendable(this.sendCredit) > 0;
    if (this.prOut !== undefined) return this.prOut.sendable;
    return !this.messagesOut!.allSent && (this.isBestEffort || this.sendCredit.left > 0);
  }

  /** Whether the whole of the peer's direction is in (not: taken by the application). */
  get allArrived(): boolean {
    if (this.finalSize < 0) return false;
    if (this.bytesIn !== undefined) return this.bytesIn.contiguous === this.finalSize;
    if (this.messagesIn !== undefined) return this.messagesIn.deliveredCount === this.finalSize;
    if (this.prIn !== undefined) {
      return this.prIn.isOver || this.prIn.completedCount >= this.finalSize;
    }
    return true;
  }
  /** Whether nothing is left for the application to take. */
  get allTaken(): boolean {
    return this.inbox.length === 0 && !(this.bytesIn?.readable ?? false);
  }

  /** Drops everything unsent and unacknowledged of our direction. */
  clearSend(): void {
    this.bytesOut?.clear();
    this.messagesOut?.clear();
    this.prOut?.clear();
    this.wantedBytes = 0;
  }
}
