/**
 * How large the frames of a path may be: packetization layer path MTU discovery (RFC 8899; RFC
 * 9000 §14.3) with probe packets, and the way back when large packets begin to vanish.
 *
 *   known to pass ── low ┄┄ not known ┄┄ high ── failed
 *
 * The largest size is tried first: on loopback that is all there is to do. When it fails, common
 * sizes are tried downwards, once each, until one passes. From there up: as a loss may be chance,
 * every common size that has not failed for good yet, then halves of the gap until it is small.
 * A probe lost amid other packets says nothing about its size and is sent again later. One probe
 * is on its way at a time. Sizes are bytes of frames, header and CRC included; the IP datagram is
 * 36 (IPv4) or 56 (IPv6) bytes longer.
 */
import { NEVER } from "../base/mod.ts";
import { FRAME_BYTES_DEFAULT } from "./config.ts";

/** RFC 8899 §5.1.2, MAX_PROBES: losses after which a size counts as too large. */
export const MTU_ATTEMPTS_MAX = 3;
/** RFC 8899 §5.1.1, PMTU_RAISE_TIMER: a path may have become better after this. */
export const MTU_RAISE_US = 600_000_000;
/** Ours: probes that one search may lose to their size; enough for all sizes and attempts. */
export const MTU_PROBES_MAX = 64;
/** Ours: a gap of less than this, or a sixteenth of the frame, is not worth more probes. */
const GAP_BYTES_MIN = 16;
const GAP_DIVISOR = 16;
/** Ours: a packet lost this near to a lost probe, in packet numbers, makes its loss congestion's. */
const CROWD_PACKETS = 8;
/**
 * Ours: the wait after such a loss, doubled each time in a row. RFC 8899 §5.1.1 has PROBE_TIMER at
 * a second and more, without knowing of other losses.
 */
const CROWD_PAUSE_US = 50_000;
const CROWD_PAUSE_US_MAX = 2_000_000;
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
  /** Sizes from here on failed for good; above bytesMax: none did. */
  #high: number;
  /** Lost probes by size, of sizes below `high`. */
  readonly #losses = new Map<number, number>();
  /** Whether a probe has passed in this search. */
  #found = false;
  #probesLeft = MTU_PROBES_MAX;
  #isProbing = false;
  /** Packet number of the last probe, and its size when it is lost: what that means is open. */
  #probe = -1;
  #lostBytes = 0;
  /** Whether a packet beside the last probe is lost too. */
  #isCrowded = false;
  #pauseUs = CROWD_PAUSE_US;
  /** When to go on after a pause; NEVER: there is none. */
  #resumeUs = NEVER;
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
    if (this.#lostBytes > 0) this.#judgeLoss(nowUs);
    if (nowUs >= this.#resumeUs) this.#resumeUs = NEVER;
    if (this.#isProbing || nowUs < this.#raiseUs || this.#resumeUs !== NEVER) return 0;
    if (this.#raiseUs !== -Infinity) this.#begin();
    const size = this.#probesLeft > 0 ? this.#nextSize() : 0;
    if (size === 0) this.#raiseUs = this.frameBytes < this.#bytesMax ? nowUs + MTU_RAISE_US : NEVER;
    return size;
  }

  /** When to ask for a probe although nothing else is to be sent; NEVER: not for that. */
  nextTimeoutUs(): number {
    return this.#resumeUs;
  }

  onProbeSent(packetNumber: number): void {
    this.#isProbing = true;
    this.#probe = packetNumber;
    this.#isCrowded = false;
  }

  /** A probe arrived, be it after it was lost; true when it made frameBytes larger. */
  onProbeAcked(bytes: number): boolean {
    this.#isProbing = false;
    this.#lostBytes = 0;
    if (bytes <= this.frameBytes) return false;
    this.#found = true;
    this.#pauseUs = CROWD_PAUSE_US;
    this.frameBytes = bytes;
    if (bytes >= this.#high) this.#high = this.#bytesMax + 1;
    return true;
  }

  onProbeLost(bytes: number): void {
    this.#isProbing = false;
    this.#lostBytes = bytes;
  }

  /** Another packet than a probe is lost. */
  onPacketLost(packetNumber: number): void {
    if (Math.abs(packetNumber - this.#probe) <= CROWD_PACKETS) this.#isCrowded = true;
  }

  /** What the loss of the last probe means, when all that was lost with it is known. */
  #judgeLoss(nowUs: number): void {
    const bytes = this.#lostBytes;
    this.#lostBytes = 0;
    if (this.#isCrowded) {
      this.#resumeUs = nowUs + this.#pauseUs;
      this.#pauseUs = Math.min(2 * this.#pauseUs, CROWD_PAUSE_US_MAX);
      return;
    }
    this.#probesLeft--;
    if (bytes <= this.frameBytes || bytes >= this.#high) return;
    const losses = (this.#losses.get(bytes) ?? 0) + 1;
    this.#losses.set(bytes, losses);
    if (losses >= MTU_ATTEMPTS_MAX) this.#high = bytes;
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
    this.#begin();
    this.#high = failed + 1;
    this.#losses.set(failed, 1);
    return true;
  }

  /** Another network path: nothing is known any more. */
  reset(): void {
    this.frameBytes = this.#baseBytes;
    this.#flightsLost = 0;
    if (this.#baseBytes < this.#bytesMax) this.#begin();
  }

  #begin(): void {
    this.#high = this.#bytesMax + 1;
    this.#losses.clear();
    this.#found = false;
    this.#isProbing = false;
    this.#lostBytes = 0;
    this.#pauseUs = CROWD_PAUSE_US;
    this.#resumeUs = NEVER;
    this.#probesLeft = MTU_PROBES_MAX;
    this.#raiseUs = -Infinity;
  }

  /** The next size to try, 0 when the search is over. */
  #nextSize(): number {
    const low = this.frameBytes;
    const high = this.#high;
    if (low === this.#bytesMax) return 0;
    const sizes = [this.#bytesMax, ...COMMON_BYTES, ...this.#losses.keys()];
    const open = sizes.filter((size) => size > low && size < high && size <= this.#bytesMax);
    if (!this.#found) {
      const untried = open.find((size) => !this.#losses.has(size));
      if (untried !== undefined) return untried;
    }
    if (open.length > 0) return Math.min(...open);
    const gap = high - low;
    return gap <= Math.max(GAP_BYTES_MIN, low / GAP_DIVISOR) ? 0 : low + (gap >> 1);
  }
}
