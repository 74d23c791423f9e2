/** A tool call of the model: whole in messages and responses, in pieces in token chunks. */
import { bytesField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** A whole tool call. */
export interface ToolUse {
  id: string;
  name: string;
  /** The model's argument text, JSON when the model behaves. */
  arguments: string;
}

/** A piece of a tool call; the pieces of one index concatenate. */
export interface ToolCallDelta {
  index: number;
  id?: string;
  name?: string;
  arguments: string;
}

/** Offsets in the fixed part of ToolUse. */
export const ToolUseLayout = { id: 4, name: 8, arguments: 12, size: 16 } as const;

/** Offsets in the fixed part of ToolCallDelta. */
export const ToolCallDeltaLayout = { index: 4, id: 8, name: 12, arguments: 16, size: 20 } as const;

export const ToolUseShape: TableShape = {
  name: "ToolUse",
  fields: [
    bytesField(ToolUseLayout.id),
    bytesField(ToolUseLayout.name),
    bytesField(ToolUseLayout.arguments),
  ],
};

export const ToolCallDeltaShape: TableShape = {
  name: "ToolCallDelta",
  fields: [
    bytesField(ToolCallDeltaLayout.id),
    bytesField(ToolCallDeltaLayout.name),
    bytesField(ToolCallDeltaLayout.arguments),
  ],
};

export function writeToolUse(w: Writer, t: number, use: ToolUse): void {
  w.string(t + ToolUseLayout.id, use.id);
  w.string(t + ToolUseLayout.name, use.name);
  w.string(t + ToolUseLayout.arguments, use.arguments);
}

export function readToolUse(r: Reader, t: number): ToolUse {
  return {
    id: r.string(t, ToolUseLayout.id),
    name: r.string(t, ToolUseLayout.name),
    arguments: r.string(t, ToolUseLayout.arguments),
  };
}

export function writeToolCallDelta(w: Writer, t: number, delta: ToolCallDelta): void {
  w.u32(t + ToolCallDeltaLayout.index, delta.index);
  w.stringOptional(t + ToolCallDeltaLayout.id, delta.id);
  w.stringOptional(t + ToolCallDeltaLayout.name, delta.name);
  w.string(t + ToolCallDeltaLayout.arguments, delta.arguments);
}

export function readToolCallDelta(r: Reader, t: number): ToolCallDelta {
  return {
    index: r.u32(t, ToolCallDeltaLayout.index, 0),
    id: r.stringOptional(t, ToolCallDeltaLayout.id),
    name: r.stringOptional(t, ToolCallDeltaLayout.name),
    arguments: r.string(t, ToolCallDeltaLayout.arguments),
  };
}
