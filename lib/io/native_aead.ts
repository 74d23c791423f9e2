/**
 * AEADs of the native library for suites 1 and 2: intel-ipsec-mb where the CPU suits it, libcrypto
 * elsewhere. `NativeAead` is the `Aead` of l4_trust; `BurstSeal` does whole sealed frames, AEAD,
 * tag and CRC in one call, and has a portable twin over any `CryptoEngine`.
 */
import {
  Errno,
  type NexusIo,
  nexusIo,
  NxBackend,
  NxDescriptor,
  NxFeature,
} from "../../ffi/nexus_io.ts";
import { NexusError } from "../base/mod.ts";
import {
  type Burst,
  BURST_FRAMES_MAX,
  CANONICAL_BYTES_MAX,
  CRC_BYTES,
  frameCrc,
  HEADER_BYTES,
  OPTION_HEADER_BYTES,
  OPTIONS_LENGTH_AT,
  OptionType,
  writeCanonicalHeader,
} from "../l1_link/mod.ts";
import {
  type Aead,
  type CryptoEngine,
  KEY_BYTES,
  NONCE_BYTES,
  TAG_BYTES,
} from "../l4_trust/mod.ts";
import { optionsLengthOf, viewOf } from "./frame_bytes.ts";

/** Libraries that can run a key. */
export type AeadLibrary = "best" | "intel-ipsec-mb" | "libcrypto";

const BACKENDS: Record<AeadLibrary, number> = {
  "best": NxBackend.BEST,
  "intel-ipsec-mb": NxBackend.IMB,
  "libcrypto": NxBackend.EVP,
};

/** Keys whose owner was collected without `close`: the native copy is wiped all the same. */
const abandoned = new FinalizationRegistry<() => void>((close) => close());

/** Which libraries can run AEADs here; empty without any. */
export function nativeAeadLibraries(): Exclude<AeadLibrary, "best">[] {
  const state = nexusIo();
  if ("unavailable" in state) return [];
  const found: Exclude<AeadLibrary, "best">[] = [];
  if (state.features & NxFeature.AEAD_IMB) found.push("intel-ipsec-mb");
  if (state.features & NxFeature.AEAD_EVP) found.push("libcrypto");
  return found;
}

/** A native key. The library has its own copy, so wiping the array given does not reach it: close. */
export class NativeKey {
  readonly io: NexusIo;
  readonly handle: number;
  readonly #close: () => void;

  constructor(suite: number, key: Uint8Array, iv: Uint8Array, vni: number, library: AeadLibrary) {
    const state = nexusIo();
    if ("unavailable" in state) {
      throw new NexusError("NATIVE_UNAVAILABLE", `cannot make native key: ${state.unavailable}`);
    }
    if (key.length !== KEY_BYTES || iv.length !== NONCE_BYTES) {
      throw new NexusError(
        "INVALID_KEY",
        `cannot make native key: key and iv have ${key.length} and ${iv.length} bytes, expected ${KEY_BYTES} and ${NONCE_BYTES}`,
      );
    }
    const { io } = state;
    const handle = io.nx_key_open(suite, BACKENDS[library], plain(key), plain(iv), vni);
    if (handle < 0) throw keyError(suite, library, -handle);
    this.io = io;
    this.handle = handle;
    let open = true;
    this.#close = () => {
      // A handle may be given again, so it is closed once.
      if (open) io.nx_key_close(handle);
      open = false;
    };
    abandoned.register(this, this.#close, this);
  }

  /** Wipes the native copy of the key. */
  close(): void {
    abandoned.unregister(this);
    this.#close();
  }
}

function keyError(suite: number, library: AeadLibrary, errno: number): NexusError {
  if (errno === Errno.EINVAL) {
    return new NexusError(
      "UNKNOWN_SUITE",
      `cannot use cipher suite: suite is ${suite}, expected 1 or 2`,
    );
  }
  return new NexusError(
    "NATIVE_UNAVAILABLE",
    `cannot make native key: ${library} is not in this build or does not suit the CPU (error ${errno})`,
  );
}

/** FFI takes shared memory too; its type does not say so. */
export function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

const NO_IV = new Uint8Array(NONCE_BYTES);

/** One AEAD key in the native library. Unlike others it must be closed to wipe the key. */
export class NativeAead implements Aead {
  readonly #key: NativeKey;

  constructor(suite: number, key: Uint8Array, library: AeadLibrary = "best") {
    this.#key = new NativeKey(suite, key, NO_IV, 0, library);
  }

