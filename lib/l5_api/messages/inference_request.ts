/** INFERENCE_REQUEST: what the client asks. */
import { NexusError } from "../../base/mod.ts";
import {
  bytesField,
  bytesVectorField,
  i64OptionalField,
  mapField,
  openBody,
  type Reader,
  ROOT,
  type TableShape,
  tableVectorField,
  type Writer,
} from "../nexbuf/mod.ts";
import {
  type ChatMessage,
  ChatMessageLayout,
  ChatMessageShape,
  readChatMessage,
  writeChatMessage,
} from "./chat_message.ts";
import {
  readTensorRef,
  type TensorRef,
  TensorRefLayout,
  TensorRefShape,
  writeTensorRef,
} from "./tensor_ref.ts";
import { readTool, type Tool, ToolLayout, ToolShape, writeTool } from "./tool.ts";

/** A request; make one with `inferenceRequest` to get the defaults. */
export interface InferenceRequest {
  /** The SAD in binary form (docs/protocol.md §6). */
  model: Uint8Array;
  messages: ChatMessage[];
  system?: string;
  temperature?: number;
  topP?: number;
  /** Safe integer. */
  seed?: number;
  maxTokens?: number;
  topK?: number;
  /** The whole answer must be there within this many ms; 0 = no deadline. */
  deadlineMs: number;
  stop: string[];
  tools: Tool[];
  /** "auto", "none", "required", or JSON. */
  toolChoice?: string;
  /** JSON. */
  responseFormat?: string;
  /** `openai.*` keys carry other OpenAI parameters as JSON. */
  metadata: Map<string, string>;
  tensorInputs: TensorRef[];
  stream: boolean;
}

/** Offsets in the fixed part. */
export const InferenceRequestLayout = {
  model: 4,
  messages: 8,
  system: 12,
  temperature: 16,
  topP: 24,
  seed: 32,
  maxTokens: 40,
  topK: 44,
  deadlineMs: 48,
  stop: 52,
  tools: 56,
  toolChoice: 60,
  responseFormat: 64,
  metadata: 68,
  tensorInputs: 72,
  stream: 76,
  size: 77,
} as const;

export const InferenceRequestShape: TableShape = {
  name: "InferenceRequest",
  fields: [
    bytesField(InferenceRequestLayout.model),
    tableVectorField(InferenceRequestLayout.messages, ChatMessageShape),
    bytesField(InferenceRequestLayout.system),
    i64OptionalField(InferenceRequestLayout.seed),
    bytesVectorField(InferenceRequestLayout.stop),
    tableVectorField(InferenceRequestLayout.tools, ToolShape),
    bytesField(InferenceRequestLayout.toolChoice),
    bytesField(InferenceRequestLayout.responseFormat),
    mapField(InferenceRequestLayout.metadata),
    tableVectorField(InferenceRequestLayout.tensorInputs, TensorRefShape),
  ],
};

/** A complete request from the fields that are not defaults. */
export function inferenceRequest(
  fields: Partial<InferenceRequest> & Pick<InferenceRequest, "model" | "messages">,
): InferenceRequest {
  return {
    deadlineMs: 0,
    stop: [],
    tools: [],
    metadata: new Map(),
    tensorInputs: [],
    stream: false,
    ...fields,
  };
}

export function writeInferenceRequest(w: Writer, t: number, request: InferenceRequest): void {
  const at = InferenceRequestLayout;
  w.f64Optional(t + at.temperature, request.temperature);
  w.f64Optional(t + at.topP, request.topP);
  w.i64Optional(t + at.seed, request.seed);
  w.u32Optional(t + at.maxTokens, request.maxTokens);
  w.u32Optional(t + at.topK, request.topK);
  w.u32(t + at.deadlineMs, request.deadlineMs);
  w.bool(t + at.stream, request.stream);
  w.bytes(t + at.model, request.model);
  const { messages, tools, tensorInputs } = request;
  if (messages.length > 0) {
    const first = w.referencesIn(t + at.messages, messages.length, 4);
    for (let i = 0; i < messages.length; i++) {
      writeChatMessage(w, w.tableIn(first + 4 * i, ChatMessageLayout.size), messages[i]);
    }
  }
  w.stringOptional(t + at.system, request.system);
  w.strings(t + at.stop, request.stop);
  if (tools.length > 0) {
    const first = w.referencesIn(t + at.tools, tools.length, 4);
    for (let i = 0; i < tools.length; i++) {
      writeTool(w, w.tableIn(first + 4 * i, ToolLayout.size), tools[i]);
    }
  }
  w.stringOptional(t + at.toolChoice, request.toolChoice);
  w.stringOptional(t + at.responseFormat, request.responseFormat);
  w.map(t + at.metadata, request.metadata);
  if (tensorInputs.length > 0) {
    const first = w.referencesIn(t + at.tensorInputs, tensorInputs.length, 4);
    for (let i = 0; i < tensorInputs.length; i++) {
      writeTensorRef(w, w.tableIn(first + 4 * i, TensorRefLayout.size), tensorInputs[i]);
    }
  }
}

