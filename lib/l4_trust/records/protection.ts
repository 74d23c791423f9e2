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
  OPEN_KEY_PHASE,
  OPEN_REPLAYED,
  OPEN_UNAUTHENTIC,
  type PacketProtection,
} from "../../l3_stream/mod.ts";
import { type Aead, type CryptoEngine, NONCE_BYTES, TAG_BYTES } from "../engine.ts";
import { recoverPacketNumber, ReplayWindow } from "./replay_window.ts";

/**
 * Frames under one key. RFC 9001 §6.6: with AES-GCM at most 2²³ packets may be encrypted; the
 * limit of ChaCha20-Poly1305 is above the number of packets, so one bound serves both.
 */
export const SEALS_MAX = 2 ** 23;
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
  seals: number;
  forgeries: number;
  wiped: boolean;
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
    this.#use = use ?? {
      sealAead: keys.engine.aead(keys.suite, keys.sealKey),
      openAead: keys.engine.aead(keys.suite, keys.openKey),
      seals: 0,
      forgeries: 0,
      wiped: false,
    };
    new DataView(this.#aad.buffer).setUint32(0, keys.vni);
  }

  forPath(pathId: number): RecordProtection {
    return new RecordProtection({ ...this.#keys, pathId }, this.#use);
  }

  /** Frames that may still be sealed, on all paths; 0 after `wipe`. */
  get sealsLeft(): number {
    return this.#use.wiped ? 0 : SEALS_MAX - this.#use.seals;
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
    if (this.sealsLeft === 0) {
      throw new NexusError("AEAD_LIMIT", "cannot seal frame: the key is used up or wiped");
    }
    if (packetNumber < this.#nextPacketNumber) {
      throw new NexusError(
        "PACKET_NUMBER",
        `cannot seal frame: packet number is ${packetNumber}, ` +
          `expected at least ${this.#nextPacketNumber}`,
      );
    }
    this.#nextPacketNumber = packetNumber + 1;
    this.#use.seals++;
    this.#setNonce(this.#keys.sealIv, packetNumber);
    const aad = this.#associatedData(bytes, frameOffset, undefined);
    // The tag is the value of the last option, so it ends where the payload begins.
    const tagAt = payloadOffset - TAG_BYTES;
    this.#use.sealAead.seal(this.#nonce, aad, bytes, payloadOffset, payloadLength, tagAt);
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
