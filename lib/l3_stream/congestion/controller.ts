/** What every congestion controller offers to loss recovery, and the constants they share. */
import type { RandomFill } from "../../base/mod.ts";
import type { RttEstimator } from "../rtt.ts";
import type { DeliveryRate, LostPacket, RateSample } from "./delivery_rate.ts";

/** RFC 9002 §7.2: start with ten packets, but not more than the larger of 14,720 bytes or two. */
export function initialWindowBytes(datagramBytes: number): number {
  return Math.min(10 * datagramBytes, Math.max(14_720, 2 * datagramBytes));
}

/** RFC 9002 §7.2: never less than two packets. */
export function minimumWindowBytes(datagramBytes: number): number {
  return 2 * datagramBytes;
}

/** Ours: no path in sight needs more in flight; bounds memory when a peer acknowledges anything. */
export const WINDOW_BYTES_MAX = 256 * 1024 * 1024;

/** How a controller is made. */
export interface CongestionOptions {
  /** Largest packet sent, in bytes; windows count in these. */
  datagramBytes: number;
  /** Upper bound of the window. Default WINDOW_BYTES_MAX. */
  windowBytesMax?: number;
  /** Lets controllers that probe in turns avoid doing so in step; default: fixed turns. */
  random?: RandomFill;
}

/**
 * One sender's congestion window. Loss recovery calls it; it never looks at packets itself. Times
 * are microseconds of the connection's monotonic clock. Calls for one ACK come in this order:
 * onRtt (when it gave a sample), onAck per packets sent at one time, onEcnCe, onPacketLost per
 * packet, onLoss, onSample. A controller with a `rate` has onPacketLost and onSample as well.
 */
export interface CongestionController {
  /** One of CONGESTION_NAMES. */
  readonly name: string;
  /** Bytes that may be in flight. */
  readonly windowBytes: number;
  /** Slow start threshold in bytes; Infinity before the first congestion event. */
  readonly slowStartThresholdBytes: number;
  /** Whether the window is below its slow start threshold. */
  readonly inSlowStart: boolean;
  readonly datagramBytes: number;
  /**
   * Packets become larger or smaller. The window never falls below its minimum for them, and one
   * that saw no congestion yet not below the initial one (RFC 9002 §7.2).
   */
  setDatagramBytes(bytes: number): void;
  /** A packet that counts as in flight is sent now, `inFlightBytes` being there before it. */
  onSent(bytes: number, inFlightBytes: number, nowUs: number): void;
  /** A new round-trip sample; `sentUs` is when the packet that gave it was sent. */
  onRtt(rtt: RttEstimator, sentUs: number, nowUs: number): void;
  /**
   * A packet in flight was acknowledged. `windowUsed`: the flight it belonged to filled the
   * window; without that the window must not grow (RFC 9002 §7.8, RFC 9438 §5.8).
   */
  onAck(bytes: number, sentUs: number, windowUsed: boolean, rtt: RttEstimator, nowUs: number): void;
  /**
   * Packets were declared lost. `persistent`: RFC 9002 §7.6 holds, fall to the minimum window.
   * True when this began a congestion event, i.e. they were not of the round trip that the last
   * event already answered.
   */
  onLoss(
    lostBytes: number,
    largestLostSentUs: number,
    nowUs: number,
    persistent: boolean,
  ): boolean;
  /** Every packet whose loss caused the last congestion event arrived after all: take it back. */
  onSpuriousLoss(): void;
  /**
   * The peer saw `marks` more CE marks, on packets up to one sent at `sentUs`; true: began a
   * congestion event.
   */
  onEcnCe(sentUs: number, nowUs: number, marks: number): boolean;
  /** Bytes per second to send at, so that a window spreads over its round trip (RFC 9002 §7.7). */
  pacingRate(rtt: RttEstimator): number;

  /** Delivery-rate samples, if the controller wants them; loss recovery keeps them. */
  readonly rate?: DeliveryRate;
  /** With `rate`: one packet was declared lost. */
  onPacketLost?(packet: LostPacket, nowUs: number): void;
  /** With `rate`: the last call for an ACK of something new, `inFlightBytes` being left. */
  onSample?(sample: RateSample, inFlightBytes: number, nowUs: number): void;
}

/** RFC 9002 §7.7: pace slightly faster than window per round trip, so that it stays filled. */
export const PACING_GAIN = 1.25;

/** The pacing rate of window-based controllers, in bytes per second. */
export function windowPacingRate(windowBytes: number, rtt: RttEstimator): number {
  return PACING_GAIN * windowBytes * 1e6 / Math.max(rtt.smoothedUs, 1);
}
