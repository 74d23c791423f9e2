/**
 * The client's side of one inference request, without I/O. Feed it the decoded messages of the
 * request's RO stream and of the RU stream that carries its chunks, in whatever order they come;
 * take events from `poll` in the order the model made them.
 *
 *   waiting ── RESPONSE ─────────────────────────► done       (request without `stream`)
 *      └────── START ──► streaming ── END and
 *                            │        every chunk ► done
 *      ERROR, a contradiction, a lost stream ─────► failed
 *
 * A failure comes after the chunks that can still be yielded in order.
 */
import { NexusError } from "../base/mod.ts";
import { ApiFault, faultOf } from "./errors.ts";
import type { Message } from "./message.ts";
import type { InferenceResponse } from "./messages/inference_response.ts";
import type { TokenStreamChunk } from "./messages/token_stream_chunk.ts";
import type { TokenStreamEnd } from "./messages/token_stream_end.ts";
import type { TokenStreamStart } from "./messages/token_stream_start.ts";

/**
 * Chunks held because an earlier one is missing or the application is slow. RU flow control lets
 * far fewer be under way; a peer that goes beyond is broken or hostile.
 */
export const CHUNKS_HELD_MAX = 4096;

/** Characters of text held in chunks, counted like CHUNKS_HELD_MAX. */
export const CHUNK_CHARS_HELD_MAX = 4 * 1024 * 1024;

/** What an exchange tells the application. The last event is response, end or error. */
export type ExchangeEvent =
  | { type: "start"; start: TokenStreamStart }
  | { type: "chunk"; chunk: TokenStreamChunk }
  | { type: "end"; end: TokenStreamEnd }
  | { type: "response"; response: InferenceResponse }
  | { type: "error"; error: NexusError };

/** Where an exchange stands; done and failed are final (events may still wait in `poll`). */
export type ExchangeState = "waiting" | "streaming" | "done" | "failed";

/** Puts the answer to one request in order. */
export class InferenceExchange {
  readonly #requestId: number;
  readonly #stream: boolean;
  #start: TokenStreamStart | undefined;
  #startGiven = false;
  #chunks = new Map<number, TokenStreamChunk>();
  #charsHeld = 0;
  /** Next chunk to give to the application. */
  #next = 0;
  /** Chunks received, whether given or held. */
  #received = 0;
  #highest = -1;
  #end: TokenStreamEnd | undefined;
  #response: InferenceResponse | undefined;
  #failure: NexusError | undefined;
  #chunksClosed = false;
  #lastGiven = false;

  /** `stream` as in the request that was sent. */
  constructor(requestId: number, stream: boolean) {
    this.#requestId = requestId;
    this.#stream = stream;
  }

  // In.

