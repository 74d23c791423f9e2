/**
 * The schema text read the slow and simple way, for tests: computes the layout that the codecs
 * have by hand, and decodes a body from the schema alone (the twin of the readers).
 */

/** `u32?`, `[Tool]`, `map<string, string>` … taken apart. */
export interface FieldType {
  kind: "plain" | "vector" | "map";
  name: string;
  optional: boolean;
}
export interface Field {
  id: number;
  name: string;
  typeText: string;
  type: FieldType;
  default: string | undefined;
  offset: number;
}
export interface Table {
  name: string;
  messageType: number | undefined;
  fields: Field[];
  size: number;
}
export interface Schema {
  tables: Map<string, Table>;
  enums: Map<string, { width: number; words: Map<string, number> }>;
  unions: Map<string, { name: string; type: string; tag: number }[]>;
}

const WIDTHS: Record<string, number> = {
  bool: 1,
  u8: 1,
  u16: 2,
  u32: 4,
  f32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
  string: 4,
  bytes: 4,
};

/** Reads schema texts together. */
export function parseSchema(...texts: string[]): Schema {
  const schema: Schema = { tables: new Map(), enums: new Map(), unions: new Map() };
  const text = texts.join("\n").replaceAll(/\/\/.*/g, "");
  const blocks = text.matchAll(/(enum|union|table)\s+(\w+)\s*([^{]*)\{([^}]*)\}/g);
  let consumed = 0;
  for (const [whole, what, name, head, body] of blocks) {
    consumed += whole.replaceAll(/\s/g, "").length;
    if (what === "enum") {
      const words = new Map<string, number>();
      for (const [, word, value] of body.matchAll(/(\w+) = (\d+),/g)) {
        words.set(word, Number(value));
      }
      schema.enums.set(name, { width: WIDTHS[/: (\w+)/.exec(head)![1]], words });
    } else if (what === "union") {
      const members = [...body.matchAll(/(\w+): (\w+) = (\d+),/g)];
      schema.unions.set(
        name,
        members.map(([, member, type, tag]) => ({ name: member, type, tag: Number(tag) })),
      );
    } else {
      const fields = [...body.matchAll(/@(\d+) (\w+): ([^;=]+?)(?: = (\w+))?;/g)].map(
        ([, id, field, typeText, value]) => ({
          id: Number(id),
          name: field,
          typeText,
          type: parseType(typeText),
          default: value,
          offset: 0,
        }),
      );
      const messageType = /= (0x\w+)/.exec(head)?.[1];
      schema.tables.set(name, {
        name,
        messageType: messageType === undefined ? undefined : Number(messageType),
        fields,
        size: 4,
      });
    }
  }
  if (consumed !== text.replaceAll(/\s/g, "").length) throw new Error("schema has unread text");
  for (const table of schema.tables.values()) layOut(schema, table);
  return schema;
}

function parseType(text: string): FieldType {
  if (text.startsWith("map<")) return { kind: "map", name: text, optional: false };
  const vector = /^\[(\w+)\]$/.exec(text);
  if (vector) return { kind: "vector", name: vector[1], optional: false };
  const plain = /^(\w+)(\?)?$/.exec(text);
  if (plain === null) throw new Error(`type ${text}`);
  return { kind: "plain", name: plain[1], optional: plain[2] === "?" };
}

function layOut(schema: Schema, table: Table): void {
  table.fields.forEach((field, i) => {
    if (field.id !== i + 1) throw new Error(`${table.name}.${field.name} has id ${field.id}`);
    const width = widthOf(schema, field.type);
    field.offset = Math.ceil(table.size / width) * width;
    table.size = field.offset + width;
  });
}

function widthOf(schema: Schema, type: FieldType): number {
  if (type.kind !== "plain") return 4;
  return WIDTHS[type.name] ?? schema.enums.get(type.name)?.width ?? 4;
}

/** A record of a body as the schema describes it. Trusts the body. */
export function decodeBySchema(schema: Schema, name: string, body: Uint8Array): unknown {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const u32 = (at: number) => view.getUint32(at, true);
  const slice = (at: number) => body.slice(at + 4, at + 4 + u32(at));
  const text = (at: number) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(slice(at));

  function table(name: string, at: number): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    for (const field of schema.tables.get(name)!.fields) {
      const known = field.offset + widthOf(schema, field.type) <= u32(at);
      out[field.name] = known ? present(field, at + field.offset) : absent(field);
    }
    return out;
  }

  function absent({ type, default: value }: Field): unknown {
    if (type.optional) return undefined;
    if (type.kind === "vector") return [];
    if (type.kind === "map") return new Map();
    if (type.name === "string") return "";
    if (type.name === "bytes") return new Uint8Array(0);
    if (type.name === "bool") return value === "true";
    const words = schema.enums.get(type.name)?.words;
    if (words) return type.name === "ErrorCode" ? words.get(value!) : value;
    if (schema.tables.has(type.name)) return zeroes(type.name);
    return Number(value ?? 0);
  }

  function zeroes(name: string): unknown {
    return Object.fromEntries(schema.tables.get(name)!.fields.map((f) => [f.name, absent(f)]));
  }

  function present(field: Field, at: number): unknown {
    const { type } = field;
    if (type.kind === "plain") {
      const none = type.optional;
      switch (type.name) {
        case "bool":
          return none && view.getUint8(at) === 255 ? undefined : view.getUint8(at) !== 0;
        case "u32":
          return none && u32(at) === 0xffffffff ? undefined : u32(at);
        case "u64":
          return Number(view.getBigUint64(at, true));
        case "i64": {
          const value = view.getBigInt64(at, true);
          return none && value === -(2n ** 63n) ? undefined : Number(value);
        }
        case "f32":
        case "f64": {
          const value = type.name === "f32" ? view.getFloat32(at, true) : view.getFloat64(at, true);
          return none && Number.isNaN(value) ? undefined : value;
        }
      }
      const words = schema.enums.get(type.name);
      if (words?.width === 2) return view.getUint16(at, true);
      if (words) {
        const value = view.getUint8(at);
        if (none && value === 255) return undefined;
        return [...words.words].find(([, v]) => v === value)?.[0] ?? "unknown";
      }
    }
    const target = u32(at);
    if (target === 0) return absent(field);
    if (type.kind === "map") {
      const entries = Array.from({ length: u32(target) }, (_, i) => target + 4 + 8 * i);
      return new Map(entries.map((entry) => [text(u32(entry)), text(u32(entry + 4))]));
    }
    if (type.kind === "vector") {
      const union = schema.unions.get(type.name);
      const width = union ? 8 : 4;
      const elements = Array.from({ length: u32(target) }, (_, i) => target + 4 + width * i);
      return elements.map((element) => {
        if (!union) return object(type.name, u32(element));
        const member = union.find(({ tag }) => tag === view.getUint8(element));
        if (!member) return { unknown: view.getUint8(element) };
        return { [member.name]: object(member.type, u32(element + 4)) };
      });
    }
    return object(type.name, target);
  }

  function object(type: string, at: number): unknown {
    if (type === "string") return text(at);
    if (type === "bytes") return slice(at);
    return table(type, at);
  }

  return table(name, 0);
}

const SCHEMAS = new URL("../../schemas/", import.meta.url);

/** The schemas of the project. */
export function projectSchema(): Schema {
  return parseSchema(
    Deno.readTextFileSync(new URL("inference.nexbuf", SCHEMAS)),
    Deno.readTextFileSync(new URL("mesh.nexbuf", SCHEMAS)),
  );
}
