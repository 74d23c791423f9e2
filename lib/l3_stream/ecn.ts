/**
 * Whether packets of a path leave with an ECN mark (RFC 9000 §13.4.2): they do until the peer's
 * counts disagree with what was sent or the first ones all vanish, which may be for their marks.
 * Such a path goes on without.
 *
 *   testing ── counts agree ─► capable
 *      └── marks lost, changed or not reported ──┴─► failed
 */
import { ECN_ECT0 } from "./acks.ts";
import type { Frame } from "./frames/frame.ts";

/** RFC 9000 §13.4.2: so many marked packets lost, and none acknowledged, are too many. */
export const ECN_TEST_PACKETS = 10;

const TESTING = 0;
const CAPABLE = 1;
const FAILED = 2;

export class EcnValidation {
  #state: number;
  /** From here on all packets are marked. */
  #markedFrom = 0;
  #testLost = 0;
  /** Packets that left marked, over all time. */
  #marked = 0;
  /** Of the acknowledgement in hand: marked packets that it is the first to acknowledge. */
  #newlyAcked = 0;
  /** The peer's count of ECT(0) and CE so far. */
  #counted = 0;

  constructor(enabled: boolean) {
    this.#state = enabled ? TESTING : FAILED;
  }

  get isCapable(): boolean {
    return this.#state === CAPABLE;
  }
  get hasFailed(): boolean {
    return this.#state === FAILED;
  }

  /** ECN field for the next packets, 0 or ECT(0). */
  get codepoint(): number {
    return this.#state === FAILED ? 0 : ECN_ECT0;
  }

  /** Packets left with `codepoint`. */
  onSent(packets: number): void {
    if (this.#state !== FAILED) this.#marked += packets;
  }

  /** Packets from `markedFrom` on that an acknowledgement is the first to tell about. */
  onPacketsAcked(packets: number): void {
    this.#newlyAcked += packets;
  }

  onPacketLost(packetNumber: number): void {
    if (this.#state !== TESTING || packetNumber < this.#markedFrom) return;
    if (++this.#testLost >= ECN_TEST_PACKETS) this.#state = FAILED;
  }

  /**
   * A DATA_ACK was taken, after onPacketsAcked for it. Only one that raises the largest number is
   * judged, as reordering makes counts run backwards (RFC 9000 §13.4.2.1).
   */
  onAck(ack: Frame, isNewLargest: boolean): void {
    const newlyAcked = this.#newlyAcked;
    this.#newlyAcked = 0;
    if (this.#state === FAILED || !isNewLargest) return;
    const counted = ack.hasEcn ? ack.ect0 + ack.ce : 0;
    const ect1 = ack.hasEcn ? ack.ect1 : 0;
    const agrees = counted - this.#counted >= newlyAcked && counted <= this.#marked && ect1 === 0;
    this.#counted = counted;
    if (!agrees) this.#state = FAILED;
    else if (newlyAcked > 0) this.#state = CAPABLE;
  }

  /** Another network path, which may treat marks otherwise; `nextPacket` is its first. */
  reset(enabled: boolean, nextPacket: number): void {
    this.#state = enabled ? TESTING : FAILED;
    this.#markedFrom = nextPacket;
    this.#testLost = 0;
  }
}
