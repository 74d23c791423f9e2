/**
 * OpenAI chat request ⇄ InferenceRequest, without loss: JSON → request → (mesh) → request → JSON
 * gives the same JSON, except for `model`, which names the upstream's own model in the end.
 *
 * - Top-level members without a field of their own travel in the metadata as `openai.<member>`,
 *   as JSON; so do members whose spelling a field cannot tell (a single `stop` string).
 * - Message members without a field travel in the message's `extraJson`. Its `content` is special:
 *   null, "" or [] tells the JSON shape of a content that its parts do not tell.
 * - Content parts that are not plain text or image_url travel as JSON parts.
 *
 * Only what Nexus itself reads is checked here; ranges are the upstream's to judge.
 */
import { clip } from "../../base/mod.ts";
import {
  type ChatMessage,
  type InferenceRequest,
  inferenceRequest,
  type Part,
  ROLES,
  type Tool,
} from "../../l5_api/mod.ts";
import { InferenceError } from "../inference.ts";
import { isMembers } from "./accumulate.ts";
import { type HttpError, invalid } from "./errors.ts";

type Members = Record<string, unknown>;

/** Prefix of metadata keys that carry OpenAI parameters as JSON. */
export const METADATA_PREFIX = "openai.";

/** OpenAI's largest n. */
const CHOICES_MAX = 128;
const U32_MAX = 0xffffffff;

// --- OpenAI → Nexus ---------------------------------------------------------------------

/** The request for an OpenAI chat body. `model` is the SAD in binary form. Throws 400. */
export function readChatRequest(
  body: Members,
  model: Uint8Array,
  deadlineMs: number,
): InferenceRequest {
  try {
    return readBody(body, model, deadlineMs);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // JSON.stringify ran out of stack where JSON.parse, which does not recurse, did not.
    throw invalid(null, "cannot read request: JSON is nested too deep", "invalid_json");
  }
}

function readBody(body: Members, model: Uint8Array, deadlineMs: number): InferenceRequest {
  const { messages, stream, model: _, ...rest } = body;
  if (!Array.isArray(messages)) throw wrong("messages", messages, "a list of messages");
  if (messages.length === 0) {
    const message = 'cannot read request: "messages" is empty, expected at least one message';
    throw invalid("messages", message);
  }
  if (stream !== undefined && stream !== null && typeof stream !== "boolean") {
    throw wrong("stream", stream, "a boolean");
  }
  const request = inferenceRequest({
    model,
    messages: messages.map((message, i) => readMessage(message, `messages[${i}]`)),
    stream: stream === true,
    deadlineMs,
  });
  for (const [key, value] of Object.entries(rest)) {
    const read = Object.hasOwn(PARAMETERS, key) ? PARAMETERS[key] : keep;
    if (value === null || !read(request, value, key)) {
      request.metadata.set(METADATA_PREFIX + key, JSON.stringify(value));
    }
  }
  const limit = rest.max_completion_tokens ?? rest.max_tokens;
  if (typeof limit === "number") request.maxTokens = limit;
  if (typeof rest.max_completion_tokens === "number" && rest.max_tokens !== undefined) {
    request.metadata.set(`${METADATA_PREFIX}max_tokens`, JSON.stringify(rest.max_tokens));
  }
  return request;
}

/** Puts a value into its field; false where the metadata must carry it (also). Throws 400. */
type ReadParameter = (request: InferenceRequest, value: unknown, key: string) => boolean;

const keep: ReadParameter = () => false;

