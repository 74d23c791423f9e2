/** The offsets, types and words in code are those of schemas/*.nexbuf and of docs/protocol.md. */
import assert from "node:assert/strict";
import { ApiError, FINISH_REASONS, MessageType, ROLES } from "../../lib/l5_api/mod.ts";
import { PartTag } from "../../lib/l5_api/messages/chat_message.ts";
import { type Field, projectSchema } from "./schema.ts";

const MESSAGES = new URL("../../lib/l5_api/messages/", import.meta.url);
const schema = projectSchema();

Deno.test("NA-NB-001: every layout in code has the offsets that the schema gives", async () => {
  const seen = new Set<string>();
  for (const entry of Deno.readDirSync(MESSAGES)) {
    const module = await import(new URL(entry.name, MESSAGES).href);
    for (const [name, layout] of Object.entries(module)) {
      if (!name.endsWith("Layout")) continue;
      const table = schema.tables.get(name.slice(0, -"Layout".length));
      assert.ok(table, `${name} has no table in the schema`);
      const expected = Object.fromEntries(table.fields.map((f) => [f.name, f.offset]));
      assert.deepEqual(layout, { ...expected, size: table.size }, name);
      seen.add(table.name);
    }
  }
  assert.deepEqual([...seen].sort(), [...schema.tables.keys()].sort());
});

Deno.test("NA-NB-001: message types in code are those of the schema", () => {
  const snake = (name: string) => name.replaceAll(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase();
  const inSchema = [...schema.tables.values()]
    .filter((table) => table.messageType !== undefined)
    .map((table) => [snake(table.name), table.messageType]);
  assert.deepEqual(Object.fromEntries(inSchema), { ...MessageType });
});

Deno.test("NA-NB-001: enum words in code are those of the schema", () => {
  const words = (name: string) => [...schema.enums.get(name)!.words];
  assert.deepEqual(words("Role"), ROLES.map((word, i) => [word, i]));
  assert.deepEqual(words("FinishReason"), FINISH_REASONS.map((word, i) => [word, i]));
  assert.deepEqual(words("ErrorCode"), Object.entries(ApiError));
  const tags = Object.fromEntries(schema.unions.get("Part")!.map((m) => [m.name, m.tag]));
  assert.deepEqual(tags, { ...PartTag });
});

Deno.test("NA-NB-001: docs/protocol.md lists every table, field, offset and default", () => {
  const docs = Deno.readTextFileSync(new URL("../../docs/protocol.md", import.meta.url));
  const bodies = docs.slice(docs.indexOf("### 8.3 Bodies"));
  for (const table of schema.tables.values()) {
    const heading = table.messageType === undefined
      ? `**${table.name}**, ${table.size} bytes`
      : `**${table.name}** (0x${
        table.messageType.toString(16).toUpperCase().padStart(4, "0")
      }), ${table.size} bytes`;
    const at = bodies.indexOf(heading);
    assert.notEqual(at, -1, `docs have no "${heading}"`);
    const section = bodies.slice(at, bodies.indexOf("\n**", at + 2) >>> 0);
    const rows = [
      ...section.matchAll(/^\| *(\d+) *\| *(\w+) *\| *(.+?) *\| *(\d+) *\| *(.*?) *\|/gm),
    ]
      .map(([, id, name, type, offset, value]) => [id, name, type, offset, value].join(" "));
    const expected = table.fields.map((f) =>
      [f.id, f.name, f.typeText, f.offset, defaultText(f)].join(" ")
    );
    assert.deepEqual(rows, expected, table.name);
  }
});

function defaultText(field: Field): string {
  if (field.type.optional) return "none";
  if (field.default !== undefined) return field.default;
  if (field.type.kind !== "plain") return "empty";
  if (field.type.name === "string" || field.type.name === "bytes") return "empty";
  if (field.type.name === "bool") return "false";
  if (schema.tables.has(field.type.name)) return "all defaults";
  return "0";
}
