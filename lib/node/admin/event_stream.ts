/** An async iterable of events as server-sent events (WHATWG HTML §9.2). */
import type { InferEvent } from "../../admin_api/mod.ts";
import { describeError } from "./errors.ts";

/**
 * The answer to an inference. The first event is awaited before the answer begins, so that a
 * request that fails at once is answered with an HTTP status (by throwing); a later failure is the
 * last event. Events are pulled as the client reads, so a slow client slows its own request.
 * `stop` is called when the client goes away.
 */
export async function eventStream(
  events: AsyncIterable<InferEvent>,
  stop: () => void,
  onFault: (thrown: unknown) => void,
): Promise<Response> {
  const iterator = events[Symbol.asyncIterator]();
  let next = await iterator.next();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        if (next.done) {
          controller.close();
          return;
        }
        controller.enqueue(encode(next.value));
        next = await iterator.next();
      } catch (thrown) {
        controller.enqueue(encode(failure(thrown, onFault)));
        controller.close();
      }
    },
    async cancel() {
      stop();
      await iterator.return?.();
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" },
  });
}

const encoder = new TextEncoder();

/** JSON has no line breaks, so one data line holds it. */
function encode(event: InferEvent): Uint8Array {
  return encoder.encode(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}

function failure(thrown: unknown, onFault: (thrown: unknown) => void): InferEvent {
  const error = describeError(thrown);
  if (error.code === "INTERNAL") onFault(thrown);
  const retryable = (thrown as { retryable?: unknown } | null)?.retryable === true;
  return { type: "error", ...error, retryable };
}
