/** CONN_INIT and CONN_ACCEPT: what an end allows its peer (docs/protocol.md §5.2). */
import { readU64, writeU64 } from "../../base/mod.ts";
import { type Frame, MALFORMED, type Parameters } from "./frame.ts";

const FIXED_BYTES = 2 + 16 + 4 + 8 + 8 + 4 + 4 + 4 + 4 + 2;
/** Bytes of the frame with its type byte and no extensions. */
export const PARAMETERS_BYTES = 1 + FIXED_BYTES;

/** Parses behind the type byte; extensions are skipped. */
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
  view.setUint16(at + 55, 0);
  return at + PARAMETERS_BYTES;
}
