/**
 * From service events to OpenAI's answers: one `chat.completion`, or `chat.completion.chunk`s.
 * What the upstream said beside the known members (`ChunkExtra`) goes back to where it was.
 */
import type { ToolCallDelta } from "../../l5_api/mod.ts";
import type {
  ChunkExtra,
  FinishReason,
  GenerationChunk,
  GenerationEnd,
  GenerationStart,
  Usage,
} from "../inference.ts";
import { accumulate, isMembers } from "./accumulate.ts";

type Members = Record<string, unknown>;

/** What all chunks of one answer share. */
export interface AnswerHead {
  /** `chatcmpl-…` */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
}

/** Reads a chunk's `extraJson`; what is not an object of objects counts as nothing. */
export function parseExtra(json: string | undefined): ChunkExtra {
  const { delta, choice } = parseMembers(json);
  return {
    ...(isMembers(delta) ? { delta } : {}),
    ...(isMembers(choice) ? { choice } : {}),
  };
}

function parseMembers(json: string | undefined): Members {
  if (json === undefined || json === "") return {};
  try {
    const value: unknown = JSON.parse(json);
    return isMembers(value) ? value : {};
  } catch {
    return {}; // a peer's mistake in what is optional does not cost the client its answer
  }
}

/** OpenAI's usage object. */
export function usageBody({ prompt, completion, cached }: Usage): Members {
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

/** Members of the answer itself: what all chunks share, and what usage there is to report. */
class Top {
  readonly #head: AnswerHead;
  #members: Members;
  #usage?: Members;

  constructor(head: AnswerHead, start: GenerationStart) {
    this.#head = head;
    this.#members = parseMembers(start.extraJson);
  }

  end(event: GenerationEnd): void {
    const { usage, ...rest } = parseMembers(event.extraJson);
    // The upstream's own usage, which has details, goes before the counted one.
    this.#usage = isMembers(usage) ? usage : event.usage && usageBody(event.usage);
    this.#members = { ...this.#members, ...rest };
  }
  get usage(): Members | undefined {
    return this.#usage;
  }
  members(object: string): Members {
    const { id, created, model } = this.#head;
    return { system_fingerprint: null, ...this.#members, id, object, created, model };
  }
}

/** OpenAI's word; a server's own word was kept among the extra members. */
function finishWord(reason: FinishReason, extra: Members | undefined): string {
  const word = extra?.finish_reason;
  return typeof word === "string" ? word : reason === "unknown" ? "stop" : reason;
}

function toolCallBody({ index, id, name, arguments: args }: ToolCallDelta): Members {
  const first = id !== undefined || name !== undefined;
  return {
    index,
    ...(id === undefined ? {} : { id }),
    ...(first ? { type: "function" } : {}),
    function: { ...(name === undefined ? {} : { name }), arguments: args },
  };
}

/** Streamed form: each call returns the chunk objects to send next. */
export class ChunkStream {
  readonly #includeUsage: boolean;
  readonly #top: Top;
  /** Choices seen, and whether each has its finish reason. */
  readonly #finished = new Map<number, boolean>();

  constructor(head: AnswerHead, start: GenerationStart, includeUsage: boolean) {
    this.#top = new Top(head, start);
    this.#includeUsage = includeUsage;
  }

  chunk(event: GenerationChunk): Members[] {
    const { index, finishReason } = event;
    const { delta: extraDelta, choice } = parseExtra(event.extraJson);
    const chunks = this.#begin(index, event.role);
    const calls = Array.isArray(extraDelta?.tool_calls) ? extraDelta.tool_calls : [];
    const toolCalls = [...event.toolCalls.map(toolCallBody), ...calls];
    const delta: Members = {
      ...extraDelta,
      ...(event.text === "" ? {} : { content: event.text }),
      ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls }),
    };
    if (finishReason !== undefined) this.#finished.set(index, true);
    if (Object.keys(delta).length > 0 || choice !== undefined || finishReason !== undefined) {
      const finish = finishReason === undefined ? null : finishWord(finishReason, choice);
      chunks.push(this.#choice(index, delta, finish, choice));
    }
    return chunks;
  }

  end(event: GenerationEnd): Members[] {
    this.#top.end(event);
    const chunks = this.#finished.size === 0 ? this.#begin(0, undefined) : [];
    for (const [index, finished] of this.#finished) {
      if (!finished) {
        chunks.push(this.#choice(index, {}, finishWord(event.finishReason, undefined)));
      }
    }
    const usage = this.#includeUsage ? this.#top.usage : undefined;
    if (usage !== undefined) chunks.push({ ...this.#chunk([]), usage });
    return chunks;
  }

  /** OpenAI begins each choice with its role and empty content. */
  #begin(index: number, role: string = "assistant"): Members[] {
    if (this.#finished.has(index)) return [];
    this.#finished.set(index, false);
    return [this.#choice(index, { role, content: "" }, null)];
  }

  #choice(index: number, delta: Members, finish: string | null, extra: Members = {}): Members {
    return this.#chunk([{ logprobs: null, ...extra, index, delta, finish_reason: finish }]);
  }

  #chunk(choices: Members[]): Members {
    const members = this.#top.members("chat.completion.chunk");
    return { ...members, choices, ...(this.#includeUsage ? { usage: null } : {}) };
  }
}

interface Choice {
  role: string;
  text: string[];
  toolCalls: Map<number, { id: string; name: string; arguments: string[] }>;
  finishReason?: FinishReason;
  delta: Members;
  choice: Members;
}

/** Plain form: takes all chunks, then gives the completion. */
export class Completion {
  readonly #top: Top;
  readonly #choices = new Map<number, Choice>();

  constructor(head: AnswerHead, start: GenerationStart) {
    this.#top = new Top(head, start);
  }

  chunk(event: GenerationChunk): void {
    const choice = this.#choice(event.index);
    const { delta, choice: choiceExtra } = parseExtra(event.extraJson);
    if (event.role !== undefined) choice.role = event.role;
    if (event.text !== "") choice.text.push(event.text);
    for (const call of event.toolCalls) {
      const whole = choice.toolCalls.get(call.index) ?? { id: "", name: "", arguments: [] };
      choice.toolCalls.set(call.index, whole);
      whole.id = call.id ?? whole.id;
      whole.name += call.name ?? "";
      whole.arguments.push(call.arguments);
    }
    if (event.finishReason !== undefined) choice.finishReason = event.finishReason;
    if (delta !== undefined) choice.delta = accumulate(choice.delta, delta);
    if (choiceExtra !== undefined) choice.choice = accumulate(choice.choice, choiceExtra);
  }

  end(event: GenerationEnd): Members {
    this.#top.end(event);
    if (this.#choices.size === 0) this.#choice(0);
    const choices = [...this.#choices].sort(([a], [b]) => a - b).map(([index, choice]) => ({
      logprobs: null,
      ...choice.choice,
      index,
      message: messageBody(choice),
      finish_reason: finishWord(choice.finishReason ?? event.finishReason, choice.choice),
    }));
    const { usage } = this.#top;
    const members = this.#top.members("chat.completion");
    return { ...members, choices, ...(usage === undefined ? {} : { usage }) };
  }

  #choice(index: number): Choice {
    let choice = this.#choices.get(index);
    if (choice === undefined) {
      choice = { role: "assistant", text: [], toolCalls: new Map(), delta: {}, choice: {} };
      this.#choices.set(index, choice);
    }
    return choice;
  }
}

function messageBody({ role, text, toolCalls, delta }: Choice): Members {
  const { tool_calls: otherCalls, ...extra } = delta;
  const calls = [...toolCalls].sort(([a], [b]) => a - b).map(([, call]) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments.join("") },
  }));
  const others = Array.isArray(otherCalls)
    ? otherCalls.map((call) => isMembers(call) ? { ...call, index: undefined } : call)
    : [];
  const hasOther = calls.length + others.length + Object.keys(extra).length > 0;
  return {
    refusal: null,
    ...extra,
    role,
    content: text.length === 0 && hasOther ? null : text.join(""),
    ...(calls.length + others.length === 0 ? {} : { tool_calls: [...calls, ...others] }),
  };
}
