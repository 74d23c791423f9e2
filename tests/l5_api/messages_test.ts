/** Every message: golden bytes, both directions, older and newer schemas, hostile bodies. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, NexusError, SeededRandom, toHex } from "../../lib/base/mod.ts";
import {
  BODY_BYTES_MAX,
  decodeMessage,
  encodeMessage,
  encodeMessageInto,
  inferenceRequest,
  InferenceRequestReader,
  type KnownMessage,
  MESSAGE_HEADER_BYTES,
  type MessageKind,
  MessageType,
  readMessageHeader,
  Writer,
} from "../../lib/l5_api/mod.ts";
import { anyBody, asSchemaUnion, bodyOf, KINDS, TABLE_OF } from "./records.ts";
import { decodeBySchema, projectSchema } from "./schema.ts";

interface Vector {
  name: string;
  kind: MessageKind;
  type: number;
  requestId: number;
  body: Record<string, unknown>;
  hex: string;
}
const vectors: Vector[] = JSON.parse(
  Deno.readTextFileSync(new URL("../vectors/api.json", import.meta.url)),
).messages;
const schema = projectSchema();

/** JSON of a vector as a record: {"hex"} is bytes, {"map"} is a map. */
function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive);
  if (typeof value !== "object" || value === null) return value;
  const object = value as Record<string, unknown>;
  if (typeof object.hex === "string") return fromHex(object.hex);
  if (typeof object.map === "object") return new Map(Object.entries(object.map as object));
  return Object.fromEntries(Object.entries(object).map(([key, v]) => [key, revive(v)]));
}

/** A record without members that are undefined. */
function defined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(defined);
  if (value === null || typeof value !== "object") return value;
  if (value instanceof Uint8Array || value instanceof Map) return value;
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  return Object.fromEntries(entries.map(([key, v]) => [key, defined(v)]));
}

function known(bytes: Uint8Array): KnownMessage {
  const message = decodeMessage(bytes);
  assert.notEqual(message.kind, "unknown");
  return message as KnownMessage;
}

/** "none" or the code of the typed error; anything else that is thrown fails the test. */
function code(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof NexusError) return thrown.code;
    throw thrown;
  }
  return "none";
}

/** The message around a body. */
function wrap(kind: MessageKind, body: Uint8Array): Uint8Array {
  const message = new Uint8Array(MESSAGE_HEADER_BYTES + body.length);
  const view = new DataView(message.buffer);
  view.setUint16(0, schema.tables.get(TABLE_OF[kind])!.messageType!);
  view.setUint32(4, 1);
  view.setUint32(8, body.length);
  message.set(body, MESSAGE_HEADER_BYTES);
  return message;
}

Deno.test("NA-NB-001: there is a golden vector for every kind of message", () => {
  assert.deepEqual([...new Set(vectors.map((v) => v.kind))].sort(), [...KINDS].sort());
});

for (const { name, kind, type, requestId, body, hex } of vectors) {
  Deno.test(`NA-NB-001: golden bytes of ${name} are written and read`, () => {
    const record = revive(body);
    assert.equal(toHex(encodeMessage(kind, requestId, record as never)), hex);
    const back = known(fromHex(hex));
    assert.equal(back.kind, kind);
    assert.equal(back.requestId, requestId);
    assert.deepEqual(defined(back.body), record);
    assert.equal(readMessageHeader(fromHex(hex)).type, type);
  });
}

Deno.test("NA-NB-001: what is written is read back, for every message and value", () => {
  fc.assert(
    fc.property(anyBody, fc.nat(0xffffffff), ({ kind, body }, requestId) => {
      const back = known(encodeMessage(kind, requestId, body));
      assert.deepEqual(back, { kind, requestId, body });
    }),
    { numRuns: 1000 },
  );
});

