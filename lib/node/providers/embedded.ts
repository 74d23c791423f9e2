/**
 * The built-in provider: a seeded generator that answers without any model, so that demo and
 * tests need nothing else. What it says is a pure function of model, messages, tools and seed;
 * when it says it follows the configured latency and speed.
 */
import { SeededRandom } from "../../base/mod.ts";
import {
  type FinishReason,
  type InferenceRequest,
  type Part,
  type Tool,
} from "../../l5_api/mod.ts";
import { parseArchitecture, parseCapabilities } from "../../l2_route/mod.ts";
import { isMembers } from "../bridge/accumulate.ts";
import { readMetadata } from "../bridge/chat_request.ts";
import {
  cancelled,
  type GenerationChunk,
  type GenerationEvent,
  InferenceError,
  type Provider,
  type ProviderHealth,
  type ProviderModel,
  type Sleep,
  sleep as realSleep,
} from "../inference.ts";
import { chooseModel } from "./choose.ts";
import { Gate } from "./gate.ts";
import { joinSignals } from "../../sdk/mod.ts";
import { code, countTokens, prose, sample, splitTokens, StopFilter } from "./tokens.ts";

/** A model of the embedded provider; everything but the name has a default. */
export interface EmbeddedModel extends Partial<Omit<ProviderModel, "name" | "maxConcurrency">> {
  readonly name: string;
  /** Tokens per second; 0 = as fast as they are taken (the default). */
  readonly tokensPerSecond?: number;
  /**
   * words (the default): prose, code with code_gen, a JSON value where the response format asks
   * for one, a tool call where the request wants one. echo: the text of the last message, byte
   * for byte. text: `answerText`.
   */
  readonly answer?: "words" | "echo" | "text";
  readonly answerText?: string;
  /** Length of an answer of words. */
  readonly answerTokens?: number;
}

export interface EmbeddedOptions {
  readonly name?: string;
  readonly models: readonly EmbeddedModel[];
  /** Requests that run at once, and that wait. */
  readonly maxConcurrency?: number;
  readonly queueMax?: number;
  readonly sleep?: Sleep;
}

const CAPABILITIES_DEFAULT = parseCapabilities("text_gen+code_gen+tool_use");
const CONTEXT_DEFAULT = 131_072;
const CONCURRENCY_DEFAULT = 16;
const QUEUE_DEFAULT = 64;
const ANSWER_TOKENS_DEFAULT = 64;

/** OpenAI's largest n. */
const CHOICES_MAX = 128;

/** Without pauses the loop lets timers and sockets run after so many tokens. */
const TOKENS_PER_TURN = 64;

/** Ready model: all defaults filled in. */
interface Model extends ProviderModel {
  readonly tokensPerSecond: number;
  readonly answer: "words" | "echo" | "text";
  readonly answerText: string;
  readonly answerTokens: number;
}

/** See the head of the file. */
export class EmbeddedProvider implements Provider {
  readonly name: string;
  readonly models: readonly Model[];
  readonly #sleep: Sleep;
  readonly #gate: Gate;
  readonly #stopped = new AbortController();
  #started = false;

