/** Updating the model of the path on every acknowledgement (draft-ietf-ccwg-bbr §5.5). */
import { type BbrState, BETA, EXTRA_ACKED_ROUNDS, LOSS_THRESH } from "./state.ts";

/** §5.3.1.2: three round trips that grow by less than a quarter: the pipe is full. */
const FULL_BW_GROWTH = 1.25;
const FULL_BW_ROUNDS = 3;

/** UpdateLatestDeliverySignals(), §5.5.10.3: near the start of an acknowledgement. */
export function updateLatestDeliverySignals(bbr: BbrState): void {
  const { sample, delivered } = bbr.rate;
  bbr.lossRoundStart = false;
  bbr.bwLatest = Math.max(bbr.bwLatest, sample.deliveryRate);
  bbr.inflightLatest = Math.max(bbr.inflightLatest, sample.delivered);
  if (sample.priorDelivered >= bbr.lossRoundDelivered) {
    bbr.lossRoundDelivered = delivered;
    bbr.lossRoundStart = true;
  }
}

/** AdvanceLatestDeliverySignals(): near its end. */
export function advanceLatestDeliverySignals(bbr: BbrState): void {
  if (!bbr.lossRoundStart) return;
  bbr.bwLatest = bbr.rate.sample.deliveryRate;
  bbr.inflightLatest = bbr.rate.sample.delivered;
}

/** ResetCongestionSignals(). */
export function resetCongestionSignals(bbr: BbrState): void {
  bbr.isLossInRound = false;
  bbr.bwLatest = 0;
  bbr.inflightLatest = 0;
}

/** ResetShortTermModel(). */
export function resetShortTermModel(bbr: BbrState): void {
  bbr.bwShortterm = Infinity;
  bbr.inflightShortterm = Infinity;
}

/** UpdateRound(), §5.5.1: a round trip ends with the first packet sent after its start. */
function updateRound(bbr: BbrState): void {
  bbr.roundStart = bbr.rate.sample.priorDelivered >= bbr.nextRoundDelivered;
  if (!bbr.roundStart) return;
  bbr.startRound();
  bbr.roundCount++;
  bbr.roundsSinceProbeUp++;
  bbr.wasCwndLimited = bbr.isCwndLimited;
  bbr.isCwndLimited = false;
}

/** UpdateMaxBw(), §5.5.5; low samples count only if the path, not the application, made them so. */
function updateMaxBw(bbr: BbrState): void {
  updateRound(bbr);
  const { deliveryRate, isAppLimited } = bbr.rate.sample;
  if (deliveryRate <= 0 || (deliveryRate < bbr.maxBw && isAppLimited)) return;
  const cycles = bbr.maxBwOfCycle;
  cycles[1] = Math.max(cycles[1], deliveryRate);
  bbr.maxBw = Math.max(cycles[0], cycles[1]);
}

/** AdvanceMaxBwFilter(), §5.5.6: one ProbeBW cycle is over. */
export function advanceMaxBwFilter(bbr: BbrState): void {
  const cycles = bbr.maxBwOfCycle;
  // An application-limited cycle may have no sample: then the last one that has counts on.
  if (cycles[1] === 0) return;
  cycles[0] = cycles[1];
  cycles[1] = 0;
  bbr.maxBw = cycles[0];
}

/**
 * UpdateCongestionSignals(), §5.5.10.3. One thing is not the draft's, which lowers the bounds in a
 * round with any loss: as what arrives is at most 99 % of the bound (PACING_MARGIN) less the loss,
 * they shrink by 2 % a round at 1 % loss, and 100 Mbit/s over 50 ms becomes 84. Here a round
 * counts when it lost more than LOSS_THRESH, which is what §2.8 says is put up with.
 */
export function updateCongestionSignals(bbr: BbrState): void {
  updateMaxBw(bbr);
  if (!bbr.lossRoundStart) return;
  const { lost, txInFlight } = bbr.rate.sample;
  const isCongested = bbr.isLossInRound && isInflightTooHigh(lost, txInFlight);
  if (!bbr.isProbing && isCongested) adaptLowerBounds(bbr);
  bbr.isLossInRound = false;
}

/** InitLowerBounds() and LossLowerBounds(): once per round trip with loss, towards what arrives. */
function adaptLowerBounds(bbr: BbrState): void {
  if (bbr.bwShortterm === Infinity) bbr.bwShortterm = bbr.maxBw;
  if (bbr.inflightShortterm === Infinity) bbr.inflightShortterm = bbr.cwnd;
  bbr.bwShortterm = Math.max(bbr.bwLatest, BETA * bbr.bwShortterm);
  bbr.inflightShortterm = Math.max(bbr.inflightLatest, BETA * bbr.inflightShortterm);
}

/** BoundBWForModel(). */
export function boundBwForModel(bbr: BbrState): void {
  bbr.bw = Math.min(bbr.maxBw, bbr.bwShortterm);
}

/** ResetFullBW(), §5.3.1.2. */
export function resetFullBw(bbr: BbrState): void {
  bbr.fullBw = 0;
  bbr.fullBwCount = 0;
  bbr.fullBwNow = false;
}

/** CheckFullBWReached(): looks for a plateau of the delivery rate. */
export function checkFullBwReached(bbr: BbrState): void {
  const { sample } = bbr.rate;
  if (bbr.fullBwNow || !bbr.roundStart || sample.isAppLimited) return;
  if (sample.deliveryRate >= bbr.fullBw * FULL_BW_GROWTH) {
    resetFullBw(bbr);
    bbr.fullBw = sample.deliveryRate;
    return;
  }
  bbr.fullBwCount++;
  bbr.fullBwNow = bbr.fullBwCount >= FULL_BW_ROUNDS;
  if (bbr.fullBwNow) bbr.fullBwReached = true;
}

/** UpdateACKAggregation(), §5.5.9: how much more than expected came at once. */
export function updateAckAggregation(bbr: BbrState): void {
  const intervalUs = bbr.nowUs - bbr.extraAckedStartUs;
  let expected = bbr.bw * intervalUs / 1e6;
  if (bbr.extraAckedDelivered <= expected) {
    bbr.extraAckedDelivered = 0;
    bbr.extraAckedStartUs = bbr.nowUs;
    expected = 0;
  }
  bbr.extraAckedDelivered += bbr.rate.sample.newlyAcked;
  const extra = Math.min(bbr.extraAckedDelivered - expected, bbr.cwnd);
  const rounds = bbr.fullBwReached ? EXTRA_ACKED_ROUNDS : 1;
  bbr.extraAcked = bbr.extraAckedFilter.update(extra, bbr.roundCount, rounds);
}

/** IsInflightTooHigh(), §5.5.10.2: more than 2 % of what was in flight is lost. */
export function isInflightTooHigh(lost: number, txInFlight: number): boolean {
  return lost > txInFlight * LOSS_THRESH;
}
