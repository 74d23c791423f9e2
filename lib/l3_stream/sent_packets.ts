/**
 * The ack-eliciting packets on their way, oldest first, in a ring of parallel arrays: no object
 * and no Map entry per packet. Entries are named by their place in the order of sending (`at`,
 * ever growing); packet numbers ascend with it but may leave gaps.
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

const CAPACITY_MIN = 64;

/** Ring of sent packets; `F` is what the connection wants back when a packet's fate is known. */
export class SentPackets<F> {
  #mask = CAPACITY_MIN - 1;
  #packetNumber = new Float64Array(CAPACITY_MIN);
  #sentUs = new Float64Array(CAPACITY_MIN);
  #lostUs = new Float64Array(CAPACITY_MIN);
  #next = new Float64Array(CAPACITY_MIN);
  #bytes = new Int32Array(CAPACITY_MIN);
  #episode = new Int32Array(CAPACITY_MIN);
  #state = new Uint8Array(CAPACITY_MIN);
  #frames: (F | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);

  #head = 0;
  #flight = 0;
  #tail = 0;
  #inFlightCount = 0;
  #lostCount = 0;

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
  sentUs(at: number): number {
    return this.#sentUs[at & this.#mask];
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
  /** Number of the congestion event a lost packet belongs to. */
  episode(at: number): number {
    return this.#episode[at & this.#mask];
  }
  setEpisode(at: number, episode: number): void {
    this.#episode[at & this.#mask] = episode;
  }

  /** Adds a packet in flight; numbers and times ascend. */
  push(packetNumber: number, sentUs: number, bytes: number, frames: F | undefined): void {
    if (this.#tail - this.#head > this.#mask) this.#grow();
    const slot = this.#tail & this.#mask;
    this.#packetNumber[slot] = packetNumber;
    this.#sentUs[slot] = sentUs;
    this.#bytes[slot] = bytes;
    this.#frames[slot] = frames;
    this.#state[slot] = IN_FLIGHT;
    this.#next[slot] = this.#tail;
    this.#tail++;
    this.#inFlightCount++;
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

  /** The packet was acknowledged or need not be remembered any longer. */
  kill(at: number): void {
    const slot = at & this.#mask;
    if (this.#state[slot] === IN_FLIGHT) this.#inFlightCount--;
    else if (this.#state[slot] === LOST) this.#lostCount--;
    this.#state[slot] = DEAD;
    this.#frames[slot] = undefined;
    this.#next[slot] = at + 1;
    if (at === this.#flight) this.#flight = this.living(at);
    if (at === this.#head) this.#head = this.living(at);
  }

  /** The oldest packet in flight (at `flight`) is lost; it stays in the ring to be noticed late. */
  lose(nowUs: number): void {
    const at = this.#flight;
    const slot = at & this.#mask;
    this.#state[slot] = LOST;
    this.#lostUs[slot] = nowUs;
    this.#inFlightCount--;
    this.#lostCount++;
    this.#flight = this.living(at + 1);
  }

  /** Forgets lost packets beyond `countMax` and those lost before `untilUs`. */
  forgetLost(countMax: number, untilUs: number): void {
    while (this.#lostCount > 0) {
      const at = this.#head; // a living entry or none: the oldest lost packet
      if (this.#lostCount <= countMax && this.#lostUs[at & this.#mask] >= untilUs) return;
      this.kill(at);
    }
  }

  #grow(): void {
    const from = this.#mask;
    const capacity = 2 * (from + 1);
    const to = capacity - 1;
    const packetNumber = new Float64Array(capacity);
    const sentUs = new Float64Array(capacity);
    const lostUs = new Float64Array(capacity);
    const next = new Float64Array(capacity);
    const bytes = new Int32Array(capacity);
    const episode = new Int32Array(capacity);
    const state = new Uint8Array(capacity);
    const frames: (F | undefined)[] = new Array(capacity).fill(undefined);
    for (let at = this.#head; at < this.#tail; at++) {
      packetNumber[at & to] = this.#packetNumber[at & from];
      sentUs[at & to] = this.#sentUs[at & from];
      lostUs[at & to] = this.#lostUs[at & from];
      next[at & to] = this.#next[at & from];
      bytes[at & to] = this.#bytes[at & from];
      episode[at & to] = this.#episode[at & from];
      state[at & to] = this.#state[at & from];
      frames[at & to] = this.#frames[at & from];
    }
    this.#mask = to;
    this.#packetNumber = packetNumber;
    this.#sentUs = sentUs;
    this.#lostUs = lostUs;
    this.#next = next;
    this.#bytes = bytes;
    this.#episode = episode;
    this.#state = state;
    this.#frames = frames;
  }
}
