/**
 * Records (protocol.md §5): AEAD over the payload of a frame, in place.
 *
 *   nonce = iv XOR (path id u32 ‖ packet number u64)
 *   associated data = VNI u32 ‖ canonical view of header and options before the tag
 *
 * Nothing is allocated per frame here but what the AEAD itself needs.
 */
import { NexusError } from "../../base/mod.ts";
import {
  CANONICAL_BYTES_MAX,
  Flag,
  type FrameInfo,
  HEADER_BYTES,
  OPTION_HEADER_BYTES,
  OptionType,
  writeCanonicalHeader,
} from "../../l1_link/mod.ts";
import {
  type Landing,
  OPEN_KEY_PHASE,
  OPEN_REPLAYED,
  OPEN_UNAUTHENTIC,
  type PacketProtection,
  type PacketRuns,
  RunResult,
  type SealRun,
} from "../../l3_stream/mod.ts";
import {
  type Aead,
  type ClosableAead,
  type ClosableRuns,
  type CryptoEngine,
  NONCE_BYTES,
  TAG_BYTES,
} from "../engine.ts";
import { recoverPacketNumber, ReplayWindow } from "./replay_window.ts";

/**
 * AES blocks that one key may encrypt, 512 GiB. RFC 9001 §B.1.1: with 2³⁵ an attacker gains 2⁻⁵⁷,
 * which are 2²³ packets of 2¹⁶ bytes or 2²⁸ of 2¹¹. The limit of ChaCha20-Poly1305 is above the
 * number of packets, so one bound serves both.
 */
export const BLOCKS_MAX = 2 ** 35;
/** Frames under one key, however short: those of the same section. */
export const SEALS_MAX = 2 ** 28;
const BLOCK_BYTES = 16;
/** Blocks of a frame beside its payload's whole ones: associated data, the rest, the lengths. */
const BLOCKS_BESIDE = 7;
/** Blocks of the longest frame. */
const BLOCKS_EACH_MAX = 2 ** 16 / BLOCK_BYTES + BLOCKS_BESIDE;
/**
 * Frames that may fail to open under one key. RFC 9001 §6.6: 2⁵² for AES-GCM, 2³⁶ for
 * ChaCha20-Poly1305; the smaller serves both.
 */
export const FORGERIES_MAX = 2 ** 36;
/** The only key phase until keys are updated in place. */
export const KEY_PHASE_FIRST = 1;

/** Bytes of the VNI before the canonical view. */
const VNI_BYTES = 4;

/** Keys of both directions; the protection owns and wipes them. */
export interface RecordKeys {
  readonly engine: CryptoEngine;
  readonly suite: number;
  readonly vni: number;
  readonly sealKey: Uint8Array;
  readonly sealIv: Uint8Array;
  readonly openKey: Uint8Array;
  readonly openIv: Uint8Array;
  /** 0 for the first path, which is the default. */
  readonly pathId?: number;
}

/** What all paths under the same keys share. */
interface KeyUse {
  readonly sealAead: Aead;
  readonly openAead: Aead;
  /** Copies of the keys elsewhere, which must be wiped as well. */
  readonly copies: (ClosableAead | ClosableRuns)[];
  seals: number;
  /** Upper bound of the AES blocks of these. */
  blocks: number;
  forgeries: number;
  wiped: boolean;
}

function useKeys({ engine, suite, sealKey, openKey }: RecordKeys): KeyUse {
  const { records } = engine;
  const copies: KeyUse["copies"] = [];
  const make = (key: Uint8Array): Aead => {
    try {
      const made = records!.aead(suite, key);
      copies.push(made);
      return made;
    } catch {
      return engine.aead(suite, key); // as in openRuns
    }
  };
  // A path that has runs seldom does anything frame by frame: made when first used.
  let sealAead = records === undefined ? engine.aead(suite, sealKey) : undefined;
  let openAead = records === undefined ? engine.aead(suite, openKey) : undefined;
  return {
    get sealAead() {
      return sealAead ??= make(sealKey);
    },
    get openAead() {
      return openAead ??= make(openKey);
    },
    copies,
    seals: 0,
    blocks: 0,
    forgeries: 0,
    wiped: false,
  };
}

