/** The CoDel law by itself and on a link. */
import assert from "node:assert/strict";
import { NEVER } from "../../lib/base/mod.ts";
import { createCongestion } from "../../lib/l3_stream/congestion/mod.ts";
import { Codel, CODEL_INTERVAL_US, CODEL_TARGET_US, type CodelQueue } from "./codel.ts";
import { FlowReceiver, FlowSender } from "./flow.ts";
import { type LinkOptions, simulate } from "./network.ts";

const MS = 1_000;

/** A queue that is never empty and in which every packet has waited equally long. */
class Standing implements CodelQueue<number> {
  dropped: number[] = [];
  bytes = 100_000;
  nowUs = 0;
  constructor(public waitUs: number, readonly ecn = false) {}
  shift(): number {
    return this.nowUs;
  }
  enqueuedUs(): number {
    return this.nowUs - this.waitUs;
  }
  mark(): boolean {
    if (this.ecn) this.dropped.push(this.nowUs);
    return this.ecn;
  }
  drop(): void {
    this.dropped.push(this.nowUs);
  }
  /** Dequeues a packet every millisecond; when something was dropped, in ms. */
  run(codel: Codel, fromMs: number, untilMs: number): number[] {
    this.dropped = [];
    for (let ms = fromMs; ms < untilMs; ms++) {
      this.nowUs = ms * MS;
      codel.dequeue(this, this.nowUs);
    }
    return this.dropped.map((us) => us / MS);
  }
}

Deno.test("CoDel: nothing is dropped while the wait stays below the target", () => {
  assert.deepEqual(new Standing(CODEL_TARGET_US - 1).run(new Codel(), 1, 2_000), []);
});

Deno.test("CoDel: a wait above the target is dropped for only after an interval", () => {
  const [first] = new Standing(CODEL_TARGET_US).run(new Codel(), 1, 2_000);
  assert.equal(first, 1 + CODEL_INTERVAL_US / MS);
});

Deno.test("CoDel: drops come closer together by the inverse square root", () => {
  const drops = new Standing(20 * MS).run(new Codel(), 1, 1_000);
  let atMs = 101;
  const expected = Array.from({ length: drops.length }, (_, i) => {
    const dropMs = Math.ceil(atMs - 1e-9);
    atMs += 100 / Math.sqrt(i + 1);
    return dropMs;
  });
  assert.ok(drops.length > 10);
  assert.deepEqual(drops, expected);
});

Deno.test("CoDel: a state of dropping that comes back soon goes on near its rate", () => {
  const codel = new Codel();
  const long = new Standing(20 * MS);
  long.run(codel, 1, 1_000);
  new Standing(0).run(codel, 1_000, 1_100);
  const again = long.run(codel, 1_100, 1_300);
  const fresh = long.run(new Codel(), 1_100, 1_300);
  assert.ok(again.length > fresh.length, `${again.length} drops, ${fresh.length} from new`);
});

Deno.test("CoDel: packets that can be marked are marked by the same law, none is dropped", () => {
  const marks = new Standing(20 * MS, true).run(new Codel(), 1, 1_000);
  assert.deepEqual(marks, new Standing(20 * MS).run(new Codel(), 1, 1_000));
});

Deno.test("CoDel: a queue of one packet is left alone however long it waits", () => {
  const queue = new Standing(50 * MS);
  queue.bytes = 1_500;
  assert.deepEqual(queue.run(new Codel(), 1, 1_000), []);
});

/** An endless flow over 10 Mbit/s; what the bottleneck did to it in the last 15 of 20 s. */
function flow(link: LinkOptions, ecn = 0) {
  return simulate(1, "deno test tests/sim/codel_test.ts", (network) => {
    network.link("sender", "receiver", link, { delayUs: link.delayUs });
    const receiver = new FlowReceiver();
    network.addHost("receiver", receiver);
    const congestion = createCongestion("cubic", { datagramBytes: 1_200 });
    network.addHost("sender", new FlowSender({ to: "receiver", congestion, ecn }));
    network.run(5e6);
    const { counts } = network.linkBetween("sender", "receiver");
    counts.waitUsMax = 0;
    network.run(20e6);
    return { ratio: receiver.bytes * 8 / (link.rateBps! * 20), counts };
  });
}
const LINK = { rateBps: 10e6, delayUs: 15_000, queueMax: 500 };

Deno.test("CoDel on a link keeps the wait short where a deep queue fills up", () => {
  const deep = flow(LINK);
  const managed = flow({ ...LINK, aqm: "codel" });
  assert.ok(deep.counts.waitUsMax > 200_000, `${deep.counts.waitUsMax} without`);
  assert.ok(managed.counts.waitUsMax < 60_000, `${managed.counts.waitUsMax} with`);
  assert.ok(managed.counts.aqmDropped > 5);
  assert.ok(managed.ratio > 0.85, `utilisation ${managed.ratio}`);
});

Deno.test("NS-CC-005: CoDel marks ECN-capable packets and drops none of them", () => {
  const { counts, ratio } = flow({ ...LINK, aqm: "codel" }, 2);
  assert.equal(counts.dropped, 0);
  assert.ok(counts.marked > 5);
  assert.ok(counts.waitUsMax < 60_000, `${counts.waitUsMax}`);
  assert.ok(ratio > 0.85, `utilisation ${ratio}`);
});

Deno.test("CoDel lets a burst through that a rate serves within an interval", () => {
  simulate(1, "deno test tests/sim/codel_test.ts", (network) => {
    network.link("a", "b", { ...LINK, aqm: "codel" });
    const silent = { receive() {}, poll: () => [], nextTimeoutUs: () => NEVER };
    network.addHost("a", silent);
    network.addHost("b", silent);
    for (let i = 0; i < 80; i++) network.send("a", "b", new Uint8Array(1_200));
    network.run(NEVER);
    assert.equal(network.linkBetween("a", "b").counts.dropped, 0);
  });
});
