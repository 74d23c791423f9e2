/**
 * BBRv3 (draft-ietf-ccwg-bbr-06 of July 2026 and its editor's copy): a model of the path (how fast
 * it delivers, how long it is, how much it holds) from delivery-rate samples, and a state machine
 * that keeps the model fresh.
 *
 *   Startup → Drain → ProbeBW: DOWN → CRUISE → REFILL → UP → DOWN …, now and then ProbeRTT
 *
 * This file has the order of the steps (§5.2) and what follows from the model for sending (§5.6).
 *
 * The draft leaves ECN open but wants CE marks treated as congestion (§3.7): here a marked packet
 * counts as a lost one, except that nothing is sent again.
 */
import type { RttEstimator } from "../../rtt.ts";
import {
  type CongestionController,
  type CongestionOptions,
  minimumWindowBytes,
  WINDOW_BYTES_MAX,
} from "../controller.ts";
import type { DeliveryRate, LostPacket, RateSample } from "../delivery_rate.ts";
import {
  beginRecovery,
  handleInflightTooHigh,
  handleLostPacket,
  handleSpuriousLossDetection,
  noteLoss,
} from "./loss.ts";
import {
  advanceLatestDeliverySignals,
  boundBwForModel,
  checkFullBwReached,
  isInflightTooHigh,
  updateAckAggregation,
  updateCongestionSignals,
  updateLatestDeliverySignals,
} from "./model.ts";
import { updateProbeBwCyclePhase } from "./probe_bw.ts";
import { checkProbeRtt, checkProbeRttDone, updateMinRtt } from "./probe_rtt.ts";
import { checkDrainDone, checkStartupDone } from "./startup.ts";
import { BbrState, PACING_MARGIN } from "./state.ts";

/** §5.6.3: a burst is what the rate yields in 1 ms, two packets to 64 KiB. */
const SEND_QUANTUM_S = 0.001;
const SEND_QUANTUM_BYTES_MAX = 65_536;
/** §5.6.2: assumed before the first round-trip sample. */
const NOMINAL_RTT_US = 1_000;

/** The model-based controller, "bbr". */
export class Bbr implements CongestionController {
  readonly name = "bbr";
  /** For tests and metrics; nobody else changes it. */
  readonly state: BbrState;
  readonly #windowBytesMax: number;
  #episodeBegan = false;
  /** After persistent congestion the window grows anew, whatever it was (RFC 9002 §7.6.2). */
  #isCollapsed = false;

  constructor({ datagramBytes, windowBytesMax = WINDOW_BYTES_MAX, random }: CongestionOptions) {
    this.state = new BbrState(datagramBytes, random);
    this.#windowBytesMax = windowBytesMax;
  }

  get rate(): DeliveryRate {
    return this.state.rate;
  }
  get datagramBytes(): number {
    return this.state.datagramBytes;
  }
  get windowBytes(): number {
    return this.state.cwnd;
  }
  get slowStartThresholdBytes(): number {
    return this.state.inflightLongterm;
  }
  get inSlowStart(): boolean {
    return this.state.phase === "Startup";
  }

  setDatagramBytes(bytes: number): void {
    const { state } = this;
    state.datagramBytes = bytes;
    const least = state.rate.lost === 0 && !state.fullBwReached
      ? state.initialCwnd
      : minimumWindowBytes(bytes);
    state.cwnd = Math.max(state.cwnd, least);
    state.sendQuantum = Math.max(state.sendQuantum, 2 * bytes);
  }

  /** OnTransmit(): HandleRestartFromIdle(), §5.4.1. */
  onSent(_bytes: number, inFlightBytes: number, nowUs: number): void {
    const { state } = this;
    state.nowUs = nowUs;
    if (inFlightBytes > 0 || state.rate.appLimited === 0) return;
    state.idleRestart = true;
    state.extraAckedStartUs = nowUs;
    if (state.isProbeBw) this.#setPacingRate(1);
    else if (state.phase === "ProbeRTT") checkProbeRttDone(state);
  }

  onRtt(rtt: RttEstimator): void {
    this.state.smoothedRttUs = rtt.smoothedUs;
  }