const PARAMETERS: Readonly<Record<string, ReadParameter>> = {
  temperature(request, value, key) {
    request.temperature = number(value, key);
    return true;
  },
  top_p(request, value, key) {
    request.topP = number(value, key);
    return true;
  },
  top_k(request, value, key) {
    // vLLM's -1 means all tokens; it has no place in a u32.
    if (number(value, key) < 0 || !isU32(value)) return false;
    request.topK = value;
    return true;
  },
  seed(request, value, key) {
    const seed = number(value, key);
    if (!Number.isInteger(seed)) throw wrong(key, value, "an integer");
    if (!Number.isSafeInteger(seed)) return false;
    request.seed = seed;
    return true;
  },
  max_tokens(_request, value, key) {
    if (!isU32(value)) throw wrong(key, value, "a whole number");
    return true; // the field is set when both names were seen
  },
  max_completion_tokens(_request, value, key) {
    if (!isU32(value)) throw wrong(key, value, "a whole number");
    return false; // its name must survive: some upstreams accept only one of the two
  },
  stop(request, value, key) {
    if (typeof value === "string") {
      request.stop = [value];
      return false;
    }
    if (!Array.isArray(value) || !value.every((stop) => typeof stop === "string")) {
      throw wrong(key, value, "a string or a list of strings");
    }
    request.stop = value;
    return value.length > 0;
  },
  tools(request, value, key) {
    if (!Array.isArray(value)) throw wrong(key, value, "a list of tools");
    const tools = value.map((tool, i) => readTool(tool, `${key}[${i}]`));
    request.tools = tools.filter((tool) => tool !== undefined);
    return request.tools.length === value.length && value.length > 0;
  },
  tool_choice(request, value, key) {
    const word = typeof value === "string" && /^[a-z_]+$/.test(value);
    if (!word && !isMembers(value)) {
      throw wrong(key, value, '"none", "auto", "required" or an object');
    }
    request.toolChoice = word ? value : JSON.stringify(value);
    return true;
  },
  response_format(request, value, key) {
    if (!isMembers(value)) throw wrong(key, value, "an object");
    request.responseFormat = JSON.stringify(value);
    return true;
  },
  n(_request, value, key) {
    if (!isU32(value) || value < 1 || value > CHOICES_MAX) {
      throw wrong(key, value, `1…${CHOICES_MAX}`);
    }
    return false;
  },
  stream_options(_request, value, key) {
    if (!isMembers(value)) throw wrong(key, value, "an object");
    return false;
  },
};

function readMessage(value: unknown, param: string): ChatMessage {
  if (!isMembers(value)) throw wrong(param, value, "an object");
  const { role, content, name, tool_calls: calls, tool_call_id: callId, ...extra } = value;
  const known = ROLES.find((word) => word === role && word !== "unknown");
  if (known === undefined) {
    throw wrong(`${param}.role`, role, `one of ${ROLES.slice(1).join(", ")}`);
  }
  const message: ChatMessage = { role: known, parts: readContent(content, param, extra) };
  if (typeof name === "string") message.name = name;
  else if (name !== undefined) extra.name = onlyNull(name, `${param}.name`, "a string");
  if (typeof callId === "string") message.toolCallId = callId;
  else if (callId !== undefined) {
    extra.tool_call_id = onlyNull(callId, `${param}.tool_call_id`, "a string");
  }
  if (calls !== undefined) {
    const uses = Array.isArray(calls) ? calls.map(readToolCall) : [];
    if (!Array.isArray(calls)) onlyNull(calls, `${param}.tool_calls`, "a list");
    if (uses.length > 0 && uses.every((use) => use !== undefined)) message.parts.push(...uses);
    else extra.tool_calls = calls;
  }
  if (Object.keys(extra).length > 0) message.extraJson = JSON.stringify(extra);
  return message;
}

function readContent(content: unknown, param: string, extra: Members): Part[] {
  if (content === undefined) return [];
  if (content === null || content === "") {
    extra.content = content;
    return [];
  }
  if (typeof content === "string") return [{ type: "text", text: content }];
  if (!Array.isArray(content)) {
    throw wrong(`${param}.content`, content, "a string or a list of parts");
  }
  const parts = content.map((part, i) => readPart(part, `${param}.content[${i}]`));
  if (!isListByDefault(parts)) extra.content = [];
  return parts;
}

