/** Puts what connections have to send into slots of the pool and descriptors of a burst. */
import { type Burst, BURST_FRAMES_MAX, OVERLAY_BYTES, type Pool } from "../l1_link/mod.ts";
import type { Connection } from "../l3_stream/mod.ts";
import type { EndpointCounters } from "./counters.ts";
import { splitNs } from "./wall_time.ts";

/**
 * Bytes of one burst: four trains. Handed to the port at once they are still in the caches, and the
 * peer begins while the next ones are sealed.
 */
const BURST_BYTES_MAX = 262_144;

export class BurstWriter {
  #bytes = 0;

  /** `trains` as in EndpointOptions. */
  constructor(readonly counters: EndpointCounters, readonly trains: boolean) {}

  /** A new burst begins. */
  begin(): void {
    this.#bytes = 0;
  }

  isFull(burst: Burst): boolean {
    return burst.count >= BURST_FRAMES_MAX || this.#bytes >= BURST_BYTES_MAX;
  }

  /** Adds a frame that is written elsewhere; false: there is no room. */
  addFrame(frame: Uint8Array, pool: Pool, burst: Burst, peer: number): boolean {
    const slot = burst.count < BURST_FRAMES_MAX ? pool.alloc() : -1;
    if (slot < 0) return false;
    const at = pool.frameOffsetOf(slot);
    pool.bytes.set(frame, at);
    burst.push(slot, at, frame.length, 0, peer);
    this.counters.framesOut++;
    this.counters.bytesOut += frame.length;
    return true;
  }

  /**
   * Takes what the connection has to send, one frame or train behind the other in a slot as long as
   * there is room. False: the pool is empty.
   */
  addConnection(
    connection: Connection,
    pool: Pool,
    burst: Burst,
    nowUs: number,
    unixMs: number,
  ): boolean {
    const { high, low } = splitNs(unixMs);
    let slot = -1;
    let at = 0;
    let end = 0;
    while (!this.isFull(burst)) {
      const isFresh = slot < 0 || end - at < connection.frameBytes;
      if (isFresh) {
        slot = pool.alloc();
        if (slot < 0) return false;
        at = pool.frameOffsetOf(slot);
        end = at + pool.frameBytesMax;
      }
      const packetsMax = this.trains ? Infinity : BURST_FRAMES_MAX - burst.count;
      const length = connection.pollTrain(
        pool.bytes,
        pool.view,
        at,
        end - at,
        packetsMax,
        nowUs,
        high,
        low,
      );
      if (length > 0) {
        if (!isFresh) pool.share(slot);
        this.#add(connection, pool, burst, slot, at, length);
        at += length + OVERLAY_BYTES;
      } else if (isFresh) {
        pool.free(slot);
        return true;
      } else slot = -1; // a probe of the path MTU may want a whole slot
    }
    return true;
  }

  #add(
    connection: Connection,
    pool: Pool,
    burst: Burst,
    slot: number,
    at: number,
    length: number,
  ): void {
    const { polledPeer, polledEcn, polledPackets, polledSegment } = connection;
    this.#bytes += length;
    this.counters.framesOut += polledPackets;
    this.counters.bytesOut += length - (polledPackets - 1) * OVERLAY_BYTES;
    if (this.trains || polledPackets === 1) {
      burst.push(slot, at, length, polledEcn, polledPeer, polledSegment);
      return;
    }
    for (let i = 0; i < polledPackets; i++) {
      if (i > 0) pool.share(slot);
      const from = at + i * polledSegment;
      const frameBytes = Math.min(polledSegment - OVERLAY_BYTES, at + length - from);
      burst.push(slot, from, frameBytes, polledEcn, polledPeer);
    }
  }
}
