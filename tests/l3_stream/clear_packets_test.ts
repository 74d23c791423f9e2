import assert from "node:assert/strict";
import { ClearPackets } from "../../lib/l3_stream/clear_packets.ts";

Deno.test("NS-LD-003: sending times of ack-only packets are kept while they are not acknowledged", () => {
  const clear = new ClearPackets();
  for (let n = 0; n < 200; n++) clear.push(n, 10 * n, -1);
  for (let n = 0; n < 200; n++) assert.equal(clear.sentUs(n), 10 * n);
  assert.ok(Number.isNaN(clear.sentUs(200)));
});

Deno.test("NS-LD-003: of ack-only packets the newest 256 are remembered at most", () => {
  const clear = new ClearPackets();
  for (let n = 0; n < 1_000; n++) clear.push(n, 10 * n, -1);
  assert.ok(Number.isNaN(clear.sentUs(743)));
  for (let n = 744; n < 1_000; n++) assert.equal(clear.sentUs(n), 10 * n);
});

Deno.test("NS-LD-003: acknowledged ack-only packets make room for new ones", () => {
  const clear = new ClearPackets();
  for (let n = 0; n < 100; n++) clear.push(n, 10 * n, Math.max(-1, n - 4));
  assert.equal(clear.sentUs(99), 990);
  assert.ok(Number.isNaN(clear.sentUs(80)), "eight are enough here");
});
