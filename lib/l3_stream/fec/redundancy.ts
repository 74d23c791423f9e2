/**
 * How many repair symbols a block needs (docs/protocol.md §5.9). Losses are a chain of two states
 * (Gilbert): a symbol is lost with probability `lossRate`, one behind a lost one with `runRate`.
 * When both are equal, losses are independent and their number is binomial; a larger runRate is
 * a path that loses in bursts.
 */
import { BLOCK_REPAIRS_MAX, BLOCK_SOURCES_MAX } from "../frames/fec.ts";

/** What is known of a path's losses. */
export interface LossModel {
  /** 0 … 1. */
  lossRate: number;
  /** lossRate … 1. */
  runRate: number;
}

const SYMBOLS = BLOCK_SOURCES_MAX + BLOCK_REPAIRS_MAX;

/** Scratch: chance that so many symbols were lost and the last one was, or was not. */
const lastArrived = new Float64Array(SYMBOLS + 1);
const lastLost = new Float64Array(SYMBOLS + 1);

/**
 * The least number of repair symbols with which a message in `messageSymbols` of the `sourceCount`
 * symbols of a block fails with at most `failureMax`; BLOCK_REPAIRS_MAX when none is enough.
 */
export function repairsNeeded(
  sourceCount: number,
  messageSymbols: number,
  failureMax: number,
  { lossRate, runRate }: Readonly<LossModel>,
): number {
  if (lossRate <= 0) return 0;
  if (lossRate >= 1) return BLOCK_REPAIRS_MAX;
  lastArrived.fill(0);
  lastLost.fill(0);
  lastArrived[0] = 1 - lossRate;
  lastLost[1] = lossRate;
  for (let count = 1; count < sourceCount; count++) extend(count, lossRate, runRate);
  for (let repairs = 0; repairs < BLOCK_REPAIRS_MAX; repairs++) {
    if (failure(sourceCount, repairs, messageSymbols) <= failureMax) return repairs;
    extend(sourceCount + repairs, lossRate, runRate);
  }
  return BLOCK_REPAIRS_MAX;
}

/** One symbol more than `count`. */
function extend(count: number, lossRate: number, runRate: number): void {
  // The chance to begin a run, so that lossRate stays the share of all symbols.
  const beginRate = Math.min(1, lossRate * (1 - runRate) / (1 - lossRate));
  for (let lost = count + 1; lost >= 0; lost--) {
    const arrivedBefore = lost > 0 ? lastArrived[lost - 1] : 0;
    const lostBefore = lost > 0 ? lastLost[lost - 1] : 0;
    const arrived = lastArrived[lost] * (1 - beginRate) + lastLost[lost] * (1 - runRate);
    lastLost[lost] = arrivedBefore * beginRate + lostBefore * runRate;
    lastArrived[lost] = arrived;
  }
}

/**
 * A message fails when more symbols of the block are lost than there are repairs and one of its
 * own is among them. With `lost` of n spread evenly, none of its s symbols is lost with
 * C(n-s, lost) / C(n, lost); losses in runs hit a message less often, so this is on the safe side.
 */
function failure(sourceCount: number, repairs: number, messageSymbols: number): number {
  const count = sourceCount + repairs;
  let sum = 0;
  let spared = 1;
  for (let lost = 1; lost <= count; lost++) {
    spared *= Math.max(0, count - messageSymbols - lost + 1) / (count - lost + 1);
    if (lost > repairs) sum += (lastArrived[lost] + lastLost[lost]) * (1 - spared);
  }
  return sum;
}
