/**
 * Flow control (docs/protocol.md §5.3): absolute limits that never shrink. The same two classes
 * serve the connection (bytes), an RO stream (bytes) and an RU stream (messages). What a window
 * has to be is found out while it is used: it starts small and doubles as long as the sender
 * may be waiting for it, up to a maximum that bounds the memory a peer can make this end hold.
 */
import { BLOCK_BYTES } from "./streams/blocks.ts";

/** What this end may send. */
export class SendCredit {
  used = 0;
  constructor(public limit: number) {}

  get left(): number {
    return this.limit - this.used;
  }
  /** Takes a new limit; true when it allows more than before. */
  raise(limit: number): boolean {
    if (limit <= this.limit) return false;
    this.limit = limit;
    return true;
  }
}

/**
 * A window grows when it was used up within so many round trips. A sender that only waits for
 * credit uses one window per round trip; twice that leaves a round trip for the repair of a loss,
 * while which nothing can be read. Growth hence ends between two and four times what bandwidth ×
 * RTT needs.
 */
export const GROWTH_ROUND_TRIPS = 2;
/**
 * A round trip counts as at least this long: on a short path credit comes back as late as the
 * application gets to read, which acknowledgements do not wait for. Windows hence grow below
 * 0.5 Gbit/s only where the path is long.
 */
export const GROWTH_RTT_US_MIN = 200;
/** A connection's window is at least so many times that of its largest stream: never the brake. */
export const CONNECTION_FACTOR = 1.5;

/** What the peer may send, and when to allow it more. */
export class ReceiveCredit {
  /** The limit that the peer may rely on. */
  limit: number;
  /** Counted against the limit so far. */
  received = 0;
  /** Of that, what the application took or will never get. */
  consumed = 0;
  /** When the window's present size was put to the test, and `consumed` then; -1: not yet. */
  #sinceUs = -1;
  #sinceConsumed = 0;

  /**
   * `amountMax`: the most that the peer takes credit for in one go, which it waits for as a whole;
   * 0 where any piece will do.
   */
  constructor(public window: number, readonly windowMax: number, readonly amountMax = 0) {
    this.limit = window;
  }

  /** Counts what arrived; false when the peer exceeded its limit. */
  receive(amount: number): boolean {
    this.received += amount;
    return this.received <= this.limit;
  }
  consume(amount: number, nowUs: number): void {
    if (this.#sinceUs < 0) this.#sinceUs = nowUs;
    this.consumed += amount;
  }
  /**
   * Whether a WINDOW_UPDATE is worth a frame: a quarter of the window became free. Half would do
   * for throughput, a quarter keeps a sender with a full window from ever waiting. Less is worth
   * one too when the peer may wait for more than it has left.
   */
  get shouldUpdate(): boolean {
    const free = this.consumed + this.window - this.limit;
    return free >= this.window / 4 || (free > 0 && this.limit - this.received < this.amountMax);
  }
  /** Moves the limit, to be announced now. `rttUs` 0: unknown, the window stays as it is. */
  update(nowUs: number, rttUs: number): void {
    this.#tune(nowUs, rttUs);
    this.limit = this.consumed + this.window;
  }
  /** Makes the window at least so large, the maximum permitting. */
  ensureWindow(window: number): void {
    this.window = Math.max(this.window, Math.min(Math.ceil(window), this.windowMax));
  }

  /**
   * Only what the application took counts: one that does not read never makes its window grow.
   * Half a window is enough to tell: credit comes back in quarters.
   */
  #tune(nowUs: number, rttUs: number): void {
    const share = (this.consumed - this.#sinceConsumed) / this.window;
    if (share < 0.5 || rttUs <= 0) return;
    const windowUs = GROWTH_ROUND_TRIPS * Math.max(rttUs, GROWTH_RTT_US_MIN);
    const isFast = nowUs - this.#sinceUs < share * windowUs;
    if (isFast) this.window = Math.min(2 * this.window, this.windowMax);
    this.#sinceUs = nowUs;
    this.#sinceConsumed = this.consumed;
  }
}

/**
 * Congestion windows that a send buffer holds: one on its way, one that waits in order behind the
 * repair of a loss, and one to fill the room that acknowledgements make.
 */
const SEND_BUFFER_WINDOWS = 3;
/**
 * On a short path time goes by in the ends: enough for either to work on a few trains while others
 * are on their way. More only fills the caches. Without this bound a path that never loses anything,
 * such as loopback, would let window and buffer grow to their maximum.
 */
const SHORT_PATH_BYTES = 2_621_440;
/** Bytes in a microsecond of the fastest path that one connection can fill, 80 Gbit/s. */
const FASTEST_BYTES_PER_US = 10_000;

/** Bytes of send buffer that a path with such a congestion window and least round trip can use. */
export function usefulBufferBytes(windowBytes: number, minRttUs: number): number {
  return Math.min(
    SEND_BUFFER_WINDOWS * windowBytes,
    SHORT_PATH_BYTES + FASTEST_BYTES_PER_US * minRttUs,
  );
}
/**
 * All streams together hold no more than so many alone would: enough that a few which nobody reads
 * do not limit the others, and the more streams are busy, the less each of them needs.
 */
const SHARED_STREAMS = 8;
/**
 * A stream may always hold so much: a block, which one of bytes takes up by its first byte anyway.
 * Otherwise some 25 streams that nobody reads, each with half of the rest, would leave nothing.
 */
const LEAST_BYTES = BLOCK_BYTES;

/** Memory of the send buffers of a connection's streams. */
export class SendBudget {
  /** Bytes in all send buffers. */
  used = 0;
  /** What the paths can use (usefulBufferBytes). */
  usefulBytes = 0;

