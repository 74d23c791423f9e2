/**
 * ProbeRTT (draft-ietf-ccwg-bbr §5.3.4): when no round trip was as short as min_rtt for ten
 * seconds, halve what is in flight for 200 ms, so that the queue empties and min_rtt shows.
 */
import { resetShortTermModel } from "./model.ts";
import { startProbeBwCruise, startProbeBwDown } from "./probe_bw.ts";
import type { BbrState } from "./state.ts";

/** §2.16.1, BBR.MinRTTFilterLen, which is BBR.ProbeRTTInterval as well. */
export const MIN_RTT_FILTER_US = 10_000_000;
/** §2.16.2, BBR.ProbeRTTDuration and BBR.ProbeRTTCwndGain. */
const PROBE_RTT_US = 200_000;
const PROBE_RTT_CWND_GAIN = 0.5;

/** UpdateMinRTT(), §5.3.4.3. */
export function updateMinRtt(bbr: BbrState): void {
  const { rttUs } = bbr.rate.sample;
  bbr.minRttExpired = bbr.nowUs > bbr.minRttStampUs + MIN_RTT_FILTER_US &&
    bbr.minRttUs !== Infinity;
  if (bbr.minRttExpired && bbr.phase !== "ProbeRTT") {
    // SaveProbeRTTCwnd(), §5.6.4.5: from the old estimate, before one with a queue replaces it.
    const cwnd = bbr.bdpMultiple(bbr.bw, PROBE_RTT_CWND_GAIN);
    bbr.probeRttCwnd = Math.max(cwnd, bbr.minPipeCwnd);
  }
  if (rttUs >= 0 && (rttUs < bbr.minRttUs || bbr.minRttExpired)) {
    bbr.minRttUs = rttUs;
    bbr.minRttStampUs = bbr.nowUs;
  }
}

/** CheckProbeRTT(). */
export function checkProbeRtt(bbr: BbrState): void {
  if (bbr.phase !== "ProbeRTT" && bbr.minRttExpired && !bbr.idleRestart) {
    bbr.saveCwnd(); // before the state says that the window is cut
    bbr.enter("ProbeRTT");
    bbr.probeRttDoneUs = 0;
    bbr.ackPhase = "ProbeStopping";
    bbr.startRound();
  }
  if (bbr.phase === "ProbeRTT") handleProbeRtt(bbr);
  if (bbr.rate.sample.delivered > 0) bbr.idleRestart = false;
}

/** HandleProbeRTT(). */
function handleProbeRtt(bbr: BbrState): void {
  bbr.rate.markAppLimited(bbr.inFlight); // low rates are of our own making
  if (bbr.probeRttDoneUs === 0) {
    if (bbr.inFlight > bbr.probeRttCwnd) return;
    bbr.probeRttDoneUs = bbr.nowUs + PROBE_RTT_US;
    bbr.probeRttRoundDone = false;
    bbr.startRound();
    return;
  }
  if (bbr.roundStart) bbr.probeRttRoundDone = true;
  if (bbr.probeRttRoundDone) checkProbeRttDone(bbr);
}

/** CheckProbeRTTDone(), and ExitProbeRTT() of §5.3.4.4. */
export function checkProbeRttDone(bbr: BbrState): void {
  if (bbr.probeRttDoneUs === 0 || bbr.nowUs <= bbr.probeRttDoneUs) return;
  bbr.minRttStampUs = bbr.nowUs; // the next one in ten seconds
  bbr.restoreCwnd();
  resetShortTermModel(bbr);
  if (bbr.fullBwReached) {
    startProbeBwDown(bbr);
    startProbeBwCruise(bbr); // what is in flight is below the BDP already
  } else bbr.enter("Startup");
}
