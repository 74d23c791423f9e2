/**
 * A burst: up to 64 frame descriptors in typed arrays, reused for every turn of a loop. The arrays
 * lie side by side in one block, which native code fills and reads (struct nx_burst in
 * ffi/native/nx_io.h).
 */

import { OVERLAY_BYTES } from "./gen/link.ts";

/** Frames in one burst; the size that DPDK and AF_XDP programs use too. */
export const BURST_FRAMES_MAX = 64;

/** Bits 0-1 of a descriptor's flags: the ECN field of the IP header (RFC 3168 §5), 0 = unknown. */
export const DESCRIPTOR_ECN_MASK = 0x3;

/** Arrays of a burst: slot, offset, length, flags, peer, the two halves of the time, segment. */
const FIELDS = 8;

/** Descriptors 0 … count-1. Offsets point at frames (overlay stripped) in the port's pool. */
export class Burst {
  /** All arrays below as one block, for native code. */
  readonly block = new Int32Array(FIELDS * BURST_FRAMES_MAX);
  readonly slot = signed(this.block, 0);
  readonly offset = unsigned(this.block, 1);
  readonly length = unsigned(this.block, 2);
  readonly flags = unsigned(this.block, 3);
  readonly peer = signed(this.block, 4);
  /** When the frame was received, ns since the Unix epoch in two halves; 0: the port cannot say. */
  readonly timeHigh = unsigned(this.block, 5);
  readonly timeLow = unsigned(this.block, 6);
  /**
   * A train (Port.trains): frames of one length, the last may be shorter, this many bytes from one to
   * the next because an overlay stands before each; `length` is that of the whole. 0: one frame.
   */
  readonly segment = unsigned(this.block, 7);
  count = 0;

  get full(): boolean {
    return this.count === BURST_FRAMES_MAX;
  }

  /** Appends a descriptor; false when the burst is full. */
  push(
    slot: number,
    offset: number,
    length: number,
    flags: number,
    peer: number,
    segment = 0,
  ): boolean {
    const i = this.count;
    if (i === BURST_FRAMES_MAX) return false;
    this.slot[i] = slot;
    this.offset[i] = offset;
    this.length[i] = length;
    this.flags[i] = flags;
    this.peer[i] = peer;
    this.timeHigh[i] = 0;
    this.timeLow[i] = 0;
    this.segment[i] = segment;
    this.count = i + 1;
    return true;
  }

  /** Frames of descriptor `i`. */
  framesAt(i: number): number {
    const segment = this.segment[i];
    return segment === 0 ? 1 : Math.ceil((this.length[i] + OVERLAY_BYTES) / segment);
  }

  clear(): void {
    this.count = 0;
  }

  /** Drops the first `taken` descriptors and moves the rest to the front: after a short txBurst. */
  shift(taken: number): void {
    // The same move in each array, as places of the whole block.
    for (let at = 0; at < this.block.length; at += BURST_FRAMES_MAX) {
      this.block.copyWithin(at, at + taken, at + this.count);
    }
    this.count -= taken;
  }
}

function signed(block: Int32Array, field: number): Int32Array {
  return new Int32Array(block.buffer, 4 * BURST_FRAMES_MAX * field, BURST_FRAMES_MAX);
}

function unsigned(block: Int32Array, field: number): Uint32Array {
  return new Uint32Array(block.buffer, 4 * BURST_FRAMES_MAX * field, BURST_FRAMES_MAX);
}