  seal(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): void {
    checkPlaces(nonce, bytes, from, length, tagAt);
    const { io, handle } = this.#key;
    const sealed = io.nx_aead_seal(
      handle,
      plain(nonce),
      plain(aad),
      aad.length,
      plain(bytes),
      from,
      length,
      tagAt,
    );
    if (sealed !== 1) {
      throw new NexusError("SEAL_FAILED", `cannot seal: the native library says ${sealed}`);
    }
  }

  open(
    nonce: Uint8Array,
    aad: Uint8Array,
    bytes: Uint8Array,
    from: number,
    length: number,
    tagAt: number,
  ): boolean {
    checkPlaces(nonce, bytes, from, length, tagAt);
    const { io, handle } = this.#key;
    return io.nx_aead_open(
      handle,
      plain(nonce),
      plain(aad),
      aad.length,
      plain(bytes),
      from,
      length,
      tagAt,
    ) === 1;
  }

  /** Wipes the native copy of the key. */
  close(): void {
    this.#key.close();
  }
}

/** C would write wherever it is told. */
function checkPlaces(
  nonce: Uint8Array,
  bytes: Uint8Array,
  from: number,
  length: number,
  tagAt: number,
): void {
  if (
    nonce.length !== NONCE_BYTES || from < 0 || length < 0 || tagAt < 0 ||
    from + length > bytes.length || tagAt + TAG_BYTES > bytes.length
  ) {
    throw new NexusError(
      "INVALID_RANGE",
      `cannot use AEAD: nonce of ${nonce.length} bytes, text ${from}+${length} and tag ${tagAt}+16 in ${bytes.length} bytes, expected 12 and both inside`,
    );
  }
}

/** Set in a descriptor's flags by `open` when a frame was forged. */
export const DESCRIPTOR_OPEN_BAD = NxDescriptor.OPEN_BAD;
const DESCRIPTOR_MALFORMED = NxDescriptor.MALFORMED;

/**
 * Seals and opens bursts of data frames (docs/protocol.md §5). Frames are complete but for the
 * sealing: header, options with room for the tag, payload. `packetNumbers` holds two words, high
 * and low, for each frame of the range.
 */
export interface BurstSeal {
  /** For the log. */
  readonly name: string;
  /** Returns how many frames were sealed; others are marked malformed. */
  seal(
    bytes: Uint8Array,
    burst: Burst,
    first: number,
    count: number,
    packetNumbers: Uint32Array,
  ): number;
  /** Returns how many frames opened; forged ones are marked and left as they were. */
  open(
    bytes: Uint8Array,
    burst: Burst,
    first: number,
    count: number,
    packetNumbers: Uint32Array,
  ): number;
  /** Wipes the key. */
  close(): void;
}

/** What a traffic key consists of. */
export interface TrafficKey {
  readonly suite: number;
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  readonly vni: number;
}

/** Bursts by the native library. Throws NATIVE_UNAVAILABLE, UNKNOWN_SUITE or INVALID_KEY. */
export function nativeBurstSeal(
  { suite, key, iv, vni }: TrafficKey,
  library: AeadLibrary = "best",
): BurstSeal {
  return new NativeBurstSeal(new NativeKey(suite, key, iv, vni, library), library);
}

class NativeBurstSeal implements BurstSeal {
  readonly name: string;
  constructor(readonly key: NativeKey, library: AeadLibrary) {
    this.name = `native (${library})`;
  }
  seal(bytes: Uint8Array, burst: Burst, first: number, count: number, numbers: Uint32Array) {
    if (numbers.length < 2 * count) return -1;
    const { io, handle } = this.key;
    const [memory, block] = [plain(bytes), burst.block];
    return io.nx_seal(handle, memory, bytes.length, block, first, count, wordsOf(numbers));
  }
  open(bytes: Uint8Array, burst: Burst, first: number, count: number, numbers: Uint32Array) {
    if (numbers.length < 2 * count) return -1;
    const { io, handle } = this.key;
    const [memory, block] = [plain(bytes), burst.block];
    return io.nx_open_sealed(handle, memory, bytes.length, block, first, count, wordsOf(numbers));
  }
  close(): void {
    this.key.close();
  }
}

function wordsOf(numbers: Uint32Array): Uint32Array<ArrayBuffer> {
  return numbers as Uint32Array<ArrayBuffer>;
}

