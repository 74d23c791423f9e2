/**
 * ProbeBW (draft-ietf-ccwg-bbr §5.3.3): the cycle of DOWN (leave room), CRUISE (send what is
 * delivered), REFILL (forget the short-term bounds, fill the pipe) and UP (find out whether the
 * path takes more).
 */
import {
  advanceMaxBwFilter,
  isInflightTooHigh,
  resetCongestionSignals,
  resetFullBw,
  resetShortTermModel,
} from "./model.ts";
import type { BbrState } from "./state.ts";

/** §5.3.3.8.2: T_bbr is uniform between two and three seconds. */
const PROBE_WAIT_US_MIN = 2_000_000;
const PROBE_WAIT_US_RANDOM = 1_000_000;
/** §5.3.3.8.2: T_reno, as Reno would need a round trip per packet; at most this many. */
const RENO_ROUNDS_MAX = 63;
/** §5.3.3.9: the slope doubles each round trip, up to 2^30. */
const PROBE_UP_ROUNDS_MAX = 30;

/** EnterProbeBW(). */
export function enterProbeBw(bbr: BbrState): void {
  startProbeBwDown(bbr);
}

/** StartProbeBW_DOWN(), §5.3.3.9. */
export function startProbeBwDown(bbr: BbrState): void {
  resetCongestionSignals(bbr);
  bbr.probeUpAckedPerInc = Infinity; // not growing inflight_longterm
  // PickProbeWait(): random, so that flows mix.
  bbr.roundsSinceProbeUp = bbr.random() < 0.5 ? 0 : 1;
  bbr.bwProbeWaitUs = PROBE_WAIT_US_MIN + PROBE_WAIT_US_RANDOM * bbr.random();
  bbr.cycleStampUs = bbr.nowUs;
  bbr.ackPhase = "ProbeStopping";
  bbr.startRound();
  bbr.enter("ProbeBW_DOWN");
}

/** StartProbeBW_CRUISE(). */
export function startProbeBwCruise(bbr: BbrState): void {
  bbr.enter("ProbeBW_CRUISE");
}

/** StartProbeBW_REFILL(). */
export function startProbeBwRefill(bbr: BbrState): void {
  resetShortTermModel(bbr);
  bbr.bwProbeUpRounds = 0;
  bbr.bwProbeUpAcked = 0;
  bbr.prevProbePrecautionary = false;
  bbr.ackPhase = "Refilling";
  bbr.startRound();
  bbr.enter("ProbeBW_REFILL");
}

/** StartProbeBW_UP(). */
function startProbeBwUp(bbr: BbrState): void {
  bbr.ackPhase = "ProbeStarting";
  bbr.startRound();
  resetFullBw(bbr);
  bbr.fullBw = bbr.rate.sample.deliveryRate;
  bbr.enter("ProbeBW_UP");
  raiseInflightLongtermSlope(bbr);
}

/** UpdateProbeBWCyclePhase(). */
export function updateProbeBwCyclePhase(bbr: BbrState): void {
  if (!bbr.fullBwReached || adaptLongTermModel(bbr)) return;
  switch (bbr.phase) {
    case "ProbeBW_DOWN":
      if (isTimeToProbeBw(bbr)) startProbeBwRefill(bbr);
      else if (isTimeToCruise(bbr)) startProbeBwCruise(bbr);
      break;
    case "ProbeBW_CRUISE":
      if (isTimeToProbeBw(bbr)) startProbeBwRefill(bbr);
      break;
    case "ProbeBW_REFILL":
      if (!bbr.roundStart) break; // one round trip of filling
      bbr.isBwProbeSample = true;
      startProbeBwUp(bbr);
      break;
    case "ProbeBW_UP":
      if (!isTimeToGoDown(bbr)) break;
      bbr.prevProbeTooHigh = false; // no high loss yet
      startProbeBwDown(bbr);
  }
}

