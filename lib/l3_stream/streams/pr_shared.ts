/** What the probabilistic streams of a connection share. */
import { BlockDecoder } from "../fec/block_decoder.ts";
import type { ErasureCodec } from "../fec/erasure_codec.ts";
import { BLOCK_REPAIRS_MAX, BLOCK_SOURCES_MAX } from "../frames/fec.ts";
import { Frame } from "../frames/frame.ts";

export class PrShared {
  #decoder?: BlockDecoder;
  #record?: Frame;
  #offsets?: Uint32Array;
  /** Bytes that receivers keep to rebuild symbols and to put messages together. */
  heldBytes = 0;

  constructor(
    readonly codec: ErasureCodec,
    readonly heldBytesMax: number,
    /** Longest that a sender leaves a block open. */
    readonly delayUs: number,
  ) {}

  // What follows is scratch, made when first needed: most connections never do.

  /** Parse target of records. */
  get record(): Frame {
    return this.#record ??= new Frame();
  }
  /** Where the symbols of a block lie that is being encoded. */
  get offsets(): Uint32Array {
    return this.#offsets ??= new Uint32Array(BLOCK_SOURCES_MAX + BLOCK_REPAIRS_MAX);
  }
  get decoder(): BlockDecoder {
    return this.#decoder ??= new BlockDecoder(this.codec);
  }
}