export function readInferenceRequest(r: Reader, t: number): InferenceRequest {
  const at = InferenceRequestLayout;
  const messages: ChatMessage[] = [];
  const messageVector = r.reference(t, at.messages);
  for (let i = 0, n = r.count(messageVector); i < n; i++) {
    messages.push(readChatMessage(r, r.tableAt(messageVector, i)));
  }
  const tools: Tool[] = [];
  const toolVector = r.reference(t, at.tools);
  for (let i = 0, n = r.count(toolVector); i < n; i++) {
    tools.push(readTool(r, r.tableAt(toolVector, i)));
  }
  const tensorInputs: TensorRef[] = [];
  const tensorVector = r.reference(t, at.tensorInputs);
  for (let i = 0, n = r.count(tensorVector); i < n; i++) {
    tensorInputs.push(readTensorRef(r, r.tableAt(tensorVector, i)));
  }
  return {
    model: r.bytesCopy(t, at.model),
    messages,
    system: r.stringOptional(t, at.system),
    temperature: r.f64Optional(t, at.temperature),
    topP: r.f64Optional(t, at.topP),
    seed: r.i64Optional(t, at.seed),
    maxTokens: r.u32Optional(t, at.maxTokens),
    topK: r.u32Optional(t, at.topK),
    deadlineMs: r.u32(t, at.deadlineMs, 0),
    stop: r.strings(t, at.stop),
    tools,
    toolChoice: r.stringOptional(t, at.toolChoice),
    responseFormat: r.stringOptional(t, at.responseFormat),
    metadata: r.map(t, at.metadata),
    tensorInputs,
    stream: r.bool(t, at.stream, false),
  };
}

/**
 * A request read in place, for those who only look at some fields (routing, accounting, limits):
 * the body is verified once, nothing else is decoded until asked for.
 */
export class InferenceRequestReader {
  readonly #r: Reader;

  /** `body` without message header; it must stay unchanged while this is in use. */
  constructor(body: Uint8Array) {
    this.#r = openBody(body, InferenceRequestShape);
  }

  /** The SAD, a view into the body. */
  get model(): Uint8Array {
    return this.#r.bytesView(ROOT, InferenceRequestLayout.model);
  }
  get messageCount(): number {
    return this.#r.count(this.#r.reference(ROOT, InferenceRequestLayout.messages));
  }
  /** The i-th message, i < messageCount. */
  message(i: number): ChatMessage {
    if (i >>> 0 !== i || i >= this.messageCount) {
      throw new NexusError(
        "INVALID_VALUE",
        `cannot read message: index is ${i}, expected below ${this.messageCount}`,
      );
    }
    const vector = this.#r.reference(ROOT, InferenceRequestLayout.messages);
    return readChatMessage(this.#r, this.#r.tableAt(vector, i));
  }
  get system(): string | undefined {
    return this.#r.stringOptional(ROOT, InferenceRequestLayout.system);
  }
  get maxTokens(): number | undefined {
    return this.#r.u32Optional(ROOT, InferenceRequestLayout.maxTokens);
  }
  get deadlineMs(): number {
    return this.#r.u32(ROOT, InferenceRequestLayout.deadlineMs, 0);
  }
  get stream(): boolean {
    return this.#r.bool(ROOT, InferenceRequestLayout.stream, false);
  }
  get metadata(): Map<string, string> {
    return this.#r.map(ROOT, InferenceRequestLayout.metadata);
  }
  /** The whole record. */
  record(): InferenceRequest {
    return readInferenceRequest(this.#r, ROOT);
  }
}