/** IsTimeToProbeBW(), §5.3.3.8.2: by the clock, or when Reno would have had its share. */
function isTimeToProbeBw(bbr: BbrState): boolean {
  if (bbr.nowUs > bbr.cycleStampUs + bbr.bwProbeWaitUs) return true;
  const renoRounds = bbr.targetInflight() / bbr.datagramBytes;
  return bbr.roundsSinceProbeUp >= Math.min(renoRounds, RENO_ROUNDS_MAX);
}

/** IsTimeToCruise(): the queue is empty and there is room for others. */
function isTimeToCruise(bbr: BbrState): boolean {
  return bbr.inFlight <= bbr.inflightWithHeadroom() &&
    bbr.inFlight <= bbr.inflight(bbr.maxBw, 1);
}

/** IsTimeToGoDown(), §5.3.3.7. */
function isTimeToGoDown(bbr: BbrState): boolean {
  // What was in flight before this acknowledgement: as the window is not above inflight_longterm
  // either, it comes no closer than a packet.
  const inFlight = bbr.inFlight + bbr.rate.sample.newlyAcked;
  if (bbr.prevProbeTooHigh && inFlight + bbr.datagramBytes > bbr.inflightLongterm) {
    bbr.prevProbePrecautionary = true; // §5.3.3.6: the last probe went too high just there
    return true;
  }
  if (isLimitedByLongterm(bbr)) {
    resetFullBw(bbr); // a plateau would be of our own making
    bbr.fullBw = bbr.rate.sample.deliveryRate;
    return false;
  }
  return bbr.fullBwNow;
}

/** Whether inflight_longterm is what keeps the flow from having more in flight. */
function isLimitedByLongterm(bbr: BbrState): boolean {
  return (bbr.isCwndLimited || bbr.wasCwndLimited) && bbr.cwnd >= bbr.inflightLongterm;
}

/** RaiseInflightLongtermSlope(): 1, 2, 4, 8 … packets more per round trip. */
function raiseInflightLongtermSlope(bbr: BbrState): void {
  const growthThisRound = 2 ** bbr.bwProbeUpRounds;
  bbr.bwProbeUpRounds = Math.min(bbr.bwProbeUpRounds + 1, PROBE_UP_ROUNDS_MAX);
  bbr.probeUpAckedPerInc = Math.max(bbr.cwnd / growthThisRound, bbr.datagramBytes);
}

/** ProbeInflightLongtermUpward(). */
function probeInflightLongtermUpward(bbr: BbrState): void {
  if (!isLimitedByLongterm(bbr)) return;
  bbr.bwProbeUpAcked += bbr.rate.sample.newlyAcked;
  if (bbr.bwProbeUpAcked >= bbr.probeUpAckedPerInc) {
    const packets = Math.floor(bbr.bwProbeUpAcked / bbr.probeUpAckedPerInc);
    bbr.bwProbeUpAcked -= packets * bbr.probeUpAckedPerInc;
    bbr.inflightLongterm += packets * bbr.datagramBytes;
  }
  if (bbr.roundStart) raiseInflightLongtermSlope(bbr);
}

/** AdaptLongTermModel(); true when it decided about the state. */
function adaptLongTermModel(bbr: BbrState): boolean {
  const { sample } = bbr.rate;
  if (bbr.ackPhase === "ProbeStarting" && bbr.roundStart) bbr.ackPhase = "ProbeFeedback";
  if (bbr.ackPhase === "ProbeStopping" && bbr.roundStart) {
    // The last samples of the probe are in.
    bbr.isBwProbeSample = false;
    bbr.ackPhase = "Init";
    if (bbr.isProbeBw) {
      if (!sample.isAppLimited) advanceMaxBwFilter(bbr);
      if (bbr.prevProbePrecautionary && !bbr.prevProbeTooHigh) {
        startProbeBwRefill(bbr); // §5.3.3.6: that was safe, now go on
        return true;
      }
    }
  }
  if (isInflightTooHigh(sample.lost, sample.txInFlight)) return false;
  if (bbr.inflightLongterm === Infinity) return false; // no bound to raise
  bbr.inflightLongterm = Math.max(bbr.inflightLongterm, sample.txInFlight);
  if (bbr.phase === "ProbeBW_UP") probeInflightLongtermUpward(bbr);
  return false;
}