/** The same over any engine, frame by frame. */
export function portableBurstSeal(engine: CryptoEngine, traffic: TrafficKey): BurstSeal {
  return new PortableBurstSeal(engine, traffic);
}

class PortableBurstSeal implements BurstSeal {
  readonly name: string;
  readonly #key: Uint8Array;
  readonly #aead: Aead;
  readonly #iv: DataView;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #nonceView = new DataView(this.#nonce.buffer);
  readonly #header = new Uint8Array(CANONICAL_BYTES_MAX);
  readonly #aad = new Uint8Array(4 + CANONICAL_BYTES_MAX);

  constructor(engine: CryptoEngine, { suite, key, iv, vni }: TrafficKey) {
    this.name = engine.name;
    this.#key = key.slice();
    this.#aead = engine.aead(suite, this.#key);
    this.#iv = new DataView(iv.slice().buffer);
    new DataView(this.#aad.buffer).setUint32(0, vni);
  }

  seal(bytes: Uint8Array, burst: Burst, first: number, count: number, numbers: Uint32Array) {
    return this.#each(bytes, burst, first, count, numbers, (aad, from, length, tagAt, i) => {
      this.#aead.seal(this.#nonce, aad, bytes, from, length, tagAt);
      const view = viewOf(bytes);
      const options = view.getUint16(burst.offset[i] + OPTIONS_LENGTH_AT);
      view.setUint32(
        burst.offset[i] + burst.length[i] - CRC_BYTES,
        frameCrc(bytes, burst.offset[i], burst.length[i], options),
      );
      return true;
    });
  }

  open(bytes: Uint8Array, burst: Burst, first: number, count: number, numbers: Uint32Array) {
    return this.#each(
      bytes,
      burst,
      first,
      count,
      numbers,
      (aad, from, length, tagAt) => this.#aead.open(this.#nonce, aad, bytes, from, length, tagAt),
    );
  }

  #each(
    bytes: Uint8Array,
    burst: Burst,
    first: number,
    count: number,
    numbers: Uint32Array,
    visit: (aad: Uint8Array, from: number, length: number, tagAt: number, i: number) => boolean,
  ): number {
    if (first + count > BURST_FRAMES_MAX || numbers.length < 2 * count) return -1;
    let done = 0;
    for (let i = first; i < first + count; i++) {
      const offset = burst.offset[i];
      burst.flags[i] &= ~(DESCRIPTOR_OPEN_BAD | DESCRIPTOR_MALFORMED);
      const options = optionsLengthOf(viewOf(bytes), offset, burst.length[i]);
      const payload = offset + HEADER_BYTES + options;
      const aadBytes = options < 0 ? -1 : this.#writeAad(bytes, offset, HEADER_BYTES + options);
      if (aadBytes < 0) {
        burst.flags[i] |= DESCRIPTOR_MALFORMED | DESCRIPTOR_OPEN_BAD;
        continue;
      }
      this.#setNonce(numbers[2 * (i - first)], numbers[2 * (i - first) + 1]);
      const length = offset + burst.length[i] - CRC_BYTES - payload;
      const aad = this.#aad.subarray(0, aadBytes);
      if (visit(aad, payload, length, payload - TAG_BYTES, i)) done++;
      else burst.flags[i] |= DESCRIPTOR_OPEN_BAD;
    }
    return done;
  }

  /** VNI and canonical header up to the tag option, which must be the last; -1 when it is not. */
  #writeAad(bytes: Uint8Array, offset: number, headerBytes: number): number {
    const length = writeCanonicalHeader(bytes, offset, undefined, this.#header);
    const isTag = length === headerBytes - OPTION_HEADER_BYTES - TAG_BYTES &&
      (bytes[offset + length] & 0x7f) === OptionType.ENCRYPTION_TAG &&
      bytes[offset + length + 1] === TAG_BYTES;
    if (!isTag) return -1;
    for (let i = 0; i < length; i++) this.#aad[4 + i] = this.#header[i];
    return 4 + length;
  }

  /** iv XOR (path_id u32 ‖ packet number u64); path_id is 0. */
  #setNonce(high: number, low: number): void {
    this.#nonceView.setUint32(0, this.#iv.getUint32(0));
    this.#nonceView.setUint32(4, this.#iv.getUint32(4) ^ high);
    this.#nonceView.setUint32(8, this.#iv.getUint32(8) ^ low);
  }

  close(): void {
    this.#key.fill(0);
  }
}