  readonly #streamMin: number;
  readonly #streamMax: number;
  readonly #totalMax: number;

  constructor(
    { initialSendBufferBytes, sendBufferBytes, sendBufferTotalBytes }: {
      /** A stream's buffer is not limited to less by a small congestion window. */
      initialSendBufferBytes: number;
      sendBufferBytes: number;
      sendBufferTotalBytes: number;
    },
  ) {
    this.#streamMin = initialSendBufferBytes;
    this.#streamMax = sendBufferBytes;
    this.#totalMax = sendBufferTotalBytes;
  }

  /** Bytes that a stream may add to the `held` ones in its buffer. */
  room(held: number): number {
    return Math.max(0, Math.min(this.streamLimit - held, this.#fair(held)));
  }
  /**
   * Whether a buffer with `held` bytes takes so many more in one piece. An empty one takes a message
   * of any size that the connection has room for.
   */
  takes(bytes: number, held: number): boolean {
    if (bytes <= this.room(held)) return true;
    return held === 0 && (this.used === 0 || bytes <= this.left);
  }
  /** Whether it is the other streams that limit one that holds `held` bytes. */
  isShort(held: number): boolean {
    return this.#fair(held) < this.streamLimit - held;
  }
  /** Room worth telling a writer of: a quarter of what its stream, `held` bytes full, may hold. */
  refill(held: number): number {
    return Math.ceil(Math.min(this.streamLimit, Math.max(held, LEAST_BYTES)) / 4);
  }
  /**
   * What the other streams leave: a stream may hold no more than is left then (the dynamic
   * threshold of Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998). It takes at most half of all, the
   * next one half of the rest. What is shared follows the congestion window and may be overdrawn
   * after that shrank: a small buffer depends on the connection's memory alone.
   */
  #fair(held: number): number {
    const shared = Math.min(SHARED_STREAMS * this.streamLimit, this.#totalMax);
    const fair = Math.max((shared - this.used - held) / 2, this.#streamMin - held);
    const bounded = Math.floor(Math.min(fair, (this.left - held) / 2));
    return Math.max(bounded, LEAST_BYTES - held);
  }
  /** Most bytes that one stream may hold now if it is alone. */
  get streamLimit(): number {
    // Congestion windows may have fractions.
    const wanted = Math.max(this.#streamMin, Math.floor(this.usefulBytes));
    return Math.min(wanted, this.#streamMax, Math.ceil(this.#totalMax / 2));
  }
  /** What the connection has left; below 0 when streams have nothing but their least. */
  get left(): number {
    return this.#totalMax - this.used;
  }
}
