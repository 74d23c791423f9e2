import assert from "node:assert/strict";
import { fromHex, toHex } from "../../lib/base/mod.ts";
import {
  buildFrame,
  CANONICAL_BYTES_MAX,
  checkOverlay,
  crc32c,
  FrameInfo,
  type HeaderFields,
  OverlayError,
  readOptions,
  Reassembler,
  writeCanonicalHeader,
} from "../../lib/l1_link/mod.ts";
import json from "../vectors/link.json" with { type: "json" };
import { decode, nameOf, OFFSET } from "./support.ts";
import { type HeaderJson, type LinkVectors, optionsBytes } from "./vectors.ts";

const vectors: LinkVectors = json;

Deno.test("NL-F-004: the CRCs of the golden vectors", () => {
  for (const { bytes, crc } of vectors.crc32c) {
    assert.equal(crc32c(fromHex(bytes), 0, bytes.length / 2), parseInt(crc, 16));
  }
});

for (const { name, header, options, payload, canonicalHeader, frame } of vectors.frames) {
  Deno.test(`NL-F-001: golden frame: ${name}`, () => {
    const { error, info, bytes, view } = decode(fromHex(frame));
    assert.equal(nameOf(error), "OK");
    const decodedOptions = readOptions(bytes, view, info);
    assert.deepEqual(headerOf(info, bytes), header);
    assert.equal(toHex(optionsBytes(decodedOptions)), options);
    assert.equal(
      toHex(bytes.subarray(info.payloadOffset, info.payloadOffset + info.payloadLength)),
      payload,
    );
    const canonical = new Uint8Array(CANONICAL_BYTES_MAX);
    const canonicalBytes = writeCanonicalHeader(bytes, OFFSET, info, canonical);
    assert.equal(toHex(canonical.subarray(0, canonicalBytes)), canonicalHeader);
    assert.equal(
      toHex(buildFrame(fieldsOf(header), decodedOptions, fromHex(payload))),
      frame,
    );
  });
}

for (const { name, original, frame } of vectors.forwarded) {
  Deno.test(`NL-F-004: golden forwarded frame: ${name}`, () => {
    const before = vectors.frames.find((each) => each.name === original)!.frame;
    assert.notEqual(frame, before);
    assert.equal(frame.slice(-8), before.slice(-8));
    assert.equal(nameOf(decode(fromHex(frame)).error), "OK");
  });
}

for (const { name, frame, error } of vectors.refused) {
  Deno.test(`NL-F-002: golden refused frame: ${name} is ${error}`, () => {
    assert.equal(nameOf(decode(fromHex(frame)).error), error);
  });
}

for (const { name, vni, datagram, error } of vectors.overlay) {
  Deno.test(`NL-O-001: golden datagram: ${name} is ${error}`, () => {
    const bytes = fromHex(datagram);
    assert.equal(OverlayError[checkOverlay(bytes, 0, bytes.length, vni)], error);
  });
}

Deno.test("NL-F-007: the golden fragments make the golden message", () => {
  const reassembler = new Reassembler();
  const results = vectors.fragments.frames.map((frame) => {
    assert(frame.length / 2 <= vectors.fragments.frameBytesMax);
    const { info, bytes } = decode(fromHex(frame));
    return reassembler.add("source", info, bytes, 0);
  });
  assert(results.slice(0, -1).every((result) => result === undefined));
  assert.equal(toHex(results.at(-1)!), vectors.fragments.message);
});

function headerOf(info: FrameInfo, bytes: Uint8Array): HeaderJson {
  const { flags, type, streamId, sequence, priority, qos } = info;
  const { tensorDtype, hopLimit, keyPhase, tensorAlignment } = info;
  const hex = (from: number, to: number) => toHex(bytes.subarray(OFFSET + from, OFFSET + to));
  return {
    flags,
    type,
    streamId,
    sequence,
    source: hex(16, 32),
    dest: hex(32, 48),
    priority,
    qos,
    tensorDtype,
    hopLimit,
    keyPhase,
    tensorAlignment,
    timestamp: info.timestampHigh.toString(16).padStart(8, "0") +
      info.timestampLow.toString(16).padStart(8, "0"),
  };
}

function fieldsOf({ source, dest, timestamp, ...numbers }: HeaderJson): Partial<HeaderFields> {
  return {
    ...numbers,
    source: fromHex(source),
    dest: fromHex(dest),
    timestampHigh: parseInt(timestamp.slice(0, 8), 16),
    timestampLow: parseInt(timestamp.slice(8), 16),
  };
}