/** Seals and opens the frames of one connection on one path; `wipe` ends all of its paths. */
export class RecordProtection implements PacketProtection {
  readonly keyPhase = KEY_PHASE_FIRST;
  readonly #keys: RecordKeys;
  readonly #use: KeyUse;
  readonly #window = new ReplayWindow();
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #nonceView = new DataView(this.#nonce.buffer);
  readonly #aad = new Uint8Array(VNI_BYTES + CANONICAL_BYTES_MAX);
  /** Where writeCanonicalHeader writes: the associated data after its VNI. */
  readonly #canonical = this.#aad.subarray(VNI_BYTES);
  /** The associated data of a frame without options before its tag, which nearly all are. */
  readonly #aadPlain = this.#aad.subarray(0, VNI_BYTES + HEADER_BYTES);
  #nextPacketNumber = 0;

  /** `use` is given for another path under keys that are in use already. */
  constructor(keys: RecordKeys, use?: KeyUse) {
    this.#keys = keys;
    this.#use = use ?? useKeys(keys);
    new DataView(this.#aad.buffer).setUint32(0, keys.vni);
  }

  forPath(pathId: number): RecordProtection {
    return new RecordProtection({ ...this.#keys, pathId }, this.#use);
  }

  openRuns(sealHeader: Uint8Array, openHeader: Uint8Array): PacketRuns | undefined {
    const { engine, pathId = 0 } = this.#keys;
    if (engine.records === undefined || this.#use.wiped) return undefined;
    let runs: ClosableRuns;
    try {
      runs = engine.records.runs({ ...this.#keys, pathId }, sealHeader, openHeader);
    } catch {
      return undefined; // no room for more keys there: frame by frame works all the same
    }
    this.#use.copies.push(runs);
    return {
      seal: (bytes, run) => this.#sealRun(runs, bytes, run),
      sealFrame: (bytes, at, length, packetNumber) => {
        this.#countSeals(packetNumber, 1, length);
        runs.sealFrame(bytes, at, length, packetNumber);
      },
      open: (bytes, landing) => this.#openRun(runs, bytes, landing),
    };
  }

  #sealRun(runs: ClosableRuns, bytes: Uint8Array, run: SealRun): number {
    this.#countSeals(run.packetNumber, run.count, run.dataTotal);
    return runs.seal(bytes, run);
  }

  #openRun(runs: ClosableRuns, bytes: Uint8Array, landing: Landing): number {
    if (this.#use.wiped || this.#use.forgeries >= FORGERIES_MAX) return 0;
    const results = runs.open(bytes, landing, this.#window.state);
    for (let i = 0; i < results; i++) {
      if (landing.kind(i) === RunResult.FORGED) this.#use.forgeries++;
    }
    return results;
  }

  /** Frames of any length that may still be sealed, on all paths; 0 after `wipe`. */
  get sealsLeft(): number {
    const { wiped, seals, blocks } = this.#use;
    if (wiped) return 0;
    return Math.min(SEALS_MAX - seals, Math.floor((BLOCKS_MAX - blocks) / BLOCKS_EACH_MAX));
  }

  /** Frames that did not open, on all paths. */
  get forgeries(): number {
    return this.#use.forgeries;
  }

  /** Throws AEAD_LIMIT when no seal is left, PACKET_NUMBER when the number does not grow. */
  seal(
    bytes: Uint8Array,
    _view: DataView,
    frameOffset: number,
    payloadOffset: number,
    payloadLength: number,
    packetNumber: number,
  ): void {
    this.#countSeals(packetNumber, 1, payloadLength);
    this.#setNonce(this.#keys.sealIv, packetNumber);
    const aad = this.#associatedData(bytes, frameOffset, undefined);
    // The tag is the value of the last option, so it ends where the payload begins.
    const tagAt = payloadOffset - TAG_BYTES;
    this.#use.sealAead.seal(this.#nonce, aad, bytes, payloadOffset, payloadLength, tagAt);
  }

  /** No number seals twice: checked before a byte is sealed. */
  #countSeals(packetNumber: number, count: number, payloadBytes: number): void {
    if (this.sealsLeft < count) {
      throw new NexusError("AEAD_LIMIT", "cannot seal frame: the key is used up or wiped");
    }
    if (packetNumber < this.#nextPacketNumber) {
      throw new NexusError(
        "PACKET_NUMBER",
        `cannot seal frame: packet number is ${packetNumber}, ` +
          `expected at least ${this.#nextPacketNumber}`,
      );
    }
    this.#nextPacketNumber = packetNumber + count;
    this.#use.seals += count;
    this.#use.blocks += Math.floor(payloadBytes / BLOCK_BYTES) + BLOCKS_BESIDE * count;
  }

  /** The packet number, or OPEN_KEY_PHASE, OPEN_REPLAYED (also: too old) or OPEN_UNAUTHENTIC. */
  open(bytes: Uint8Array, _view: DataView, frameOffset: number, info: FrameInfo): number {
    if (info.keyPhase !== this.keyPhase || this.#use.wiped) return OPEN_KEY_PHASE;
    if (info.tagOffset < 0 || (info.flags & Flag.ENCRYPTED) === 0) return OPEN_KEY_PHASE;
    // Sealed frames are never anycast: the view would leave the destination unauthenticated.
    if (info.semanticOffset >= 0 || this.#use.forgeries >= FORGERIES_MAX) return OPEN_UNAUTHENTIC;
    // The associated data ends before the tag option, so its type byte has one value only.
    if (bytes[info.tagOffset - OPTION_HEADER_BYTES] !== OptionType.ENCRYPTION_TAG) {
      return OPEN_UNAUTHENTIC;
    }
    const packetNumber = recoverPacketNumber(this.#window.largest, info.sequence);
    if (!this.#window.isNew(packetNumber)) return OPEN_REPLAYED;
    this.#setNonce(this.#keys.openIv, packetNumber);
    const aad = this.#associatedData(bytes, frameOffset, info);
    const { payloadOffset, payloadLength, tagOffset } = info;
    if (
      !this.#use.openAead.open(this.#nonce, aad, bytes, payloadOffset, payloadLength, tagOffset)
    ) {
      this.#use.forgeries++;
      return OPEN_UNAUTHENTIC;
    }
    this.#window.mark(packetNumber);
    return packetNumber;
  }

  wipe(): void {
    const { sealKey, sealIv, openKey, openIv } = this.#keys;
    for (const key of [sealKey, sealIv, openKey, openIv, this.#nonce]) key.fill(0);
    for (const copy of this.#use.copies.splice(0)) copy.close();
    this.#use.wiped = true;
  }

  #setNonce(iv: Uint8Array, packetNumber: number): void {
    const view = this.#nonceView;
    this.#nonce.set(iv);
    const pathId = this.#keys.pathId ?? 0;
    if (pathId !== 0) view.setUint32(0, view.getUint32(0) ^ pathId);
    const high = Math.floor(packetNumber / 4_294_967_296);
    view.setUint32(4, view.getUint32(4) ^ high);
    view.setUint32(8, view.getUint32(8) ^ packetNumber);
  }

  #associatedData(bytes: Uint8Array, frameOffset: number, info: FrameInfo | undefined): Uint8Array {
    const length = writeCanonicalHeader(bytes, frameOffset, info, this.#canonical);
    return length === HEADER_BYTES ? this.#aadPlain : this.#aad.subarray(0, VNI_BYTES + length);
  }
}