  constructor(options: EmbeddedOptions) {
    this.name = options.name ?? "embedded";
    this.#sleep = options.sleep ?? realSleep;
    const runningMax = options.maxConcurrency ?? CONCURRENCY_DEFAULT;
    this.models = options.models.map((model) => ready(model, runningMax));
    this.#gate = new Gate({
      what: `provider "${this.name}"`,
      runningMax,
      queuedMax: options.queueMax ?? QUEUE_DEFAULT,
    });
  }

  start(): Promise<void> {
    this.#started = true;
    return Promise.resolve();
  }

  health(): ProviderHealth {
    const { running, runningMax, queued } = this.#gate;
    return {
      state: this.#stopped.signal.aborted ? "stopped" : this.#started ? "ready" : "starting",
      load: running / runningMax,
      active: running,
      queueDepth: queued,
      capacity: runningMax,
    };
  }

  async *generate(
    request: InferenceRequest,
    callerSignal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    const { signal, release } = joinSignals(callerSignal, this.#stopped.signal);
    let leave = () => {};
    try {
      const model = chooseModel(`provider "${this.name}"`, this.models, request.model);
      leave = await this.#gate.enter(signal);
      yield* this.#answer(model, request, signal);
    } finally {
      leave();
      release();
    }
  }

  stop(): Promise<void> {
    this.#stopped.abort();
    return Promise.resolve();
  }

  async *#answer(
    model: Model,
    request: InferenceRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    const prompt = countPrompt(model, request);
    yield { type: "start", model: model.name };
    await this.#pause(model.latencyMs > 0 ? model.latencyMs : -1, signal);
    const pace = new Pace(model.tokensPerSecond);
    let sequence = 0;
    let completion = 0;
    let firstReason: FinishReason = "stop";
    for (let index = 0; index < choicesAsked(request); index++) {
      const answer = compose(model, request, index);
      const filter = new StopFilter(answer.toolCall === undefined ? request.stop : []);
      const tokensMax = Math.min(request.maxTokens ?? Infinity, model.context - prompt);
      let finishReason: FinishReason = answer.toolCall === undefined ? "stop" : "tool_calls";
      let role: GenerationChunk["role"] = "assistant";
      let tokens = 0;
      const chunk = (text: string, rest: Partial<GenerationChunk> = {}): GenerationChunk => {
        const whole: GenerationChunk = {
          type: "chunk",
          sequence: sequence++,
          index,
          text,
          ...(role === undefined ? {} : { role }),
          toolCalls: [],
          ...rest,
        };
        role = undefined;
        return whole;
      };
      for (const token of answer.tokens) {
        if (tokens >= tokensMax) {
          finishReason = "length";
          break;
        }
        await this.#pause(pace.next(), signal);
        tokens++;
        if (answer.toolCall !== undefined) {
          const first = tokens === 1 ? answer.toolCall : {};
          yield chunk("", { toolCalls: [{ index: 0, ...first, arguments: token }] });
          continue;
        }
        const text = filter.push(token);
        if (text !== "") yield chunk(text);
        if (filter.stopped) break;
      }
      completion += tokens;
      if (index === 0) firstReason = finishReason;
      if (signal.aborted) throw cancelled("the answer");
      yield chunk(filter.flush(), { finishReason });
    }
    yield { type: "end", finishReason: firstReason, usage: { prompt, completion, cached: 0 } };
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (ms >= 0) await this.#sleep(ms, signal);
    if (signal.aborted) throw cancelled("the answer");
  }
}

/** Spreads tokens over time: ms to sleep before each one, -1 for not at all. */
class Pace {
  readonly #msPerToken: number;
  #owedMs = 0;
  #tokens = 0;

  constructor(tokensPerSecond: number) {
    this.#msPerToken = tokensPerSecond > 0 ? 1000 / tokensPerSecond : 0;
  }