/** Without a word in `extra.content`, one text is a string, anything more is a list. */
function isListByDefault(parts: readonly Part[]): boolean {
  return parts.length > 1 || (parts.length === 1 && parts[0].type !== "text");
}

function readPart(value: unknown, param: string): Part {
  if (!isMembers(value)) throw wrong(param, value, "an object");
  const { type, text, image_url: image } = value;
  const members = Object.keys(value).length;
  if (type === "text") {
    if (typeof text !== "string") throw wrong(`${param}.text`, text, "a string");
    if (members === 2) return { type, text };
  }
  if (type === "image_url" && members === 2 && isMembers(image)) {
    const { url, detail, ...others } = image;
    const plain = typeof url === "string" && Object.keys(others).length === 0;
    if (plain && !("detail" in image)) return { type: "image", url };
    if (plain && typeof detail === "string") return { type: "image", url, detail };
  }
  return { type: "json", json: JSON.stringify(value) };
}

function readToolCall(call: unknown): Part | undefined {
  if (!isMembers(call)) return undefined;
  const { id, type, function: called, ...others } = call;
  if (typeof id !== "string" || type !== "function" || !isMembers(called)) return undefined;
  const { name, arguments: args, ...more } = called;
  if (typeof name !== "string" || typeof args !== "string") return undefined;
  if (Object.keys(others).length + Object.keys(more).length > 0) return undefined;
  return { type: "tool_use", id, name, arguments: args };
}

/** Undefined for a tool that only the JSON can tell. */
function readTool(tool: unknown, param: string): Tool | undefined {
  if (!isMembers(tool)) throw wrong(param, tool, "an object");
  const { type, function: offered, ...others } = tool;
  if (type !== "function") return undefined;
  if (!isMembers(offered)) throw wrong(`${param}.function`, offered, "an object");
  const { name, description, parameters, strict, ...more } = offered;
  if (typeof name !== "string") throw wrong(`${param}.function.name`, name, "a string");
  const fits = Object.keys(others).length + Object.keys(more).length === 0 &&
    (description === undefined || typeof description === "string") &&
    (parameters === undefined || isMembers(parameters)) &&
    (strict === undefined || typeof strict === "boolean");
  if (!fits) return undefined;
  return {
    name,
    ...(description === undefined ? {} : { description }),
    ...(parameters === undefined ? {} : { schemaJson: JSON.stringify(parameters) }),
    ...(strict === undefined ? {} : { strict }),
  };
}

function isU32(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= U32_MAX;
}

function number(value: unknown, param: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(param, value, "a number");
  return value;
}

function onlyNull(value: unknown, param: string, expected: string): null {
  if (value !== null) throw wrong(param, value, expected);
  return value;
}

function wrong(param: string, value: unknown, expected: string): HttpError {
  if (value === undefined) {
    const message = `cannot read request: "${param}" is missing, expected ${expected}`;
    return invalid(param, message, "missing_required_parameter");
  }
  const shown = typeof value === "object" && value !== null
    ? (Array.isArray(value) ? "a list" : "an object")
    : clip(JSON.stringify(value));
  const wrongKind = `cannot read request: "${param}" is ${shown}, expected ${expected}`;
  return invalid(param, wrongKind, "invalid_type");
}

// --- Nexus → OpenAI ---------------------------------------------------------------------