  /** A decoded message of either stream. Never throws: what is wrong becomes the error event. */
  receive(message: Message): void {
    if (this.#failure !== undefined || this.complete) return;
    if (message.requestId !== this.#requestId) {
      return this.#contradiction(
        `message is for request ${message.requestId}, expected ${this.#requestId}`,
      );
    }
    switch (message.kind) {
      case "tokenStreamStart":
        return this.#onStart(message.body);
      case "tokenStreamChunk":
        return this.#onChunk(message.body);
      case "tokenStreamEnd":
        return this.#onEnd(message.body);
      case "inferenceResponse":
        return this.#onResponse(message.body);
      case "error":
        // END was the server's last word; what is missing now is only under way.
        if (this.#end === undefined) this.#failure = faultOf(message.body);
        return;
      default:
        return this.#contradiction(`message is ${message.kind}, expected an answer`);
    }
  }

  /** The server closed its direction of the RO stream and everything before was received. */
  answerStreamClosed(): void {
    if (this.#end === undefined && this.#response === undefined) {
      this.fail(new ApiFault("INTERNAL_ERROR", "cannot finish request: answer stream ended early"));
    }
  }

  /** The server closed its direction of the RU stream and every message on it was received. */
  chunkStreamClosed(): void {
    this.#chunksClosed = true;
    this.#checkMissing();
  }

  /** The request cannot be answered any more: reset, connection lost, deadline, cancelled. */
  fail(error: NexusError): void {
    if (this.#failure === undefined && !this.complete) this.#failure = error;
  }

  // Out.

  /** The next event, or nothing for now. */
  poll(): ExchangeEvent | undefined {
    if (this.#lastGiven) return undefined;
    if (this.#response !== undefined && this.#failure === undefined) {
      this.#lastGiven = true;
      return { type: "response", response: this.#response };
    }
    if (this.#start !== undefined) {
      if (!this.#startGiven) {
        this.#startGiven = true;
        return { type: "start", start: this.#start };
      }
      const chunk = this.#chunks.get(this.#next);
      if (chunk !== undefined) {
        this.#chunks.delete(this.#next++);
        this.#charsHeld -= charsOf(chunk);
        return { type: "chunk", chunk };
      }
    }
    if (this.#failure !== undefined) {
      this.#lastGiven = true;
      this.#chunks.clear();
      return { type: "error", error: this.#failure };
    }
    if (this.#end !== undefined && this.#next === this.#end.chunks) {
      this.#lastGiven = true;
      return { type: "end", end: this.#end };
    }
    return undefined;
  }

  get state(): ExchangeState {
    if (this.#failure !== undefined) return "failed";
    if (this.complete) return "done";
    return this.#start === undefined ? "waiting" : "streaming";
  }

  /** Everything of the answer is here: close our direction of both streams. */
  get complete(): boolean {
    if (this.#failure !== undefined) return false;
    return this.#response !== undefined ||
      (this.#end !== undefined && this.#received === this.#end.chunks);
  }

  /** The last event was taken. */
  get finished(): boolean {
    return this.#lastGiven;
  }

  /** Chunks that wait for an earlier one or for `poll`. */
  get chunksHeld(): number {
    return this.#chunks.size;
  }

  /**
   * False when so much is held that the driver should not read more chunks before the
   * application has taken some: beyond the limits the exchange fails.
   */
  get wantsChunks(): boolean {
    const blocked = this.#start === undefined || !this.#chunks.has(this.#next);
    return blocked ||
      (this.#chunks.size < CHUNKS_HELD_MAX / 2 && this.#charsHeld < CHUNK_CHARS_HELD_MAX / 2);
  }

  #onStart(start: TokenStreamStart): void {
    if (!this.#stream) return this.#contradiction("START answers a request without stream");
    if (this.#start !== undefined) return this.#contradiction("START came twice");
    if (this.#end !== undefined) return this.#contradiction("START came after END");
    this.#start = start;
  }

  #onChunk(chunk: TokenStreamChunk): void {
    const { sequence } = chunk;
    if (!this.#stream) return this.#contradiction("CHUNK answers a request without stream");
    if (this.#end !== undefined && sequence >= this.#end.chunks) {
      return this.#contradiction(
        `chunk is number ${sequence}, expected below END's ${this.#end.chunks}`,
      );
    }
    if (sequence < this.#next || this.#chunks.has(sequence)) {
      return this.#contradiction(`chunk ${sequence} came twice`);
    }
    if (sequence - this.#next >= CHUNKS_HELD_MAX) {
      return this.#contradiction(
        `chunk is number ${sequence}, expected below ${this.#next + CHUNKS_HELD_MAX}`,
      );
    }
    this.#charsHeld += charsOf(chunk);
    if (this.#charsHeld > CHUNK_CHARS_HELD_MAX) {
      return this.#contradiction(`chunks held have more than ${CHUNK_CHARS_HELD_MAX} characters`);
    }
    this.#chunks.set(sequence, chunk);
    this.#received++;
    if (sequence > this.#highest) this.#highest = sequence;
    this.#checkMissing();
  }

  #onEnd(end: TokenStreamEnd): void {
    if (this.#start === undefined) return this.#contradiction("END came without START");
    if (this.#end !== undefined) return this.#contradiction("END came twice");
    if (end.chunks <= this.#highest) {
      return this.#contradiction(
        `END says ${end.chunks} chunks, but chunk ${this.#highest} was received`,
      );
    }
    this.#end = end;
    this.#checkMissing();
  }

  #onResponse(response: InferenceResponse): void {
    if (this.#stream) return this.#contradiction("RESPONSE answers a request with stream");
    this.#response = response;
  }

  #checkMissing(): void {
    if (this.#chunksClosed && this.#end !== undefined && !this.complete) {
      this.#contradiction(
        `chunk stream ended after ${this.#received} chunks, END says ${this.#end.chunks}`,
      );
    }
  }

  #contradiction(what: string): void {
    this.#failure ??= new NexusError("PROTOCOL_VIOLATION", `cannot follow answer: ${what}`);
  }
}

/** Characters of text in a chunk, all strings counted. */
function charsOf(chunk: TokenStreamChunk): number {
  let chars = chunk.text.length + (chunk.extraJson?.length ?? 0);
  for (const call of chunk.toolCalls) {
    chars += call.arguments.length + (call.id?.length ?? 0) + (call.name?.length ?? 0);
  }
  return chars;
}
