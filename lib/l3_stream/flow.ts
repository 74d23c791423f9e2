/**
 * Credit (docs/protocol.md §5.3): absolute limits that never shrink. The same two classes serve
 * the connection (bytes), an RO stream (bytes) and an RU stream (messages).
 */

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

/** What the peer may send, and when to allow it more. */
export class ReceiveCredit {
  /** The limit that the peer may rely on. */
  limit: number;
  /** Counted against the limit so far. */
  received = 0;
  /** Of that, what the application took or will never get. */
  consumed = 0;

  /**
   * `amountMax`: the most that the peer takes credit for in one go, which it waits for as a whole;
   * 0 where any piece will do.
   */
  constructor(readonly window: number, readonly amountMax: number = 0) {
    this.limit = window;
  }

  /** Counts what arrived; false when the peer exceeded its limit. */
  receive(amount: number): boolean {
    this.received += amount;
    return this.received <= this.limit;
  }
  consume(amount: number): void {
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
  /** Moves the limit and returns it, to be announced now. */
  update(): number {
    this.limit = this.consumed + this.window;
    return this.limit;
  }
}
