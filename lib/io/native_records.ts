/**
 * The record engine of the native library: AEADs frame by frame, and runs of packets in one call
 * (ffi/native/run.c), by the library that this CPU runs faster.
 */
import { nexusIo } from "../../ffi/nexus_io.ts";
import { NexusError } from "../base/mod.ts";
import { BlockPool, type Landing, type SealRun, type SlabMemory } from "../l3_stream/mod.ts";
import {
  type ClosableRuns,
  type CryptoEngine,
  KEY_BYTES,
  NONCE_BYTES,
  type RecordEngine,
  type RunKeys,
  SUITE_AES_256_GCM,
  TAG_BYTES,
} from "../l4_trust/mod.ts";
import { nodeEngine } from "./crypto.ts";
import {
  type AeadLibrary,
  NativeAead,
  nativeAeadLibraries,
  NativeKey,
  plain,
} from "./native_aead.ts";

/** Who seals records: a library of the native engine, the fastest of them, or the portable path. */
export const RECORD_ENGINES = ["auto", "portable", "intel-ipsec-mb", "libcrypto"] as const;
export type RecordEngineName = (typeof RECORD_ENGINES)[number];

/** Bytes of a record and how many are sealed to compare libraries: some 0.2 ms for each. */
const TRIAL_BYTES = 1_400;
const TRIALS = 200;
/** Rounds of a comparison; the best of each counts, for others may use the core meanwhile. */
const TRIAL_ROUNDS = 3;

/** An engine, memory that suits it, and why it is this one, for the log. */
export interface ChosenEngine {
  readonly engine: CryptoEngine;
  /** For the send buffers of an endpoint. */
  readonly blocks: BlockPool;
  readonly reason: string;
}

/**
 * node:crypto for handshakes, with the record engine asked for. NATIVE_UNAVAILABLE when a library was
 * asked for by name and is not in this build or does not suit the CPU.
 */
export function chooseEngine(name: RecordEngineName = "auto"): ChosenEngine {
  if (name === "portable") return portable("asked for");
  const libraries = nativeAeadLibraries();
  if (name !== "auto") {
    if (!libraries.includes(name)) {
      throw new NexusError(
        "NATIVE_UNAVAILABLE",
        `cannot seal records by ${name}: ${
          unavailable() ?? "it is not in this build or does not suit the CPU"
        }`,
        { hint: `there are: portable${libraries.map((library) => `, ${library}`).join("")}` },
      );
    }
    return native(name, "asked for");
  }
  if (libraries.length === 0) return portable(unavailable() ?? "no library for it in this build");
  const { library, reason } = fastest(libraries);
  return native(library, reason);
}

/** Why there is no native library; undefined when there is one. */
function unavailable(): string | undefined {
  const state = nexusIo();
  return "unavailable" in state ? state.unavailable : undefined;
}

function portable(reason: string): ChosenEngine {
  return { engine: nodeEngine, blocks: new BlockPool(), reason };
}

function native(library: AeadLibrary, reason: string): ChosenEngine {
  const engine = { ...nodeEngine, records: nativeRecords(library) };
  return { engine, blocks: new BlockPool({ makeSlab: addressedSlab }), reason };
}

let measured: { library: AeadLibrary; reason: string } | undefined;

/** The library that seals fastest here; measured once per process. */
function fastest(libraries: readonly AeadLibrary[]): { library: AeadLibrary; reason: string } {
  if (libraries.length === 1) return { library: libraries[0], reason: "the only one there" };
  if (measured !== undefined) return measured;
  const ns = libraries.map((library) => ({ library, ns: nsPerRecord(library) }));
  ns.sort((a, b) => a.ns - b.ns);
  const each = ns.map(({ library, ns }) => `${library} ${Math.round(ns)} ns`).join(", ");
  return measured = { library: ns[0].library, reason: `fastest for ${TRIAL_BYTES} bytes: ${each}` };
}

function nsPerRecord(library: AeadLibrary): number {
  const aead = new NativeAead(SUITE_AES_256_GCM, new Uint8Array(KEY_BYTES), library);
  const record = new Uint8Array(TRIAL_BYTES + TAG_BYTES);
  const nonce = new Uint8Array(NONCE_BYTES);
  const aad = new Uint8Array(68);
  let best = Infinity;
  for (let round = 0; round < TRIAL_ROUNDS; round++) {
    const begin = performance.now();
    for (let i = 0; i < TRIALS; i++) aead.seal(nonce, aad, record, 0, TRIAL_BYTES, TRIAL_BYTES);
    best = Math.min(best, performance.now() - begin);
  }
  aead.close();
  return 1e6 * best / TRIALS;
}

/** Records by the native library. */
export function nativeRecords(library: AeadLibrary = "best"): RecordEngine {
  return {
    name: library,
    aead: (suite, key) => new NativeAead(suite, key, library),
    runs: (keys, sealHeader, openHeader) => new NativeRuns(keys, sealHeader, openHeader, library),
  };
}

class NativeRuns implements ClosableRuns {
  readonly #seal: NativeKey;
  readonly #open: NativeKey;

  constructor(
    keys: RunKeys,
    sealHeader: Uint8Array,
    openHeader: Uint8Array,
    library: AeadLibrary,
  ) {
    const { suite, vni, pathId } = keys;
    this.#seal = new NativeKey(suite, keys.sealKey, keys.sealIv, vni, library);
    this.#open = new NativeKey(suite, keys.openKey, keys.openIv, vni, library);
    this.#seal.io.nx_key_bind(this.#seal.handle, plain(sealHeader), pathId);
    this.#open.io.nx_key_bind(this.#open.handle, plain(openHeader), pathId);
  }

  seal(bytes: Uint8Array, run: SealRun): number {
    const { io, handle } = this.#seal;
    const { words, addresses, lengths } = run;
    const sealed = io.nx_seal_run(handle, plain(bytes), bytes.length, words, addresses, lengths);
    if (sealed > 0) return sealed;
    throw new NexusError("SEAL_FAILED", `cannot seal run: the native library says ${sealed}`);
  }

  sealFrame(bytes: Uint8Array, at: number, length: number, packetNumber: number): void {
    const { io, handle } = this.#seal;
    const high = Math.floor(packetNumber / 2 ** 32);
    const low = packetNumber >>> 0;
    const sealed = io.nx_seal_frame(handle, plain(bytes), bytes.length, at, length, high, low);
    if (sealed === 1) return;
    throw new NexusError("SEAL_FAILED", `cannot seal frame: the native library says ${sealed}`);
  }

  open(bytes: Uint8Array, landing: Landing, window: Uint32Array): number {
    const { io, handle } = this.#open;
    const { words, results, bytes: landed } = landing;
    return Math.max(
      0,
      io.nx_open_run(
        handle,
        plain(bytes),
        bytes.length,
        words,
        landed,
        landed.length,
        results,
        window as Uint32Array<ArrayBuffer>,
      ),
    );
  }

  close(): void {
    this.#seal.close();
    this.#open.close();
  }
}

/** Memory for blocks of send buffers that native code can read: its address is known. */
export function addressedSlab(length: number): SlabMemory {
  const bytes = new Uint8Array(length);
  return { bytes, address: Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes))) };
}
