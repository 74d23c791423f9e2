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
  readonly arrivals: {
    atUs: number;
    id: number;
    from: string;
    bytes: Uint8Array;
    ecn: number;
  }[] = [];
  outgoing: SimDatagram[] = [];
  wakeUs = NEVER;
  polls = 0;
  receive(bytes: Uint8Array, from: string, nowUs: number, ecn: number): void {
    this.arrivals.push({ atUs: nowUs, id: bytes[0] | (bytes[1] << 8), from, bytes, ecn });
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

Deno.test("simulated link: a router may write over the ECN field", () => {
  const field = (ecnField: number, ecn: number) =>
    stream(1, { ecnField }, 1, 0, ecn).arrivals[0].ecn;
  assert.deepEqual([field(0, 2), field(3, 2), field(1, 2), field(3, 0)], [0, 3, 1, 0]);
});

Deno.test("simulated link: lower layers' headers take their share of the rate", () => {
  const { arrivals } = stream(1, { rateBps: 8_000_000, headerBytes: 250 }, 2, 0);
  assert.deepEqual(arrivals.map((a) => a.atUs), [1_250, 2_500]);
});

Deno.test("simulated link: a rate that changes holds for the next packet on the line", () => {
  const network = new SimNetwork(1);
  const b = new Probe();
  network.addHost("a", new Probe());
  network.addHost("b", b);
  network.link("a", "b", { rateBps: 8_000_000 });
  for (let i = 0; i < 3; i++) network.send("a", "b", new Uint8Array(1_000));
  network.at(500, () => network.linkBetween("a", "b").options = { rateBps: 800_000 });
  network.run(NEVER);
  assert.deepEqual(b.arrivals.map((a) => a.atUs), [1_000, 11_000, 21_000]);
});

Deno.test("simulated link: without its rate what waits is sent at once", () => {
  const network = new SimNetwork(1);
  const b = new Probe();
  network.addHost("a", new Probe());
  network.addHost("b", b);
  network.link("a", "b", { rateBps: 8_000_000 });
  for (let i = 0; i < 4; i++) network.send("a", "b", new Uint8Array(1_000));
  network.at(1_500, () => network.linkBetween("a", "b").options = {});
  network.run(NEVER);
  assert.deepEqual(b.arrivals.map((a) => a.atUs), [1_000, 2_000, 2_000, 2_000]);
});

Deno.test("simulated link: a burst of loss ends when it is switched off", () => {
  const network = new SimNetwork(1);
  const b = new Probe();
  network.addHost("a", new Probe());
  network.addHost("b", b);
  network.link("a", "b", { burst: { enter: 1, leave: 0 } });
  network.send("a", "b", new Uint8Array(1));
  network.at(1, () => {
    network.linkBetween("a", "b").options = {};
    network.send("a", "b", new Uint8Array(1));
  });
  network.run(NEVER);
  assert.deepEqual(b.arrivals.map((a) => a.atUs), [1]);
});

/** Lengths of the runs of numbers that did not arrive. */
function gaps(arrivals: readonly { id: number }[]): number[] {
  const ids = [-1, ...arrivals.map(({ id }) => id)];
  return ids.slice(1).map((id, i) => id - ids[i] - 1).filter((length) => length > 0);
}

Deno.test("simulated link: loss takes no more in a row than it may", () => {
  const free = gaps(stream(1, { lossRate: 0.5 }).arrivals);
  const bound = gaps(stream(1, { lossRate: 0.5, lossRunMax: 3 }).arrivals);
  assert.ok(Math.max(...free) > 3);
  assert.equal(Math.max(...bound), 3);
});

Deno.test("simulated link: corruption takes no more in a row than it may", () => {
  const { arrivals } = stream(1, { corruptRate: 0.7, corruptRunMax: 3 });
  const whole = arrivals.map(({ bytes }, i) => {
    const sum = bytes.slice(2).reduce((a, b) => a + b);
    return bytes[0] === (i & 255) && bytes[1] === i >>> 8 && sum === 0;
  });
  const runs = whole.join("").split("true").map((run) => run.length / "false".length);
  assert.equal(Math.max(...runs), 3);
});

Deno.test("simulated link: a script drops packets by their number", () => {
  const { arrivals } = stream(1, { dropNumbers: [2, 4] }, 5);
  assert.deepEqual(arrivals.map(({ id }) => id), [0, 2, 4]);
});

Deno.test("simulated link: an outage comes again and again", () => {
  const { arrivals } = stream(1, { outage: { onUs: 500, offUs: 200 } }, 14);
  assert.deepEqual(arrivals.map(({ id }) => id), [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]);
});

Deno.test("simulated link: an MTU black hole: from a time on the path carries less", () => {
  const mtuChange = { atUs: 500, mtuBytes: 999 };
  assert.equal(stream(1, { mtuChange }, 10).arrivals.length, 5);
  assert.equal(
    stream(1, { mtuBytes: 999, mtuChange: { atUs: 500, mtuBytes: 1_000 } }, 10)
      .arrivals.length,
    5,
  );
  assert.equal(stream(1, { mtuBytes: 1_027, headerBytes: 28 }, 10).arrivals.length, 0);
});

Deno.test("simulated network: both ways of a path have options of their own", () => {
  const network = new SimNetwork(1);
  const a = new Probe();
  const b = new Probe();
  network.addHost("a", a);
  network.addHost("b", b);
  network.link("a", "b", { delayUs: 1_000 }, { delayUs: 5_000, rateBps: 8_000_000 });
  network.send("a", "b", new Uint8Array(1_000));
  network.send("b", "a", new Uint8Array(1_000));
  network.run(NEVER);
  assert.deepEqual([b.arrivals[0].atUs, a.arrivals[0].atUs], [1_000, 6_000]);
});

Deno.test("simulated network: many hosts share one bottleneck and its queue", () => {
  const network = new SimNetwork(1);
  const server = new Probe();
  network.addHost("server", server);
  for (let i = 0; i < 100; i++) {
    network.addHost(`client${i}`, new Probe());
    network.link(`client${i}`, "server", { rateBps: 8_000_000, queueMax: 60 });
    if (i > 0) {
      network.shareLink(`client${i}`, "server", network.linkBetween("client0", "server"));
    }
    network.send(`client${i}`, "server", new Uint8Array(1_000));
  }
  network.run(NEVER);
  assert.deepEqual(
    server.arrivals.map(({ atUs, from }) => [atUs, from]),
    Array.from({ length: 61 }, (_, i) => [1_000 * (i + 1), `client${i}`]),
  );
  assert.equal(network.linkBetween("client7", "server").counts.queueDropped, 39);
});

/** A client behind a NAT, and a server that answers whom it sees. */
function natPair() {
  const network = new SimNetwork(1);
  const client = new Probe();
  const server = new Probe();
  network.addHost("client", client);
  network.addHost("server", server);
  network.link("client", "server", { delayUs: 1_000 });
  network.rebind("client", "nat:1");
  return { network, client, server };
}

Deno.test("simulated NAT: others see its name, not the host's", () => {
  const { network, client, server } = natPair();
  network.send("client", "server", new Uint8Array(1));
  network.run(NEVER);
  assert.equal(server.arrivals[0].from, "nat:1");
  network.send("server", "client", new Uint8Array(1));
  network.send("server", "nat:1", new Uint8Array(1));
  network.run(NEVER);
  assert.equal(client.arrivals.length, 1);
});

Deno.test("simulated NAT: after a rebinding the old name leads nowhere, not even for packets on their way", () => {
  const { network, client, server } = natPair();
  network.send("client", "server", new Uint8Array(1));
  network.send("server", "nat:1", new Uint8Array(1));
  network.at(500, () => network.rebind("client", "nat:2"));
  network.at(600, () => network.send("client", "server", new Uint8Array(1)));
  network.at(700, () => network.send("server", "nat:1", new Uint8Array(1)));
  network.at(800, () => network.send("server", "nat:2", new Uint8Array(1)));
  network.run(NEVER);
  assert.deepEqual(server.arrivals.map(({ from }) => from), ["nat:1", "nat:2"]);
  assert.deepEqual(client.arrivals.map(({ atUs }) => atUs), [1_800]);
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
        network.note("b", "says no");
        assert.equal(1, 2, "one is not two");
      }),
    /seed 9.*one is not two[^]*replay: deno test …[^]*a > b {2}5 B {2}sent[^]*b: says no/,
  );
});
