/**
 * The application of simulations: sends what can be checked. Every byte of a stream and every
 * message is a function of its place, so a receiver knows at once what is wrong, missing or there
 * twice. One TaskRunner sits on each end of a connection.
 */
import assert from "node:assert/strict";
import { NexusError, SeededRandom } from "../../lib/base/mod.ts";
import {
  type Connection,
  type ConnectionEvent,
  type Mode,
  MODE_BEST_EFFORT,
  MODE_PROBABILISTIC,
  MODE_RELIABLE_ORDERED,
} from "../../lib/l3_stream/mod.ts";

const WRITE_BYTES = 10_000;
/** A message begins with its number. */
const MESSAGE_HEAD_BYTES = 4;
/** Application errors on STREAM_RESET and STREAM_STOP. */
const RESET_ERROR = 41;
const STOP_ERROR = 42;

/** Something to send on a stream of its own. */
export interface Task {
  mode: Mode;
  /** Bytes on RO, messages on message streams. */
  total: number;
  /** 0…15; default the connection's. */
  priority?: number;
  /** PR only: the share of messages that must arrive at least. */
  probability?: number;
  /** Largest message; sizes run from 4 to this. Default 3,000, best effort 1,000. */
  messageBytesMax?: number;
  /** Length of every message, instead. */
  messageBytes?: number;
  /** The sender gives up once it handed over so much; in units of total. */
  resetAt?: number;
}

/** A task on its way. */
export interface OutgoingTask extends Task {
  stream: number;
  sent: number;
  finished: boolean;
  /** The peer asked to stop, or we gave up: not everything arrives. */
  broken: boolean;
}

/** What arrived on one stream. */
export interface Incoming {
  mode: Mode;
  bytes: number;
  messages: Set<number>;
  finished: boolean;
  /** This end refused it, or does so when `readsLeft` is 0. */
  stopped: boolean;
  readsLeft: number;
}

/** How an end behaves; all parts may be changed at any time. */
export interface Behaviour {
  /** Whether to stop a stream of the peer when it is opened. */
  refuses: (stream: number) => boolean;
  /** Stops a stream once so many pieces or messages were read; Infinity: never. */
  quitsAfter: (stream: number) => number;
  /** What to send back on a stream of the peer. Without mode: it is the stream's. */
  replies: (stream: number) => Omit<Task, "mode"> | undefined;
  /** Does not read when there is something, but when readSome is called. */
  isSlow: boolean;
}

/** One end's application. */
export class TaskRunner implements Behaviour {
  readonly incoming = new Map<number, Incoming>();
  /** What this end sends, by stream: its own tasks and its replies. */
  readonly outgoing = new Map<number, OutgoingTask>();
  readonly closed: Extract<ConnectionEvent, { type: "closed" }>[] = [];
  streamsClosed = 0;
  /** Proven moves of the peer, and further paths that came into use. */
  migrations = 0;
  pathsUsed = 0;
  /** Takes messages instead of the check that they are what the peer's task sends. */
  takesMessage?: (message: Uint8Array) => void;
  refuses: (stream: number) => boolean = () => false;
  quitsAfter: (stream: number) => number = () => Infinity;
  replies: (stream: number) => Omit<Task, "mode"> | undefined = () => undefined;
  isSlow = false;
  readonly #waiting: Task[] = [];
  /** Streams that a slow reader has not emptied. */
  readonly #unread = new Set<number>();

  constructor(readonly connection: Connection) {}

  /** Whether everything this end was told to send went into the connection and was finished. */
  get allSent(): boolean {
    return this.#waiting.length === 0 &&
      [...this.outgoing.values()].every(({ finished }) => finished);
  }

  get hasUnread(): boolean {
    return this.#unread.size > 0;
  }

  /** Sends something on a new stream, as soon as one may be opened. */
  add(...tasks: Task[]): void {
    this.#waiting.push(...tasks);
  }

