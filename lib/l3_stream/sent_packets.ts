/**
 * The ack-eliciting packets on their way, oldest first, in a ring of columns: no object and no
 * Map entry per packet. Entries are named by their place in the order of sending (`at`,
 * ever growing); packet numbers ascend with it but may leave gaps. What a packet carried is one
 * range of bytes of one stream in columns of its own, which is all that bulk transfer needs, or
 * else whatever the connection keeps (`F`).
 *
 *   head ........ flight ........................ tail
 *   lost or dead  in flight or dead (acknowledged)
 *
 * Losses are always declared from the old end, so the lost packets that are kept, to notice a late
 * acknowledgement, all lie before `flight`. Dead entries inside are jumped over: each dead entry
 * points towards the next living one, paths are halved when walked (union-find), so that walking
 * an acknowledged range costs the living entries in it and nothing for those that went before.
 */

/** An entry that needs no more thought. */
export const DEAD = 0;
/** Sent, neither acknowledged nor lost. */
export const IN_FLIGHT = 1;
/** Declared lost, kept for a while. */
export const LOST = 2;

/** Small, as most connections of a node are idle. */
const CAPACITY_MIN = 8;
/** A busy time's memory goes when a later one, from empty to empty, needed less than this part. */
const SHRINK_DIVISOR = 4;

// Columns that are used together lie together: few arrays for idle connections, few cache lines
// for busy ones.
const DOUBLES = 4;
const NUMBER = 0;
/** When it was sent; once it is lost, when that was. */
const TIME = 1;
/** The next living entry, or one on the way there; itself: it is living. */
const NEXT = 2;
const OFFSET = 3;
const WORDS = 4;
const STREAM = 0;
const LENGTH = 1;
const BYTES = 2;
const EPISODE = 3;

/** Ring of sent packets; `F` is what the connection wants back when a packet's fate is known. */
export class SentPackets<F> {
  #mask = CAPACITY_MIN - 1;
  #doubles = new Float64Array(DOUBLES * CAPACITY_MIN);
  #words = new Int32Array(WORDS * CAPACITY_MIN);
  #state = new Uint8Array(CAPACITY_MIN);
  #frames: (F | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);

  #head = 0;
  #flight = 0;
  #tail = 0;
  /** Most entries since the ring was last empty. */
  #peak = 0;
  #inFlightCount = 0;
  #lostCount = 0;

  /** Oldest entry that is kept. */
  get head(): number {
    return this.#head;
  }
  /** First entry that may be in flight. */
  get flight(): number {
    return this.#flight;
  }
  /** One past the newest entry. */
  get tail(): number {
    return this.#tail;
  }
  /** Entries that there is memory for. */
  get capacity(): number {
    return this.#mask + 1;
  }
  get inFlightCount(): number {
    return this.#inFlightCount;
  }
  /** Lost packets still kept. */
  get lostCount(): number {
    return this.#lostCount;
  }

  packetNumber(at: number): number {
    return this.#doubles[DOUBLES * (at & this.#mask) + NUMBER];
  }
  /** When a packet in flight was sent. */
  sentUs(at: number): number {
    return this.#doubles[DOUBLES * (at & this.#mask) + TIME];
  }
  bytes(at: number): number {
    return this.#words[WORDS * (at & this.#mask) + BYTES];
  }
  state(at: number): number {
    return this.#state[at & this.#mask];
  }
  frames(at: number): F | undefined {
    return this.#frames[at & this.#mask];
  }
  /** Stream of the one range of bytes that the packet carried; 0: see frames(). */
  stream(at: number): number {
    return this.#words[WORDS * (at & this.#mask) + STREAM] >>> 0;
  }
  offset(at: number): number {
    return this.#doubles[DOUBLES * (at & this.#mask) + OFFSET];
  }
  length(at: number): number {
    return this.#words[WORDS * (at & this.#mask) + LENGTH];
  }
  /** Number of the congestion event a lost packet belongs to. */
  episode(at: number): number {
    return this.#words[WORDS * (at & this.#mask) + EPISODE];
  }
  setEpisode(at: number, episode: number): void {
    this.#words[WORDS * (at & this.#mask) + EPISODE] = episode;
  }

  /** Adds a packet in flight with what the connection keeps of it; numbers and times ascend. */
  push(packetNumber: number, sentUs: number, bytes: number, frames: F | undefined): void {
    const slot = this.#add(packetNumber, sentUs, bytes);
    this.#frames[slot] = frames;
    this.#words[WORDS * slot + STREAM] = 0;
  }

  /** Adds a packet in flight that carried one range of bytes of a stream (not stream 0). */
  pushData(
    packetNumber: number,
    sentUs: number,
    bytes: number,
    stream: number,
    offset: number,
    length: number,
  ): void {
    const slot = this.#add(packetNumber, sentUs, bytes);
    this.#words[WORDS * slot + STREAM] = stream;
    this.#doubles[DOUBLES * slot + OFFSET] = offset;
    this.#words[WORDS * slot + LENGTH] = length;
  }

