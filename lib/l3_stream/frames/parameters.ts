/** CONN_INIT and CONN_ACCEPT: what an end allows its peer (docs/protocol.md §5.2). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { type Frame, MALFORMED, type Parameters } from "./frame.ts";

const FIXED_BYTES = 2 + 16 + 4 + 8 + 8 + 4 + 4 + 4 + 4 + 2;
/** Extension max_paths: type, length, one byte. */
const EXTENSION_MAX_PATHS = 0x01;
const MAX_PATHS_BYTES = 3;
/** Bytes of the frame with its type byte and all extensions. */
export const PARAMETERS_BYTES = 1 + FIXED_BYTES + MAX_PATHS_BYTES;

/** Parses behind the type byte; unknown extensions are skipped. */
export function parseParameters(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  frame: Frame,
): number {
  if (end - at < FIXED_BYTES) return MALFORMED;
  const out = frame.parameters;
  out.version = view.getUint16(at);
  for (let i = 0; i < 16; i++) out.nodeId[i] = bytes[at + 2 + i];
  out.maxStreams = view.getUint32(at + 18);
  out.maxData = readU64(view, at + 22);
  out.streamWindow = readU64(view, at + 30);
  out.streamMessages = view.getUint32(at + 38);
  out.maxMessage = view.getUint32(at + 42);
  out.maxAckDelayUs = view.getUint32(at + 46);
  out.idleTimeoutMs = view.getUint32(at + 50);
  const next = at + FIXED_BYTES + view.getUint16(at + 54);
  if (next > end || out.maxData < 0 || out.streamWindow < 0) return MALFORMED;
  out.maxPaths = 0;
  for (let from = at + FIXED_BYTES; from + 2 <= next;) {
    const value = from + 2;
    const length = bytes[from + 1];
    if (value + length > next) break; // not an extension list of ours: ignored
    if (bytes[from] === EXTENSION_MAX_PATHS && length >= 1) out.maxPaths = bytes[value];
    from = value + length;
  }
  return next;
}

/** Writes the frame, type byte included, and returns the offset behind it. */
export function appendParameters(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  type: number,
  parameters: Parameters,
): number {
  bytes[at] = type;
  view.setUint16(at + 1, parameters.version);
  bytes.set(parameters.nodeId, at + 3);
  view.setUint32(at + 19, parameters.maxStreams);
  writeU64(view, at + 23, parameters.maxData);
  writeU64(view, at + 31, parameters.streamWindow);
  view.setUint32(at + 39, parameters.streamMessages);
  view.setUint32(at + 43, parameters.maxMessage);
  view.setUint32(at + 47, parameters.maxAckDelayUs);
  view.setUint32(at + 51, parameters.idleTimeoutMs);
  let to = at + 1 + FIXED_BYTES;
  if (parameters.maxPaths > 0) {
    bytes[to] = EXTENSION_MAX_PATHS;
    bytes[to + 1] = MAX_PATHS_BYTES - 2;
    bytes[to + 2] = parameters.maxPaths;
    to += MAX_PATHS_BYTES;
  }
  view.setUint16(at + 55, to - at - 1 - FIXED_BYTES);
  return to;
}
