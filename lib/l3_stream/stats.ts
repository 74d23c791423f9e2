/** What a connection counts, and what it tells about itself when somebody asks. */
import type { ConnectionCore } from "./core.ts";
import type { Path } from "./path.ts";

/** Counters since the start. */
export class ConnectionCounters {
  packetsSent = 0;
  packetsReceived = 0;
  bytesSent = 0;
  bytesReceived = 0;
  /** Stream bytes that went out again. */
  bytesRetransmitted = 0;
  /** Frames that did not open, were replayed, or came when nothing was expected. */
  framesDropped = 0;
  /** BE and PR messages thrown away at this end. */
  messagesDropped = 0;
}

/** Counters and path estimates. */
export interface ConnectionStats extends Readonly<ConnectionCounters> {
  readonly packetsLost: number;
  readonly packetsSpurious: number;
  readonly ptoCount: number;
  readonly bytesInFlight: number;
  readonly windowBytes: number;
  readonly srttUs: number;
  readonly rttVarUs: number;
  /** Largest frame that the path is known to carry. */
  readonly frameBytes: number;
  /** Whether packets leave with ECT(0) and the peer sees it. */
  readonly isEcnCapable: boolean;
  /** CE marks that the peer saw and bytes that it has in flight, as it told us last. */
  readonly peerCe: number;
  readonly peerBytesInFlight: number;
  /** Infinity before the first sample. */
  readonly minRttUs: number;
  readonly latestRttUs: number;
}

/** Bytes that the buffers of a connection hold, over all streams. */
export interface ConnectionMemory {
  /** What the application wrote and the peer did not acknowledge yet. */
  readonly sendBytes: number;
  /** What arrived, whole or in part, and the application did not read yet. */
  readonly receiveBytes: number;
}

/** One path. */
export interface PathStats {
  readonly id: number;
  readonly peer: number;
  /** Whether the peer's address is validated. */
  readonly isUsable: boolean;
  readonly frameBytes: number;
  readonly srttUs: number;
  readonly windowBytes: number;
  readonly bytesInFlight: number;
  readonly packetsSent: number;
  readonly packetsLost: number;
  readonly isEcnCapable: boolean;
}

export function pathStats({ id, peer, isUsable, frameBytes, rtt, recovery, ecn }: Path): PathStats {
  return {
    id,
    peer,
    isUsable,
    frameBytes,
    srttUs: rtt.smoothedUs,
    windowBytes: recovery.congestion.windowBytes,
    bytesInFlight: recovery.bytesInFlight,
    packetsSent: recovery.stats.sent,
    packetsLost: recovery.stats.lost,
    isEcnCapable: ecn.isCapable,
  };
}

export function connectionStats(core: ConnectionCore): ConnectionStats {
  const { counters, primary: { recovery, rtt, frameBytes, ecn, peerCe, peerBytesInFlight } } = core;
  return {
    ...counters,
    packetsLost: recovery.stats.lost,
    packetsSpurious: recovery.stats.spurious,
    ptoCount: recovery.ptoCount,
    bytesInFlight: recovery.bytesInFlight,
    windowBytes: recovery.congestion.windowBytes,
    frameBytes,
    isEcnCapable: ecn.isCapable,
    srttUs: rtt.smoothedUs,
    rttVarUs: rtt.varianceUs,
    peerCe,
    peerBytesInFlight,
    minRttUs: rtt.minUs,
    latestRttUs: rtt.latestUs,
  };
}

export function connectionMemory(core: ConnectionCore): ConnectionMemory {
  let sendBytes = 0;
  let receiveBytes = 0;
  for (const stream of core.table.values()) {
    sendBytes += stream.bufferedBytes;
    receiveBytes += stream.heldBytes;
  }
  return { sendBytes, receiveBytes };
}
