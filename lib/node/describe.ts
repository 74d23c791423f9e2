/** Records of the layers in the words of the admin API. */
import { formatSocketAddress } from "../base/mod.ts";
import {
  type CandidateInfo,
  type CertificateSummary,
  type ConnectionInfo,
  type InferEvent,
  type ResolveResponse,
  summarizeMic,
} from "../admin_api/mod.ts";
import { systemClock } from "../io/clock.ts";
import { nodeEngine } from "../io/crypto.ts";
import {
  formatCapabilities,
  formatRegion,
  formatSad,
  REGION_UNKNOWN,
  type Resolution,
  type Sad,
} from "../l2_route/mod.ts";
import { type Mic, SUITE_AES_256_GCM } from "../l4_trust/mod.ts";
import type { Session, TraceEvent } from "../sdk/mod.ts";

/** Country of a region number; undefined when it is not known. */
export function regionText(region: number): string | undefined {
  return region === REGION_UNKNOWN ? undefined : formatRegion(region);
}

/** Words of capability bits. */
export function capabilityWords(bits: number): string[] {
  return bits === 0 ? [] : formatCapabilities(bits).split("+");
}

/** Name of a cipher suite, with its number. */
export function suiteText(suite: number): string {
  const aead = suite === SUITE_AES_256_GCM ? "AES-256-GCM" : "ChaCha20-Poly1305";
  return `0x${suite.toString(16).padStart(4, "0")} X25519 Ed25519 ${aead} SHA-256`;
}

/** A certificate in words. */
export function describeMic(mic: Mic): CertificateSummary {
  return summarizeMic(mic, nodeEngine);
}

/** All candidates, the chosen one marked. */
export function describeResolution(
  sad: Sad,
  resolution: Resolution,
  durationUs: number,
  nameOf: (nodeId: string) => string | undefined,
): ResolveResponse {
  return {
    sad: formatSad(sad),
    tableVersion: resolution.version,
    durationUs,
    candidates: resolution.candidates.map((candidate): CandidateInfo => {
      const chosen = candidate === resolution.chosen;
      const rank = resolution.order.indexOf(candidate);
      return {
        nodeId: candidate.nodeId,
        nodeName: nameOf(candidate.nodeId),
        model: candidate.model,
        chosen,
        score: candidate.rejected === undefined ? candidate.score : undefined,
        terms: candidate.terms,
        rejected: candidate.rejected,
        note: chosen || candidate.rejected !== undefined
          ? undefined
          : rank < 0
          ? "another model of the same node is better"
          : `number ${rank + 1} to be asked`,
      };
    }),
  };
}

/** A step of routing as an event of `POST /api/v1/infer`. */
export function describeTrace(
  event: TraceEvent,
  nameOf: (nodeId: string) => string | undefined,
): InferEvent {
  switch (event.type) {
    case "resolution":
      return {
        type: "resolution",
        ...describeResolution(event.sad, event.resolution, event.durationUs, nameOf),
      };
    case "attempt":
      return {
        type: "attempt",
        number: event.number,
        nodeId: event.candidate.nodeId,
        nodeName: nameOf(event.candidate.nodeId),
        model: event.candidate.model,
        address: event.candidate.endpoints[0],
        local: event.local,
      };
    case "session":
      return {
        type: "handshake",
        nodeId: event.session.peerNodeId,
        durationMs: event.session.handshake.durationUs / 1000,
        reused: event.reused,
        suite: suiteText(event.session.handshake.suite),
        certificate: describeMic(event.session.handshake.peerMic.leaf),
        chainLength: event.session.handshake.peerChain.length,
      };
    case "retry":
      return {
        type: "retry",
        number: event.number,
        nodeId: event.candidate.nodeId,
        code: event.error.code,
        message: event.error.message,
      };
  }
}

/** A connection with its counters; undefined once it is closed. */
export function describeSession(session: Session): ConnectionInfo | undefined {
  const { connection } = session;
  if (connection === undefined) return undefined;
  const stats = connection.stats();
  return {
    id: session.id,
    nodeId: session.peerNodeId,
    address: formatSocketAddress(session.address),
    side: session.initiator ? "client" : "server",
    role: session.peerRole ?? "joining",
    state: connection.state,
    suite: suiteText(session.handshake.suite),
    ageS: (systemClock.nowUs() - session.openedUs) / 1e6,
    rttMs: session.rttMs,
    congestionWindowBytes: stats.windowBytes,
    inFlightBytes: stats.bytesInFlight,
    streamsOpen: connection.openStreamCount,
    packetsSent: stats.packetsSent,
    packetsReceived: stats.packetsReceived,
    packetsLost: stats.packetsLost,
    bytesSent: stats.bytesSent,
    bytesReceived: stats.bytesReceived,
    bytesRetransmitted: stats.bytesRetransmitted,
  };
}