  onAck(_bytes: number, sentUs: number, windowUsed: boolean): void {
    const { state } = this;
    if (windowUsed) state.isCwndLimited = true;
    if (state.inRecovery && sentUs > state.recoveryStartUs) {
      state.inRecovery = false;
      if (!this.#isCollapsed) state.restoreCwnd(); // §5.6.4.4
      this.#isCollapsed = false;
    }
  }

  onPacketLost(packet: LostPacket, nowUs: number): void {
    const { state } = this;
    state.nowUs = nowUs;
    if (beginRecovery(state, packet.sentUs)) this.#episodeBegan = true;
    handleLostPacket(state, packet);
  }

  onLoss(
    _lostBytes: number,
    largestLostSentUs: number,
    nowUs: number,
    persistent: boolean,
  ): boolean {
    const { state } = this;
    state.nowUs = nowUs;
    const began = beginRecovery(state, largestLostSentUs) || this.#episodeBegan;
    this.#episodeBegan = false;
    if (persistent) {
      state.saveCwnd(); // OnEnterRTO()
      state.cwnd = minimumWindowBytes(state.datagramBytes);
      this.#isCollapsed = true;
    }
    return began;
  }

  onSpuriousLoss(): void {
    handleSpuriousLossDetection(this.state);
    this.#isCollapsed = false;
  }

  onEcnCe(sentUs: number, nowUs: number, marks: number): boolean {
    const { state } = this;
    const { rate } = state;
    state.nowUs = nowUs;
    const began = beginRecovery(state, sentUs);
    rate.lost += marks * state.datagramBytes;
    state.lossEventsInRound += marks;
    noteLoss(state);
    const { priorLost, txInFlight, isAppLimited } = rate.sample;
    if (state.isBwProbeSample && isInflightTooHigh(rate.lost - priorLost, txInFlight)) {
      handleInflightTooHigh(state, txInFlight, isAppLimited);
    }
    state.undo = undefined; // a mark is never spurious
    return began;
  }

  /** UpdateOnACK(), §5.2.3. */
  onSample(sample: RateSample, inFlightBytes: number, nowUs: number): void {
    const { state } = this;
    state.inFlight = inFlightBytes;
    state.nowUs = nowUs;
    updateLatestDeliverySignals(state);
    updateCongestionSignals(state);
    updateAckAggregation(state);
    checkFullBwReached(state);
    checkStartupDone(state);
    checkDrainDone(state);
    updateProbeBwCyclePhase(state);
    updateMinRtt(state);
    checkProbeRtt(state);
    advanceLatestDeliverySignals(state);
    boundBwForModel(state);
    this.#setPacingRate(state.pacingGain);
    const quantum = Math.min(state.pacingRate * SEND_QUANTUM_S, SEND_QUANTUM_BYTES_MAX);
    state.sendQuantum = Math.max(quantum, 2 * state.datagramBytes);
    this.#setCwnd(sample.newlyAcked);
  }

  pacingRate(rtt: RttEstimator): number {
    const { state } = this;
    if (state.pacingRate > 0) return state.pacingRate;
    // InitPacingRate(), §5.6.2.
    const rttUs = rtt.hasSample ? rtt.smoothedUs : NOMINAL_RTT_US;
    return state.pacingGain * state.initialCwnd * 1e6 / Math.max(rttUs, 1);
  }

  /** SetPacingRateWithGain(), §5.6.2: not lowered before the pipe was full once. */
  #setPacingRate(gain: number): void {
    const { state } = this;
    const rate = gain * state.bw * (1 - PACING_MARGIN);
    if (rate <= 0) return;
    const initial = state.pacingRate === 0 && state.smoothedRttUs > 0
      ? gain * state.initialCwnd * 1e6 / state.smoothedRttUs
      : 0;
    if (state.fullBwReached) state.pacingRate = rate;
    else state.pacingRate = Math.max(state.pacingRate, rate, initial);
  }

  /** SetCwnd(), §5.6.4.6. */
  #setCwnd(newlyAcked: number): void {
    const { state } = this;
    // UpdateMaxInflight(), §5.6.4.2.
    state.maxInflight = state.quantizationBudget(
      state.bdpMultiple(state.bw, state.cwndGain) + state.extraAcked,
    );
    let { cwnd } = state;
    if (state.fullBwReached) cwnd = Math.min(cwnd + newlyAcked, state.maxInflight);
    else if (cwnd < state.maxInflight || state.rate.delivered < state.initialCwnd) {
      cwnd += newlyAcked;
    }
    cwnd = Math.max(cwnd, state.minPipeCwnd);
    if (state.phase === "ProbeRTT") cwnd = Math.min(cwnd, state.probeRttCwnd);
    state.cwnd = Math.min(cwnd, this.#modelCap(), this.#windowBytesMax);
  }

  /** BoundCwndForModel(), §5.6.4.7. */
  #modelCap(): number {
    const { state } = this;
    let cap = Infinity;
    if (state.phase === "ProbeRTT" || state.phase === "ProbeBW_CRUISE") {
      cap = state.inflightWithHeadroom();
    } else if (state.isProbeBw) cap = state.inflightLongterm;
    return Math.max(Math.min(cap, state.inflightShortterm), state.minPipeCwnd);
  }
}
