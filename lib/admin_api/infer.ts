/** `POST /api/v1/infer`: one request, answered as a stream of server-sent events. */
import { z } from "zod";
import { NodeIdText } from "./common.ts";
import { ResolveResponse, SadText } from "./routes.ts";
import { CertificateSummary } from "./trust.ts";

/** One message of the conversation. */
export const InferMessage = z.strictObject({
  role: z.enum(["system", "user", "assistant"]),
  content: z.string(),
}).meta({ id: "InferMessage" });

/** Exactly one of `prompt` and `messages`. */
export const InferRequest = z.strictObject({
  sad: SadText,
  prompt: z.string().optional(),
  messages: z.array(InferMessage).min(1).max(4096).optional(),
  system: z.string().optional(),
  maxTokens: z.number().int().min(1).max(0x7fffffff).optional(),
  temperature: z.number().min(0).max(2).optional(),
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  deadlineMs: z.number().int().min(1).max(3_600_000).optional(),
}).refine((request) => (request.prompt === undefined) !== (request.messages === undefined), {
  message: 'expected exactly one of "prompt" and "messages"',
}).meta({ id: "InferRequest" });
export type InferRequest = z.infer<typeof InferRequest>;

/** What the SAD resolved to. First event. */
export const ResolutionEvent = ResolveResponse.extend({ type: z.literal("resolution") })
  .meta({ id: "ResolutionEvent" });
/** A node is about to be asked; a later attempt means that the one before failed. */
export const AttemptEvent = z.object({
  type: z.literal("attempt"),
  number: z.number().int().meta({ description: "1 for the first" }),
  nodeId: NodeIdText,
  nodeName: z.string().optional(),
  model: z.string(),
  address: z.string().optional(),
  local: z.boolean().meta({ description: "This node answers itself; no handshake" }),
}).meta({ id: "AttemptEvent" });
/** The connection that carries the attempt. */
export const HandshakeEvent = z.object({
  type: z.literal("handshake"),
  nodeId: NodeIdText,
  durationMs: z.number(),
  reused: z.boolean().meta({ description: "The connection stood already" }),
  suite: z.string(),
  certificate: CertificateSummary,
  chainLength: z.number().int(),
}).meta({ id: "HandshakeEvent" });
/** An attempt failed and another follows. */
export const RetryEvent = z.object({
  type: z.literal("retry"),
  number: z.number().int().meta({ description: "The attempt that failed" }),
  nodeId: NodeIdText,
  code: z.string(),
  message: z.string(),
}).meta({ id: "RetryEvent" });
/** The answering node accepted the request. */
export const StartEvent = z.object({
  type: z.literal("start"),
  nodeId: NodeIdText,
  model: z.string(),
}).meta({ id: "StartEvent" });
/** Text as it arrives, in order. */
export const ChunkEvent = z.object({
  type: z.literal("chunk"),
  sequence: z.number().int(),
  index: z.number().int(),
  text: z.string(),
}).meta({ id: "ChunkEvent" });
/** The answer is whole. Last event. */
export const EndEvent = z.object({
  type: z.literal("end"),
  finishReason: z.string(),
  nodeId: NodeIdText,
  model: z.string(),
  usage: z.object({
    promptTokens: z.number().int(),
    completionTokens: z.number().int(),
    cachedTokens: z.number().int(),
  }),
  chunks: z.number().int(),
  latencyMs: z.number(),
  ttftMs: z.number().optional(),
  costMicros: z.number().optional(),
  network: z.object({
    bytesSent: z.number(),
    bytesReceived: z.number(),
    retransmissions: z.number().int(),
  }).optional().meta({ description: "On the connection, during this request" }),
}).meta({ id: "EndEvent" });
/** The request failed. Last event. */
export const FailureEvent = z.object({
  type: z.literal("error"),
  code: z.string(),
  message: z.string(),
  hint: z.string().optional(),
  retryable: z.boolean(),
}).meta({ id: "FailureEvent" });

/** Every event; the SSE `event:` field repeats `type`, `data:` is the JSON object. */
export const InferEvent = z.discriminatedUnion("type", [
  ResolutionEvent,
  AttemptEvent,
  HandshakeEvent,
  RetryEvent,
  StartEvent,
  ChunkEvent,
  EndEvent,
  FailureEvent,
]).meta({ id: "InferEvent" });
export type InferEvent = z.infer<typeof InferEvent>;
