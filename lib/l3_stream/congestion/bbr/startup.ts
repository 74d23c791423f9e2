/** Startup and Drain (draft-ietf-ccwg-bbr §5.3.1, §5.3.2): find the bandwidth, empty the queue. */
import { isInflightTooHigh } from "./model.ts";
import { enterProbeBw } from "./probe_bw.ts";
import type { BbrState } from "./state.ts";

/** §5.3.1.3, BBRStartupFullLossCnt: separate losses in a round trip that are no accident. */
export const STARTUP_LOSS_EVENTS = 6;
/** §5.3.2: Drain ends after so many round trips, whatever is in flight. */
const DRAIN_ROUNDS_MAX = 3;

/** CheckStartupDone(). */
export function checkStartupDone(bbr: BbrState): void {
  checkStartupHighLoss(bbr);
  if (bbr.phase !== "Startup" || !bbr.fullBwReached) return;
  bbr.enter("Drain");
  bbr.drainStartRound = bbr.roundCount;
}

/**
 * CheckStartupHighLoss(), §5.3.1.3: lasting, high and spread loss means a full pipe too. That
 * recovery has lasted a round trip is implied: noteLoss() begins the loss round anew with the
 * first loss.
 */
function checkStartupHighLoss(bbr: BbrState): void {
  if (!bbr.lossRoundStart) return;
  const events = bbr.lossEventsInRound;
  bbr.lossEventsInRound = 0;
  const { lost, txInFlight } = bbr.rate.sample;
  if (bbr.fullBwReached || events < STARTUP_LOSS_EVENTS) return;
  if (!isInflightTooHigh(lost, txInFlight)) return;
  if (bbr.undo !== undefined) bbr.undo.phase = "Startup";
  bbr.fullBwNow = true;
  bbr.fullBwReached = true;
  bbr.inflightLongterm = Math.max(bbr.bdp, bbr.inflightLatest);
}

/** CheckDrainDone(), §5.3.2. */
export function checkDrainDone(bbr: BbrState): void {
  if (bbr.phase !== "Drain") return;
  const isDrained = bbr.inFlight <= bbr.inflight(bbr.bw, 1);
  if (isDrained || bbr.roundCount > bbr.drainStartRound + DRAIN_ROUNDS_MAX) enterProbeBw(bbr);
}
