/**
 * The state of one BBR flow: the model of the path, where the state machine stands, and what both
 * say about sending (draft-ietf-ccwg-bbr §2). Names are the draft's in this project's spelling:
 * BBR.max_bw is `maxBw`, C.cwnd is `cwnd`. Volumes are bytes, rates bytes per second, times
 * microseconds. The steps that change it are functions, one file per part of §5.
 */
import type { RandomFill } from "../../../base/mod.ts";
import { initialWindowBytes } from "../controller.ts";
import { DeliveryRate } from "../delivery_rate.ts";
import { WindowedMax } from "./windowed_max.ts";

/** §5.1.1. */
export type BbrPhase =
  | "Startup"
  | "Drain"
  | "ProbeBW_DOWN"
  | "ProbeBW_CRUISE"
  | "ProbeBW_REFILL"
  | "ProbeBW_UP"
  | "ProbeRTT";

/** §2.14: what acknowledgements mean for the search for bandwidth. */
export type AckPhase = "Init" | "Refilling" | "ProbeStarting" | "ProbeFeedback" | "ProbeStopping";

/** §5.6.1: pacing gain and cwnd gain of every state. */
const GAINS: Readonly<Record<BbrPhase, readonly [pacing: number, cwnd: number]>> = {
  Startup: [2.77, 2],
  Drain: [0.5, 2],
  ProbeBW_DOWN: [0.9, 2],
  ProbeBW_CRUISE: [1, 2],
  ProbeBW_REFILL: [1, 2],
  ProbeBW_UP: [1.25, 2.25],
  ProbeRTT: [1, 0.5],
};

/** §2.8: the most loss per round trip that is put up with while probing. */
export const LOSS_THRESH = 0.02;
/** §2.8: multiplicative decrease of the bounds in a round trip with loss. */
export const BETA = 0.7;
/** §2.8: share of inflight_longterm left to others. */
export const HEADROOM = 0.15;
/** §2.8: BBR.MinPipeCwnd in packets: two on the way, two being acknowledged. */
export const MIN_PIPE_PACKETS = 4;
/** §2.5: pace 1 % below the estimate, so that queues drain. */
export const PACING_MARGIN = 0.01;
/** §2.12: BBR.extra_acked remembers this many round trips; one in Startup. */
export const EXTRA_ACKED_ROUNDS = 10;

/** What is saved when losses begin, to be taken back when they were none (§5.5.11.1). */
export interface UndoState {
  /** The state that the losses ended, if they did. */
  phase: "Startup" | "ProbeBW_UP" | undefined;
  bwShortterm: number;
  inflightShortterm: number;
  inflightLongterm: number;
  recoveryStartUs: number;
}

export class BbrState {
  readonly rate = new DeliveryRate();

  // C: the connection.
  datagramBytes: number;
  cwnd: number;
  pacingRate = 0;
  sendQuantum: number;
  /** Bytes in flight and time of the event that is being handled. */
  inFlight = 0;
  nowUs = 0;
  smoothedRttUs = 0;
  /** C.is_cwnd_limited: in the last round trip or in this one. */
  wasCwndLimited = false;
  isCwndLimited = false;

  // General (§2.7).
  phase: BbrPhase = "Startup";
  pacingGain = 0;
  cwndGain = 0;
  roundCount = 0;
  roundStart = false;
  nextRoundDelivered = 0;
  idleRestart = false;
  drainStartRound = 0;

  // Rate of the path (§2.9.1). The two newest cycles of max_bw_filter are all it needs (§5.5.6).
  maxBw = 0;
  readonly maxBwOfCycle = [0, 0];
  bwShortterm = Infinity;
  bw = 0;

  // Volume of the path (§2.9.2).
  minRttUs = Infinity;
  minRttStampUs = -Infinity;
  minRttExpired = false;
  maxInflight = 0;
  inflightLongterm = Infinity;
  inflightShortterm = Infinity;

  // Signs of congestion (§2.10).
  bwLatest = 0;
  inflightLatest = 0;
  isLossInRound = false;
  lossRoundStart = false;
  lossRoundDelivered = 0;
  /** Separate ranges lost in this round trip, for Startup. */
  lossEventsInRound = 0;
  lastLostNumber = -1;
  /** Packets sent up to here are of the round trip that began the current loss episode. */
  recoveryStartUs = -Infinity;
  inRecovery = false;

