import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, fromHex, fromUtf8, toHex, utf8 } from "../../lib/base/mod.ts";
import * as f from "../../lib/l3_stream/frames/mod.ts";
import vectors from "../vectors/stream.json" with { type: "json" };

type Fields = Record<string, unknown>;

const SIZE = 4_096;

function parse(bytes: Uint8Array): { next: number; frame: f.Frame } {
  const frame = new f.Frame();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { next: f.parseFrame(bytes, view, 0, bytes.length, frame), frame };
}

/** A parsed frame in the words of the vectors. */
function describe(frame: f.Frame, bytes: Uint8Array): Fields {
  const data = bytes.subarray(frame.dataAt, frame.dataAt + frame.dataLength);
  const { type, stream } = frame;
  switch (type) {
    case f.CONN_INIT:
    case f.CONN_ACCEPT:
      return { type, ...frame.parameters, nodeId: toHex(frame.parameters.nodeId) };
    case f.CONN_CLOSE:
      return { type, reason: frame.error, phrase: fromUtf8(data) };
    case f.PATH_CHALLENGE:
    case f.PATH_RESPONSE: {
      const half = (n: number) => n.toString(16).padStart(8, "0");
      return { type, token: half(frame.tokenHigh) + half(frame.tokenLow) };
    }
    case f.PATH_OPEN:
    case f.PATH_ACCEPT:
      return { type, path: frame.path, connectionId: frame.connectionId };
    case f.PATH_CLOSE:
      return { type, path: frame.path };
    case f.STREAM_OPEN:
      return { type, stream, mode: frame.mode, priority: frame.priority, window: frame.limit };
    case f.STREAM_ACK:
      return { type, stream, window: frame.limit };
    case f.WINDOW_UPDATE:
      return { type, stream, limit: frame.limit };
    case f.STREAM_CLOSE:
      return { type, stream, finalSize: frame.finalSize };
    case f.STREAM_RESET:
      return { type, stream, error: frame.error, finalSize: frame.finalSize };
    case f.STREAM_CLOSE_ACK:
      return { type, stream };
    case f.STREAM_STOP:
      return { type, stream, error: frame.error };
    case f.FEC: {
      const { symbol, sourceCount, repair } = frame;
      return { type, stream, symbol, sourceCount, repair, data: toHex(data) };
    }
    case f.RECEIVER_REPORT:
      return { type, stream, ...frame.counts };
    case f.CONGESTION:
      return { type, ce: frame.ce, bytesInFlight: frame.bytesInFlight };
    case f.DATA_NACK: {
      const [a, b, ...rest] = frame.ranges;
      return { type, ranges: [[a, b], rest] };
    }
    case f.DATA_ACK: {
      const ranges = [];
      for (let i = 0; i < frame.ranges.length; i += 2) {
        ranges.push([frame.ranges[i], frame.ranges[i + 1]]);
      }
      const { ect0, ect1, ce } = frame;
      return {
        type,
        ackDelayUs: frame.ackDelayUs,
        ranges,
        ...(frame.hasEcn ? { ect0, ect1, ce } : {}),
      };
    }
    case f.PING:
    case f.PONG:
      return { type, id: frame.id };
    case f.DATA:
      return { type, stream, offset: frame.offset, data: toHex(data) };
    case f.MESSAGE: {
      const { mode, message, total, offset, symbol } = frame;
      if (mode === f.MODE_PROBABILISTIC) return { type, mode, stream, symbol, data: toHex(data) };
      return { type, mode, stream, message, total, offset, data: toHex(data) };
    }
    default:
      return { type };
  }
}

/** The bytes of a frame in the words of the vectors. */
// deno-lint-ignore no-explicit-any
function encode(v: any): Uint8Array {
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  return bytes.subarray(0, append(v, bytes, view));
}

