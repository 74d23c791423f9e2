/**
 * Reed-Solomon by ISA-L over symbols in one memory (a pool). Any `data` of the `data + parity`
 * symbols give the data back. Field GF(2^8) with polynomial 0x11d; parity row i (data ≤ i), column
 * j: 1 / (i xor j). tests/reference/reed_solomon.ts is the plain twin.
 */
import { Errno, type NexusIo, nexusIo, NxFeature } from "../../ffi/nexus_io.ts";
import { NexusError } from "../base/mod.ts";

/** Symbols of a code, data and parity together. */
export const RS_SYMBOLS_MAX = 255;

/** Whether this machine has it. */
export function hasNativeReedSolomon(): boolean {
  const state = nexusIo();
  return "io" in state && (state.features & NxFeature.RS) !== 0;
}

/** A code with its tables. Errors: NATIVE_UNAVAILABLE, INVALID_CODE. */
export class NativeReedSolomon {
  readonly #io: NexusIo;
  readonly #handle: number;

  constructor(readonly data: number, readonly parity: number) {
    const state = nexusIo();
    if ("unavailable" in state || (state.features & NxFeature.RS) === 0) {
      const reason = "unavailable" in state ? state.unavailable : "it was built without ISA-L";
      throw new NexusError("NATIVE_UNAVAILABLE", `cannot make Reed-Solomon code: ${reason}`);
    }
    this.#io = state.io;
    this.#handle = state.io.nx_rs_open(data, parity);
    if (this.#handle < 0) {
      throw new NexusError(
        "INVALID_CODE",
        `cannot make Reed-Solomon code: ${data} data and ${parity} parity symbols, expected 1 or more of each and ${RS_SYMBOLS_MAX} at most`,
      );
    }
  }

  /** Computes the parity symbols. `offsets`: where each symbol lies, data first. */
  encode(bytes: Uint8Array, offsets: Uint32Array, symbolBytes: number): void {
    this.#checkCount(offsets);
    this.#check(this.#io.nx_rs_encode(
      this.#handle,
      bytes as Uint8Array<ArrayBuffer>,
      bytes.length,
      offsets as Uint32Array<ArrayBuffer>,
      symbolBytes,
    ));
  }

  /**
   * Rebuilds the data symbols that are not `present` at their offsets. Returns how many, -1 when
   * too few symbols are there.
   */
  decode(
    bytes: Uint8Array,
    offsets: Uint32Array,
    present: Uint8Array,
    symbolBytes: number,
  ): number {
    this.#checkCount(offsets);
    this.#checkCount(present);
    const rebuilt = this.#io.nx_rs_decode(
      this.#handle,
      bytes as Uint8Array<ArrayBuffer>,
      bytes.length,
      offsets as Uint32Array<ArrayBuffer>,
      present as Uint8Array<ArrayBuffer>,
      symbolBytes,
    );
    return rebuilt === -Errno.ENODATA ? -1 : this.#check(rebuilt);
  }

  /** Frees the tables. */
  close(): void {
    this.#io.nx_rs_close(this.#handle);
  }

  #checkCount(list: ArrayLike<number>): void {
    if (list.length < this.data + this.parity) this.#check(-Errno.EINVAL);
  }

  #check(result: number): number {
    if (result >= 0) return result;
    throw new NexusError(
      "INVALID_RANGE",
      `cannot use Reed-Solomon code: an offset or the symbol length leaves the memory (error ${-result})`,
    );
  }
}
