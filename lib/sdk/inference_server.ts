/** One inference from the answering side (docs/protocol.md §8.1, Inference). */
import { type Clock, NexusError } from "../base/mod.ts";
import { MODE_RELIABLE_UNORDERED } from "../l3_stream/mod.ts";
import {
  decodeMessage,
  InferenceReply,
  type InferenceRequest,
  MessageType,
  readMessageHeader,
  ResponseCollector,
} from "../l5_api/mod.ts";
import type { Channel } from "./channel.ts";
import { InferenceError } from "./inference_error.ts";
import type { AnswerEvent } from "./inference_client.ts";
import type { Handlers } from "./serve.ts";
import type { Session } from "./session.ts";

export interface InferenceServerOptions {
  clock: Clock;
  /** This node, 16 bytes. */
  nodeId: Uint8Array;
  /** Produces the answer; the signal fires when the asking side went away. */
  answer(
    request: InferenceRequest,
    signal: AbortSignal,
    session: Session,
  ): AsyncIterable<AnswerEvent>;
}

/** Handlers of INFERENCE_REQUEST and CANCEL for `serve`. */
export function inferenceHandlers(options: InferenceServerOptions): Handlers {
  return {
    [MessageType.INFERENCE_REQUEST]: (message, channel) => {
      channel.answering = true;
      // Not awaited: CANCEL comes on the same stream.
      answerRequest(options, message, channel);
    },
    [MessageType.CANCEL]: (_message, channel) => channel.abort(),
  };
}

async function answerRequest(
  options: InferenceServerOptions,
  bytes: Uint8Array,
  channel: Channel,
): Promise<void> {
  const { clock, nodeId } = options;
  const { requestId } = readMessageHeader(bytes);
  const { answering } = channel.session;
  const isUnique = requestId !== 0 && !answering.has(requestId);
  const receivedUs = clock.nowUs();
  let reply = new InferenceReply(requestId, { model: "", nodeId }, receivedUs);
  let chunks: Channel | undefined;
  try {
    if (!isUnique) {
      throw new InferenceError(
        "INVALID_REQUEST",
        `cannot answer: request id ${requestId} is 0 or that of another live request`,
      );
    }
    answering.add(requestId);
    const message = decodeMessage(bytes);
    if (message.kind !== "inferenceRequest") return;
    const { stream } = message.body;
    const collector = stream ? undefined : new ResponseCollector();
    for await (const event of options.answer(message.body, channel.signal, channel.session)) {
      if (event.type === "start") {
        reply = new InferenceReply(requestId, { model: event.model, nodeId }, receivedUs);
        if (stream) await channel.send(reply.start());
      } else if (event.type === "chunk") {
        if (collector !== undefined) {
          collector.add(event);
          continue;
        }
        chunks ??= channel.session.open(MODE_RELIABLE_UNORDERED);
        for (const piece of reply.chunk(event, clock.nowUs())) await chunks.send(piece);
      } else if (collector !== undefined) {
        const response = collector.finish({ ...event, nodeId, latencyMs: 0, ttftMs: 0 });
        await channel.send(reply.response(response, clock.nowUs()));
      } else {
        chunks?.finish();
        await channel.send(reply.end(event, clock.nowUs()));
      }
    }
    if (!reply.over) {
      throw new InferenceError(
        "INTERNAL_ERROR",
        "cannot answer: the provider ended without an end",
      );
    }
  } catch (error) {
    // What was generated before a failure still arrives; a reset would overtake the ERROR.
    if (channel.signal.aborted) chunks?.cancel();
    else chunks?.finish();
    await sendFailure(reply, channel, error);
  } finally {
    if (isUnique) answering.delete(requestId);
    channel.finish();
  }
}

async function sendFailure(reply: InferenceReply, channel: Channel, error: unknown): Promise<void> {
  const message = reply.failure(error);
  if (message === undefined) return;
  try {
    await channel.send(message);
  } catch (sendError) {
    // The asking side is gone: there is nobody to tell.
    if (!(sendError instanceof NexusError)) throw sendError;
  }
}
