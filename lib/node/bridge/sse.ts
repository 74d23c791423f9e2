/** An answer as server-sent events. */
import { utf8 } from "../../base/mod.ts";
import { cancelled, type Sleep } from "../inference.ts";
import type { Answer, AnswerEvent } from "./answer.ts";
import type { ChunkStream } from "./chat_response.ts";
import { toHttpError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";

/** A comment is sent when a stream was silent for `everyMs`; 0: never. */
export interface KeepAlive {
  readonly everyMs: number;
  readonly sleep: Sleep;
}

/**
 * The body of a streamed answer, with `first` as its first event. One pull, one event: a slow
 * client slows the generation down, nothing piles up.
 */
export function streamAnswer(
  answer: Answer,
  first: AnswerEvent,
  chunks: ChunkStream,
  exchange: Exchange,
  keepAlive: KeepAlive,
): ReadableStream<Uint8Array> {
  const frame = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
  let pending: AnswerEvent | undefined = first;
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        let text = "";
        while (text === "") {
          const event: AnswerEvent | undefined = pending ?? await orKeepAlive(answer, keepAlive);
          pending = undefined;
          if (event === undefined) text = ": keep-alive\n\n";
          else if (event.type === "chunk") text = chunks.chunk(event).map(frame).join("");
          else {
            text = chunks.end(event).map(frame).join("") + "data: [DONE]\n\n";
            controller.enqueue(utf8(text));
            controller.close();
            exchange.finish(200);
            return;
          }
        }
        controller.enqueue(utf8(text));
      } catch (thrown) {
        // Status 200 is out: the error is an event, and the missing [DONE] says it is no end.
        const gone = exchange.left.signal.aborted;
        if (!gone) controller.enqueue(utf8(frame(toHttpError(thrown).body())));
        if (!gone) controller.close();
        exchange.left.abort();
        exchange.finish(gone ? 499 : 200, thrown);
      }
    },
    cancel: () => {
      exchange.left.abort();
      exchange.finish(499, cancelled("the answer"));
    },
  }, { highWaterMark: 0 });
}

/** The next event, or undefined when it is time for a comment. */
async function orKeepAlive(
  answer: Answer,
  { everyMs, sleep }: KeepAlive,
): Promise<AnswerEvent | undefined> {
  if (everyMs === 0) return await answer.next();
  const came = new AbortController();
  try {
    return await Promise.race([
      answer.next(),
      sleep(everyMs, came.signal).then(() => undefined),
    ]);
  } finally {
    came.abort();
  }
}
