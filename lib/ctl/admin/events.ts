/** Server-sent events (WHATWG HTML §9.2.6): the data of each event of a byte stream. */
import { NexusError } from "../../base/mod.ts";

/** A resolution with thousands of candidates is one event; more than this is no event of a node. */
const EVENT_CHARS_MAX = 32 * 1024 * 1024;

/**
 * Yields the data of each event. The event's type is repeated inside of the data by the admin API,
 * so that nothing else of the format is needed: other fields and comments are skipped, and an
 * event that the stream's end cut off is dropped, as the standard says.
 */
export async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let data: string[] = [];
  for await (const line of linesOf(body)) {
    if (line === "") {
      if (data.length > 0) yield data.join("\n");
      data = [];
    } else if (line.startsWith("data:")) {
      data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}

/** Lines end with LF or CRLF; a lone CR, which the standard allows too, no server of ours sends. */
async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  // A BufferSource stream by type only: TextDecoderStream takes the bytes that fetch gives.
  const decoder = new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>;
  for await (const text of body.pipeThrough(decoder)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    if (rest.length > EVENT_CHARS_MAX) {
      throw new NexusError("BAD_ANSWER", `cannot read events: a line exceeds ${EVENT_CHARS_MAX}`);
    }
    for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
  }
}
