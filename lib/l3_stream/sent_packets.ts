/**
 * The ack-eliciting packets on their way, oldest first, in a ring of parallel arrays: no object
 * and no Map entry per packet. Entries are named by their place in the order of sending (`at`,
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
const CAPACITY_MIN = 16;

/** Ring of sent packets; `F` is what the connection wants back when a packet's fate is known. */
export class SentPackets<F> {
  #mask = CAPACITY_MIN - 1;
  #packetNumber = new Float64Array(CAPACITY_MIN);
  /** When it was sent; once it is lost, when that was. */
  #timeUs = new Float64Array(CAPACITY_MIN);
  #next = new Float64Array(CAPACITY_MIN);
  #offset = new Float64Array(CAPACITY_MIN);
  #stream = new Uint32Array(CAPACITY_MIN);
  #length = new Int32Array(CAPACITY_MIN);
  #bytes = new Int32Array(CAPACITY_MIN);
  #episode = new Int32Array(CAPACITY_MIN);
  #state = new Uint8Array(CAPACITY_MIN);
  #frames: (F | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);

  #head = 0;
  #flight = 0;
  #tail = 0;
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
  get inFlightCount(): number {
    return this.#inFlightCount;
  }
  /** Lost packets still kept. */
  get lostCount(): number {
    return this.#lostCount;
  }

  packetNumber(at: number): number {
    return this.#packetNumber[at & this.#mask];
  }
  /** When a packet in flight was sent. */
  sentUs(at: number): number {
    return this.#timeUs[at & this.#mask];
  }
  bytes(at: number): number {
    return this.#bytes[at & this.#mask];
  }
  state(at: number): number {
    return this.#state[at & this.#mask];
  }
  frames(at: number): F | undefined {
    return this.#frames[at & this.#mask];
  }
  /** Stream of the one range of bytes that the packet carried; 0: see frames(). */
  stream(at: number): number {
    return this.#stream[at & this.#mask];
  }
  offset(at: number): number {
    return this.#offset[at & this.#mask];
  }
  length(at: number): number {
    return this.#length[at & this.#mask];
  }
  /** Number of the congestion event a lost packet belongs to. */
  episode(at: number): number {
    return this.#episode[at & this.#mask];
  }
  setEpisode(at: number, episode: number): void {
    this.#episode[at & this.#mask] = episode;
  }

  /** Adds a packet in flight with what the connection keeps of it; numbers and times ascend. */
  push(packetNumber: number, sentUs: number, bytes: number, frames: F | undefined): void {
    const slot = this.#add(packetNumber, sentUs, bytes);
    this.#frames[slot] = frames;
    this.#stream[slot] = 0;
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
    this.#stream[slot] = stream;
    this.#offset[slot] = offset;
    this.#length[slot] = length;
  }

  #add(packetNumber: number, sentUs: number, bytes: number): number {
    if (this.#tail - this.#head > this.#mask) this.#grow();
    const slot = this.#tail & this.#mask;
    this.#packetNumber[slot] = packetNumber;
    this.#timeUs[slot] = sentUs;
    this.#bytes[slot] = bytes;
    this.#state[slot] = IN_FLIGHT;
    this.#next[slot] = this.#tail;
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
      if (this.#packetNumber[middle & this.#mask] < n) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** First living entry at or after `at`; `tail` when there is none. */
  living(at: number): number {
    const mask = this.#mask;
    const next = this.#next;
    at = Math.max(at, this.#head);
    while (at < this.#tail) {
      const to = next[at & mask];
      if (to === at) return at;
      // Path halving: point past the one we go to. What lies at `tail` has no entry yet.
      if (to < this.#tail) next[at & mask] = next[to & mask];
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
    if (this.#stream[slot] === 0) this.#frames[slot] = undefined;
    this.#next[slot] = at + 1;
  }

  /** Moves the old end past what was killed: once for many. */
  settle(): void {
    this.#flight = this.living(this.#flight);
    this.#head = this.living(this.#head);
  }

  /** Nothing sent so far says anything about congestion any more. */
  forgetBytes(): void {
    this.#bytes.fill(0);
  }

  /** The oldest packet in flight (at `flight`) is lost; it stays in the ring to be noticed late. */
  lose(nowUs: number): void {
    const at = this.#flight;
    const slot = at & this.#mask;
    this.#state[slot] = LOST;
    this.#timeUs[slot] = nowUs;
    this.#inFlightCount--;
    this.#lostCount++;
    this.#flight = this.living(at + 1);
  }

  /** Forgets lost packets beyond `countMax` and those lost before `untilUs`. */
  forgetLost(countMax: number, untilUs: number): void {
    while (this.#lostCount > 0) {
      const at = this.#head; // a living entry or none: the oldest lost packet
      if (this.#lostCount <= countMax && this.#timeUs[at & this.#mask] >= untilUs) return;
      this.kill(at);
      this.#head = this.living(at);
    }
  }

  #grow(): void {
    const from = this.#mask;
    const capacity = 2 * (from + 1);
    const to = capacity - 1;
    const [head, tail] = [this.#head, this.#tail];
    const moved = <A extends { [slot: number]: unknown }>(column: A, into: A): A => {
      for (let at = head; at < tail; at++) into[at & to] = column[at & from];
      return into;
    };
    this.#packetNumber = moved(this.#packetNumber, new Float64Array(capacity));
    this.#timeUs = moved(this.#timeUs, new Float64Array(capacity));
    this.#next = moved(this.#next, new Float64Array(capacity));
    this.#offset = moved(this.#offset, new Float64Array(capacity));
    this.#stream = moved(this.#stream, new Uint32Array(capacity));
    this.#length = moved(this.#length, new Int32Array(capacity));
    this.#bytes = moved(this.#bytes, new Int32Array(capacity));
    this.#episode = moved(this.#episode, new Int32Array(capacity));
    this.#state = moved(this.#state, new Uint8Array(capacity));
    this.#frames = moved(this.#frames, new Array(capacity).fill(undefined));
    this.#mask = to;
  }
}
