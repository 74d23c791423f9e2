/** The overlay header in front of a frame in a UDP datagram (docs/protocol.md §1). */
import { NexusError } from "../base/mod.ts";
import {
  FRAME_BYTES_MIN,
  OVERLAY_BYTES,
  OVERLAY_VERSION,
  OVERLAY_VERSION_FLAGS_AT,
  OVERLAY_VERSION_FLAGS_VERSION_SHIFT,
  OVERLAY_VNI_AT,
  VNI_MAX,
} from "./gen/link.ts";

/** Why a datagram was refused; 0 is no error. */
export enum OverlayError {
  OK = 0,
  /** Shorter than overlay and the shortest frame. */
  OVERLAY_TOO_SHORT,
  OVERLAY_VERSION,
  /** Another tenant network than the socket's. */
  OVERLAY_VNI,
}

const REASONS: Record<OverlayError, string> = {
  [OverlayError.OK]: "nothing is wrong",
  [OverlayError.OVERLAY_TOO_SHORT]: "fewer than 8 + 68 bytes",
  [OverlayError.OVERLAY_VERSION]: "version is not 1",
  [OverlayError.OVERLAY_VNI]: "VNI is not the socket's",
};

/** The typed error of a code other than OK; its `code` is the name, e.g. "OVERLAY_VNI". */
export function overlayError(code: OverlayError): NexusError {
  return new NexusError(
    OverlayError[code] ?? "OVERLAY",
    `cannot accept datagram: ${REASONS[code]}`,
  );
}

/** Writes the eight overlay bytes at `offset`; the frame follows at offset + OVERLAY_BYTES. */
export function writeOverlay(bytes: Uint8Array, offset: number, vni: number): void {
  for (let i = 0; i < OVERLAY_BYTES; i++) bytes[offset + i] = 0;
  bytes[offset + OVERLAY_VERSION_FLAGS_AT] = OVERLAY_VERSION << OVERLAY_VERSION_FLAGS_VERSION_SHIFT;
  bytes[offset + OVERLAY_VNI_AT] = vni >>> 16;
  bytes[offset + OVERLAY_VNI_AT + 1] = vni >>> 8;
  bytes[offset + OVERLAY_VNI_AT + 2] = vni;
}

/** Checks the overlay of a datagram of `length` bytes at `offset` against the socket's VNI. */
export function checkOverlay(
  bytes: Uint8Array,
  offset: number,
  length: number,
  vni: number,
): OverlayError {
  if (length < OVERLAY_BYTES + FRAME_BYTES_MIN) return OverlayError.OVERLAY_TOO_SHORT;
  if (
    bytes[offset + OVERLAY_VERSION_FLAGS_AT] >>> OVERLAY_VERSION_FLAGS_VERSION_SHIFT !==
      OVERLAY_VERSION
  ) {
    return OverlayError.OVERLAY_VERSION;
  }
  return overlayVni(bytes, offset) === vni ? OverlayError.OK : OverlayError.OVERLAY_VNI;
}

/** The tenant network that the overlay at `offset` names. */
export function overlayVni(bytes: Uint8Array, offset: number): number {
  const at = offset + OVERLAY_VNI_AT;
  return bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2];
}

/** Throws INVALID_VNI unless the number is a u24. */
export function checkVni(vni: number): void {
  if (!Number.isInteger(vni) || vni < 0 || vni > VNI_MAX) {
    throw new NexusError("INVALID_VNI", `cannot use VNI: ${vni} is not in 0…${VNI_MAX}`);
  }
}