Deno.test("NA-NB-001: the codecs agree with a decoder made from the schema text alone", () => {
  fc.assert(
    fc.property(anyBody, ({ kind, body }) => {
      const bytes = encodeMessage(kind, 1, body).subarray(MESSAGE_HEADER_BYTES);
      assert.deepEqual(decodeBySchema(schema, TABLE_OF[kind], bytes), asSchemaUnion(body));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("NA-NB-002: a request is read in place without decoding the rest", () => {
  fc.assert(fc.property(bodyOf("inferenceRequest"), (request) => {
    const body = encodeMessage("inferenceRequest", 1, request).subarray(MESSAGE_HEADER_BYTES);
    const reader = new InferenceRequestReader(body);
    assert.equal(reader.model.buffer, body.buffer);
    assert.deepEqual(reader.model, request.model);
    assert.equal(reader.system, request.system);
    assert.equal(reader.maxTokens, request.maxTokens);
    assert.equal(reader.deadlineMs, request.deadlineMs);
    assert.equal(reader.stream, request.stream);
    assert.deepEqual(reader.metadata, request.metadata);
    assert.equal(reader.messageCount, request.messages.length);
    request.messages.forEach((message, i) => assert.deepEqual(reader.message(i), message));
    assert.equal(code(() => reader.message(request.messages.length)), "INVALID_VALUE");
    assert.equal(code(() => reader.message(-1)), "INVALID_VALUE");
    assert.deepEqual(reader.record(), request);
  }));
});

Deno.test("a decoded record has no ties to the bytes it came from", () => {
  const request = inferenceRequest({ model: new Uint8Array([1, 2, 3]), messages: [] });
  const bytes = encodeMessage("inferenceRequest", 1, request);
  const back = known(bytes);
  bytes.fill(0xee);
  assert.deepEqual(back.body, { ...back.body, ...request });
});

Deno.test("encodeMessageInto writes the same bytes into the caller's writer", () => {
  const writer = new Writer(BODY_BYTES_MAX, 16);
  fc.assert(fc.property(anyBody, ({ kind, body }) => {
    assert.deepEqual(
      new Uint8Array(encodeMessageInto(writer, kind, 9, body)),
      encodeMessage(kind, 9, body),
    );
  }));
});

Deno.test("NA-NB-006: a body of an older schema reads with defaults for what came later", () => {
  // Cut each root table's size to every shorter length, as a writer without those fields would.
  fc.assert(
    fc.property(anyBody, fc.nat(), ({ kind, body }, pick) => {
      const bytes = encodeMessage(kind, 1, body);
      const view = new DataView(bytes.buffer);
      const size = view.getUint32(MESSAGE_HEADER_BYTES, true);
      const older = 4 + pick % (size - 3);
      view.setUint32(MESSAGE_HEADER_BYTES, older, true);
      const back = known(bytes).body as unknown as Record<string, unknown>;
      const expected = decodeBySchema(
        schema,
        TABLE_OF[kind],
        bytes.subarray(MESSAGE_HEADER_BYTES),
      );
      assert.deepEqual(asSchemaUnion(back), expected);
    }),
    { numRuns: 500 },
  );
});

Deno.test("NA-NB-006: the smallest table of every message reads as all defaults", () => {
  for (const kind of KINDS) {
    const back = known(wrap(kind, new Uint8Array([4, 0, 0, 0]))).body;
    assert.deepEqual(
      back,
      decodeBySchema(schema, TABLE_OF[kind], new Uint8Array([4, 0, 0, 0])),
      kind,
    );
  }
});

Deno.test("NA-NB-006: fields of a newer schema are skipped, whatever they hold", () => {
  // A CANCEL with three fields more: two scalars and an offset far outside the body.
  const body = new Uint8Array([
    ...[20, 0, 0, 0, 20, 0, 0, 0],
    ...[0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 0xee, 0xee, 0xee, 0xee],
    ...[2, 0, 0, 0, 0x68, 0x69],
  ]);
  assert.deepEqual(known(wrap("cancel", body)).body, { reason: "hi" });
});

Deno.test("NA-NB-006: enum values and union members of a newer schema read as unknown", () => {
  const request = inferenceRequest({
    model: new Uint8Array(0),
    messages: [{ role: "user", parts: [{ type: "text", text: "hi" }] }],
  });
  const bytes = encodeMessage("inferenceRequest", 1, request);
  const body = bytes.subarray(MESSAGE_HEADER_BYTES);
  const view = new DataView(body.buffer, body.byteOffset);
  const message = view.getUint32(view.getUint32(8, true) + 4, true);
  body[message + 20] = 200; // role
  body[view.getUint32(message + 4, true) + 4] = 77; // tag of the part
  const back = new InferenceRequestReader(body).message(0);
  assert.equal(back.role, "unknown");
  assert.deepEqual(back.parts, [{ type: "unknown", tag: 77 }]);
});

Deno.test("words that are not of an enum or union are refused when written", () => {
  const write = (message: unknown) => () =>
    encodeMessage("inferenceRequest", 1, {
      ...inferenceRequest({ model: new Uint8Array(0), messages: [message as never] }),
    });
  assert.equal(code(write({ role: "boss", parts: [] })), "INVALID_VALUE");
  assert.equal(code(write({ role: "user", parts: [{ type: "smell" }] })), "INVALID_VALUE");
  assert.equal(
    code(write({ role: "user", parts: [{ type: "unknown", tag: 9 }] })),
    "INVALID_VALUE",
  );
  assert.equal(code(write({ role: "user", parts: [] })), "none");
  assert.equal(code(() => encodeMessage("cancel", 2 ** 32, {})), "INVALID_VALUE");
});

Deno.test("a type of a later version decodes as unknown with its request id", () => {
  const bytes = wrap("cancel", new Uint8Array([4, 0, 0, 0]));
  new DataView(bytes.buffer).setUint16(0, 0x0100);
  assert.deepEqual(decodeMessage(bytes), { kind: "unknown", requestId: 1, type: 0x0100 });
});

Deno.test("header flags and reserved bytes are ignored", () => {
  const bytes = encodeMessage("cancel", 5, { reason: "x" });
  bytes.fill(0xff, 2, 4);
  bytes.fill(0xff, 12, 16);
  assert.deepEqual(decodeMessage(bytes), { kind: "cancel", requestId: 5, body: { reason: "x" } });
});

Deno.test("a message that is cut short, too long or claims too much is refused", () => {
  const bytes = encodeMessage("cancel", 5, { reason: "x" });
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(code(() => decodeMessage(bytes.subarray(0, length))), "MALFORMED", `${length}`);
  }
  assert.equal(code(() => decodeMessage(new Uint8Array([...bytes, 0]))), "MALFORMED");
  new DataView(bytes.buffer).setUint32(8, BODY_BYTES_MAX + 1);
  assert.equal(code(() => decodeMessage(bytes)), "TOO_LARGE");
});

Deno.test("text that holds U+FFFD itself is read, at every length", () => {
  for (const reason of ["\ufffd", "\ufffd".repeat(100)]) {
    assert.deepEqual(known(encodeMessage("cancel", 5, { reason })).body, { reason });
  }
});

Deno.test("text that is not UTF-8 is refused", () => {
  for (const length of [1, 100]) {
    const bytes = encodeMessage("cancel", 5, { reason: "x".repeat(length) });
    bytes[bytes.length - 1] = 0xff;
    assert.equal(code(() => decodeMessage(bytes)), "MALFORMED");
  }
});

Deno.test("a 40 MB prompt is written and read, one above 64 MiB is TOO_LARGE", () => {
  const prompt = (length: number) =>
    inferenceRequest({
      model: new Uint8Array(0),
      messages: [{ role: "user", parts: [{ type: "text", text: "p".repeat(length) }] }],
    });
  const request = prompt(40_000_000);
  const back = known(encodeMessage("inferenceRequest", 1, request));
  assert.equal(back.kind, "inferenceRequest");
  const part = back.kind === "inferenceRequest" && back.body.messages[0].parts[0];
  assert.ok(part && part.type === "text" && part.text.length === 40_000_000);
  assert.equal(
    code(() => encodeMessage("inferenceRequest", 1, prompt(BODY_BYTES_MAX))),
    "TOO_LARGE",
  );
});

Deno.test("NA-NB-005: random bodies of every message give a value or MALFORMED", () => {
  const random = new SeededRandom(11);
  const seen = new Map<string, number>();
  for (let run = 0; run < 20_000; run++) {
    const body = new Uint8Array(random.below(120));
    // mostly small words, so that sizes, counts and offsets are plausible
    for (let i = 0; i < body.length; i++) {
      body[i] = i % 4 === 0 ? random.below(160) : random.chance(0.02) ? random.below(256) : 0;
    }
    const kind = KINDS[run % KINDS.length];
    const outcome = code(() => decodeMessage(wrap(kind, body)));
    assert.ok(outcome === "none" || outcome === "MALFORMED", outcome);
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  }
  assert.ok(seen.get("none")! > 1000 && seen.get("MALFORMED")! > 1000, JSON.stringify([...seen]));
});

Deno.test("NA-NB-005: mutated messages give a value or a typed error", () => {
  const samples = fc.sample(anyBody, { numRuns: 300, seed: 5 })
    .map(({ kind, body }) => encodeMessage(kind, 1, body));
  const random = new SeededRandom(12);
  const seen = new Map<string, number>();
  for (let run = 0; run < 30_000; run++) {
    const bytes = samples[run % samples.length].slice();
    const view = new DataView(bytes.buffer);
    const body = bytes.length - MESSAGE_HEADER_BYTES;
    for (let change = random.below(4); change >= 0; change--) {
      const at = MESSAGE_HEADER_BYTES + random.below(body);
      const word = at & ~3;
      if (random.chance(0.3)) bytes[at] = random.below(256);
      else if (word + 4 > bytes.length) continue;
      else if (random.chance(0.4)) view.setUint32(word, random.u32(), true);
      else if (random.chance(0.5)) view.setUint32(word, 4 * random.below(body / 4 + 2), true);
      else view.setUint32(word, view.getUint32(word, true) + random.below(9) - 4, true);
    }
    const outcome = code(() => decodeMessage(bytes));
    assert.ok(outcome === "none" || outcome === "MALFORMED", outcome);
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  }
  assert.ok(seen.get("none")! > 1000 && seen.get("MALFORMED")! > 1000, JSON.stringify([...seen]));
});

Deno.test("NA-NB-005: whatever decodes can be encoded again or is refused by type", () => {
  // A mutated body may hold "unknown" parts or values that only a hostile writer makes.
  const samples = fc.sample(anyBody, { numRuns: 200, seed: 6 })
    .map(({ kind, body }) => encodeMessage(kind, 1, body));
  const random = new SeededRandom(13);
  let again = 0;
  for (let run = 0; run < 5000; run++) {
    const bytes = samples[run % samples.length].slice();
    bytes[MESSAGE_HEADER_BYTES + random.below(bytes.length - MESSAGE_HEADER_BYTES)] ^= 1 <<
      random.below(8);
    let message;
    if (code(() => message = decodeMessage(bytes)) !== "none") continue;
    const { kind, requestId, body } = message as unknown as KnownMessage;
    const outcome = code(() => {
      const back = known(encodeMessage(kind, requestId, body as never));
      assert.deepEqual(back.body, body);
    });
    assert.ok(outcome === "none" || outcome === "INVALID_VALUE", outcome);
    if (outcome === "none") again++;
  }
  assert.ok(again > 1000, `${again}`);
});

Deno.test("MessageType has one number for every kind", () => {
  const numbers = KINDS.map((kind) => schema.tables.get(TABLE_OF[kind])!.messageType);
  assert.deepEqual([...numbers].sort(), Object.values(MessageType).sort());
});
