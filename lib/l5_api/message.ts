/** Whole messages: header and body, told apart by `kind`. */
import { NexusError } from "../base/mod.ts";
import {
  BODY_BYTES_MAX,
  MESSAGE_HEADER_BYTES,
  MessageType,
  readMessageHeader,
  writeMessageHeader,
} from "./header.ts";
import * as pull from "./messages/advertisement_pull.ts";
import * as adverts from "./messages/advertisements.ts";
import * as cancel from "./messages/cancel.ts";
import * as csrResult from "./messages/csr_result.ts";
import * as csrSubmit from "./messages/csr_submit.ts";
import * as error from "./messages/error.ts";
import * as healthCheck from "./messages/health_check.ts";
import * as healthStatus from "./messages/health_status.ts";
import * as request from "./messages/inference_request.ts";
import * as response from "./messages/inference_response.ts";
import * as chunk from "./messages/token_stream_chunk.ts";
import * as end from "./messages/token_stream_end.ts";
import * as start from "./messages/token_stream_start.ts";
import { openBody, type Reader, ROOT, type TableShape, Writer } from "./nexbuf/mod.ts";

/** The body's record by kind of message. */
export interface MessageBodies {
  inferenceRequest: request.InferenceRequest;
  inferenceResponse: response.InferenceResponse;
  tokenStreamStart: start.TokenStreamStart;
  tokenStreamChunk: chunk.TokenStreamChunk;
  tokenStreamEnd: end.TokenStreamEnd;
  healthCheck: healthCheck.HealthCheck;
  healthStatus: healthStatus.HealthStatus;
  cancel: cancel.Cancel;
  error: error.ErrorMessage;
  advertisements: adverts.Advertisements;
  advertisementPull: pull.AdvertisementPull;
  csrSubmit: csrSubmit.CsrSubmit;
  csrResult: csrResult.CsrResult;
}

/** A kind of message that this version knows. */
export type MessageKind = keyof MessageBodies;

/** A message of a known kind. */
export type KnownMessage = {
  [K in MessageKind]: { kind: K; requestId: number; body: MessageBodies[K] };
}[MessageKind];

/** A message of a type that this version does not know; its body was not looked at. */
export interface UnknownMessage {
  kind: "unknown";
  requestId: number;
  type: number;
}

/** What `decodeMessage` returns: a record without ties to the bytes it came from. */
export type Message = KnownMessage | UnknownMessage;

interface Codec<K extends MessageKind> {
  readonly kind: K;
  readonly type: number;
  readonly shape: TableShape;
  /** Bytes of the root table's fixed part. */
  readonly size: number;
  readonly write: (w: Writer, t: number, body: MessageBodies[K]) => void;
  readonly read: (r: Reader, t: number) => MessageBodies[K];
}

