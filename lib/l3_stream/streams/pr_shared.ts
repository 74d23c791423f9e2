/** What the probabilistic streams of a connection share. */
import { BlockDecoder } from "../fec/block_decoder.ts";
import type { ErasureCodec } from "../fec/erasure_codec.ts";

export class PrShared {
  #decoder?: BlockDecoder;
  /** Bytes that receivers keep to rebuild symbols and to put messages together. */
  heldBytes = 0;

  constructor(
    readonly codec: ErasureCodec,
    readonly heldBytesMax: number,
    /** Longest that a sender leaves a block open. */
    readonly delayUs: number,
  ) {}

  /** Made when first needed: most connections never do. */
  get decoder(): BlockDecoder {
    return this.#decoder ??= new BlockDecoder(this.codec);
  }
}
