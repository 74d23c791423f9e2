/** Tells the connection what became of its packets. */
import type { SentPackets } from "./sent_packets.ts";

/**
 * Learns what became of the packets. Must not call into LossRecovery, but for
 * setDatagramBytes. Neighbouring ranges of bytes
 * come in one call, after the frames of the same acknowledgement or loss.
 */
export interface RecoverySink<F> {
  /** The peer has the packet. */
  onAcked(frames: F, packetNumber: number): void;
  /** The packet counts as lost: send again what still matters. */
  onLost(frames: F, packetNumber: number): void;
  /** A packet given to onLost was received after all: sending it again is not needed any more. */
  onLateAck?(frames: F, packetNumber: number): void;
  /** Send again what still matters, by way of a probe: the packet is not lost. */
  onRepeat?(frames: F): void;
  /**
   * What an acknowledgement told about, once for each: the size of the largest packet, and the
   * number of packets from LossRecovery.markedFrom on.
   */
  onPacketsAcked?(bytesLargest: number, markedPackets: number): void;
  /** A packet that counted as in flight is lost; comes before what it carried. */
  onPacketLost?(packetNumber: number, bytes: number): void;
  /** The peer has these bytes of packets given to onSentData or onSentRun, late or not. */
  onAckedData?(stream: number, offset: number, length: number): void;
  /** The same for those to be sent again, be they lost or repeated by a probe. */
  onLostData?(stream: number, offset: number, length: number): void;
}

/** Tells a sink, with neighbouring ranges of bytes of one stream in one call. */
export class Fates<F> {
  readonly #packets: SentPackets<F>;
  /** Bytes that the sink was not told about yet; stream 0: none. */
  #stream = 0;
  #offset = 0;
  #length = 0;

  constructor(packets: SentPackets<F>) {
    this.#packets = packets;
  }

  /** Entry `at` was acknowledged; flushAcked must follow. */
  acked(at: number, isLate: boolean, sink: RecoverySink<F>): void {
    const packets = this.#packets;
    if (packets.stream(at) !== 0) {
      if (this.#joins(at)) return;
      this.flushAcked(sink);
      this.#begin(at);
      return;
    }
    const frames = packets.frames(at);
    if (frames === undefined) return;
    if (isLate) sink.onLateAck?.(frames, packets.packetNumber(at));
    else sink.onAcked(frames, packets.packetNumber(at));
  }

  /** Entry `at` is lost; flushLost must follow. */
  lost(at: number, sink: RecoverySink<F>): void {
    const packets = this.#packets;
    if (packets.stream(at) === 0) {
      const frames = packets.frames(at);
      if (frames !== undefined) sink.onLost(frames, packets.packetNumber(at));
    } else if (!this.#joins(at)) {
      this.flushLost(sink);
      this.#begin(at);
    }
  }

  flushAcked(sink: RecoverySink<F>): void {
    if (this.#stream === 0) return;
    sink.onAckedData?.(this.#stream, this.#offset, this.#length);
    this.#stream = 0;
  }

  flushLost(sink: RecoverySink<F>): void {
    if (this.#stream === 0) return;
    sink.onLostData?.(this.#stream, this.#offset, this.#length);
    this.#stream = 0;
  }

  /** Whether the bytes of `at` follow those at hand; if so, they are among them now. */
  #joins(at: number): boolean {
    const packets = this.#packets;
    if (
      packets.offset(at) !== this.#offset + this.#length || packets.stream(at) !== this.#stream
    ) return false;
    this.#length += packets.length(at);
    return true;
  }

  #begin(at: number): void {
    this.#stream = this.#packets.stream(at);
    this.#offset = this.#packets.offset(at);
    this.#length = this.#packets.length(at);
  }
}