const codecs: { readonly [K in MessageKind]: Codec<K> } = {
  inferenceRequest: {
    kind: "inferenceRequest",
    type: MessageType.INFERENCE_REQUEST,
    shape: request.InferenceRequestShape,
    size: request.InferenceRequestLayout.size,
    write: request.writeInferenceRequest,
    read: request.readInferenceRequest,
  },
  inferenceResponse: {
    kind: "inferenceResponse",
    type: MessageType.INFERENCE_RESPONSE,
    shape: response.InferenceResponseShape,
    size: response.InferenceResponseLayout.size,
    write: response.writeInferenceResponse,
    read: response.readInferenceResponse,
  },
  tokenStreamStart: {
    kind: "tokenStreamStart",
    type: MessageType.TOKEN_STREAM_START,
    shape: start.TokenStreamStartShape,
    size: start.TokenStreamStartLayout.size,
    write: start.writeTokenStreamStart,
    read: start.readTokenStreamStart,
  },
  tokenStreamChunk: {
    kind: "tokenStreamChunk",
    type: MessageType.TOKEN_STREAM_CHUNK,
    shape: chunk.TokenStreamChunkShape,
    size: chunk.TokenStreamChunkLayout.size,
    write: chunk.writeTokenStreamChunk,
    read: chunk.readTokenStreamChunk,
  },
  tokenStreamEnd: {
    kind: "tokenStreamEnd",
    type: MessageType.TOKEN_STREAM_END,
    shape: end.TokenStreamEndShape,
    size: end.TokenStreamEndLayout.size,
    write: end.writeTokenStreamEnd,
    read: end.readTokenStreamEnd,
  },
  healthCheck: {
    kind: "healthCheck",
    type: MessageType.HEALTH_CHECK,
    shape: healthCheck.HealthCheckShape,
    size: healthCheck.HealthCheckLayout.size,
    write: healthCheck.writeHealthCheck,
    read: healthCheck.readHealthCheck,
  },
  healthStatus: {
    kind: "healthStatus",
    type: MessageType.HEALTH_STATUS,
    shape: healthStatus.HealthStatusShape,
    size: healthStatus.HealthStatusLayout.size,
    write: healthStatus.writeHealthStatus,
    read: healthStatus.readHealthStatus,
  },
  cancel: {
    kind: "cancel",
    type: MessageType.CANCEL,
    shape: cancel.CancelShape,
    size: cancel.CancelLayout.size,
    write: cancel.writeCancel,
    read: cancel.readCancel,
  },
  error: {
    kind: "error",
    type: MessageType.ERROR,
    shape: error.ErrorShape,
    size: error.ErrorLayout.size,
    write: error.writeError,
    read: error.readError,
  },
  advertisements: {
    kind: "advertisements",
    type: MessageType.ADVERTISEMENTS,
    shape: adverts.AdvertisementsShape,
    size: adverts.AdvertisementsLayout.size,
    write: adverts.writeAdvertisements,
    read: adverts.readAdvertisements,
  },
  advertisementPull: {
    kind: "advertisementPull",
    type: MessageType.ADVERTISEMENT_PULL,
    shape: pull.AdvertisementPullShape,
    size: pull.AdvertisementPullLayout.size,
    write: pull.writeAdvertisementPull,
    read: pull.readAdvertisementPull,
  },
  csrSubmit: {
    kind: "csrSubmit",
    type: MessageType.CSR_SUBMIT,
    shape: csrSubmit.CsrSubmitShape,
    size: csrSubmit.CsrSubmitLayout.size,
    write: csrSubmit.writeCsrSubmit,
    read: csrSubmit.readCsrSubmit,
  },
  csrResult: {
    kind: "csrResult",
    type: MessageType.CSR_RESULT,
    shape: csrResult.CsrResultShape,
    size: csrResult.CsrResultLayout.size,
    write: csrResult.writeCsrResult,
    read: csrResult.readCsrResult,
  },
};

const codecByType: ReadonlyMap<number, Codec<MessageKind>> = new Map(
  Object.values(codecs).map((codec) => [codec.type, codec as Codec<MessageKind>]),
);

// Encoding is synchronous and copies its result out, so one writer serves everybody.
const sharedWriter = new Writer(BODY_BYTES_MAX);

/**
 * Header and body of a message as bytes of their own.
 *
 * @throws NexusError TOO_LARGE (body above BODY_BYTES_MAX), INVALID_VALUE (a field out of range)
 */
export function encodeMessage<K extends MessageKind>(
  kind: K,
  requestId: number,
  body: MessageBodies[K],
): Uint8Array<ArrayBuffer> {
  writeMessage(sharedWriter, kind, requestId, body);
  return sharedWriter.finish();
}

/** As `encodeMessage`, but in the caller's writer: the view is valid until its next use. */
export function encodeMessageInto<K extends MessageKind>(
  writer: Writer,
  kind: K,
  requestId: number,
  body: MessageBodies[K],
): Uint8Array<ArrayBuffer> {
  writeMessage(writer, kind, requestId, body);
  return writer.view();
}

/**
 * The message in `bytes`, which hold exactly one (see MessageAssembler for streams).
 *
 * @throws NexusError MALFORMED, TOO_LARGE
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const { type, requestId, bodyLength } = readMessageHeader(bytes);
  if (bodyLength !== bytes.length - MESSAGE_HEADER_BYTES) {
    throw new NexusError(
      "MALFORMED",
      `cannot read message: body is ${bytes.length - MESSAGE_HEADER_BYTES} bytes, ` +
        `header says ${bodyLength}`,
    );
  }
  const codec = codecByType.get(type);
  if (codec === undefined) return { kind: "unknown", requestId, type };
  const reader = openBody(bytes.subarray(MESSAGE_HEADER_BYTES), codec.shape);
  return { kind: codec.kind, requestId, body: codec.read(reader, ROOT) } as KnownMessage;
}

function writeMessage<K extends MessageKind>(
  writer: Writer,
  kind: K,
  requestId: number,
  body: MessageBodies[K],
): void {
  const codec = codecs[kind];
  writer.begin(MESSAGE_HEADER_BYTES);
  codec.write(writer, writer.table(codec.size), body);
  const header = { type: codec.type, requestId, bodyLength: writer.bodyLength };
  writeMessageHeader(writer.dataView, 0, header);
}
