/**
 * Server-sent events (WHATWG HTML §9.2.6) from bytes that arrive in any cuts. Linear in the
 * input: an unfinished line is kept as pieces and joined once.
 */
import { InferenceError } from "../inference.ts";

/** Characters one event may have; a 64 MiB image in base64 does not arrive as a token. */
export const EVENT_CHARS_MAX = 16 * 1024 * 1024;

export interface SseEvent {
  /** The `event:` field, when the server sent one. */
  readonly event?: string;
  /** All `data:` lines of the event, joined by line feeds. */
  readonly data: string;
}

/** Feed with `push`, finish with `end`. Throws INTERNAL_ERROR past `eventCharsMax`. */
export class SseParser {
  // A leading byte order mark is dropped and broken UTF-8 becomes U+FFFD, as the standard says.
  readonly #decoder = new TextDecoder();
  readonly #eventCharsMax: number;
  #line: string[] = [];
  #data: string[] = [];
  #event?: string;
  #chars = 0;
  /** The last character was CR: an LF that follows belongs to it. */
  #afterCr = false;

  constructor(eventCharsMax = EVENT_CHARS_MAX) {
    this.#eventCharsMax = eventCharsMax;
  }

  /** Events completed by these bytes. */
  push(bytes: Uint8Array): SseEvent[] {
    return this.#text(this.#decoder.decode(bytes, { stream: true }));
  }

  /**
   * Events completed by the end of the body. The standard drops an event without its blank
   * line; servers that forget the last one are common enough that it is delivered here.
   */
  end(): SseEvent[] {
    const events = this.#text(this.#decoder.decode());
    if (this.#line.length > 0) this.#endLine(events);
    this.#dispatch(events);
    return events;
  }

  #text(text: string): SseEvent[] {
    const events: SseEvent[] = [];
    let from = 0;
    if (this.#afterCr && text.length > 0) {
      if (text[0] === "\n") from = 1;
      this.#afterCr = false;
    }
    let lf = text.indexOf("\n", from);
    let cr = text.indexOf("\r", from);
    while (lf >= 0 || cr >= 0) {
      const crFirst = cr >= 0 && (lf < 0 || cr < lf);
      const at = crFirst ? cr : lf;
      this.#keep(text.slice(from, at));
      this.#endLine(events);
      from = at + 1;
      if (crFirst) {
        if (from === text.length) this.#afterCr = true;
        else if (text[from] === "\n") from++;
      }
      if (lf >= 0 && lf < from) lf = text.indexOf("\n", from);
      if (cr >= 0 && cr < from) cr = text.indexOf("\r", from);
    }
    this.#keep(text.slice(from));
    return events;
  }

  #keep(piece: string): void {
    if (piece === "") return;
    this.#chars += piece.length;
    if (this.#chars > this.#eventCharsMax) {
      throw new InferenceError(
        "INTERNAL_ERROR",
        `cannot read event stream: one event is longer than ${this.#eventCharsMax} characters`,
        { retryable: true },
      );
    }
    this.#line.push(piece);
  }

  #endLine(events: SseEvent[]): void {
    const line = this.#line.length === 1 ? this.#line[0] : this.#line.join("");
    this.#line = [];
    if (line === "") return this.#dispatch(events);
    const colon = line.indexOf(":");
    if (colon === 0) {
      // A comment: it keeps the connection open and counts for nothing.
      this.#chars -= line.length;
      return;
    }
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
  }

  #dispatch(events: SseEvent[]): void {
    if (this.#data.length > 0) {
      events.push({
        ...(this.#event ? { event: this.#event } : {}),
        data: this.#data.join("\n"),
      });
    }
    this.#data = [];
    this.#event = undefined;
    this.#chars = 0;
  }
}
