/**
 * The server's side of one inference request, without I/O: makes the messages of the answer,
 * numbers the chunks, and takes the times. With `stream` the calls are start, chunk…, end; without
 * it only response; failure may replace what is left of either.
 */
import { NexusError } from "../base/mod.ts";
import { errorMessageOf } from "./errors.ts";
import { encodeMessage } from "./message.ts";
import type { FinishReason } from "./messages/enums.ts";
import type { InferenceResponse } from "./messages/inference_response.ts";
import type { ChunkFields } from "./messages/token_stream_chunk.ts";

import type { Usage } from "./messages/usage.ts";
import { splitChunk } from "./split_chunk.ts";

/** Who answers. */
export interface ReplyOrigin {
  model: string;
  /** 16 bytes */
  nodeId: Uint8Array;
}

/** What the end of an answer tells beside what the reply itself knows. */
export interface ReplyEnd {
  finishReason: FinishReason;
  usage: Usage;
  /** The model that answered, when it became known only now. */
  model?: string;
  costMicros?: number;
  extraJson?: string;
}

/** Makes the messages that answer one request. Times are monotonic µs. */
export class InferenceReply {
  readonly #requestId: number;
  readonly #origin: ReplyOrigin;
  readonly #receivedUs: number;
  #state: "new" | "streaming" | "over" = "new";
  #chunks = 0;
  #firstChunkUs: number | undefined;

  constructor(requestId: number, origin: ReplyOrigin, receivedUs: number) {
    this.#requestId = requestId;
    this.#origin = origin;
    this.#receivedUs = receivedUs;
  }

  /** Chunks made so far. */
  get chunks(): number {
    return this.#chunks;
  }
  /** END, RESPONSE or ERROR was made. */
  get over(): boolean {
    return this.#state === "over";
  }

  /** TOKEN_STREAM_START, for the request's RO stream. */
  start(extraJson?: string): Uint8Array<ArrayBuffer> {
    this.#expect("new", "start");
    this.#state = "streaming";
    return encodeMessage("tokenStreamStart", this.#requestId, { ...this.#origin, extraJson });
  }

  /**
   * TOKEN_STREAM_CHUNKs with the next numbers, for the RU stream: one, or several when the chunk
   * is larger than one message may be.
   */
  chunk(fields: Partial<ChunkFields>, nowUs: number): Uint8Array<ArrayBuffer>[] {
    this.#expect("streaming", "send chunk");
    this.#firstChunkUs ??= nowUs;
    return splitChunk({ index: 0, text: "", toolCalls: [], ...fields }).map((piece) =>
      encodeMessage("tokenStreamChunk", this.#requestId, { ...piece, sequence: this.#chunks++ })
    );
  }

  /** TOKEN_STREAM_END, for the RO stream; close both streams after it. */
  end(end: ReplyEnd, nowUs: number): Uint8Array<ArrayBuffer> {
    this.#expect("streaming", "end");
    this.#state = "over";
    return encodeMessage("tokenStreamEnd", this.#requestId, {
      ...this.#origin,
      costMicros: 0,
      ...withoutUndefined(end),
      chunks: this.#chunks,
      latencyMs: elapsedMs(this.#receivedUs, nowUs),
      ttftMs: elapsedMs(this.#receivedUs, this.#firstChunkUs ?? nowUs),
    });
  }

  /** INFERENCE_RESPONSE, for the RO stream; node id and latency are filled in. */
  response(
    response: Omit<InferenceResponse, "nodeId" | "latencyMs">,
    nowUs: number,
  ): Uint8Array<ArrayBuffer> {
    this.#expect("new", "respond");
    this.#state = "over";
    return encodeMessage("inferenceResponse", this.#requestId, {
      ...response,
      nodeId: this.#origin.nodeId,
      latencyMs: elapsedMs(this.#receivedUs, nowUs),
    });
  }

  /** ERROR for anything thrown, or nothing when the answer was already over. */
  failure(thrown: unknown): Uint8Array<ArrayBuffer> | undefined {
    if (this.#state === "over") return undefined;
    this.#state = "over";
    return encodeMessage("error", this.#requestId, errorMessageOf(thrown));
  }

  #expect(state: "new" | "streaming", what: string): void {
    if (this.#state !== state) {
      throw new NexusError(
        "WRONG_STATE",
        `cannot ${what}: reply to request ${this.#requestId} is ${this.#state}, expected ${state}`,
      );
    }
  }
}

function elapsedMs(fromUs: number, toUs: number): number {
  return Math.min(0xffffffff, Math.max(0, Math.round((toUs - fromUs) / 1000)));
}

/** Spreading must not overwrite a value by undefined. */
function withoutUndefined(end: ReplyEnd): ReplyEnd {
  return Object.fromEntries(Object.entries(end).filter(([, v]) => v !== undefined)) as never;
}
