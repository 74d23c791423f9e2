/** L5 nexapi: message formats, errors, and the logic of requests. See README.md. */
export { MessageAssembler } from "./assembler.ts";
export { ResponseCollector } from "./collect.ts";
export {
  ApiError,
  type ApiErrorName,
  apiErrorName,
  ApiFault,
  errorMessageOf,
  faultOf,
  isApiErrorName,
  retryableByDefault,
} from "./errors.ts";
export {
  CHUNK_CHARS_HELD_MAX,
  CHUNKS_HELD_MAX,
  type ExchangeEvent,
  type ExchangeState,
  InferenceExchange,
} from "./exchange.ts";
export {
  BODY_BYTES_MAX,
  MESSAGE_HEADER_BYTES,
  type MessageHeader,
  MessageType,
  readMessageHeader,
  writeMessageHeader,
} from "./header.ts";
export {
  decodeMessage,
  encodeMessage,
  encodeMessageInto,
  type KnownMessage,
  type Message,
  type MessageBodies,
  type MessageKind,
  type UnknownMessage,
} from "./message.ts";
export type { AdvertisementPull } from "./messages/advertisement_pull.ts";
export type { Advertisements } from "./messages/advertisements.ts";
export type { Cancel } from "./messages/cancel.ts";
export type { ChatMessage, Part } from "./messages/chat_message.ts";
export type { CsrResult } from "./messages/csr_result.ts";
export type { CsrSubmit } from "./messages/csr_submit.ts";
export { FINISH_REASONS, type FinishReason, type Role, ROLES } from "./messages/enums.ts";
export type { ErrorMessage } from "./messages/error.ts";
export type { HealthCheck } from "./messages/health_check.ts";
export type { HealthStatus, ModelHealth } from "./messages/health_status.ts";
export {
  type InferenceRequest,
  inferenceRequest,
  InferenceRequestReader,
} from "./messages/inference_request.ts";
export type { Choice, InferenceResponse } from "./messages/inference_response.ts";
export type { TensorRef } from "./messages/tensor_ref.ts";
export type { ChunkFields, TokenStreamChunk } from "./messages/token_stream_chunk.ts";
export type { TokenStreamEnd } from "./messages/token_stream_end.ts";
export type { TokenStreamStart } from "./messages/token_stream_start.ts";
export type { Tool } from "./messages/tool.ts";
export type { ToolCallDelta, ToolUse } from "./messages/tool_use.ts";
export type { Usage } from "./messages/usage.ts";
export * from "./nexbuf/mod.ts";
export { InferenceReply, type ReplyEnd, type ReplyOrigin } from "./reply.ts";
