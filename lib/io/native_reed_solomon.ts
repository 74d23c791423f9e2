/** The ErasureCodec of L3 by ISA-L: the same code as the portable one, some fifty times as fast. */
import { Errno, type NexusIo, nexusIo, NxFeature } from "../../ffi/nexus_io.ts";
import { checkCode, type ErasureCodec } from "../l3_stream/mod.ts";

class NativeErasureCodec implements ErasureCodec {
  readonly name = "ISA-L";
  readonly #io: NexusIo;

  constructor(io: NexusIo) {
    this.#io = io;
  }

  encode(
    bytes: Uint8Array,
    offsets: Uint32Array,
    sourceCount: number,
    repairCount: number,
    symbolBytes: number,
  ): void {
    checkCode(bytes, offsets, sourceCount, repairCount, symbolBytes);
    this.#io.nx_rs_encode(
      sourceCount,
      repairCount,
      bytes as Uint8Array<ArrayBuffer>,
      bytes.length,
      offsets as Uint32Array<ArrayBuffer>,
      symbolBytes,
    );
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
    const rebuilt = this.#io.nx_rs_decode(
      sourceCount,
      repairCount,
      bytes as Uint8Array<ArrayBuffer>,
      bytes.length,
      offsets as Uint32Array<ArrayBuffer>,
      present as Uint8Array<ArrayBuffer>,
      symbolBytes,
    );
    return rebuilt === -Errno.ENODATA ? -1 : rebuilt;
  }
}

/** The codec of this machine; undefined where the native library or ISA-L is missing. */
export function nativeErasureCodec(): ErasureCodec | undefined {
  const state = nexusIo();
  if ("unavailable" in state || (state.features & NxFeature.RS) === 0) return undefined;
  return new NativeErasureCodec(state.io);
}
