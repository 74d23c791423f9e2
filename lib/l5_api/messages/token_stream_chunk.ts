/** TOKEN_STREAM_CHUNK: one or more tokens; numbered, because chunks may arrive in any order. */
import {
  bytesField,
  type Reader,
  type TableShape,
  tableVectorField,
  type Writer,
} from "../nexbuf/mod.ts";
import { NONE_U8 } from "../nexbuf/reader.ts";
import {
  type FinishReason,
  finishReasonOptionalOf,
  finishReasonValue,
  type Role,
  roleOptionalOf,
  roleValue,
} from "./enums.ts";
import {
  readToolCallDelta,
  type ToolCallDelta,
  ToolCallDeltaLayout,
  ToolCallDeltaShape,
  writeToolCallDelta,
} from "./tool_use.ts";

/** What a chunk adds to one choice. */
export interface ChunkFields {
  /** Which choice. */
  index: number;
  text: string;
  role?: Role;
  toolCalls: ToolCallDelta[];
  finishReason?: FinishReason;
  /** Other members of the delta or choice (logprobs, reasoning_content …), one JSON object. */
  extraJson?: string;
}

/** A chunk with its number: 0, 1, 2 … within the request. */
export interface TokenStreamChunk extends ChunkFields {
  sequence: number;
}

/** Offsets in the fixed part. */
export const TokenStreamChunkLayout = {
  sequence: 4,
  index: 8,
  text: 12,
  toolCalls: 16,
  extraJson: 20,
  role: 24,
  finishReason: 25,
  size: 26,
} as const;

export const TokenStreamChunkShape: TableShape = {
  name: "TokenStreamChunk",
  fields: [
    bytesField(TokenStreamChunkLayout.text),
    tableVectorField(TokenStreamChunkLayout.toolCalls, ToolCallDeltaShape),
    bytesField(TokenStreamChunkLayout.extraJson),
  ],
};

export function writeTokenStreamChunk(w: Writer, t: number, chunk: TokenStreamChunk): void {
  const at = TokenStreamChunkLayout;
  const { role, finishReason, toolCalls } = chunk;
  w.u32(t + at.sequence, chunk.sequence);
  w.u32(t + at.index, chunk.index);
  w.u8(t + at.role, role === undefined ? NONE_U8 : roleValue(role));
  w.u8(t + at.finishReason, finishReason === undefined ? NONE_U8 : finishReasonValue(finishReason));
  w.string(t + at.text, chunk.text);
  if (toolCalls.length > 0) {
    const first = w.referencesIn(t + at.toolCalls, toolCalls.length, 4);
    for (let i = 0; i < toolCalls.length; i++) {
      writeToolCallDelta(w, w.tableIn(first + 4 * i, ToolCallDeltaLayout.size), toolCalls[i]);
    }
  }
  w.stringOptional(t + at.extraJson, chunk.extraJson);
}

export function readTokenStreamChunk(r: Reader, t: number): TokenStreamChunk {
  const at = TokenStreamChunkLayout;
  const toolCalls: ToolCallDelta[] = [];
  const vector = r.reference(t, at.toolCalls);
  for (let i = 0, n = r.count(vector); i < n; i++) {
    toolCalls.push(readToolCallDelta(r, r.tableAt(vector, i)));
  }
  return {
    sequence: r.u32(t, at.sequence, 0),
    index: r.u32(t, at.index, 0),
    text: r.string(t, at.text),
    role: roleOptionalOf(r.u8(t, at.role, NONE_U8)),
    toolCalls,
    finishReason: finishReasonOptionalOf(r.u8(t, at.finishReason, NONE_U8)),
    extraJson: r.stringOptional(t, at.extraJson),
  };
}
