/**
 * Whether somebody with our peer's keys answers at a network address (RFC 9000 §8.2): challenges
 * go there until one is answered or it takes too long. An address that merely showed up in a
 * packet gets no more bytes than three times what came from it, so that a forged source address
 * cannot turn us against a third party (§8.1).
 */
import { NEVER } from "../base/mod.ts";

/** RFC 9000 §8.1: bytes to an unvalidated address per byte from it. */
const AMPLIFICATION_MAX = 3;
/** RFC 9000 §8.2.4: give up after three probe timeouts, of the old or of an unknown path. */
const VALIDATION_PTOS = 3;
/** RFC 9002 §6.2.2: the probe timeout of a path of which nothing is known, about. */
const UNKNOWN_PTO_US = 999_000;
/** Ours: challenges whose answer still counts. They are a doubling PTO apart, so all of them do. */
const CHALLENGES_KEPT = 8;

export class PathValidation {
  /** The address in question, as Path.peer. */
  peer: number;
  /** Whether this end chose the address; otherwise the peer's packets began to come from it. */
  readonly isOwnChoice: boolean;
  /** Chosen because the path's own address does not answer: one acknowledgement makes it moot. */
  isFailover = false;
  /** Give up then. */
  readonly deadlineUs: number;
  /** When to send a challenge (again); NEVER: not before more comes from the address. */
  sendUs: number;
  /** Until the challenge after the next one. */
  #intervalUs: number;
  readonly #tokens: number[] = [];
  #firstSentUs = NaN;
  #bytesLeft: number;

  constructor(peer: number, isOwnChoice: boolean, ptoUs: number, nowUs: number) {
    this.peer = peer;
    this.isOwnChoice = isOwnChoice;
    this.sendUs = nowUs;
    this.deadlineUs = nowUs + VALIDATION_PTOS * Math.max(ptoUs, UNKNOWN_PTO_US);
    this.#intervalUs = ptoUs;
    this.#bytesLeft = isOwnChoice ? Infinity : 0;
  }

  /** Bytes that may go to the address now. */
  get bytesLeft(): number {
    return this.#bytesLeft;
  }

  /** An authentic packet came from the address. */
  onReceived(bytes: number, nowUs: number): void {
    this.#bytesLeft += AMPLIFICATION_MAX * bytes;
    if (this.sendUs === NEVER) this.sendUs = nowUs;
  }

  /** There is too little left for a challenge: more must come from the address first. */
  block(): void {
    this.sendUs = NEVER;
  }

  /** A packet of `bytes` with this challenge left. */
  onSent(bytes: number, tokenHigh: number, tokenLow: number, nowUs: number): void {
    this.#bytesLeft -= bytes;
    this.#tokens.push(tokenHigh, tokenLow);
    if (this.#tokens.length > 2 * CHALLENGES_KEPT) this.#tokens.splice(0, 2);
    if (Number.isNaN(this.#firstSentUs)) this.#firstSentUs = nowUs;
    this.sendUs = nowUs + this.#intervalUs;
    this.#intervalUs *= 2;
  }

  /** Whether a PATH_RESPONSE answers one of the challenges. */
  isAnswer(tokenHigh: number, tokenLow: number): boolean {
    for (let i = 0; i < this.#tokens.length; i += 2) {
      if (this.#tokens[i] === tokenHigh && this.#tokens[i + 1] === tokenLow) return true;
    }
    return false;
  }

  /** Time since the first challenge: an upper bound of the round trip once it is answered. */
  elapsedUs(nowUs: number): number {
    return nowUs - this.#firstSentUs;
  }

  nextTimeoutUs(): number {
    return Math.min(this.sendUs, this.deadlineUs);
  }
}
