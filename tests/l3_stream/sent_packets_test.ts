import assert from "node:assert/strict";
import { SentPackets } from "../../lib/l3_stream/sent_packets.ts";

/** Sends `count` packets and has them all acknowledged. */
function exchange(packets: SentPackets<string>, from: number, count: number): number {
  for (let n = from; n < from + count; n++) packets.push(n, n, 1_200, `${n}`);
  for (let at = packets.head; at < packets.tail; at = packets.living(at + 1)) {
    assert.equal(packets.frames(at), `${packets.packetNumber(at)}`);
    packets.kill(at);
  }
  packets.settle();
  return from + count;
}

Deno.test("NS-NF-007: the ring of sent packets grows with need and shrinks when idle again", () => {
  const packets = new SentPackets<string>();
  let next = exchange(packets, 0, 5_000);
  assert.equal(packets.capacity, 8_192);
  next = exchange(packets, next, 3_000);
  assert.equal(packets.capacity, 8_192, "busy flows do not shrink it");
  next = exchange(packets, next, 1);
  next = exchange(packets, next, 1);
  assert.equal(packets.capacity, 8);
  next = exchange(packets, next, 100);
  assert.equal(packets.capacity, 128);
  assert.deepEqual([packets.inFlightCount, packets.head], [0, packets.tail]);
});