  next(): number {
    if (this.#msPerToken === 0) return ++this.#tokens % TOKENS_PER_TURN === 0 ? 0 : -1;
    // A timer is good for 1 ms at best: several fast tokens share one pause.
    this.#owedMs += this.#msPerToken;
    if (this.#owedMs < 1) return -1;
    const ms = this.#owedMs;
    this.#owedMs = 0;
    return ms;
  }
}

function ready(model: EmbeddedModel, maxConcurrency: number): Model {
  return {
    ...model,
    arch: model.arch ?? parseArchitecture("transformer"),
    capabilities: model.capabilities ?? CAPABILITIES_DEFAULT,
    context: model.context ?? CONTEXT_DEFAULT,
    latencyMs: model.latencyMs ?? 0,
    cost: model.cost ?? 0,
    per1k: model.per1k ?? false,
    trust: model.trust ?? 0,
    benchmark: model.benchmark ?? 0,
    maxConcurrency,
    tokensPerSecond: model.tokensPerSecond ?? 0,
    answer: model.answer ?? "words",
    answerText: model.answerText ?? "",
    answerTokens: model.answerTokens ?? ANSWER_TOKENS_DEFAULT,
  };
}

/** Tokens of everything the model would read. Throws CONTEXT_TOO_LARGE. */
function countPrompt(model: Model, request: InferenceRequest): number {
  const texts = [
    request.system ?? "",
    ...request.messages.flatMap((message) => message.parts.map(partText)),
    ...request.tools.map((tool) =>
      `${tool.name} ${tool.description ?? ""} ${tool.schemaJson ?? ""}`
    ),
  ];
  let tokens = 0;
  for (const text of texts) {
    tokens += countTokens(text, model.context + 1 - tokens);
    if (tokens > model.context) {
      throw new InferenceError(
        "CONTEXT_TOO_LARGE",
        `cannot answer: the messages have more than ${model.context} tokens, ` +
          `the context of "${model.name}"`,
        { param: "messages" },
      );
    }
  }
  return tokens;
}

function partText(part: Part): string {
  switch (part.type) {
    case "text":
      return part.text;
    case "tool_use":
      return part.arguments;
    case "tool_result":
      return part.content;
    case "json": {
      const value = parseOr(part.json, undefined);
      return isMembers(value) && typeof value.text === "string" ? value.text : "";
    }
    default:
      return "";
  }
}

function choicesAsked(request: InferenceRequest): number {
  const n = readMetadata(request.metadata).get("n");
  return typeof n === "number" && n >= 1 ? Math.min(Math.floor(n), CHOICES_MAX) : 1;
}

interface Answer {
  readonly tokens: Iterable<string>;
  /** When the tokens are the arguments of a call. */
  readonly toolCall?: { id: string; name: string };
}

/** What choice `index` says: nothing but its arguments decides. */
function compose(model: Model, request: InferenceRequest, index: number): Answer {
  const lastText = (request.messages.at(-1)?.parts ?? []).map(partText).join("");
  if (model.answer === "echo") return { tokens: splitTokens(lastText) };
  if (model.answer === "text") return { tokens: splitTokens(model.answerText) };
  const seed = fingerprint(JSON.stringify([
    model.name,
    request.system ?? null,
    request.messages.map(({ role, parts }) => [role, parts.map(partText)]),
    request.seed ?? null,
    index,
  ]));
  const random = new SeededRandom(seed);
  const tool = wantedTool(request, lastText);
  if (tool !== undefined) {
    const args = sample(parseOr(tool.schemaJson ?? "{}", {}), random) ?? {};
    return {
      tokens: splitTokens(JSON.stringify(isMembers(args) ? args : {})),
      toolCall: { id: `call_${random.u32().toString(16).padStart(8, "0")}`, name: tool.name },
    };
  }
  const format = parseOr(request.responseFormat ?? "null", null);
  if (isMembers(format) && format.type === "json_object") {
    return { tokens: splitTokens(JSON.stringify({ answer: prose(random) })) };
  }
  if (isMembers(format) && isMembers(format.json_schema)) {
    const value = sample(format.json_schema.schema, random);
    return { tokens: splitTokens(JSON.stringify(value)) };
  }
  const codes = (model.capabilities & parseCapabilities("code_gen")) !== 0;
  return { tokens: words(random, codes, model.answerTokens) };
}

/** Paragraphs without end, cut to the length asked for. */
function* words(random: SeededRandom, codes: boolean, tokensMax: number): Generator<string> {
  for (let left = tokensMax, first = true; left > 0; first = false) {
    const paragraph = codes ? code(random) : prose(random);
    for (const token of splitTokens(first ? paragraph : `\n\n${paragraph}`)) {
      if (left-- <= 0) return;
      yield token;
    }
  }
}

/** The tool that the request demands, or that its last message speaks of. */
function wantedTool({ tools, toolChoice, messages }: InferenceRequest, lastText: string) {
  if (tools.length === 0 || toolChoice === "none") return undefined;
  if (toolChoice === "required") return tools[0];
  const choice = parseOr(toolChoice ?? "null", null);
  if (isMembers(choice) && isMembers(choice.function)) {
    const { name } = choice.function;
    return tools.find((tool: Tool) => tool.name === name);
  }
  if (messages.at(-1)?.role !== "user") return undefined;
  return tools.find((tool: Tool) => lastText.includes(tool.name));
}

function parseOr(json: string, otherwise: unknown): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return otherwise;
  }
}

/** FNV-1a over UTF-16 units, 32 bits. */
function fingerprint(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}
