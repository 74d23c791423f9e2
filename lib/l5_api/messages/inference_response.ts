/** INFERENCE_RESPONSE: the whole answer to a request without `stream`. */
import {
  bytesField,
  type Reader,
  tableField,
  type TableShape,
  tableVectorField,
  u64Field,
  type Writer,
} from "../nexbuf/mod.ts";
import {
  FINISH_REASON_UNKNOWN,
  type FinishReason,
  finishReasonOf,
  finishReasonValue,
  type Role,
  ROLE_ASSISTANT,
  roleOf,
  roleValue,
} from "./enums.ts";
import {
  readToolUse,
  type ToolUse,
  ToolUseLayout,
  ToolUseShape,
  writeToolUse,
} from "./tool_use.ts";
import { readUsage, type Usage, UsageShape, writeUsage } from "./usage.ts";

/** One of the answers (OpenAI's `n` asks for several). */
export interface Choice {
  index: number;
  role: Role;
  text: string;
  toolCalls: ToolUse[];
  finishReason: FinishReason;
  /** Other members of the choice (logprobs, reasoning_content …), one JSON object. */
  extraJson?: string;
}

/** The answer and what it took. */
export interface InferenceResponse {
  choices: Choice[];
  usage: Usage;
  /** The model that answered. */
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

/** Offsets in the fixed part of Choice. */
export const ChoiceLayout = {
  text: 4,
  toolCalls: 8,
  extraJson: 12,
  index: 16,
  finishReason: 20,
  role: 21,
  size: 22,
} as const;

/** Offsets in the fixed part of InferenceResponse. */
export const InferenceResponseLayout = {
  choices: 4,
  usage: 8,
  model: 12,
  nodeId: 16,
  latencyMs: 20,
  costMicros: 24,
  ttftMs: 32,
  extraJson: 36,
  size: 40,
} as const;

const ChoiceShape: TableShape = {
  name: "Choice",
  fields: [
    bytesField(ChoiceLayout.text),
    tableVectorField(ChoiceLayout.toolCalls, ToolUseShape),
    bytesField(ChoiceLayout.extraJson),
  ],
};

export const InferenceResponseShape: TableShape = {
  name: "InferenceResponse",
  fields: [
    tableVectorField(InferenceResponseLayout.choices, ChoiceShape),
    tableField(InferenceResponseLayout.usage, UsageShape),
    bytesField(InferenceResponseLayout.model),
    bytesField(InferenceResponseLayout.nodeId),
    u64Field(InferenceResponseLayout.costMicros),
    bytesField(InferenceResponseLayout.extraJson),
  ],
};

export function writeInferenceResponse(w: Writer, t: number, response: InferenceResponse): void {
  const at = InferenceResponseLayout;
  w.u32(t + at.latencyMs, response.latencyMs);
  w.u64(t + at.costMicros, response.costMicros);
  w.u32(t + at.ttftMs, response.ttftMs);
  const { choices } = response;
  if (choices.length > 0) {
    const first = w.referencesIn(t + at.choices, choices.length, 4);
    for (let i = 0; i < choices.length; i++) {
      writeChoice(w, w.tableIn(first + 4 * i, ChoiceLayout.size), choices[i]);
    }
  }
  writeUsage(w, t + at.usage, response.usage);
  w.string(t + at.model, response.model);
  w.bytes(t + at.nodeId, response.nodeId);
  w.stringOptional(t + at.extraJson, response.extraJson);
}

export function readInferenceResponse(r: Reader, t: number): InferenceResponse {
  const at = InferenceResponseLayout;
  const choices: Choice[] = [];
  const vector = r.reference(t, at.choices);
  for (let i = 0, n = r.count(vector); i < n; i++) {
    choices.push(readChoice(r, r.tableAt(vector, i)));
  }
  return {
    choices,
    usage: readUsage(r, r.reference(t, at.usage)),
    model: r.string(t, at.model),
    nodeId: r.bytesCopy(t, at.nodeId),
    latencyMs: r.u32(t, at.latencyMs, 0),
    ttftMs: r.u32(t, at.ttftMs, 0),
    costMicros: r.u64(t, at.costMicros, 0),
    extraJson: r.stringOptional(t, at.extraJson),
  };
}

function writeChoice(w: Writer, t: number, choice: Choice): void {
  const at = ChoiceLayout;
  w.u32(t + at.index, choice.index);
  w.u8(t + at.finishReason, finishReasonValue(choice.finishReason));
  w.u8(t + at.role, roleValue(choice.role));
  w.string(t + at.text, choice.text);
  const { toolCalls } = choice;
  if (toolCalls.length > 0) {
    const first = w.referencesIn(t + at.toolCalls, toolCalls.length, 4);
    for (let i = 0; i < toolCalls.length; i++) {
      writeToolUse(w, w.tableIn(first + 4 * i, ToolUseLayout.size), toolCalls[i]);
    }
  }
  w.stringOptional(t + at.extraJson, choice.extraJson);
}

function readChoice(r: Reader, t: number): Choice {
  const at = ChoiceLayout;
  const toolCalls: ToolUse[] = [];
  const vector = r.reference(t, at.toolCalls);
  for (let i = 0, n = r.count(vector); i < n; i++) {
    toolCalls.push(readToolUse(r, r.tableAt(vector, i)));
  }
  return {
    index: r.u32(t, at.index, 0),
    role: roleOf(r.u8(t, at.role, ROLE_ASSISTANT)),
    text: r.string(t, at.text),
    toolCalls,
    finishReason: finishReasonOf(r.u8(t, at.finishReason, FINISH_REASON_UNKNOWN)),
    extraJson: r.stringOptional(t, at.extraJson),
  };
}
