/** One inference over one session, from the asking side (docs/protocol.md §8.1, Inference). */
import { NexusError } from "../base/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../l3_stream/mod.ts";
import {
  ApiFault,
  type ChunkFields,
  decodeMessage,
  encodeMessage,
  InferenceExchange,
  type InferenceRequest,
  type InferenceResponse,
  type TokenStreamChunk,
  type TokenStreamEnd,
} from "../l5_api/mod.ts";
import type { Channel } from "./channel.ts";
import type { Session } from "./session.ts";

/** What an answer consists of, whoever gives it: start, chunks, end. */
export type AnswerEvent =
  | { type: "start"; model: string }
  | ({ type: "chunk" } & TokenStreamChunk)
  | ({ type: "end" } & Omit<TokenStreamEnd, "nodeId" | "latencyMs" | "ttftMs">);

/**
 * Sends the request and yields the answer in order. Leaving the loop early, or the signal, stops
 * the provider on the far node.
 * @throws ApiFault what the node answered; NexusError what ended the stream or the session
 */
export async function* inferOver(
  session: Session,
  request: InferenceRequest,
  requestId: number,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent> {
  const exchange = new InferenceExchange(requestId, request.stream);
  let wake: () => void = () => {};
  /** Lets the chunk stream be read again after the caller has taken some. */
  let resume: () => void = () => {};
  let over = false;
  const release = session.guard();
  const onAbort = () => {
    exchange.fail(new ApiFault("CANCELLED", "cannot finish request: it was cancelled"));
    wake();
  };
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  let answer: Channel | undefined;
  let chunks: Channel | undefined;
  try {
    answer = session.open(MODE_RELIABLE_ORDERED);
    const answerChannel = answer;
    session.chunkTakers.set(requestId, async (channel, first) => {
      chunks = channel;
      const room = async () => {
        // Not reading is what slows the far provider down to the speed of whoever reads here.
        while (!over && !exchange.wantsChunks) {
          await new Promise<void>((resolve) => resume = resolve);
        }
      };
      await pump(channel, exchange, () => wake(), first, room);
    });
    answer.send(encodeMessage("inferenceRequest", requestId, request))
      .then(() => pump(answerChannel, exchange, () => wake()))
      .catch((error) => {
        exchange.fail(error);
        wake();
      });
    for (;;) {
      const event = exchange.poll();
      resume();
      if (event === undefined) {
        await new Promise<void>((resolve) => wake = resolve);
        continue;
      }
      if (event.type === "error") throw event.error;
      if (event.type === "start") yield { type: "start", model: event.start.model };
      else if (event.type === "chunk") yield { type: "chunk", ...event.chunk };
      else if (event.type === "end") yield { type: "end", ...event.end };
      else yield* eventsOf(event.response);
      if (exchange.finished) return;
    }
  } finally {
    over = true;
    resume();
    release();
    signal.removeEventListener("abort", onAbort);
    session.chunkTakers.delete(requestId);
    if (exchange.complete) {
      answer?.finish();
      chunks?.finish();
    } else {
      if (answer !== undefined) cancel(answer, requestId);
      chunks?.cancel();
    }
  }
}

/** Feeds one stream into the exchange until the stream ends. */
async function pump(
  channel: Channel,
  exchange: InferenceExchange,
  wake: () => void,
  first?: Uint8Array,
  room?: () => Promise<void>,
): Promise<void> {
  try {
    for (let message = first ?? await channel.receive();;) {
      if (message === undefined) {
        if (channel.mode === MODE_RELIABLE_ORDERED) exchange.answerStreamClosed();
        else exchange.chunkStreamClosed();
        return;
      }
      exchange.receive(decodeMessage(message));
      wake();
      await room?.();
      message = await channel.receive();
    }
  } catch (error) {
    if (!(error instanceof NexusError)) throw error;
    exchange.fail(error);
  } finally {
    wake();
  }
}

/** CANCEL says it to the application at once, the reset that follows frees the stream. */
function cancel(answer: Channel, requestId: number): void {
  if (!answer.isOpen) return;
  answer.send(encodeMessage("cancel", requestId, {})).then(
    () => answer.finish(),
    () => {}, // The stream or session is gone, which means the same to the server.
  );
  answer.discard();
}

/** A plain response in the shape of a stream, so that callers know one shape. */
function* eventsOf(response: InferenceResponse): Generator<AnswerEvent> {
  yield { type: "start", model: response.model };
  let sequence = 0;
  for (const choice of response.choices) {
    const fields: ChunkFields = {
      index: choice.index,
      text: choice.text,
      role: choice.role,
      toolCalls: choice.toolCalls.map((call, index) => ({ index, ...call })),
      finishReason: choice.finishReason,
      extraJson: choice.extraJson,
    };
    yield { type: "chunk", sequence: sequence++, ...fields };
  }
  yield {
    type: "end",
    chunks: sequence,
    finishReason: response.choices[0]?.finishReason ?? "unknown",
    usage: response.usage,
    model: response.model,
    costMicros: response.costMicros,
    extraJson: response.extraJson,
  };
}
