/** Puts streamed chunks together to the response that a request without `stream` gets. */
import { ApiFault } from "./errors.ts";
import { BODY_BYTES_MAX } from "./header.ts";
import type { Choice, InferenceResponse } from "./messages/inference_response.ts";
import type { ChunkFields } from "./messages/token_stream_chunk.ts";
import type { TokenStreamEnd } from "./messages/token_stream_end.ts";

/** OpenAI's largest `n`, and more tool calls than a model makes: a provider gone mad stops here. */
const CHOICES_MAX = 128;
const TOOL_CALLS_MAX = 1024;

/** Concatenates chunks, in order of their sequence, per choice. */
export class ResponseCollector {
  readonly #choices = new Map<number, Choice>();
  readonly #extras = new Map<number, unknown>();
  #chars = 0;

  /**
   * Adds the next chunk.
   *
   * @throws ApiFault INTERNAL_ERROR when the answer outgrows a response message
   */
  add(chunk: ChunkFields): void {
    const choice = this.#choice(chunk.index);
    choice.text += chunk.text;
    if (chunk.role !== undefined) choice.role = chunk.role;
    if (chunk.finishReason !== undefined) choice.finishReason = chunk.finishReason;
    if (chunk.extraJson !== undefined) {
      const extra = this.#extras.get(chunk.index);
      this.#extras.set(chunk.index, merge(extra, parse(chunk.extraJson)));
    }
    this.#chars += chunk.text.length + (chunk.extraJson?.length ?? 0);
    for (const delta of chunk.toolCalls) {
      if (delta.index >= TOOL_CALLS_MAX) throw tooMuch(`tool call ${delta.index}`);
      while (choice.toolCalls.length <= delta.index) {
        choice.toolCalls.push({ id: "", name: "", arguments: "" });
      }
      const call = choice.toolCalls[delta.index];
      if (delta.id !== undefined) call.id = delta.id;
      if (delta.name !== undefined) call.name += delta.name;
      call.arguments += delta.arguments;
      this.#chars += delta.arguments.length + (delta.name?.length ?? 0);
    }
    if (this.#chars > BODY_BYTES_MAX) throw tooMuch(`${this.#chars} characters`);
  }

  /** The response; a choice that never said why it ended takes END's reason. */
  finish(end: Omit<TokenStreamEnd, "chunks">): InferenceResponse {
    if (this.#choices.size === 0) this.#choice(0);
    const choices = [...this.#choices.values()].sort((a, b) => a.index - b.index);
    for (const choice of choices) {
      if (choice.finishReason === "unknown") choice.finishReason = end.finishReason;
      const extra = this.#extras.get(choice.index);
      if (extra !== undefined) choice.extraJson = JSON.stringify(extra);
    }
    return {
      choices,
      usage: end.usage,
      model: end.model,
      nodeId: end.nodeId,
      latencyMs: end.latencyMs,
      ttftMs: end.ttftMs,
      costMicros: end.costMicros,
      extraJson: end.extraJson,
    };
  }

  #choice(index: number): Choice {
    let choice = this.#choices.get(index);
    if (choice === undefined) {
      if (this.#choices.size >= CHOICES_MAX) throw tooMuch(`choice ${index}`);
      choice = { index, role: "assistant", text: "", toolCalls: [], finishReason: "unknown" };
      this.#choices.set(index, choice);
    }
    return choice;
  }
}

/** JSON of a provider; what is not JSON is left out, an answer is not lost for it. */
function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/**
 * Joins the deltas of a member as OpenAI means them: texts and lists (reasoning_content,
 * logprobs.content) continue, objects merge, everything else is replaced.
 */
function merge(old: unknown, add: unknown): unknown {
  if (old === undefined || old === null) return add;
  if (add === undefined || add === null) return old;
  if (typeof old === "string" && typeof add === "string") return old + add;
  if (Array.isArray(old) && Array.isArray(add)) {
    for (const item of add) old.push(item); // in place: a copy per chunk would be quadratic
    return old;
  }
  if (isObject(old) && isObject(add)) {
    for (const [key, value] of Object.entries(add)) {
      if (key !== "__proto__") old[key] = merge(Object.hasOwn(old, key) ? old[key] : null, value);
    }
    return old;
  }
  return add;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function tooMuch(what: string): ApiFault {
  return new ApiFault("INTERNAL_ERROR", `cannot collect answer: ${what} is beyond the limit`);
}
