/**
 * From an upstream's chat completion chunks (or its one completion) to generation events.
 * What is not known here is kept: as `delta`, `choice` or `top` members of `ChunkExtra`.
 */
import { FINISH_REASONS, type Role, ROLES, type ToolCallDelta } from "../../l5_api/mod.ts";
import { isMembers } from "../bridge/accumulate.ts";
import type {
  ChunkExtra,
  FinishReason,
  GenerationChunk,
  GenerationEnd,
  Usage,
} from "../inference.ts";
import { connectionError, streamError, UpstreamFault } from "./upstream_errors.ts";

type Members = Record<string, unknown>;

/** OpenAI's n is at most 128. */
const CHOICE_INDEX_MAX = 127;

/** What one answer object holds. */
export interface AnswerPart {
  readonly chunks: GenerationChunk[];
  /** Members of the answer itself that were not said before. */
  readonly top: Members;
}

/** One reader per request: `chunk` for each SSE event, or `completion` once; then `end`. */
export class AnswerReader {
  readonly #what: string;
  #sequence = 0;
  #usage?: Usage;
  #finish = new Map<number, FinishReason>();

  constructor(what: string) {
    this.#what = what;
  }

  /** One `chat.completion.chunk`. Throws what an error object in it stands for. */
  chunk(json: string): AnswerPart {
    return this.#answer(this.#parse(json), "delta");
  }

  /** A whole `chat.completion`. */
  completion(json: string): AnswerPart {
    return this.#answer(this.#parse(json), "message");
  }

  /**
   * The last event. `complete`: the upstream said that it is done; without that, and without
   * any finish reason, the stream was cut and an error is thrown.
   */
  end(complete: boolean, top: Members): GenerationEnd {
    const first = this.#finish.get(0) ?? [...this.#finish.values()][0];
    if (first === undefined && !complete) {
      throw new UpstreamFault(
        "INTERNAL_ERROR",
        `cannot go on: ${this.#what} ended its stream without a finish reason`,
      );
    }
    return {
      type: "end",
      finishReason: first ?? "stop",
      ...(this.#usage === undefined ? {} : { usage: this.#usage }),
      ...(Object.keys(top).length === 0 ? {} : { extraJson: JSON.stringify(top) }),
    };
  }

  #parse(json: string): Members {
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch (error) {
      throw connectionError(this.#what, "read the answer of", error);
    }
    if (!isMembers(value)) {
      throw connectionError(this.#what, "read the answer of", "it is not a JSON object");
    }
    return value;
  }

  #answer(answer: Members, content: "delta" | "message"): AnswerPart {
    const { error, choices, usage, id: _, object: _o, created: _c, model: _m, ...rest } = answer;
    if (error !== undefined && error !== null) throw streamError(this.#what, error);
    const top = withoutNulls(rest);
    const details = isMembers(usage) ? this.#takeUsage(usage) : undefined;
    if (details !== undefined) top.usage = details;
    const chunks = (Array.isArray(choices) ? choices : [])
      .filter(isMembers)
      .map((choice, at) => this.#choice(choice, at, content));
    return { chunks, top };
  }

  #choice(whole: Members, at: number, content: "delta" | "message"): GenerationChunk {
    const { index: given, delta, message, finish_reason: finish, ...choice } = whole;
    const index = isIndex(given) ? given : Math.min(at, CHOICE_INDEX_MAX);
    const said = content === "delta" ? delta : message;
    const { role, content: text, tool_calls: calls, ...rest } = isMembers(said) ? said : {};
    const extraDelta = withoutNulls(rest);
    const extraChoice = withoutNulls(choice);
    // Some servers answer content in parts; those go through as they are.
    if (typeof text !== "string" && text !== null && text !== undefined) extraDelta.content = text;
    const { toolCalls, others } = readToolCalls(calls);
    if (others.length > 0) extraDelta.tool_calls = others;
    let finishReason: FinishReason | undefined;
    if (typeof finish === "string" && finish !== "") {
      finishReason = isFinishReason(finish) ? finish : "unknown";
      // A word of the server's own stays readable at the other end.
      if (finishReason === "unknown") extraChoice.finish_reason = finish;
      this.#finish.set(index, finishReason);
    }
    const extra: ChunkExtra = {
      ...(Object.keys(extraDelta).length > 0 ? { delta: extraDelta } : {}),
      ...(Object.keys(extraChoice).length > 0 ? { choice: extraChoice } : {}),
    };
    return {
      type: "chunk",
      sequence: this.#sequence++,
      index,
      text: typeof text === "string" ? text : "",
      ...(isRole(role) ? { role } : {}),
      toolCalls,
      ...(finishReason === undefined ? {} : { finishReason }),
      ...(Object.keys(extra).length > 0 ? { extraJson: JSON.stringify(extra) } : {}),
    };
  }

  /** Keeps the counts; gives the object itself when it says more than they do. */
  #takeUsage(usage: Members): Members | undefined {
    const { prompt_tokens, completion_tokens, total_tokens: _, ...rest } = withoutNulls(usage);
    const details = isMembers(rest.prompt_tokens_details)
      ? withoutNulls(rest.prompt_tokens_details)
      : {};
    this.#usage = {
      prompt: count(prompt_tokens),
      completion: count(completion_tokens),
      cached: count(details.cached_tokens),
    };
    const { cached_tokens: _cached, ...otherDetails } = details;
    const { prompt_tokens_details: _details, ...others } = rest;
    const says = Object.keys(others).length + Object.keys(otherDetails).length > 0;
    return says ? withoutNulls(usage) : undefined;
  }
}

/** Function calls as deltas; calls of other types (custom tools) as they came. */
function readToolCalls(calls: unknown): { toolCalls: ToolCallDelta[]; others: Members[] } {
  const toolCalls: ToolCallDelta[] = [];
  const others: Members[] = [];
  for (const [at, call] of (Array.isArray(calls) ? calls : []).entries()) {
    if (!isMembers(call)) continue;
    const index = isIndex(call.index) ? call.index : at;
    if (isMembers(call.function) || call.type === "function") {
      const { name, arguments: args } = isMembers(call.function) ? call.function : {};
      toolCalls.push({
        index,
        ...(typeof call.id === "string" && call.id !== "" ? { id: call.id } : {}),
        ...(typeof name === "string" && name !== "" ? { name } : {}),
        // Ollama and others answer the arguments as an object in plain answers.
        arguments: typeof args === "string" ? args : isMembers(args) ? JSON.stringify(args) : "",
      });
    } else others.push({ ...call, index });
  }
  return { toolCalls, others };
}

function isIndex(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= CHOICE_INDEX_MAX;
}

function isFinishReason(word: string): word is FinishReason {
  return (FINISH_REASONS as readonly string[]).includes(word);
}

function isRole(word: unknown): word is Role {
  return (ROLES as readonly unknown[]).includes(word);
}

function count(value: unknown): number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffffffff
    ? value as number
    : 0;
}

function withoutNulls(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null));
}
