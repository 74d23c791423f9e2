import assert from "node:assert/strict";
import process from "node:process";
import { MODE_RELIABLE_ORDERED, portableErasureCodec } from "../../lib/l3_stream/mod.ts";
import { MAX_STREAMS_MAX } from "../../lib/l3_stream/config.ts";
import { SendBudget } from "../../lib/l3_stream/flow.ts";
import { BlockPool } from "../../lib/l3_stream/streams/blocks.ts";
import { PrShared } from "../../lib/l3_stream/streams/pr_shared.ts";
import { ID_INVALID, ID_LIVE, StreamTable } from "../../lib/l3_stream/streams/table.ts";
import { establishedPair, type Pair, pattern, readAll } from "./harness.ts";

const RO = MODE_RELIABLE_ORDERED;
/** Time on the processor that the whole life of all streams may take: twice what it does. */
const CPU_US_MAX = 10_000_000;
/** Streams that have bytes on the way at once: each holds a block at both ends. */
const BATCH = 8_192;

/** Streams of which a connection has such an event, in order; all its events are taken. */
function streamsTold(connection: Pair["client"], type: string): number[] {
  const streams = [];
  for (let event = connection.pollEvent(); event; event = connection.pollEvent()) {
    if (event.type === type && "stream" in event) streams.push(event.stream);
  }
  return streams;
}

Deno.test("NS-C-005: 65,536 streams of one connection carry a question and its answer", () => {
  const pair = establishedPair({ maxStreams: MAX_STREAMS_MAX });
  const { client, server } = pair;
  const question = pattern(5);
  const answer = pattern(7);
  const begun = process.cpuUsage();

  const streams = Array.from({ length: MAX_STREAMS_MAX }, () => client.openStream(RO));
  assert.throws(() => client.openStream(RO), { code: "STREAM_LIMIT" });
  let answered = 0;
  for (let i = 0; i < streams.length; i += BATCH) {
    for (const stream of streams.slice(i, i + BATCH)) client.write(stream, question);
    pair.advance(50_000);
    for (const stream of streamsTold(server, "readable")) {
      assert.deepEqual(readAll(server, stream), question);
      server.write(stream, answer);
    }
    pair.advance(50_000);
    for (const stream of streamsTold(client, "readable")) {
      assert.deepEqual(readAll(client, stream), answer);
      answered++;
    }
  }
  assert.equal(answered, MAX_STREAMS_MAX);
  assert.equal(server.openStreamCount, MAX_STREAMS_MAX);

  for (const stream of streams) {
    client.finish(stream);
    server.finish(stream);
  }
  pair.advance(300_000);
  assert.deepEqual(streamsTold(client, "streamClosed").toSorted((a, b) => a - b), streams);
  assert.equal(client.openStreamCount + server.openStreamCount, 0);
  const { user, system } = process.cpuUsage(begun);
  assert.ok(user + system < CPU_US_MAX, `${(user + system) / 1e6} s`);

  assert.equal(client.openStream(RO), 2 * MAX_STREAMS_MAX + 1);
});

const LIMITS = {
  sendBufferBytes: 65_536,
  budget: new SendBudget({
    initialSendBufferBytes: 65_536,
    sendBufferBytes: 65_536,
    sendBufferTotalBytes: 65_536,
  }),
  blocks: new BlockPool(),
  receiveBytes: 65_536,
  receiveBytesMax: 65_536,
  receiveMessages: 64,
  receiveMessagesMax: 64,
  sendBytes: 65_536,
  sendMessages: 64,
  probabilistic: new PrShared(portableErasureCodec, 65_536, 20_000),
};
/** Ids of each end. */
const IDS = 2 ** 30;

Deno.test("NS-C-005: an end that has used its last id opens no more", () => {
  for (const [side, last] of [["client", 0x7fffffff], ["server", 0xfffffffe]] as const) {
    const table = new StreamTable(side, 16, 16, LIMITS, IDS - 2);
    assert.equal(table.open(RO, 0).id, last - 2);
    assert.equal(table.meaning(last), ID_INVALID);
    assert.equal(table.isUsedUp, false);
    const stream = table.open(RO, 0);
    assert.equal(stream.id, last);
    assert.equal(table.meaning(last), ID_LIVE);
    assert.equal(table.isUsedUp, true);
    table.forget(stream);
    assert.equal(table.isUsedUp, true, "ids are never used twice");
  }
});
