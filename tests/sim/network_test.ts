import assert from "node:assert/strict";
import { NEVER } from "../../lib/base/mod.ts";
import {
  type LinkOptions,
  type SimDatagram,
  type SimHost,
  SimNetwork,
  simulate,
} from "./network.ts";

/** Notes what arrives and when. */
class Probe implements SimHost {
  readonly arrivals: { atUs: number; id: number; bytes: Uint8Array; ecn: number }[] = [];
  outgoing: SimDatagram[] = [];
  wakeUs = NEVER;
  polls = 0;
  receive(bytes: Uint8Array, _from: string, nowUs: number, ecn: number): void {
    this.arrivals.push({ atUs: nowUs, id: bytes[0] | (bytes[1] << 8), bytes, ecn });
  }
  poll(nowUs: number): SimDatagram[] {
    this.polls++;
    if (nowUs >= this.wakeUs) this.wakeUs = NEVER;
    return this.outgoing.splice(0);
  }
  nextTimeoutUs(): number {
    return this.wakeUs;
  }
}

/** Sends `count` numbered datagrams of 1,000 bytes, one each `gapUs`, and runs to the end. */
function stream(seed: number, options: LinkOptions, count = 2_000, gapUs = 100, ecn = 0) {
  const network = new SimNetwork(seed);
  const b = new Probe();
  network.addHost("a", new Probe());
  network.addHost("b", b);
  network.link("a", "b", options);
  for (let i = 0; i < count; i++) {
    const bytes = new Uint8Array(1_000);
    bytes[0] = i & 255;
    bytes[1] = i >>> 8;
    network.at(i * gapUs, () => network.send("a", "b", bytes, ecn));
  }
  network.run(NEVER);
  return { arrivals: b.arrivals, counts: network.linkBetween("a", "b").counts, network };
}

function between(value: number, low: number, high: number): void {
  assert.ok(value >= low && value <= high, `${value} is not in ${low}…${high}`);
}

Deno.test("NS-NF-008: the same seed gives the same run, another seed another one", () => {
  const options = {
    delayUs: 1_000,
    jitterUs: 500,
    lossRate: 0.1,
    reorderRate: 0.1,
    corruptRate: 0.1,
  };
  const run = (seed: number) =>
    stream(seed, options).arrivals.map(({ atUs, bytes }) => [atUs, ...bytes.slice(0, 20)]);
  assert.deepEqual(run(1), run(1));
  assert.notDeepEqual(run(1), run(2));
});

Deno.test("simulated link: delay and rate add up", () => {
  const { arrivals } = stream(1, { delayUs: 5_000, rateBps: 8_000_000 }, 3, 0);
  assert.deepEqual(arrivals.map((a) => a.atUs), [6_000, 7_000, 8_000]);
});

Deno.test("simulated link: the tail is dropped when the queue is full", () => {
  const { arrivals, counts } = stream(1, { rateBps: 8_000_000, queueMax: 10 }, 100, 0);
  assert.deepEqual(arrivals.map((a) => a.id), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(counts.queueDropped, 89);
});

Deno.test("simulated link: jitter alone keeps the order", () => {
  const { arrivals } = stream(1, { jitterUs: 50_000 });
  assert.ok(arrivals.every(({ id }, i) => id === i));
});

Deno.test("simulated link: random loss has its rate", () => {
  between(stream(1, { lossRate: 0.2 }).counts.lost, 330, 470);
});

Deno.test("simulated link: burst loss comes in runs", () => {
  const { arrivals, counts } = stream(1, { burst: { enter: 0.02, leave: 0.1 } });
  between(counts.lost, 150, 600);
  const runs = arrivals.filter(({ id }, i) => i > 0 && id !== arrivals[i - 1].id + 1).length;
  assert.ok(counts.lost / runs > 4, "mean length of a run");
});

Deno.test("simulated link: reordered datagrams arrive later than their turn", () => {
  const { arrivals, counts } = stream(1, { reorderRate: 0.1 });
  between(counts.reordered, 150, 250);
  assert.equal(arrivals.length, 2_000);
  assert.ok(arrivals.some(({ id }, i) => i > 0 && id < arrivals[i - 1].id));
});

Deno.test("simulated link: duplicates arrive twice", () => {
  const { arrivals, counts } = stream(1, { duplicateRate: 0.1 });
  between(counts.duplicated, 150, 250);
  assert.equal(arrivals.length, 2_000 + counts.duplicated);
});

Deno.test("simulated link: corruption flips exactly one bit of the receiver's copy", () => {
  const { arrivals, counts } = stream(1, { corruptRate: 0.1 });
  let flipped = 0;
  for (const [i, { bytes }] of arrivals.entries()) {
    bytes[0] ^= i & 255;
    bytes[1] ^= i >>> 8;
    for (const byte of bytes) for (let bit = 0; bit < 8; bit++) flipped += (byte >>> bit) & 1;
  }
  between(counts.corrupted, 150, 250);
  assert.equal(flipped, counts.corrupted);
});

Deno.test("simulated link: what is larger than the MTU or sent in a blackhole vanishes", () => {
  assert.equal(stream(1, { mtuBytes: 999 }).arrivals.length, 0);
  assert.equal(stream(1, { mtuBytes: 1_000 }).arrivals.length, 2_000);
  const { arrivals } = stream(1, { blackholes: [{ fromUs: 1_000, untilUs: 2_000 }] });
  assert.deepEqual([arrivals.length, arrivals[10].id], [1_990, 20]);
});

Deno.test("simulated link: a long queue marks ECN-capable datagrams and no others", () => {
  const marked = stream(1, { rateBps: 8_000_000, markAt: 5 }, 20, 0, 2);
  assert.deepEqual(marked.arrivals.map((a) => a.ecn), [2, 2, 2, 2, ...new Array(16).fill(3)]);
  assert.equal(stream(1, { rateBps: 8_000_000, markAt: 5 }, 20, 0, 0).counts.marked, 0);
});

Deno.test("simulated network: a host is polled at its timeout and when woken", () => {
  const network = new SimNetwork(1);
  const host = new Probe();
  host.wakeUs = 700;
  network.addHost("a", host);
  network.run(699);
  assert.equal(host.polls, 1);
  network.run(700);
  assert.equal(host.polls, 2);
  network.wake("a");
  network.run(701);
  assert.equal(host.polls, 3);
});

Deno.test("simulated network: a host that spins is a failure that names the seed", () => {
  const network = new SimNetwork(77);
  network.addHost("a", { receive() {}, poll: () => [], nextTimeoutUs: () => 0 });
  assert.throws(() => network.run(10), /seed 77.*a wants to be woken/);
});

Deno.test("simulated network: a condition that cannot come true is a failure", () => {
  const network = new SimNetwork(3);
  assert.throws(() => network.run(() => false), /seed 3.*nothing is left to happen/);
});

Deno.test("simulated network: a failure inside tells seed, last datagrams and how to replay", () => {
  assert.throws(
    () =>
      simulate(9, "deno test …", (network) => {
        network.addHost("a", new Probe());
        network.addHost("b", new Probe());
        network.link("a", "b");
        network.send("a", "b", new Uint8Array(5));
        assert.equal(1, 2, "one is not two");
      }),
    /seed 9.*one is not two[^]*replay: deno test …[^]*a > b {2}5 B {2}sent/,
  );
});