  // Aggregation (§2.12).
  extraAcked = 0;
  readonly extraAckedFilter = new WindowedMax();
  extraAckedStartUs = 0;
  extraAckedDelivered = 0;

  // Startup (§2.13).
  fullBwReached = false;
  fullBwNow = false;
  fullBw = 0;
  fullBwCount = 0;

  // ProbeBW (§2.14).
  ackPhase: AckPhase = "Init";
  isBwProbeSample = false;
  bwProbeUpAcked = 0;
  probeUpAckedPerInc = Infinity;
  bwProbeUpRounds = 0;
  roundsSinceProbeUp = 0;
  bwProbeWaitUs = 0;
  cycleStampUs = 0;
  prevProbeTooHigh = false;
  prevProbePrecautionary = false;

  // ProbeRTT (§2.16).
  probeRttCwnd: number;
  /** 0: not yet known. */
  probeRttDoneUs = 0;
  probeRttRoundDone = false;
  priorCwnd = 0;

  undo: UndoState | undefined;

  readonly #random: RandomFill | undefined;
  readonly #randomByte = new Uint8Array(1);

  constructor(datagramBytes: number, random: RandomFill | undefined) {
    this.#random = random;
    this.datagramBytes = datagramBytes;
    this.cwnd = this.probeRttCwnd = initialWindowBytes(datagramBytes);
    this.sendQuantum = 2 * datagramBytes;
    this.enter("Startup");
  }

  /** Enters a state with its gains. */
  enter(phase: BbrPhase): void {
    this.phase = phase;
    [this.pacingGain, this.cwndGain] = GAINS[phase];
  }

  get isProbeBw(): boolean {
    return this.phase.startsWith("ProbeBW");
  }
  /** IsProbingBW(): in a state that means to find out how much more the path takes. */
  get isProbing(): boolean {
    return this.phase === "Startup" || this.phase === "ProbeBW_REFILL" ||
      this.phase === "ProbeBW_UP";
  }
  get initialCwnd(): number {
    return initialWindowBytes(this.datagramBytes);
  }
  get minPipeCwnd(): number {
    return MIN_PIPE_PACKETS * this.datagramBytes;
  }
  get bdp(): number {
    return this.minRttUs === Infinity ? this.initialCwnd : this.bw * this.minRttUs / 1e6;
  }

  /** Uniform in [0, 1); without a source of randomness the middle. */
  random(): number {
    if (this.#random === undefined) return 0.5;
    this.#random(this.#randomByte);
    return this.#randomByte[0] / 256;
  }

  /** StartRound(), §5.5.1. */
  startRound(): void {
    this.nextRoundDelivered = this.rate.delivered;
  }

  /** BDPMultiple(), §5.6.4.2. */
  bdpMultiple(bw: number, gain: number): number {
    return this.minRttUs === Infinity ? this.initialCwnd : gain * bw * this.minRttUs / 1e6;
  }

  /** QuantizationBudget(): room for bursts, and for a pipeline at all (§5.6.4.2, §5.5.8.2). */
  quantizationBudget(inflight: number): number {
    const cap = Math.max(inflight, this.sendQuantum, this.minPipeCwnd);
    return this.phase === "ProbeBW_UP" ? cap + 2 * this.datagramBytes : cap;
  }

  /** Inflight(): what fills the path at `bw`, times `gain`. */
  inflight(bw: number, gain: number): number {
    return this.quantizationBudget(this.bdpMultiple(bw, gain));
  }

  /** InflightWithHeadroom(), §5.3.3.9. */
  inflightWithHeadroom(): number {
    if (this.inflightLongterm === Infinity) return Infinity;
    const headroom = Math.max(this.datagramBytes, HEADROOM * this.inflightLongterm);
    return Math.max(this.inflightLongterm - headroom, this.minPipeCwnd);
  }

  /** TargetInflight(): the BDP, unless congestion cut the window. */
  targetInflight(): number {
    return Math.min(this.bdp, this.cwnd);
  }

  /** SaveCwnd() and RestoreCwnd(), §5.6.4.4: the last window that neither loss nor ProbeRTT cut. */
  saveCwnd(): void {
    const isUncut = !this.inRecovery && this.phase !== "ProbeRTT";
    this.priorCwnd = isUncut ? this.cwnd : Math.max(this.priorCwnd, this.cwnd);
  }
  restoreCwnd(): void {
    this.cwnd = Math.max(this.cwnd, this.priorCwnd);
  }
}
