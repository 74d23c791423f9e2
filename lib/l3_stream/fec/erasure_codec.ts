/**
 * Systematic Reed-Solomon over GF(2^8) (docs/protocol.md §5.6). Byte by byte, the k source symbols
 * are the values of one polynomial of degree < k at the points 0 … k-1; repair symbol i is its value
 * at point k+i. Any k values determine the polynomial, so any k symbols give back the rest, and a
 * repair symbol does not depend on how many there are. (The same code as a Vandermonde matrix
 * multiplied by the inverse of its top square, in which form it is published.)
 */
import { NexusError } from "../../base/mod.ts";
import { GF_EXP, GF_LOG, GF_ORDER, GF_PRODUCT } from "./galois.ts";

/** Source and repair symbols of a block together. */
export const CODE_SYMBOLS_MAX = 255;

/**
 * Makes and uses repair symbols. All symbols are `symbolBytes` long and lie in one memory, symbol i
 * at offsets[i], the `sourceCount` source symbols first. Both methods throw INVALID_CODE when a
 * count is 0 (repairs may be none) or both together exceed CODE_SYMBOLS_MAX, INVALID_RANGE when a
 * symbol leaves the memory.
 */
export interface ErasureCodec {
  /** For logs: who does the work. */
  readonly name: string;
  /** Writes the repair symbols from the source symbols. */
  encode(
    bytes: Uint8Array,
    offsets: Uint32Array,
    sourceCount: number,
    repairCount: number,
    symbolBytes: number,
  ): void;
  /**
   * Writes the source symbols that are not `present` (a byte for each symbol, 0: missing). Returns
   * how many those were, -1 when fewer than `sourceCount` symbols are present.
   */
  decode(
    bytes: Uint8Array,
    offsets: Uint32Array,
    present: Uint8Array,
    sourceCount: number,
    repairCount: number,
    symbolBytes: number,
  ): number;
}

/** The codec that runs everywhere; a native one must agree with it byte for byte. */
export class PortableErasureCodec implements ErasureCodec {
  readonly name = "portable";
  /** Points whose values are known, the logarithms of their denominators, their weights. */
  readonly #points = new Uint8Array(CODE_SYMBOLS_MAX);
  readonly #denominators = new Int32Array(CODE_SYMBOLS_MAX);
  readonly #weights = new Uint8Array(CODE_SYMBOLS_MAX);

  encode(
    bytes: Uint8Array,
    offsets: Uint32Array,
    sourceCount: number,
    repairCount: number,
    symbolBytes: number,
  ): void {
    checkCode(bytes, offsets, sourceCount, repairCount, symbolBytes);
    for (let i = 0; i < sourceCount; i++) this.#points[i] = i;
    this.#prepare(sourceCount);
    for (let i = sourceCount; i < sourceCount + repairCount; i++) {
      this.#interpolate(bytes, offsets, sourceCount, i, symbolBytes);
    }
  }

  decode(
    bytes: Uint8Array,
    offsets: Uint32Array,
    present: Uint8Array,
    sourceCount: number,
    repairCount: number,
    symbolBytes: number,
  ): number {
    checkCode(bytes, offsets, sourceCount, repairCount, symbolBytes, present);
    let found = 0;
    let missing = 0;
    for (let i = 0; i < sourceCount + repairCount && found < sourceCount; i++) {
      if (present[i] !== 0) this.#points[found++] = i;
      else if (i < sourceCount) missing++;
    }
    if (missing === 0) return 0;
    if (found < sourceCount) return -1;
    this.#prepare(sourceCount);
    for (let i = 0; i < sourceCount; i++) {
      if (present[i] === 0) this.#interpolate(bytes, offsets, sourceCount, i, symbolBytes);
    }
    return missing;
  }

  /** For each point x: log Π (x - x'), over the other points x'. */
  #prepare(count: number): void {
    const points = this.#points;
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (let j = 0; j < count; j++) if (j !== i) sum += GF_LOG[points[i] ^ points[j]];
      this.#denominators[i] = sum % GF_ORDER;
    }
  }

  /** Writes the symbol at point `target`, which is none of the known ones (Lagrange). */
  #interpolate(
    bytes: Uint8Array,
    offsets: Uint32Array,
    count: number,
    target: number,
    symbolBytes: number,
  ): void {
    const points = this.#points;
    let numerator = 0;
    for (let i = 0; i < count; i++) numerator += GF_LOG[target ^ points[i]];
    for (let i = 0; i < count; i++) {
      const log = numerator - GF_LOG[target ^ points[i]] - this.#denominators[i] + GF_ORDER;
      this.#weights[i] = GF_EXP[log % GF_ORDER];
    }
    this.#combine(bytes, offsets, count, offsets[target], symbolBytes);
  }

  /** bytes[to…] = Σ weight · symbol, four symbols in a pass: the sum is read and written less. */
  #combine(
    bytes: Uint8Array,
    offsets: Uint32Array,
    count: number,
    to: number,
    symbolBytes: number,
  ): void {
    const points = this.#points;
    const weights = this.#weights;
    const end = to + symbolBytes;
    bytes.fill(0, to, end);
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const [w0, w1, w2, w3] = [
        weights[i] << 8,
        weights[i + 1] << 8,
        weights[i + 2] << 8,
        weights[i + 3] << 8,
      ];
      let from0 = offsets[points[i]];
      let from1 = offsets[points[i + 1]];
      let from2 = offsets[points[i + 2]];
      let from3 = offsets[points[i + 3]];
      for (let at = to; at < end; at++) {
        bytes[at] ^= GF_PRODUCT[w0 | bytes[from0++]] ^ GF_PRODUCT[w1 | bytes[from1++]] ^
          GF_PRODUCT[w2 | bytes[from2++]] ^ GF_PRODUCT[w3 | bytes[from3++]];
      }
    }
    for (; i < count; i++) {
      const weight = weights[i] << 8;
      let from = offsets[points[i]];
      for (let at = to; at < end; at++) bytes[at] ^= GF_PRODUCT[weight | bytes[from++]];
    }
  }
}

/** One is enough: it keeps nothing between calls. */
export const portableErasureCodec: ErasureCodec = new PortableErasureCodec();

/** Refuses counts and places as ErasureCodec promises; for its implementations. */
export function checkCode(
  bytes: Uint8Array,
  offsets: Uint32Array,
  sourceCount: number,
  repairCount: number,
  symbolBytes: number,
  present?: Uint8Array,
): void {
  const count = sourceCount + repairCount;
  if (!(sourceCount >= 1 && repairCount >= 0 && count <= CODE_SYMBOLS_MAX)) {
    throw new NexusError(
      "INVALID_CODE",
      `cannot use Reed-Solomon: code is ${sourceCount}+${repairCount} symbols, expected 1+0 or more and ${CODE_SYMBOLS_MAX} at most`,
    );
  }
  if (
    symbolBytes < 1 || offsets.length < count || present !== undefined && present.length < count
  ) {
    throw outside();
  }
  for (let i = 0; i < count; i++) if (offsets[i] + symbolBytes > bytes.length) throw outside();
}

function outside(): NexusError {
  return new NexusError(
    "INVALID_RANGE",
    "cannot use Reed-Solomon: a symbol is outside of the memory or missing in a list, expected all inside",
  );
}
