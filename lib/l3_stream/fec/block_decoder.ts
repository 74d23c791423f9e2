/** Scratch memory in which a block is put together and rebuilt; one per connection. */
import { BLOCK_REPAIRS_MAX, BLOCK_SOURCES_MAX } from "../frames/fec.ts";
import type { ErasureCodec } from "./erasure_codec.ts";

const SYMBOLS = BLOCK_SOURCES_MAX + BLOCK_REPAIRS_MAX;

export class BlockDecoder {
  readonly #codec: ErasureCodec;
  readonly #offsets = new Uint32Array(SYMBOLS);
  readonly #present = new Uint8Array(SYMBOLS);
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #sourceCount = 0;
  #repairCount = 0;
  #symbolBytes = 0;

  constructor(codec: ErasureCodec) {
    this.#codec = codec;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }
  get view(): DataView {
    return this.#view;
  }

  /** Empties the block. */
  begin(sourceCount: number, repairCount: number, symbolBytes: number): void {
    const count = sourceCount + repairCount;
    if (this.#bytes.length < count * symbolBytes) {
      this.#bytes = new Uint8Array(count * symbolBytes);
      this.#view = new DataView(this.#bytes.buffer);
    }
    for (let i = 0; i < count; i++) this.#offsets[i] = i * symbolBytes;
    this.#present.fill(0, 0, count);
    this.#sourceCount = sourceCount;
    this.#repairCount = repairCount;
    this.#symbolBytes = symbolBytes;
  }

  /** Puts in symbol `index`, sources first; what is shorter is padded with zeros. */
  put(index: number, symbol: Uint8Array, length: number): void {
    const at = this.#offsets[index];
    this.#bytes.set(length === symbol.length ? symbol : symbol.subarray(0, length), at);
    this.#bytes.fill(0, at + length, at + this.#symbolBytes);
    this.#present[index] = 1;
  }

  /** Rebuilds the missing sources; false when too few symbols are there. */
  decode(): boolean {
    return this.#codec.decode(
      this.#bytes,
      this.#offsets,
      this.#present,
      this.#sourceCount,
      this.#repairCount,
      this.#symbolBytes,
    ) >= 0;
  }

  offsetOf(index: number): number {
    return this.#offsets[index];
  }
}