  /** Opens what may be opened; call after the connection's events. */
  turn(): void {
    if (this.closed.length > 0) return;
    while (this.#waiting.length > 0 && this.#openNext());
  }

  /** A slow reader takes one piece from every stream that has something. */
  readSome(): void {
    for (const stream of this.#unread) {
      if (!this.#readOne(stream)) this.#unread.delete(stream);
    }
  }

  /** An event of the connection. */
  onEvent(event: ConnectionEvent): void {
    switch (event.type) {
      case "streamOpened":
        this.#onOpened(event.stream, event.mode);
        break;
      case "readable":
        this.#expectReply(event.stream);
        if (this.isSlow) this.#unread.add(event.stream);
        else while (this.#readOne(event.stream));
        break;
      case "peerFinished": {
        const incoming = this.incoming.get(event.stream);
        // Our own stream without a reply: nobody waits for it.
        if (incoming !== undefined) incoming.finished = true;
        break;
      }
      case "writable":
        this.#pump(this.outgoing.get(event.stream));
        break;
      case "reset":
        assert.ok(event.error === RESET_ERROR || event.error === STOP_ERROR, `${event.error}`);
        break;
      case "stopped": {
        assert.equal(event.error, STOP_ERROR);
        const task = this.outgoing.get(event.stream);
        if (task !== undefined) task.finished = task.broken = true;
        break;
      }
      case "streamClosed":
        this.streamsClosed++;
        break;
      case "migrated":
        this.migrations++;
        break;
      case "pathUsable":
        this.pathsUsed++;
        break;
      case "closed":
        this.closed.push(event);
        break;
    }
  }

  // ---- in ---------------------------------------------------------------------------------

  #onOpened(stream: number, mode: Mode): void {
    assert.ok(!this.incoming.has(stream), `stream ${stream} opened twice`);
    const stopped = this.refuses(stream);
    this.#expect(stream, mode).stopped = stopped;
    if (stopped) this.connection.stop(stream, STOP_ERROR);
    const reply = this.replies(stream);
    if (reply === undefined) this.connection.finish(stream);
    else this.#start({ ...reply, mode }, stream);
  }

  /** The peer answers on a stream of ours. */
  #expectReply(stream: number): void {
    const task = this.outgoing.get(stream);
    if (task !== undefined && !this.incoming.has(stream)) this.#expect(stream, task.mode);
  }

  #expect(stream: number, mode: Mode): Incoming {
    const incoming = {
      mode,
      bytes: 0,
      messages: new Set<number>(),
      finished: false,
      stopped: false,
      readsLeft: this.quitsAfter(stream),
    };
    this.incoming.set(stream, incoming);
    return incoming;
  }

  /** Reads one piece or message, and may have enough of it then; false: there was none. */
  #readOne(stream: number): boolean {
    const incoming = this.incoming.get(stream);
    if (incoming === undefined) assert.fail(`stream ${stream}: something came that nobody sent`);
    const wasRead = this.#readInto(stream, incoming);
    if (wasRead && --incoming.readsLeft === 0) {
      incoming.stopped = true;
      this.connection.stop(stream, STOP_ERROR);
    }
    return wasRead;
  }

  #readInto(stream: number, incoming: Incoming): boolean {
    if (incoming.mode !== MODE_RELIABLE_ORDERED) {
      const message = this.connection.readMessage(stream);
      if (message === undefined) return false;
      if (this.takesMessage !== undefined) this.takesMessage(message);
      else onMessage(stream, incoming, message);
      return true;
    }
    const piece = this.connection.read(stream);
    if (piece === undefined) return false;
    checkPattern(piece, stream, incoming.bytes);
    incoming.bytes += piece.length;
    return true;
  }

  // ---- out --------------------------------------------------------------------------------

  #openNext(): boolean {
    const { mode, priority, probability } = this.#waiting[0];
    let stream;
    try {
      stream = this.connection.openStream(mode, priority, probability);
    } catch (error) {
      if (isCode(error, "STREAM_LIMIT") || isCode(error, "CLOSED")) return false;
      throw error;
    }
    this.#start(this.#waiting.shift()!, stream);
    return true;
  }

  #start(given: Task, stream: number): void {
    const task = { ...given, stream, sent: 0, finished: false, broken: false };
    this.outgoing.set(stream, task);
    this.#pump(task);
  }

  #pump(task: OutgoingTask | undefined): void {
    if (task === undefined || task.finished) return;
    while (task.sent < task.total) {
      if (task.sent >= (task.resetAt ?? Infinity)) {
        task.finished = task.broken = true;
        this.connection.reset(task.stream, RESET_ERROR);
        return;
      }
      const isOrdered = task.mode === MODE_RELIABLE_ORDERED;
      try {
        if (!(isOrdered ? this.#write(task) : this.#sendMessage(task))) return;
      } catch (error) {
        // The event that tells why is still in the queue; without it the task never finishes.
        if (isCode(error, "STREAM_CLOSED") || isCode(error, "CLOSED")) return;
        throw error;
      }
    }
    task.finished = true;
    this.connection.finish(task.stream);
  }

  #write(task: OutgoingTask): boolean {
    const length = Math.min(WRITE_BYTES, task.total - task.sent);
    const taken = this.connection.write(task.stream, patternOf(task.stream, task.sent, length));
    task.sent += taken;
    return taken === length;
  }

  #sendMessage(task: OutgoingTask): boolean {
    const bytesMax = task.messageBytesMax ?? (task.mode === MODE_BEST_EFFORT ? 1_000 : 3_000);
    const [size] = patternOf(task.stream, task.sent, 1);
    const bytes = messageOf(task.stream, task.sent, task.messageBytes ?? size * bytesMax >> 8);
    if (!this.connection.sendMessage(task.stream, bytes)) return false;
    task.sent++;
    return true;
  }
}

