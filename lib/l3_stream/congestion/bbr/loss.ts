/** Losses, congestion marks, and losses that were none (draft-ietf-ccwg-bbr §5.5.10, §5.5.11). */
import type { LostPacket } from "../delivery_rate.ts";
import { isInflightTooHigh, resetFullBw } from "./model.ts";
import { startProbeBwDown, startProbeBwRefill } from "./probe_bw.ts";
import { type BbrState, BETA, LOSS_THRESH } from "./state.ts";

/**
 * OnEnterFastRecovery(), §5.6.4.4, for something sent at `sentUs`: true when that begins an
 * episode, false when it is of the round trip that began the current one.
 */
export function beginRecovery(bbr: BbrState, sentUs: number): boolean {
  if (sentUs <= bbr.recoveryStartUs) return false;
  bbr.saveCwnd();
  bbr.undo = { // SaveStateUponLoss()
    phase: undefined,
    bwShortterm: bbr.bwShortterm,
    inflightShortterm: bbr.inflightShortterm,
    inflightLongterm: bbr.inflightLongterm,
    recoveryStartUs: bbr.recoveryStartUs,
  };
  bbr.inRecovery = true;
  bbr.recoveryStartUs = bbr.nowUs;
  return true;
}

/** NoteLoss(), §5.5.10.2. */
export function noteLoss(bbr: BbrState): void {
  if (!bbr.isLossInRound) bbr.lossRoundDelivered = bbr.rate.delivered;
  bbr.isLossInRound = true;
}

/** HandleLostPacket(). */
export function handleLostPacket(bbr: BbrState, packet: LostPacket): void {
  noteLoss(bbr);
  if (packet.packetNumber !== bbr.lastLostNumber + 1) bbr.lossEventsInRound++;
  bbr.lastLostNumber = packet.packetNumber;
  if (!bbr.isBwProbeSample || !isInflightTooHigh(packet.lost, packet.txInFlight)) return;
  handleInflightTooHigh(bbr, inflightAtLoss(packet), packet.isAppLimited);
}

/** InflightAtLoss(): at which volume in flight the losses exceeded the threshold. */
function inflightAtLoss({ bytes, txInFlight, lost }: LostPacket): number {
  const inflightPrev = txInFlight - bytes;
  const lostPrev = lost - bytes;
  return inflightPrev + (LOSS_THRESH * inflightPrev - lostPrev) / (1 - LOSS_THRESH);
}

/** HandleInflightTooHigh(). */
export function handleInflightTooHigh(
  bbr: BbrState,
  txInFlight: number,
  isAppLimited: boolean,
): void {
  bbr.prevProbeTooHigh = true;
  bbr.isBwProbeSample = false; // one reaction per probe
  if (!isAppLimited) {
    bbr.inflightLongterm = Math.max(txInFlight, bbr.targetInflight() * BETA);
  }
  if (bbr.phase !== "ProbeBW_UP") return;
  if (bbr.undo !== undefined) bbr.undo.phase = "ProbeBW_UP";
  startProbeBwDown(bbr);
}

/** HandleSpuriousLossDetection(), §5.5.11.2. */
export function handleSpuriousLossDetection(bbr: BbrState): void {
  const { undo } = bbr;
  if (undo === undefined) return;
  bbr.undo = undefined;
  bbr.restoreCwnd();
  bbr.inRecovery = false;
  bbr.recoveryStartUs = undo.recoveryStartUs;
  bbr.isLossInRound = false;
  resetFullBw(bbr);
  bbr.bwShortterm = Math.max(bbr.bwShortterm, undo.bwShortterm);
  bbr.inflightShortterm = Math.max(bbr.inflightShortterm, undo.inflightShortterm);
  bbr.inflightLongterm = Math.max(bbr.inflightLongterm, undo.inflightLongterm);
  if (undo.phase === "Startup" && bbr.phase !== "Startup") {
    bbr.fullBwReached = false;
    if (bbr.phase !== "ProbeRTT") bbr.enter("Startup");
  } else if (
    undo.phase === "ProbeBW_UP" && bbr.phase !== "ProbeBW_UP" && bbr.phase !== "ProbeRTT"
  ) startProbeBwRefill(bbr);
}
