/**
 * Frame checksums by the burst: natively by ISA-L where the library is there, else by the tables
 * of l1_link. Both write and check the same bytes.
 */
import { type NexusIo, nexusIo, NxCrc, NxDescriptor, NxFeature } from "../../ffi/nexus_io.ts";
import { type Burst, BURST_FRAMES_MAX, crc32c, CRC_BYTES, frameCrc } from "../l1_link/mod.ts";
import { optionsLengthOf, viewOf } from "./frame_bytes.ts";

/** Set in a descriptor's flags by `check` when the checksum is wrong. */
export const DESCRIPTOR_CRC_BAD = NxDescriptor.CRC_BAD;
/** Set when the frame's lengths do not fit each other, so that no checksum could be taken. */
export const DESCRIPTOR_MALFORMED = NxDescriptor.MALFORMED;

/** CRC-32C of bytes and of the frames of a burst. */
export interface FrameCrc {
  /** For the log: "ISA-L" or "portable". */
  readonly name: string;
  /** CRC-32C of `bytes[from … to)` after bytes whose CRC is `seed`. */
  crc32c(bytes: Uint8Array, from: number, to: number, seed?: number): number;
  /** Writes the CRC of frames first … first+count-1; returns how many frames were well formed. */
  write(bytes: Uint8Array, burst: Burst, first: number, count: number): number;
  /** Checks them and sets or clears the flags above; returns how many are right. */
  check(bytes: Uint8Array, burst: Burst, first: number, count: number): number;
}

/** The checksum engine by TypeScript tables. */
export const portableFrameCrc: FrameCrc = {
  name: "portable",
  crc32c,
  write: (bytes, burst, first, count) =>
    eachFrame(bytes, burst, first, count, (view, at, crc) => {
      view.setUint32(at, crc);
      return true;
    }),
  check: (bytes, burst, first, count) =>
    eachFrame(bytes, burst, first, count, (view, at, crc) => view.getUint32(at) === crc),
};

function eachFrame(
  bytes: Uint8Array,
  burst: Burst,
  first: number,
  count: number,
  visit: (view: DataView, crcAt: number, crc: number) => boolean,
): number {
  if (first + count > BURST_FRAMES_MAX) return -1;
  const view = viewOf(bytes);
  let right = 0;
  for (let i = first; i < first + count; i++) {
    const [offset, length] = [burst.offset[i], burst.length[i]];
    burst.flags[i] &= ~(DESCRIPTOR_CRC_BAD | DESCRIPTOR_MALFORMED);
    const optionsLength = optionsLengthOf(view, offset, length);
    if (optionsLength < 0) burst.flags[i] |= DESCRIPTOR_MALFORMED;
    else {
      const crc = frameCrc(bytes, offset, length, optionsLength);
      if (visit(view, offset + length - CRC_BYTES, crc)) right++;
      else burst.flags[i] |= DESCRIPTOR_CRC_BAD;
    }
  }
  return right;
}

class NativeFrameCrc implements FrameCrc {
  readonly name = "ISA-L";
  constructor(readonly io: NexusIo) {}

  crc32c(bytes: Uint8Array, from: number, to: number, seed = 0): number {
    return this.io.nx_crc32c(bytes as Uint8Array<ArrayBuffer>, from, to - from, seed);
  }
  write(bytes: Uint8Array, burst: Burst, first: number, count: number): number {
    return this.#run(bytes, burst, first, count, NxCrc.WRITE);
  }
  check(bytes: Uint8Array, burst: Burst, first: number, count: number): number {
    return this.#run(bytes, burst, first, count, NxCrc.CHECK);
  }
  #run(bytes: Uint8Array, burst: Burst, first: number, count: number, mode: number): number {
    return this.io.nx_frames_crc(
      bytes as Uint8Array<ArrayBuffer>,
      bytes.length,
      burst.block,
      first,
      count,
      mode,
    );
  }
}

/** The native engine; undefined where the library or ISA-L is missing. */
export function nativeFrameCrc(): FrameCrc | undefined {
  const state = nexusIo();
  return "io" in state && state.features & NxFeature.CRC32C
    ? new NativeFrameCrc(state.io)
    : undefined;
}

/** The fastest engine of this machine. */
export function bestFrameCrc(): FrameCrc {
  return nativeFrameCrc() ?? portableFrameCrc;
}
