/** A burst: up to 64 frame descriptors in typed arrays, reused for every turn of a loop. */

/** Frames in one burst; the size that DPDK and AF_XDP programs use too. */
export const BURST_FRAMES_MAX = 64;

/** Bits 0-1 of a descriptor's flags: the ECN field of the IP header (RFC 3168 §5), 0 = unknown. */
export const DESCRIPTOR_ECN_MASK = 0x3;

/** Descriptors 0 … count-1. Offsets point at frames (overlay stripped) in the port's pool. */
export class Burst {
  readonly slot = new Int32Array(BURST_FRAMES_MAX);
  readonly offset = new Uint32Array(BURST_FRAMES_MAX);
  readonly length = new Uint32Array(BURST_FRAMES_MAX);
  readonly flags = new Uint32Array(BURST_FRAMES_MAX);
  readonly peer = new Int32Array(BURST_FRAMES_MAX);
  count = 0;

  get full(): boolean {
    return this.count === BURST_FRAMES_MAX;
  }

  /** Appends a descriptor; false when the burst is full. */
  push(slot: number, offset: number, length: number, flags: number, peer: number): boolean {
    const i = this.count;
    if (i === BURST_FRAMES_MAX) return false;
    this.slot[i] = slot;
    this.offset[i] = offset;
    this.length[i] = length;
    this.flags[i] = flags;
    this.peer[i] = peer;
    this.count = i + 1;
    return true;
  }

  clear(): void {
    this.count = 0;
  }

  /** Drops the first `taken` descriptors and moves the rest to the front: after a short txBurst. */
  shift(taken: number): void {
    this.slot.copyWithin(0, taken, this.count);
    this.offset.copyWithin(0, taken, this.count);
    this.length.copyWithin(0, taken, this.count);
    this.flags.copyWithin(0, taken, this.count);
    this.peer.copyWithin(0, taken, this.count);
    this.count -= taken;
  }
}
