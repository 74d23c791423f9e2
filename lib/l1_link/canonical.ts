/**
 * The canonical view of a frame: what CRC and AEAD associated data cover (docs/protocol.md §2).
 * Forwarders may change hop_limit, the value of HOP_COUNT and, when SEMANTIC_ADDR is present, the
 * destination; the view reads these bytes as 0, so a forwarder never touches checksum or tag.
 *
 * The CRC is taken over the frame where it lies: plain bytes in runs, zeroes for masked ones.
 */
import { crcAdd, crcAddZeroes } from "./crc32c.ts";
import type { FrameInfo } from "./frame_info.ts";
import {
  CRC_BYTES,
  DEST_NODE_ID_AT,
  HEADER_BYTES,
  HOP_LIMIT_AT,
  OPTION_HEADER_BYTES,
  OPTION_TYPE_MASK,
  OPTIONS_BYTES_MAX,
  OPTIONS_LENGTH_AT,
  OptionType,
  PRIORITY_QOS_AT,
} from "./gen/link.ts";

/** Longest canonical header: header and all options. Size of the `into` buffer. */
export const CANONICAL_BYTES_MAX = HEADER_BYTES + OPTIONS_BYTES_MAX;

// What walkOptions found; numbers of the module, so that the hot path makes no object.
let hopCountAt = -1;
let tagAt = -1;
let anycast = false;

/**
 * Finds the options that the view depends on. Tolerant, because a receiver takes the CRC before
 * it trusts the options: the walk ends at the first option that overruns the options area.
 */
function walkOptions(bytes: Uint8Array, from: number, to: number): void {
  hopCountAt = -1;
  tagAt = -1;
  anycast = false;
  let at = from;
  while (at + OPTION_HEADER_BYTES <= to) {
    const type = bytes[at] & OPTION_TYPE_MASK;
    const next = at + OPTION_HEADER_BYTES + bytes[at + 1];
    if (next > to) return;
    if (type === OptionType.HOP_COUNT) {
      if (hopCountAt < 0 && next === at + OPTION_HEADER_BYTES + 1) hopCountAt = next - 1;
    } else if (type === OptionType.SEMANTIC_ADDR) anycast = true;
    else if (type === OptionType.ENCRYPTION_TAG && tagAt < 0) tagAt = at;
    at = next;
  }
}

/**
 * CRC-32C of the canonical view of the frame at `offset`, CRC field excluded. The caller has
 * checked that `length` bytes are there and that options_length fits into them.
 */
export function frameCrc(
  bytes: Uint8Array,
  offset: number,
  length: number,
  optionsLength: number,
): number {
  const options = offset + HEADER_BYTES;
  const end = offset + length - CRC_BYTES;
  const hopLimitAt = offset + HOP_LIMIT_AT;
  let crc = -1;
  // Plain bytes still to come start here; each masked byte before it counts as one zero.
  let from = hopLimitAt + 1;
  if (optionsLength === 0) {
    crc = crcAdd(crc, bytes, offset, hopLimitAt);
  } else {
    walkOptions(bytes, options, options + optionsLength);
    if (anycast) {
      crc = crcAdd(crc, bytes, offset, offset + DEST_NODE_ID_AT);
      crc = crcAddZeroes(crc, PRIORITY_QOS_AT - DEST_NODE_ID_AT);
      crc = crcAdd(crc, bytes, offset + PRIORITY_QOS_AT, hopLimitAt);
    } else {
      crc = crcAdd(crc, bytes, offset, hopLimitAt);
    }
    if (hopCountAt >= 0) {
      crc = crcAddZeroes(crc, 1);
      crc = crcAdd(crc, bytes, from, hopCountAt);
      from = hopCountAt + 1;
    }
  }
  crc = crcAddZeroes(crc, 1);
  return ~crcAdd(crc, bytes, from, end) >>> 0;
}

/**
 * Writes the canonical view of header and options up to (not including) the ENCRYPTION_TAG
 * option into `into` (at least CANONICAL_BYTES_MAX long) and returns its length: the associated
 * data of a sealed frame after its VNI (docs/protocol.md §5). The header must be complete,
 * frame_length included; the caller guarantees that options_length lies inside `bytes`.
 * `info` saves reading options_length again; pass undefined for a frame that is being built.
 */
export function writeCanonicalHeader(
  bytes: Uint8Array,
  offset: number,
  info: FrameInfo | undefined,
  into: Uint8Array,
): number {
  const optionsLength = info === undefined
    ? bytes[offset + OPTIONS_LENGTH_AT] << 8 | bytes[offset + OPTIONS_LENGTH_AT + 1]
    : info.optionsLength;
  const options = offset + HEADER_BYTES;
  walkOptions(bytes, options, options + optionsLength);
  const end = tagAt < 0 ? options + optionsLength : tagAt;
  for (let i = offset, j = 0; i < end; i++, j++) into[j] = bytes[i];
  into[HOP_LIMIT_AT] = 0;
  if (hopCountAt >= 0 && hopCountAt < end) into[hopCountAt - offset] = 0;
  if (anycast) into.fill(0, DEST_NODE_ID_AT, PRIORITY_QOS_AT);
  return end - offset;
}
