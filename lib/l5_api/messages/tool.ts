/** A tool that the model may call. */
import { bytesField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** A tool offered with a request. */
export interface Tool {
  name: string;
  description?: string;
  /** JSON schema of the arguments, as text. */
  schemaJson?: string;
  /** OpenAI's `strict`. */
  strict?: boolean;
}

/** Offsets in the fixed part. */
export const ToolLayout = {
  name: 4,
  description: 8,
  schemaJson: 12,
  strict: 16,
  size: 17,
} as const;

export const ToolShape: TableShape = {
  name: "Tool",
  fields: [
    bytesField(ToolLayout.name),
    bytesField(ToolLayout.description),
    bytesField(ToolLayout.schemaJson),
  ],
};

export function writeTool(w: Writer, t: number, tool: Tool): void {
  w.string(t + ToolLayout.name, tool.name);
  w.stringOptional(t + ToolLayout.description, tool.description);
  w.stringOptional(t + ToolLayout.schemaJson, tool.schemaJson);
  w.boolOptional(t + ToolLayout.strict, tool.strict);
}

export function readTool(r: Reader, t: number): Tool {
  return {
    name: r.string(t, ToolLayout.name),
    description: r.stringOptional(t, ToolLayout.description),
    schemaJson: r.stringOptional(t, ToolLayout.schemaJson),
    strict: r.boolOptional(t, ToolLayout.strict),
  };
}
