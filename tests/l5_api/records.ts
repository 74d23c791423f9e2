/** Generators of message bodies, and the plain form that records are compared in. */
import fc from "fast-check";
import {
  type ChatMessage,
  FINISH_REASONS,
  type InferenceRequest,
  type MessageBodies,
  type MessageKind,
  type Part,
  ROLES,
} from "../../lib/l5_api/mod.ts";

/** Table of the schema and message type of each kind. */
export const TABLE_OF: Record<MessageKind, string> = {
  inferenceRequest: "InferenceRequest",
  inferenceResponse: "InferenceResponse",
  tokenStreamStart: "TokenStreamStart",
  tokenStreamChunk: "TokenStreamChunk",
  tokenStreamEnd: "TokenStreamEnd",
  healthCheck: "HealthCheck",
  healthStatus: "HealthStatus",
  cancel: "Cancel",
  error: "Error",
  advertisements: "Advertisements",
  advertisementPull: "AdvertisementPull",
  csrSubmit: "CsrSubmit",
  csrResult: "CsrResult",
};
export const KINDS = Object.keys(TABLE_OF) as MessageKind[];

/** Plain objects: fast-check's own sometimes have no prototype, decoded records have one. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 60 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 60 }) },
  { weight: 1, arbitrary: fc.constant("\uFEFFbyte order mark") },
  { weight: 1, arbitrary: fc.constant("ä".repeat(700) + "🦕") },
);
const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
const u32 = fc.nat(0xfffffffe);
const safe = fc.maxSafeInteger();
const bytes = fc.uint8Array({ maxLength: 40 }).map((b) => new Uint8Array(b));
const f64 = fc.double({ noNaN: true });
const f32 = fc.float({ noNaN: true });
const role = fc.constantFrom(...ROLES);
const reason = fc.constantFrom(...FINISH_REASONS);
const toolUse = record({ id: text, name: text, arguments: text });
const tensor = record({ tensorId: u32, name: text });
const usage = record({ prompt: u32, completion: u32, cached: u32 });
const few = <T>(of: fc.Arbitrary<T>) => fc.array(of, { maxLength: 4 });

const part: fc.Arbitrary<Part> = fc.oneof(
  text.map((text): Part => ({ type: "text", text })),
  record({ url: text, detail: maybe(text) }).map((p): Part => ({ type: "image", ...p })),
  tensor.map((p): Part => ({ type: "tensor", ...p })),
  toolUse.map((p): Part => ({ type: "tool_use", ...p })),
  record({ toolUseId: text, content: text, isError: fc.boolean() })
    .map((p): Part => ({ type: "tool_result", ...p })),
  text.map((json): Part => ({ type: "json", json })),
);
const chat: fc.Arbitrary<ChatMessage> = record({
  role,
  parts: few(part),
  name: maybe(text),
  toolCallId: maybe(text),
  extraJson: maybe(text),
});
const request: fc.Arbitrary<InferenceRequest> = record({
  model: bytes,
  messages: few(chat),
  system: maybe(text),
  temperature: maybe(f64),
  topP: maybe(f64),
  seed: maybe(safe),
  maxTokens: maybe(u32),
  topK: maybe(u32),
  deadlineMs: u32,
  stop: few(text),
  tools: few(
    record({
      name: text,
      description: maybe(text),
      schemaJson: maybe(text),
      strict: maybe(fc.boolean()),
    }),
  ),
  toolChoice: maybe(text),
  responseFormat: maybe(text),
  metadata: few(fc.tuple(text, text)).map((entries) => new Map(entries)),
  tensorInputs: few(tensor),
  stream: fc.boolean(),
});
const origin = { model: text, nodeId: bytes };
const times = { latencyMs: u32, ttftMs: u32, costMicros: fc.nat(Number.MAX_SAFE_INTEGER) };

const bodies: { [K in MessageKind]: fc.Arbitrary<MessageBodies[K]> } = {
  inferenceRequest: request,
  inferenceResponse: record({
    choices: few(
      record({
        index: u32,
        role,
        text,
        toolCalls: few(toolUse),
        finishReason: reason,
        extraJson: maybe(text),
      }),
    ),
    usage,
    ...origin,
    ...times,
    extraJson: maybe(text),
  }),
  tokenStreamStart: record({ ...origin, extraJson: maybe(text) }),
  tokenStreamChunk: record({
    sequence: u32,
    index: u32,
    text,
    role: maybe(role),
    toolCalls: few(
      record({ index: u32, id: maybe(text), name: maybe(text), arguments: text }),
    ),
    finishReason: maybe(reason),
    extraJson: maybe(text),
  }),
  tokenStreamEnd: record({
    chunks: u32,
    finishReason: reason,
    usage,
    ...origin,
    ...times,
    extraJson: maybe(text),
  }),
  healthCheck: record({ models: fc.boolean() }),
  healthStatus: record({
    load: f32,
    queueDepth: u32,
    active: u32,
    capacity: u32,
    models: few(
      record({
        name: text,
        active: u32,
        queueDepth: u32,
        ttftMs: maybe(u32),
        tokensPerS: maybe(f32),
        ready: fc.boolean(),
      }),
    ),
    draining: fc.boolean(),
  }),
  cancel: record({ reason: maybe(text) }),
  error: record({
    code: fc.nat(0xffff),
    text,
    retryable: fc.boolean(),
    retryAfterMs: maybe(u32),
    detailJson: maybe(text),
  }),
  advertisements: record({ adverts: few(bytes) }),
  advertisementPull: fc.constant({}),
  csrSubmit: record({ csr: bytes, name: text }),
  csrResult: record({ chain: few(bytes) }),
};

/** A kind and a body of it. */
export interface AnyBody {
  kind: MessageKind;
  body: never;
}

/** Every kind of message with every kind of value. */
export const anyBody: fc.Arbitrary<AnyBody> = fc.oneof(
  ...KINDS.map((kind) => bodies[kind].map((body) => ({ kind, body: body as never }))),
);

/** Bodies of one kind. */
export function bodyOf<K extends MessageKind>(kind: K): fc.Arbitrary<MessageBodies[K]> {
  return bodies[kind];
}

/** The union as the schema names it: { image: { url … } } for { type: "image", url … }. */
export function asSchemaUnion(record: Record<string, unknown>): Record<string, unknown> {
  const { messages } = record as { messages?: ChatMessage[] };
  if (messages === undefined) return record;
  const names: Record<string, string> = { tool_use: "toolUse", tool_result: "toolResult" };
  return {
    ...record,
    messages: messages.map((message) => ({
      ...message,
      parts: message.parts.map((part) => {
        if (part.type === "text") return { text: part.text };
        if (part.type === "json") return { json: part.json };
        const { type, ...fields } = part;
        return { [names[type] ?? type]: fields };
      }),
    })),
  };
}
