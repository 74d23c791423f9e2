/** Frames that wait inside a port, for rxBurst or for the socket: a bounded ring of descriptors. */
import { type Burst, BURST_FRAMES_MAX } from "./burst.ts";
import type { Pool } from "./pool.ts";

/** Received frames that may wait; at 1,200 bytes some 5 ms of 1 Gbit/s. A slower driver drops. */
export const RX_QUEUE_FRAMES_MAX = 512;

/** First in, first out. A queued frame holds its slot. */
export class FrameQueue {
  readonly #slot: Int32Array;
  readonly #offset: Uint32Array;
  readonly #length: Uint32Array;
  readonly #flags: Uint32Array;
  readonly #peer: Int32Array;
  readonly #segment: Uint32Array;
  #head = 0;
  #count = 0;

  constructor(readonly framesMax: number = RX_QUEUE_FRAMES_MAX) {
    this.#slot = new Int32Array(framesMax);
    this.#offset = new Uint32Array(framesMax);
    this.#length = new Uint32Array(framesMax);
    this.#flags = new Uint32Array(framesMax);
    this.#peer = new Int32Array(framesMax);
    this.#segment = new Uint32Array(framesMax);
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === this.framesMax;
  }

  /** Appends a frame or train (Burst.segment); false when the queue is full and the caller still owns the slot. */
  push(
    slot: number,
    offset: number,
    length: number,
    flags: number,
    peer: number,
    segment = 0,
  ): boolean {
    if (this.full) return false;
    const i = (this.#head + this.#count) % this.framesMax;
    this.#slot[i] = slot;
    this.#offset[i] = offset;
    this.#length[i] = length;
    this.#flags[i] = flags;
    this.#peer[i] = peer;
    this.#segment[i] = segment;
    this.#count++;
    return true;
  }

  /** Replaces the burst by the oldest frames; returns their number. */
  drain(burst: Burst): number {
    burst.clear();
    while (this.#count > 0 && burst.count < BURST_FRAMES_MAX) {
      const i = this.#head;
      burst.push(
        this.#slot[i],
        this.#offset[i],
        this.#length[i],
        this.#flags[i],
        this.#peer[i],
        this.#segment[i],
      );
      this.#head = (i + 1) % this.framesMax;
      this.#count--;
    }
    return burst.count;
  }

  /** Empties the queue into the pool. */
  clear(pool: Pool): void {
    for (; this.#count > 0; this.#count--) {
      pool.free(this.#slot[this.#head]);
      this.#head = (this.#head + 1) % this.framesMax;
    }
  }
}