// deno-lint-ignore no-explicit-any
function append(v: any, bytes: Uint8Array, view: DataView): number {
  const data = fromHex(v.data ?? "");
  switch (v.type) {
    case f.CONN_INIT:
    case f.CONN_ACCEPT: {
      const parameters = Object.assign(new f.Parameters(), v, { nodeId: fromHex(v.nodeId) });
      return f.appendParameters(bytes, view, 0, v.type, parameters);
    }
    case f.CONN_CLOSE:
      return f.appendClose(bytes, view, 0, v.reason, utf8(v.phrase));
    case f.CONN_CLOSE_ACK:
      return f.appendCloseAck(bytes, 0);
    case f.PATH_CHALLENGE:
    case f.PATH_RESPONSE: {
      const [high, low] = [v.token.slice(0, 8), v.token.slice(8)].map((t) => parseInt(t, 16));
      return f.appendPath(view, 0, v.type, high, low);
    }
    case f.PATH_OPEN:
    case f.PATH_ACCEPT:
      return f.appendPathOpen(view, 0, v.type, v.path, v.connectionId);
    case f.PATH_CLOSE:
      return f.appendPathClose(view, 0, v.path);
    case f.STREAM_OPEN:
      return f.appendStreamOpen(view, 0, v.stream, v.mode, v.priority, v.window);
    case f.STREAM_ACK:
      return f.appendStreamAck(view, 0, v.stream, v.window);
    case f.WINDOW_UPDATE:
      return f.appendWindowUpdate(view, 0, v.stream, v.limit);
    case f.STREAM_CLOSE:
      return f.appendStreamClose(view, 0, v.stream, v.finalSize);
    case f.STREAM_RESET:
      return f.appendStreamReset(view, 0, v.stream, v.error, v.finalSize);
    case f.STREAM_CLOSE_ACK:
      return f.appendStreamCloseAck(view, 0, v.stream);
    case f.STREAM_STOP:
      return f.appendStreamStop(view, 0, v.stream, v.error);
    case f.DATA_ACK:
      return f.appendAck(view, 0, SIZE, ackSource(v), v.ackDelayUs);
    case f.PING:
    case f.PONG:
      return f.appendPing(view, 0, v.type, v.id);
    case f.DATA: {
      const at = f.appendDataHead(view, 0, v.stream, v.offset, data.length);
      bytes.set(data, at);
      return at + data.length;
    }
    case f.FEC: {
      const { stream, symbol, sourceCount, repair } = v;
      const at = f.appendFecHead(view, 0, stream, symbol, sourceCount, repair, data.length);
      bytes.set(data, at);
      return at + data.length;
    }
    case f.RECEIVER_REPORT:
      return f.appendReport(view, 0, v.stream, v);
    case f.CONGESTION:
      return f.appendCongestion(view, 0, v.ce, v.bytesInFlight);
    case f.DATA_NACK:
      return f.appendNack(view, 0, v.ranges.flat(), v.ranges.length);
    case f.MESSAGE: {
      if (v.mode === f.MODE_PROBABILISTIC) {
        const at = f.appendSymbolHead(view, 0, v.stream, v.symbol);
        view.setUint16(at, data.length);
        bytes.set(data, at + 2);
        return at + 2 + data.length;
      }
      const at = f.appendMessageHead(
        view,
        0,
        v.mode,
        v.stream,
        v.message,
        v.total,
        v.offset,
        data.length,
      );
      bytes.set(data, at);
      return at + data.length;
    }
    default:
      return 1; // PADDING
  }
}

function ackSource(v: { ranges: number[][]; ect0?: number; ect1?: number; ce?: number }) {
  return {
    count: v.ranges.length,
    highAt: (i: number) => v.ranges[i][0],
    lowAt: (i: number) => v.ranges[i][1],
    ect0: v.ect0 ?? 0,
    ect1: v.ect1 ?? 0,
    ce: v.ce ?? 0,
  };
}

Deno.test("frames: every golden vector parses to its fields, to its last byte", () => {
  for (const { name, hex, frame: expected } of vectors.frames) {
    const { decodeOnly: _, ...fields } = expected as Fields;
    const bytes = fromHex(hex);
    const { next, frame } = parse(bytes);
    assert.equal(next, bytes.length, name);
    assert.deepEqual(describe(frame, bytes), fields, name);
  }
});

