/**
 * BBR on simulated paths: the test cases of draft-ietf-ccwg-bbr App. A, by the names they have
 * there, then what is asked of it here.
 */
import assert from "node:assert/strict";
import { Bbr } from "../../lib/l3_stream/congestion/mod.ts";
import { Bottleneck, type BottleneckOptions } from "./congestion_path.ts";

const DATAGRAM = 1_200;
const SECOND = 1e6;

function setUp(options: BottleneckOptions, seed = 1) {
  const path = new Bottleneck(options, seed);
  const bbr = new Bbr({ datagramBytes: DATAGRAM });
  const flow = path.add(bbr);
  return { path, bbr, flow, state: bbr.state };
}

for (const seed of [1, 2, 3]) {
  Deno.test(`NS-CC-003: bbr gets 90 % of 100 Mbit/s over 50 ms at 1 % loss, seed ${seed}`, () => {
    const options = { rateBps: 100e6, delayUs: 25_000, queueBytes: 625_000, lossRate: 0.01 };
    const { path, flow } = setUp(options, seed);
    path.run(10 * SECOND);
    const share = flow.arrivedBytes * 8 / (100e6 * 10);
    assert.ok(share >= 0.9, `${share}`);
  });
}
