/**
 * A port moves bursts of frames between a pool and the outside (NL-P-006). Upper layers do not
 * know which one they run on. The port writes and strips the overlay and drops frames of other
 * tenants. tests/l1_link/port_conformance.ts is the contract as tests, run over every port.
 */
import type { SocketAddress } from "../base/mod.ts";
import type { Burst } from "./burst.ts";
import type { Pool } from "./pool.ts";

/** Counters since the port was opened. */
export interface PortStats {
  rxFrames: number;
  /** Frame bytes, overlay not counted. */
  rxBytes: number;
  /** Datagrams with a short or foreign overlay. */
  rxMalformed: number;
  /** Frames of another tenant network. */
  rxWrongVni: number;
  /** Longer than a slot. */
  rxTooLong: number;
  /** Dropped because the pool was empty. */
  rxNoSlot: number;
  /** Dropped because the receive queue was full. */
  rxQueueFull: number;
  /** The outside failed to receive. */
  rxErrors: number;
  txFrames: number;
  txBytes: number;
  /** The outside refused to send: message too long, network unreachable, connection refused, … */
  txErrors: number;
  /** Dropped because the peer number is not (any longer) in the table. */
  txUnknownPeer: number;
  /** Dropped on purpose, by scripted faults. */
  txFaults: number;
}

/** All counters at zero. */
export function emptyPortStats(): PortStats {
  return {
    rxFrames: 0,
    rxBytes: 0,
    rxMalformed: 0,
    rxWrongVni: 0,
    rxTooLong: 0,
    rxNoSlot: 0,
    rxQueueFull: 0,
    rxErrors: 0,
    txFrames: 0,
    txBytes: 0,
    txErrors: 0,
    txUnknownPeer: 0,
    txFaults: 0,
  };
}

/** Where frames come in and go out. One driver per port; nothing here throws for what a peer did. */
export interface Port {
  /** Kind and address, for people: "udp 127.0.0.1:6477". */
  readonly name: string;
  readonly localAddress: SocketAddress;
  /** Longest frame that the port takes. */
  readonly frameBytesMax: number;
  /**
   * Whether a datagram too long for the path vanishes as a whole; false: the network may cut it,
   * so that probes for the path MTU (RFC 8899) would find what only fragments get through.
   */
  readonly neverFragments: boolean;
  readonly pool: Pool;
  /** Gives and takes trains as one descriptor (Burst.segment). Others have single frames only. */
  readonly trains?: boolean;

  /**
   * Replaces the burst by frames that have arrived and returns their number (0 … 64). The caller
   * owns their slots and frees each one.
   */
  rxBurst(burst: Burst): number;

  /**
   * Takes frames from the front of the burst and returns how many. Each must lie in `pool`, at
   * least OVERLAY_BYTES behind the start of its slot. Slots of taken frames belong to the port,
   * which frees them when they are sent or dropped; the others stay the caller's (Burst.shift).
   * The burst itself is not changed.
   */
  txBurst(burst: Burst): number;

  /**
   * Resolves when frames wait, when a port that took only part of a burst has room again, when
   * `timeoutUs` have passed (Infinity: never), or at close.
   */
  wait(timeoutUs: number): Promise<void>;

  /** Ends the waits that are open now: the driver has something to send or a nearer deadline. */
  wake(): void;

  /**
   * The number of a numeric IP address in the peer table; INVALID_ADDRESS for a name. Numbers of
   * descriptors come from the same table. The table is bounded: a number nobody has sent to for
   * long may be forgotten; frames to it are dropped and counted, and `peer` gives a new one.
   */
  peer(address: SocketAddress): number;

  /** Whether peerAddress has an answer, where making one takes time. */
  knowsPeer?(peer: number): boolean;

  /** The address behind a number, undefined once it is forgotten. */
  peerAddress(peer: number): SocketAddress | undefined;

  /** A copy of the counters. */
  stats(): PortStats;

  /** Stops both directions and frees the slots the port holds. Calling it again does nothing. */
  close(): void | Promise<void>;
}