/** The OpenAI chat body for an upstream that knows the model as `model`. */
export function writeChatRequest(request: InferenceRequest, model: string): Members {
  const given = readMetadata(request.metadata);
  const messages = request.messages.flatMap(writeMessage);
  if (request.system !== undefined) messages.unshift({ role: "system", content: request.system });
  const { maxTokens, temperature, topP, topK, seed, stop, tools, toolChoice } = request;
  const limit = typeof given.get("max_completion_tokens") === "number"
    ? "max_completion_tokens"
    : "max_tokens";
  const fields: Members = {
    temperature,
    top_p: topP,
    top_k: topK,
    seed,
    stop: stop.length === 0 ? undefined : stop,
    tools: tools.length === 0 ? undefined : tools.map(writeTool),
    tool_choice: toolChoice === undefined
      ? undefined
      : isJsonObject(toolChoice)
      ? parse(toolChoice, "tool choice")
      : toolChoice,
    response_format: request.responseFormat === undefined
      ? undefined
      : parse(request.responseFormat, "response format"),
    ...Object.fromEntries(given),
    // After the metadata: a policy on the way may have lowered the limit.
    ...(maxTokens === undefined ? {} : { [limit]: maxTokens }),
    model,
    messages,
    stream: request.stream ? true : undefined,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The OpenAI parameters in the metadata; those that the request itself says are left out. */
export function readMetadata(metadata: ReadonlyMap<string, string>): Map<string, unknown> {
  const given = new Map<string, unknown>();
  for (const [key, json] of metadata) {
    if (!key.startsWith(METADATA_PREFIX)) continue;
    const name = key.slice(METADATA_PREFIX.length);
    if (name === "model" || name === "messages" || name === "stream") continue;
    given.set(name, parse(json, `parameter ${clip(name)}`));
  }
  return given;
}

function writeMessage(message: ChatMessage): Members[] {
  const extra = message.extraJson === undefined ? {} : parse(message.extraJson, "message");
  if (!isMembers(extra)) throw unwritable("message", "its extra members are no object");
  const { content: shape, ...members } = extra;
  const results = message.parts.filter((part) => part.type === "tool_result");
  const calls = message.parts.filter((part) => part.type === "tool_use");
  const content = message.parts
    .filter((part) => part.type !== "tool_result" && part.type !== "tool_use");
  // In OpenAI's terms each result is a message of its own.
  const written: Members[] = results.map((result) => ({
    role: "tool",
    tool_call_id: result.toolUseId,
    content: result.content,
  }));
  if (results.length > 0 && content.length + calls.length === 0) return written;
  written.push({
    role: message.role === "unknown" ? "user" : message.role,
    ...writeContent(content, shape),
    ...(message.name === undefined ? {} : { name: message.name }),
    ...(message.toolCallId === undefined ? {} : { tool_call_id: message.toolCallId }),
    ...(calls.length === 0 ? {} : {
      tool_calls: calls.map(({ id, name, arguments: args }) => ({
        id,
        type: "function",
        function: { name, arguments: args },
      })),
    }),
    ...members,
  });
  return written;
}

function writeContent(parts: readonly Part[], shape: unknown): { content?: unknown } {
  if (parts.length === 0) return shape === undefined ? {} : { content: shape };
  const [first] = parts;
  if (!Array.isArray(shape) && !isListByDefault(parts) && first.type === "text") {
    return { content: first.text };
  }
  return { content: parts.map(writePart) };
}

function writePart(part: Part): unknown {
  switch (part.type) {
    case "text":
      return { type: "text", text: part.text };
    case "image": {
      const { url, detail } = part;
      return { type: "image_url", image_url: detail === undefined ? { url } : { url, detail } };
    }
    case "json":
      return parse(part.json, "content part");
    default:
      throw unwritable("content part", `an OpenAI request has no place for ${part.type}`);
  }
}

function writeTool({ name, description, schemaJson, strict }: Tool): Members {
  return {
    type: "function",
    function: {
      name,
      ...(description === undefined ? {} : { description }),
      ...(schemaJson === undefined ? {} : { parameters: parse(schemaJson, `schema of ${name}`) }),
      ...(strict === undefined ? {} : { strict }),
    },
  };
}

function isJsonObject(text: string): boolean {
  return text.trimStart().startsWith("{");
}

function parse(json: string, what: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw unwritable(what, "it is not JSON");
  }
}

function unwritable(what: string, why: string): InferenceError {
  return new InferenceError(
    "INVALID_REQUEST",
    `cannot write ${clip(what)} for the upstream: ${why}`,
  );
}
