/** Cutting a byte stream into messages. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, NexusError } from "../../lib/base/mod.ts";
import {
  BODY_BYTES_MAX,
  decodeMessage,
  encodeMessage,
  MESSAGE_HEADER_BYTES,
  MessageAssembler,
} from "../../lib/l5_api/mod.ts";
import { anyBody } from "./records.ts";

/** Feeds pieces and copies out every message. */
function assemble(pieces: Uint8Array[], assembler = new MessageAssembler()): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (const piece of pieces) {
    assembler.push(piece);
    for (let m = assembler.next(); m !== undefined; m = assembler.next()) out.push(m.slice());
  }
  return out;
}

function header(bodyLength: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MESSAGE_HEADER_BYTES);
  new DataView(bytes.buffer).setUint32(8, bodyLength);
  return bytes;
}

function code(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof NexusError) return thrown.code;
    throw thrown;
  }
  return "none";
}

const messages = fc.array(
  anyBody.map(({ kind, body }) => encodeMessage(kind, 1, body)),
  { maxLength: 6 },
);

Deno.test("messages fed byte by byte come out whole", () => {
  fc.assert(fc.property(messages, (sent) => {
    const bytes = Array.from(concat(...sent), (byte) => Uint8Array.of(byte));
    assert.deepEqual(assemble(bytes), sent);
  }));
});

Deno.test("messages cut at any places come out whole and in order", () => {
  fc.assert(fc.property(messages, fc.array(fc.nat()), (sent, cuts) => {
    const stream = concat(...sent);
    const at = [0, ...cuts.map((cut) => cut % (stream.length + 1)), stream.length];
    at.sort((a, b) => a - b);
    const pieces = at.slice(1).map((to, i) => stream.subarray(at[i], to));
    const assembler = new MessageAssembler();
    assert.deepEqual(assemble(pieces, assembler), sent);
    assert.equal(assembler.bytesHeld, 0);
  }));
});

Deno.test("a message that arrives whole is not copied", () => {
  const message = encodeMessage("cancel", 1, { reason: "x" });
  const assembler = new MessageAssembler();
  assembler.push(concat(message, message));
  const first = assembler.next()!;
  const second = assembler.next()!;
  assert.equal(first.buffer, second.buffer);
  assert.deepEqual(decodeMessage(second), decodeMessage(message));
});

Deno.test("a message is returned as soon as its last byte is there", () => {
  const message = encodeMessage("cancel", 1, { reason: "x" });
  const assembler = new MessageAssembler();
  assembler.push(message.subarray(0, -1));
  assert.equal(assembler.next(), undefined);
  assert.equal(assembler.bytesHeld, message.length - 1);
  assembler.push(concat(message.subarray(-1), message.subarray(0, 3)));
  assert.deepEqual(assembler.next(), message);
  assert.equal(assembler.next(), undefined);
  assert.equal(assembler.bytesHeld, 3);
});

Deno.test("an empty push changes nothing", () => {
  const assembler = new MessageAssembler();
  assembler.push(new Uint8Array(0));
  assert.equal(assembler.next(), undefined);
  assert.equal(assembler.bytesHeld, 0);
});

Deno.test("a body above 64 MiB ends the stream with TOO_LARGE, whole or cut", () => {
  for (const cut of [MESSAGE_HEADER_BYTES, 5]) {
    const assembler = new MessageAssembler();
    const bytes = header(BODY_BYTES_MAX + 1);
    assert.equal(
      code(() => assemble([bytes.subarray(0, cut), bytes.subarray(cut)], assembler)),
      "TOO_LARGE",
    );
    assembler.push(encodeMessage("cancel", 1, {}));
    assert.equal(code(() => assembler.next()), "TOO_LARGE");
  }
});

Deno.test("a smaller limit can be set, a larger one cannot", () => {
  assert.equal(code(() => assemble([header(101)], new MessageAssembler(100))), "TOO_LARGE");
  assert.equal(code(() => assemble([header(100)], new MessageAssembler(100))), "none");
  const above = header(BODY_BYTES_MAX + 1);
  assert.equal(code(() => assemble([above], new MessageAssembler(Infinity))), "TOO_LARGE");
});

Deno.test("a header that claims 64 MiB costs no memory until the bytes come", () => {
  const before = Deno.memoryUsage().external;
  const assemblers = Array.from({ length: 100 }, () => {
    const assembler = new MessageAssembler();
    assemble([header(BODY_BYTES_MAX), new Uint8Array(10)], assembler);
    assert.equal(assembler.bytesHeld, MESSAGE_HEADER_BYTES + 10);
    return assembler;
  });
  const taken = Deno.memoryUsage().external - before;
  assert.ok(taken < BODY_BYTES_MAX, `${assemblers.length} streams took ${taken} bytes`);
});

Deno.test("work is linear: an 8 MiB message in pieces of 100 bytes is copied a few times", () => {
  const body = new Uint8Array(8 * 1024 * 1024);
  const message = concat(header(body.length), body);
  const set = Uint8Array.prototype.set;
  let copied = 0;
  Uint8Array.prototype.set = function (source, offset) {
    copied += source.length;
    set.call(this, source, offset);
  };
  try {
    const assembler = new MessageAssembler();
    let seen = 0;
    for (let at = 0; at < message.length; at += 100) {
      assembler.push(message.subarray(at, at + 100));
      if (assembler.next() !== undefined) seen++;
    }
    assert.equal(seen, 1);
  } finally {
    Uint8Array.prototype.set = set;
  }
  assert.ok(copied < 4 * message.length, `${copied} bytes copied`);
});

Deno.test("pushing while messages wait is refused", () => {
  const assembler = new MessageAssembler();
  assembler.push(encodeMessage("cancel", 1, {}));
  assert.equal(code(() => assembler.push(new Uint8Array(1))), "WRONG_STATE");
});

Deno.test("random bytes give messages, nothing, or TOO_LARGE", () => {
  const seen = new Set<string>();
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), fc.boolean(), (list, small) => {
    const pieces = list.map((piece) => new Uint8Array(piece));
    if (small) pieces.unshift(header(20));
    const outcome = code(() => assemble(pieces));
    seen.add(outcome);
    assert.ok(outcome === "none" || outcome === "TOO_LARGE");
  }));
  assert.equal(seen.size, 2);
});
