/**
 * How large the frames of a path may be: packetization layer path MTU discovery (RFC 8899; RFC
 * 9000 §14.3) with probe packets, and the way back when large packets begin to vanish.
 *
 *   known to pass ── low ┄┄ not known ┄┄ high ── failed
 *
 * The largest size is tried first: on loopback that is all there is to do. When it fails, common
 * sizes are tried downwards, once each, until one passes. From there up: the smallest size that
 * failed once more, as a loss may be chance, then common sizes and halves of the gap, until the
 * gap is small. One probe is on its way at a time. Sizes are bytes of frames, header and CRC
 * included; the IP datagram is 36 (IPv4) or 56 (IPv6) bytes longer.
 */
import { NEVER } from "../base/mod.ts";
import { FRAME_BYTES_DEFAULT } from "./config.ts";

/** RFC 8899 §5.1.2, MAX_PROBES: losses after which a size counts as too large. */
export const MTU_ATTEMPTS_MAX = 3;
/** RFC 8899 §5.1.1, PMTU_RAISE_TIMER: a path may have become better after this. */
export const MTU_RAISE_US = 600_000_000;
/** Ours: probes of one search, whatever happens; enough for every size with all its attempts. */
export const MTU_PROBES_MAX = 64;
/** Ours: a gap of less than this, or a sixteenth of the frame, is not worth more probes. */
const GAP_BYTES_MIN = 16;
const GAP_DIVISOR = 16;
/** Ours: round trips in a row that lose every packet above the base size: a black hole. */
export const MTU_FLIGHTS_LOST_MAX = 3;

/** Frames that fill the usual links, largest first. */
const COMMON_BYTES = [
  65_499, // loopback: the largest UDP payload over IPv4
  8_964, // jumbo Ethernet, 9,000 bytes, IPv4
  8_944, // … IPv6
  1_464, // Ethernet, 1,500 bytes, IPv4
  1_444, // … IPv6
  1_422, // … with room for one more tunnel header
  1_384, // WireGuard, 1,420 bytes, IPv4
];

export class PathMtu {
  /** Largest frame that is known to pass. */
  frameBytes: number;
  /** Where the path begins and falls back to. */
  readonly #baseBytes: number;
  readonly #bytesMax: number;
  /** Smallest size that failed; above bytesMax: none. */
  #high: number;
  /** Probes of size `high` that were lost. */
  #highLosses = 0;
  /** Whether a probe has passed in this search. */
  #found = false;
  #probesLeft = MTU_PROBES_MAX;
  #isProbing = false;
  /** When to search again; -Infinity while a search is under way. */
  #raiseUs: number;
  /** Flights without any acknowledged packet above the base size, and the first packet of the next. */
  #flightsLost = 0;
  #nextFlight = 0;

  /** `search` false: frames of `bytesMax` from the first one on. */
  constructor(bytesMax: number, search: boolean) {
    this.#bytesMax = bytesMax;
    this.#baseBytes = search ? Math.min(FRAME_BYTES_DEFAULT, bytesMax) : bytesMax;
    this.frameBytes = this.#baseBytes;
    this.#high = bytesMax + 1;
    this.#raiseUs = this.#baseBytes < bytesMax ? -Infinity : NEVER;
  }

  /** Size that every path is assumed to carry, for packets that must not be lost to their size. */
  get baseBytes(): number {
    return this.#baseBytes;
  }

  /** Bytes of the probe to send now; 0: none. */
  probeBytes(nowUs: number): number {
    if (this.#isProbing || nowUs < this.#raiseUs) return 0;
    if (this.#raiseUs !== -Infinity) this.#begin(this.#bytesMax + 1);
    const size = this.#probesLeft > 0 ? this.#nextSize() : 0;
    if (size === 0) this.#raiseUs = this.frameBytes < this.#bytesMax ? nowUs + MTU_RAISE_US : NEVER;
    return size;
  }

  onProbeSent(): void {
    this.#isProbing = true;
    this.#probesLeft--;
  }

  /** A probe arrived; true when it made frameBytes larger. */
  onProbeAcked(bytes: number): boolean {
    this.#isProbing = false;
    if (bytes <= this.frameBytes) return false;
    this.#found = true;
    this.frameBytes = bytes;
    if (bytes >= this.#high) this.#setHigh(this.#bytesMax + 1);
    return true;
  }

  onProbeLost(bytes: number): void {
    this.#isProbing = false;
    if (bytes <= this.frameBytes || bytes > this.#high) return;
    if (bytes < this.#high) this.#setHigh(bytes);
    this.#highLosses++;
  }

  /** Whether a packet of this size, when lost, may have been lost to its size. */
  isLarge(bytes: number): boolean {
    return bytes > this.#baseBytes;
  }

  onLargeAcked(): void {
    this.#flightsLost = 0;
  }

  /**
   * A large packet was lost while smaller ones or none at all got through; `nextPacket` is sent
   * next. True when this is a black hole (RFC 8899 §4.3): frameBytes is the base size again.
   */
  onLargeLost(packetNumber: number, nextPacket: number): boolean {
    if (this.frameBytes === this.#baseBytes || packetNumber < this.#nextFlight) return false;
    this.#nextFlight = nextPacket;
    if (++this.#flightsLost < MTU_FLIGHTS_LOST_MAX) return false;
    this.#flightsLost = 0;
    const failed = this.frameBytes;
    this.frameBytes = this.#baseBytes;
    this.#begin(failed);
    return true;
  }

  /** Another network path: nothing is known any more. */
  reset(): void {
    this.frameBytes = this.#baseBytes;
    this.#flightsLost = 0;
    if (this.#baseBytes < this.#bytesMax) this.#begin(this.#bytesMax + 1);
  }

  #begin(high: number): void {
    this.#setHigh(high);
    this.#found = false;
    this.#isProbing = false;
    this.#probesLeft = MTU_PROBES_MAX;
    this.#raiseUs = -Infinity;
  }

  #setHigh(high: number): void {
    this.#high = high;
    this.#highLosses = 0;
  }

  /** The next size to try, 0 when the search is over. */
  #nextSize(): number {
    const low = this.frameBytes;
    const high = this.#high;
    if (low === this.#bytesMax) return 0;
    if (high > this.#bytesMax) return this.#bytesMax;
    const common = COMMON_BYTES.find((size) => size < high && size > low);
    if (this.#highLosses < MTU_ATTEMPTS_MAX && (this.#found || common === undefined)) return high;
    if (common !== undefined) return common;
    const gap = high - low;
    return gap <= Math.max(GAP_BYTES_MIN, low / GAP_DIVISOR) ? 0 : low + (gap >> 1);
  }
}
