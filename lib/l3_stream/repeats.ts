/**
 * Sends again what packets carried that may be lost, for probes and because the peer misses them. The
 * packets stay in flight: whether they are lost, and what that says about the network, is decided as
 * if nothing had been repeated.
 */
import type { Fates, RecoverySink } from "./fates.ts";
import type { SentPackets } from "./sent_packets.ts";

export class Repeats<F> {
  readonly #packets: SentPackets<F>;
  readonly #fates: Fates<F>;
  /** Packets below this were repeated as missing, or need not be. */
  #missingBelow = 0;

  constructor(packets: SentPackets<F>, fates: Fates<F>) {
    this.#packets = packets;
    this.#fates = fates;
  }

  /** The oldest packets in flight, `packetsMax` at most. */
  oldest(packetsMax: number, sink: RecoverySink<F>): void {
    const packets = this.#packets;
    let at = packets.flight;
    for (let i = 0; i < packetsMax && at < packets.tail; i++) {
      this.#repeat(at, sink);
      at = packets.living(at + 1);
    }
    this.#fates.flushLost(sink);
  }

  /** Packets low … high that are in flight, each once; a later one was acknowledged. */
  missing(low: number, high: number, sink: RecoverySink<F>): void {
    const packets = this.#packets;
    low = Math.max(low, this.#missingBelow);
    if (low > high) return;
    let at = packets.living(Math.max(packets.search(low), packets.flight));
    while (at < packets.tail && packets.packetNumber(at) <= high) {
      this.#repeat(at, sink);
      at = packets.living(at + 1);
    }
    this.#fates.flushLost(sink);
    this.#missingBelow = high + 1;
  }

  #repeat(at: number, sink: RecoverySink<F>): void {
    const frames = this.#packets.frames(at);
    if (frames !== undefined) sink.onRepeat?.(frames);
    else this.#fates.lost(at, sink);
  }
}