Deno.test("frames: every golden vector is written byte for byte", () => {
  for (const { name, hex, frame } of vectors.frames) {
    if ((frame as Fields).decodeOnly) continue;
    assert.equal(toHex(encode(frame)), hex, name);
  }
});

Deno.test("frames: every frame type of the protocol has a golden vector", () => {
  const seen = new Set(vectors.frames.map(({ frame }) => frame.type));
  const connection = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15];
  const feedback = [0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x40];
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [...connection, ...feedback, 0x50, 0x51, 0x52],
  );
});

Deno.test("frames: malformed vectors are refused", () => {
  for (const { name, hex } of vectors.malformed) {
    assert.equal(parse(fromHex(hex)).next, f.MALFORMED, name);
  }
});

Deno.test("frames: every proper prefix of a golden vector is refused", () => {
  for (const { name, hex } of vectors.frames) {
    const bytes = fromHex(hex);
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(parse(bytes.slice(0, length)).next, f.MALFORMED, `${name} cut at ${length}`);
    }
  }
});

Deno.test("frames: feedback, padding and goodbyes do not ask for an acknowledgement", () => {
  const silent = vectors.frames.map(({ frame }) => frame.type).filter((t) => !f.isAckEliciting(t));
  const feedback = [f.DATA_ACK, f.RECEIVER_REPORT, f.DATA_NACK, f.CONGESTION];
  assert.deepEqual([...new Set(silent)], [
    f.PADDING,
    f.CONN_CLOSE,
    f.CONN_CLOSE_ACK,
    ...feedback,
  ]);
});

Deno.test("frames: an acknowledgement keeps the highest ranges when room is short", () => {
  const ranges = Array.from({ length: 32 }, (_, i) => [1_000 - 10 * i, 995 - 10 * i]);
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  const end = f.appendAck(view, 0, 60, ackSource({ ranges }), 5);
  assert.ok(end <= 60);
  const { next, frame } = parse(bytes.subarray(0, end));
  assert.equal(next, end);
  assert.deepEqual(frame.ranges, ranges.slice(0, 6).flat());
  assert.equal(f.appendAck(view, 0, 18, ackSource({ ranges }), 5), 0);
});

Deno.test("frames: any set of ranges survives an acknowledgement", () => {
  const steps = fc.array(fc.tuple(fc.nat(1_000_000), fc.nat(1_000_000)), {
    minLength: 1,
    maxLength: 256,
  });
  fc.assert(fc.property(steps, fc.nat(0xffffffff), (pairs, ackDelayUs) => {
    const ranges: number[][] = [];
    let low = 0;
    for (const [gap, length] of pairs) {
      ranges.unshift([low + length, low]);
      low += length + 2 + gap;
    }
    const bytes = encode({ type: f.DATA_ACK, ackDelayUs, ranges });
    const { next, frame } = parse(bytes);
    assert.equal(next, bytes.length);
    assert.deepEqual(frame.ranges, ranges.flat());
    assert.equal(frame.ackDelayUs, ackDelayUs);
  }));
});

Deno.test("frames: fuzzed bytes parse inside their bounds or are refused, and never throw", () => {
  const seeds = vectors.frames.map(({ hex }) => fromHex(hex));
  const mutated = fc.tuple(
    fc.constantFrom(...seeds),
    fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
    fc.uint8Array({ maxLength: 40 }),
  ).map(([seed, changes, tail]) => {
    const bytes = concat(seed, tail);
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return bytes;
  });
  const random = fc.uint8Array({ minLength: 1, maxLength: 120 });
  fc.assert(
    fc.property(fc.oneof(mutated, random), (bytes) => {
      const { next, frame } = parse(bytes);
      if (next === f.MALFORMED) return;
      assert.ok(next > 0 && next <= bytes.length);
      assert.ok(frame.dataAt + frame.dataLength <= bytes.length);
      const numbers = [frame.limit, frame.finalSize, frame.offset, frame.message, frame.id];
      numbers.push(frame.symbol, frame.ce, frame.bytesInFlight, ...Object.values(frame.counts));
      assert.ok([...numbers, ...frame.ranges].every((n) => Number.isSafeInteger(n) && n >= 0));
    }),
    { numRuns: 5_000 },
  );
});