  #add(packetNumber: number, sentUs: number, bytes: number): number {
    const count = this.#tail - this.#head;
    if (count === 0) this.#shrink();
    if (count > this.#mask) this.#resize(2 * (this.#mask + 1));
    if (count >= this.#peak) this.#peak = count + 1;
    const slot = this.#tail & this.#mask;
    this.#doubles[DOUBLES * slot + NUMBER] = packetNumber;
    this.#doubles[DOUBLES * slot + TIME] = sentUs;
    this.#words[WORDS * slot + BYTES] = bytes;
    this.#state[slot] = IN_FLIGHT;
    this.#doubles[DOUBLES * slot + NEXT] = this.#tail;
    this.#tail++;
    this.#inFlightCount++;
    return slot;
  }

  /** First entry whose packet number is ≥ n; `tail` when there is none. */
  search(n: number): number {
    let low = this.#head;
    let high = this.#tail;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#doubles[DOUBLES * (middle & this.#mask) + NUMBER] < n) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** First living entry at or after `at`; `tail` when there is none. */
  living(at: number): number {
    const mask = this.#mask;
    const doubles = this.#doubles;
    at = Math.max(at, this.#head);
    while (at < this.#tail) {
      const to = doubles[DOUBLES * (at & mask) + NEXT];
      if (to === at) return at;
      // Path halving: point past the one we go to. What lies at `tail` has no entry yet.
      if (to < this.#tail) {
        doubles[DOUBLES * (at & mask) + NEXT] = doubles[DOUBLES * (to & mask) + NEXT];
      }
      at = to;
    }
    return this.#tail;
  }

  /** The packet was acknowledged or need not be remembered any longer; settle() must follow. */
  kill(at: number): void {
    const slot = at & this.#mask;
    if (this.#state[slot] === IN_FLIGHT) this.#inFlightCount--;
    else if (this.#state[slot] === LOST) this.#lostCount--;
    this.#state[slot] = DEAD;
    if (this.#words[WORDS * slot + STREAM] === 0) this.#frames[slot] = undefined;
    this.#doubles[DOUBLES * slot + NEXT] = at + 1;
  }

  /** Moves the old end past what was killed: once for many. */
  settle(): void {
    this.#flight = this.living(this.#flight);
    this.#head = this.living(this.#head);
  }

  /** Nothing sent so far says anything about congestion any more. */
  forgetBytes(): void {
    for (let at = this.#head; at < this.#tail; at++) {
      this.#words[WORDS * (at & this.#mask) + BYTES] = 0;
    }
  }

  /** The oldest packet in flight (at `flight`) is lost; it stays in the ring to be noticed late. */
  lose(nowUs: number): void {
    const at = this.#flight;
    const slot = at & this.#mask;
    this.#state[slot] = LOST;
    this.#doubles[DOUBLES * slot + TIME] = nowUs;
    this.#inFlightCount--;
    this.#lostCount++;
    this.#flight = this.living(at + 1);
  }

  /** Forgets lost packets beyond `countMax` and those lost before `untilUs`. */
  forgetLost(countMax: number, untilUs: number): void {
    while (this.#lostCount > 0) {
      const at = this.#head; // a living entry or none: the oldest lost packet
      if (
        this.#lostCount <= countMax && this.#doubles[DOUBLES * (at & this.#mask) + TIME] >= untilUs
      ) return;
      this.kill(at);
      this.#head = this.living(at);
    }
  }

  #shrink(): void {
    const isIdle = this.#peak < (this.#mask + 1) / SHRINK_DIVISOR;
    this.#peak = 0;
    if (isIdle && this.#mask >= CAPACITY_MIN) this.#resize(CAPACITY_MIN);
  }

  #resize(capacity: number): void {
    const from = this.#mask;
    const to = capacity - 1;
    const doubles = new Float64Array(DOUBLES * capacity);
    const words = new Int32Array(WORDS * capacity);
    const state = new Uint8Array(capacity);
    const frames: (F | undefined)[] = new Array(capacity).fill(undefined);
    for (let at = this.#head; at < this.#tail; at++) {
      for (let i = 0; i < DOUBLES; i++) {
        doubles[DOUBLES * (at & to) + i] = this.#doubles[DOUBLES * (at & from) + i];
      }
      for (let i = 0; i < WORDS; i++) {
        words[WORDS * (at & to) + i] = this.#words[WORDS * (at & from) + i];
      }
      state[at & to] = this.#state[at & from];
      frames[at & to] = this.#frames[at & from];
    }
    this.#mask = to;
    this.#doubles = doubles;
    this.#words = words;
    this.#state = state;
    this.#frames = frames;
  }
}
