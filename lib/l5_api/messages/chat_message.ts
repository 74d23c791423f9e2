/** One message of a conversation and its parts. */
import { clip, NexusError } from "../../base/mod.ts";
import {
  bytesField,
  type Reader,
  type TableShape,
  type UnionMember,
  unionVectorField,
  type Writer,
} from "../nexbuf/mod.ts";
import { type Role, ROLE_USER, roleOf, roleValue } from "./enums.ts";
import {
  readTensorRef,
  type TensorRef,
  TensorRefLayout,
  TensorRefShape,
  writeTensorRef,
} from "./tensor_ref.ts";
import {
  readToolUse,
  type ToolUse,
  ToolUseLayout,
  ToolUseShape,
  writeToolUse,
} from "./tool_use.ts";

/** A message of the conversation so far. */
export interface ChatMessage {
  role: Role;
  parts: Part[];
  name?: string;
  /** For role "tool": which tool use this answers (when the parts do not say it). */
  toolCallId?: string;
  /** Members of the OpenAI message that have no field here, as one JSON object. */
  extraJson?: string;
}

/** A piece of content. */
export type Part =
  | { type: "text"; text: string }
  | { type: "image"; url: string; detail?: string }
  | ({ type: "tensor" } & TensorRef)
  | ({ type: "tool_use" } & ToolUse)
  | { type: "tool_result"; toolUseId: string; content: string; isError: boolean }
  /** An OpenAI content part that has no member here (audio, file, refusal), as JSON. */
  | { type: "json"; json: string }
  /** Decoded only: a member of a newer schema. Cannot be encoded. */
  | { type: "unknown"; tag: number };

/** Offsets in the fixed part of ChatMessage. */
export const ChatMessageLayout = {
  parts: 4,
  name: 8,
  toolCallId: 12,
  extraJson: 16,
  role: 20,
  size: 21,
} as const;

/** Offsets in the fixed part of ImagePart. */
export const ImagePartLayout = { url: 4, detail: 8, size: 12 } as const;

/** Offsets in the fixed part of ToolResult. */
export const ToolResultLayout = { toolUseId: 4, content: 8, isError: 12, size: 13 } as const;

/** Tags of the union Part. */
export const PartTag = {
  text: 1,
  image: 2,
  tensor: 3,
  toolUse: 4,
  toolResult: 5,
  json: 6,
} as const;

const ImagePartShape: TableShape = {
  name: "ImagePart",
  fields: [bytesField(ImagePartLayout.url), bytesField(ImagePartLayout.detail)],
};
const ToolResultShape: TableShape = {
  name: "ToolResult",
  fields: [bytesField(ToolResultLayout.toolUseId), bytesField(ToolResultLayout.content)],
};
const PartMembers: readonly UnionMember[] = [
  "bytes",
  ImagePartShape,
  TensorRefShape,
  ToolUseShape,
  ToolResultShape,
  "bytes",
];

export const ChatMessageShape: TableShape = {
  name: "ChatMessage",
  fields: [
    unionVectorField(ChatMessageLayout.parts, PartMembers),
    bytesField(ChatMessageLayout.name),
    bytesField(ChatMessageLayout.toolCallId),
    bytesField(ChatMessageLayout.extraJson),
  ],
};

export function writeChatMessage(w: Writer, t: number, message: ChatMessage): void {
  const at = ChatMessageLayout;
  w.u8(t + at.role, roleValue(message.role));
  const parts = message.parts;
  if (parts.length > 0) {
    const first = w.referencesIn(t + at.parts, parts.length, 8);
    for (let i = 0; i < parts.length; i++) writePart(w, first + 8 * i, parts[i]);
  }
  w.stringOptional(t + at.name, message.name);
  w.stringOptional(t + at.toolCallId, message.toolCallId);
  w.stringOptional(t + at.extraJson, message.extraJson);
}

export function readChatMessage(r: Reader, t: number): ChatMessage {
  const at = ChatMessageLayout;
  const vector = r.reference(t, at.parts);
  const count = r.count(vector);
  const parts: Part[] = [];
  for (let i = 0; i < count; i++) parts.push(readPart(r, vector, i));
  return {
    role: roleOf(r.u8(t, at.role, ROLE_USER)),
    parts,
    name: r.stringOptional(t, at.name),
    toolCallId: r.stringOptional(t, at.toolCallId),
    extraJson: r.stringOptional(t, at.extraJson),
  };
}

function writePart(w: Writer, element: number, part: Part): void {
  const reference = element + 4;
  switch (part.type) {
    case "text":
      w.u8(element, PartTag.text);
      return w.stringElement(reference, part.text);
    case "image": {
      w.u8(element, PartTag.image);
      const t = w.tableIn(reference, ImagePartLayout.size);
      w.string(t + ImagePartLayout.url, part.url);
      return w.stringOptional(t + ImagePartLayout.detail, part.detail);
    }
    case "tensor":
      w.u8(element, PartTag.tensor);
      return writeTensorRef(w, w.tableIn(reference, TensorRefLayout.size), part);
    case "tool_use":
      w.u8(element, PartTag.toolUse);
      return writeToolUse(w, w.tableIn(reference, ToolUseLayout.size), part);
    case "tool_result": {
      w.u8(element, PartTag.toolResult);
      const t = w.tableIn(reference, ToolResultLayout.size);
      w.bool(t + ToolResultLayout.isError, part.isError);
      w.string(t + ToolResultLayout.toolUseId, part.toolUseId);
      return w.string(t + ToolResultLayout.content, part.content);
    }
    case "json":
      w.u8(element, PartTag.json);
      return w.stringElement(reference, part.json);
    default:
      throw new NexusError(
        "INVALID_VALUE",
        `cannot encode message part: type "${clip(String(part.type))}" is not one of the union`,
      );
  }
}

function readPart(r: Reader, vector: number, i: number): Part {
  const tag = r.unionTagAt(vector, i);
  switch (tag) {
    case PartTag.text:
      return { type: "text", text: r.unionStringAt(vector, i) };
    case PartTag.image: {
      const t = r.unionTableAt(vector, i);
      return {
        type: "image",
        url: r.string(t, ImagePartLayout.url),
        detail: r.stringOptional(t, ImagePartLayout.detail),
      };
    }
    case PartTag.tensor:
      return { type: "tensor", ...readTensorRef(r, r.unionTableAt(vector, i)) };
    case PartTag.toolUse:
      return { type: "tool_use", ...readToolUse(r, r.unionTableAt(vector, i)) };
    case PartTag.toolResult: {
      const t = r.unionTableAt(vector, i);
      return {
        type: "tool_result",
        toolUseId: r.string(t, ToolResultLayout.toolUseId),
        content: r.string(t, ToolResultLayout.content),
        isError: r.bool(t, ToolResultLayout.isError, false),
      };
    }
    case PartTag.json:
      return { type: "json", json: r.unionStringAt(vector, i) };
    default:
      return { type: "unknown", tag };
  }
}