/** Message `number` of a stream: its number and the pattern. */
function messageOf(stream: number, number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(MESSAGE_HEAD_BYTES, length));
  new DataView(bytes.buffer).setUint32(0, number);
  const pattern = patternOf(stream + number, MESSAGE_HEAD_BYTES, bytes.length - MESSAGE_HEAD_BYTES);
  bytes.set(pattern, MESSAGE_HEAD_BYTES);
  return bytes;
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof NexusError && error.code === code;
}

function onMessage(stream: number, incoming: Incoming, bytes: Uint8Array): void {
  assert.ok(
    bytes.length >= MESSAGE_HEAD_BYTES,
    `stream ${stream}: message of ${bytes.length} bytes`,
  );
  const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  assert.ok(!incoming.messages.has(number), `stream ${stream}: message ${number} came twice`);
  incoming.messages.add(number);
  checkPattern(bytes.subarray(MESSAGE_HEAD_BYTES), stream + number, MESSAGE_HEAD_BYTES);
  incoming.bytes += bytes.length;
}

/** Prime, so that no power of two leads back to the same bytes. */
const PATTERN_PERIOD = 1_048_573;
/** No piece that is made or looked at in one go is longer. */
const PIECE_BYTES_MAX = 65_536;
/** Distance of two streams in the pattern; prime too. */
const STREAM_DISTANCE = 7_919;
const PATTERN = (() => {
  const bytes = new Uint8Array(PATTERN_PERIOD + PIECE_BYTES_MAX);
  new SeededRandom(1).fill(bytes.subarray(0, PATTERN_PERIOD));
  bytes.copyWithin(PATTERN_PERIOD, 0, PIECE_BYTES_MAX);
  return bytes;
})();

/** What stands at an offset of a stream, at most PIECE_BYTES_MAX; a view, not to be changed. */
export function patternOf(stream: number, offset: number, length: number): Uint8Array {
  assert.ok(length <= PIECE_BYTES_MAX);
  const at = (stream * STREAM_DISTANCE + offset) % PATTERN_PERIOD;
  return PATTERN.subarray(at, at + length);
}

/** Fails unless the bytes are those of a stream at an offset. */
export function checkPattern(bytes: Uint8Array, stream: number, offset: number): void {
  const expected = patternOf(stream, offset, bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== expected[i]) assert.fail(`stream ${stream}: byte ${offset + i} is wrong`);
  }
}

/** All that `sender` sent whole is at `receiver`, in the way its mode promises, and nothing else. */
export function checkArrived(sender: TaskRunner, receiver: TaskRunner): void {
  for (const { stream, mode, total, broken } of sender.outgoing.values()) {
    const incoming = receiver.incoming.get(stream);
    if (broken || incoming?.stopped) continue;
    if (mode === MODE_BEST_EFFORT || mode === MODE_PROBABILISTIC) {
      if (incoming === undefined) continue;
      // At most once was checked when they came.
      for (const number of incoming.messages) {
        assert.ok(number < total, `stream ${stream}: message ${number} was never sent`);
      }
    } else {
      if (incoming === undefined) assert.fail(`stream ${stream} did not arrive`);
      const amount = mode === MODE_RELIABLE_ORDERED ? incoming.bytes : incoming.messages.size;
      assert.equal(amount, total, `amount on stream ${stream} of mode ${mode}`);
    }
    assert.equal(incoming.finished, true, `end of stream ${stream}`);
  }
  for (const stream of receiver.incoming.keys()) {
    assert.ok(sender.outgoing.has(stream), `stream ${stream} was never sent`);
  }
}
