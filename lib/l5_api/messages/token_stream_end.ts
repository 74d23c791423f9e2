/** TOKEN_STREAM_END: how many chunks there are, and what the answer took. */
import {
  bytesField,
  type Reader,
  tableField,
  type TableShape,
  u64Field,
  type Writer,
} from "../nexbuf/mod.ts";
import {
  FINISH_REASON_UNKNOWN,
  type FinishReason,
  finishReasonOf,
  finishReasonValue,
} from "./enums.ts";
import { readUsage, type Usage, UsageShape, writeUsage } from "./usage.ts";

/** The end of a streamed answer. */
export interface TokenStreamEnd {
  /** Chunks 0 … chunks - 1 belong to the answer. */
  chunks: number;
  finishReason: FinishReason;
  usage: Usage;
  model: string;
  /** The node that answered, 16 bytes; empty when unknown. */
  nodeId: Uint8Array;
  latencyMs: number;
  ttftMs: number;
  /** Millionths of a US dollar. */
  costMicros: number;
  /** Other members of the response, one JSON object. */
  extraJson?: string;
}

/** Offsets in the fixed part. */
export const TokenStreamEndLayout = {
  chunks: 4,
  usage: 8,
  model: 12,
  nodeId: 16,
  latencyMs: 20,
  costMicros: 24,
  ttftMs: 32,
  extraJson: 36,
  finishReason: 40,
  size: 41,
} as const;

export const TokenStreamEndShape: TableShape = {
  name: "TokenStreamEnd",
  fields: [
    tableField(TokenStreamEndLayout.usage, UsageShape),
    bytesField(TokenStreamEndLayout.model),
    bytesField(TokenStreamEndLayout.nodeId),
    u64Field(TokenStreamEndLayout.costMicros),
    bytesField(TokenStreamEndLayout.extraJson),
  ],
};

export function writeTokenStreamEnd(w: Writer, t: number, end: TokenStreamEnd): void {
  const at = TokenStreamEndLayout;
  w.u32(t + at.chunks, end.chunks);
  w.u32(t + at.latencyMs, end.latencyMs);
  w.u64(t + at.costMicros, end.costMicros);
  w.u32(t + at.ttftMs, end.ttftMs);
  w.u8(t + at.finishReason, finishReasonValue(end.finishReason));
  writeUsage(w, t + at.usage, end.usage);
  w.string(t + at.model, end.model);
  w.bytes(t + at.nodeId, end.nodeId);
  w.stringOptional(t + at.extraJson, end.extraJson);
}

export function readTokenStreamEnd(r: Reader, t: number): TokenStreamEnd {
  const at = TokenStreamEndLayout;
  return {
    chunks: r.u32(t, at.chunks, 0),
    finishReason: finishReasonOf(r.u8(t, at.finishReason, FINISH_REASON_UNKNOWN)),
    usage: readUsage(r, r.reference(t, at.usage)),
    model: r.string(t, at.model),
    nodeId: r.bytesCopy(t, at.nodeId),
    latencyMs: r.u32(t, at.latencyMs, 0),
    ttftMs: r.u32(t, at.ttftMs, 0),
    costMicros: r.u64(t, at.costMicros, 0),
    extraJson: r.stringOptional(t, at.extraJson),
  };
}
