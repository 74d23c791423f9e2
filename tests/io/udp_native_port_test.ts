import assert from "node:assert/strict";
import {
  buildFrame,
  Burst,
  OVERLAY_BYTES,
  Pool,
  type Port,
  SLOT_BYTES,
} from "../../lib/l1_link/mod.ts";
import {
  openUdpNativePort,
  type UdpNativePort,
  type UdpNativePortOptions,
} from "../../lib/io/udp_native_port.ts";
import { openUdpPort } from "../../lib/io/udp_port.ts";
import { portConformance, type PortHarness } from "../l1_link/port_conformance.ts";
import { IPV6 } from "../support/ipv6.ts";
import { NATIVE_LIBRARY } from "../support/native.ts";
import { testNeeding } from "../support/needs.ts";

const VNI = 5;
const loopback = { host: "127.0.0.1", port: 0 };

/** Turns of the event loop that an effect on loopback may take at most. */
const TURNS_MAX = 5000;

class NativeHarness implements PortHarness {
  readonly #raw: Deno.DatagramConn;
  readonly #ports: UdpNativePort[] = [];

  constructor(readonly host: string, readonly options: Partial<UdpNativePortOptions>) {
    this.#raw = Deno.listenDatagram({ transport: "udp", hostname: host, port: 0 });
  }
  async open(options: { vni: number; pool: Pool; rxFramesMax?: number }) {
    const listen = { host: this.host, port: 0 };
    const port = await openUdpNativePort({ listen, ...this.options, ...options });
    this.#ports.push(port);
    return port;
  }
  async sendRaw(to: Port, datagram: Uint8Array) {
    const { host, port } = to.localAddress;
    await this.#raw.send(datagram, { transport: "udp", hostname: host, port });
  }
  /** Frames wait in the kernel until somebody asks. */
  async settle(condition: () => boolean) {
    for (let turn = 0; !condition(); turn++) {
      assert(turn < TURNS_MAX, `not so after ${TURNS_MAX} turns: ${condition}`);
      await nextTurn();
      for (const port of this.#ports) port.poll();
    }
  }
  elapse() {}
  close() {
    this.#raw.close();
    return Promise.resolve();
  }
}

if (NATIVE_LIBRARY.present) {
  const kinds: [string, string, Partial<UdpNativePortOptions>][] = [
    ["udp-native over IPv4", "127.0.0.1", {}],
    ["udp-native over IPv6", "::1", {}],
    ["udp-native without spin", "127.0.0.1", { spinUsMax: 0 }],
    ["udp-native without GSO", "127.0.0.1", { without: ["gso"] }],
    ["udp-native without GRO", "127.0.0.1", { without: ["gro"] }],
  ];
  for (const [kind, host, options] of kinds) {
    if (host === "::1" && !IPV6.present) {
      testNeeding([IPV6], `${kind}: all of the port's conformance`, () => {});
      continue;
    }
    portConformance(kind, () => new NativeHarness(host, options));
  }
} else {
  testNeeding([NATIVE_LIBRARY], "NL-P-006: udp-native port: the contract of ports", () => {});
}

function nativeTest(name: string, run: () => Promise<void>): void {
  testNeeding([NATIVE_LIBRARY], name, run);
}

nativeTest("NL-P-003: an address in use is one typed error on one line", async () => {
  await using port = await opened();
  await assert.rejects(
    openUdpNativePort({ listen: port.localAddress, vni: VNI }),
    (thrown: Error & { code?: string }) => {
      assert.equal(thrown.code, "ADDRESS_IN_USE");
      assert(thrown.message.includes(`127.0.0.1:${port.localAddress.port}`));
      return !thrown.message.includes("\n");
    },
  );
});

nativeTest("NL-P-003: wrong addresses and VNIs are typed errors", async () => {
  const open = (host: string, vni = VNI) => openUdpNativePort({ listen: { host, port: 0 }, vni });
  await assert.rejects(open("192.0.2.1"), { code: "ADDRESS_NOT_AVAILABLE" });
  await assert.rejects(open("localhost"), { code: "INVALID_ADDRESS" });
  await assert.rejects(open("1".repeat(500)), { code: "INVALID_ADDRESS" });
  await assert.rejects(open("127.0.0.1", 2 ** 24), { code: "INVALID_VNI" });
});

nativeTest("NL-P-003: two ports share an address when both ask for it", async () => {
  const first = await openUdpNativePort({ listen: loopback, vni: VNI, reusePort: true });
  const second = await openUdpNativePort({
    listen: first.localAddress,
    vni: VNI,
    reusePort: true,
  });
  assert.deepEqual(second.localAddress, first.localAddress);
  first.close();
  second.close();
});

nativeTest("NL-P-003: a peer must be numeric, in any spelling", async () => {
  await using port = await opened();
  assert.throws(() => port.peer({ host: "localhost", port: 1 }), { code: "INVALID_ADDRESS" });
  const peer = port.peer({ host: "0:0:0:0:0:0:0:1", port: 1 });
  assert.equal(port.peer({ host: "::1", port: 1 }), peer);
  assert.deepEqual(port.peerAddress(peer), { host: "::1", port: 1 });
  const mapped = port.peer({ host: "::ffff:10.0.0.1", port: 2 });
  assert.equal(port.peer({ host: "10.0.0.1", port: 2 }), mapped);
  assert.deepEqual(port.peerAddress(mapped), { host: "10.0.0.1", port: 2 });
});

nativeTest("NL-P-003: a frame that the system refuses is counted, never thrown", async () => {
  await using port = await opened();
  // An IPv4 socket cannot reach an IPv6 address.
  send(port, port.peer({ host: "::1", port: 9 }), [buildFrame({})]);
  assert.equal(port.stats().txErrors, 1);
  assert.equal(port.pool.available, port.pool.slots);
});

nativeTest("NL-P-003: a descriptor outside its slot is refused", async () => {
  await using port = await opened();
  const peer = port.peer(port.localAddress);
  const burst = new Burst();
  const [slot, other] = [port.pool.alloc(), port.pool.alloc()];
  for (const offset of [port.pool.offsetOf(slot), port.pool.frameOffsetOf(other), 0xffff_ff00]) {
    burst.push(slot, offset, 100, 0, peer);
    assert.equal(port.txBurst(burst), 1);
    assert.equal(port.pool.alloc(), slot);
    burst.clear();
  }
  assert.deepEqual([port.stats().txErrors, port.stats().txFrames], [3, 0]);
  port.pool.free(slot);
  port.pool.free(other);
});

nativeTest("NL-P-003: equal frames to one peer leave and arrive as a train", async () => {
  const [a, b] = [await opened(), await opened()];
  const frames = Array.from({ length: 40 }, (_, sequence) => numbered(sequence, 1000));
  frames.push(numbered(40, 500)); // The last one of a train may be shorter.
  for (let round = 0; round < 3; round++) {
    send(a, a.peer(b.localAddress), frames);
    assert.deepEqual(await receive(b, frames.length), frames);
  }
  assert.equal(a.trainStats().txTrains, 3);
  assert.equal(b.trainStats().rxTrains, 3);
  a.close();
  b.close();
});

nativeTest("NL-P-003: trains of changing length, single frames and garbage mix", async () => {
  const [a, b] = [await opened(), await opened()];
  const other = await opened(VNI + 1);
  const peer = a.peer(b.localAddress);
  const sent: Uint8Array[] = [];
  let sequence = 0;
  for (const [count, payload] of [[20, 1000], [1, 900], [30, 200], [1, 1800], [10, 1000], [2, 7]]) {
    const train = Array.from({ length: count }, () => numbered(sequence++, payload));
    send(a, peer, train);
    sent.push(...train);
    send(other, other.peer(b.localAddress), Array.from({ length: 5 }, () => numbered(99, 50)));
  }
  assert.deepEqual(await receive(b, sent.length), sent);
  b.poll();
  assert.equal(b.stats().rxWrongVni, 30);
  assert.equal(b.pool.available, b.pool.slots);
  for (const port of [a, b, other]) port.close();
});

nativeTest("NL-P-003: a train longer than a burst or the pool keeps order", async () => {
  const a = await openUdpNativePort({ listen: loopback, vni: VNI });
  for (const slots of [1, 2, 64]) {
    const pool = new Pool({ slotBytes: SLOT_BYTES.large, slots });
    const b = await openUdpNativePort({ listen: loopback, vni: VNI, pool });
    const peer = a.peer(b.localAddress);
    const sent: Uint8Array[] = [];
    // Single frames before a train: it finds the burst partly filled.
    for (let n = 0; n < 4; n++) {
      const singles = Array.from({ length: 10 }, (_, i) => numbered(1000 * n + i, 60 - 3 * i));
      const train = Array.from({ length: 60 }, (_, i) => numbered(1000 * n + 100 + i, 300));
      send(a, peer, singles);
      send(a, peer, train);
      sent.push(...singles, ...train);
    }
    assert.deepEqual(await receive(b, sent.length), sent);
    assert.equal(b.stats().rxNoSlot, 0);
    b.close();
    assert.equal(b.pool.available, b.pool.slots);
  }
  a.close();
});

nativeTest("NL-P-003: a pool that runs empty drops the rest, counted", async () => {
  const a = await opened();
  const b = await openUdpNativePort({ listen: loopback, vni: VNI, pool: new Pool({ slots: 10 }) });
  const frames = Array.from({ length: 30 }, (_, sequence) => numbered(sequence, 1000));
  const burst = new Burst();
  for (let round = 1; round <= 2; round++) {
    send(a, a.peer(b.localAddress), frames);
    while (burst.count < 10) assert.equal(b.rxBurst(burst), 10);
    b.poll();
    assert.equal(b.stats().rxNoSlot, 20 * round);
    b.pool.commit(burst.slot, burst.count, 0);
    burst.clear();
  }
  assert.equal(b.pool.available, 10);
  a.close();
  b.close();
});

nativeTest("NL-P-003: the frames of a train share the slot that they arrived in", async () => {
  const a = await opened();
  const pool = new Pool({ slotBytes: SLOT_BYTES.large, slots: 2 });
  const b = await openUdpNativePort({ listen: loopback, vni: VNI, pool });
  const frames = Array.from({ length: 30 }, (_, sequence) => numbered(sequence, 1000));
  send(a, a.peer(b.localAddress), frames);
  const burst = new Burst();
  while (burst.count === 0) b.rxBurst(burst);
  assert.equal(burst.count, frames.length);
  assert.equal(new Set(burst.slot.subarray(0, burst.count)).size, 1);
  for (let i = 0; i < burst.count; i++) {
    assert.equal(pool.available, 1, "free again only with its last frame");
    pool.free(burst.slot[i]);
  }
  assert.equal(pool.available, 2);
  a.close();
  b.close();
});

nativeTest("NL-P-003: a port of trains gives and takes each as one descriptor", async () => {
  const pool = () => new Pool({ slotBytes: SLOT_BYTES.large, slots: 8 });
  const listen = { listen: loopback, vni: VNI, trains: true };
  const a = await openUdpNativePort({ ...listen, pool: pool() });
  const b = await openUdpNativePort({ ...listen, pool: pool() });
  const frames = Array.from({ length: 40 }, (_, n) => numbered(n, n < 39 ? 1000 : 17));
  const burst = new Burst();
  const slot = a.pool.alloc();
  const segment = frames[0].length + OVERLAY_BYTES;
  const at = a.pool.frameOffsetOf(slot);
  frames.forEach((frame, n) => a.pool.bytes.set(frame, at + n * segment));
  burst.push(slot, at, 39 * segment + frames[39].length, 0, a.peer(b.localAddress), segment);
  assert.equal(burst.framesAt(0), 40);
  assert.equal(a.txBurst(burst), 1);
  burst.clear();
  while (burst.count === 0) b.rxBurst(burst);
  assert.equal(burst.count, 1);
  assert.equal(burst.segment[0], segment);
  assert.equal(burst.framesAt(0), 40);
  for (const [n, frame] of frames.entries()) {
    const from = burst.offset[0] + n * segment;
    assert.deepEqual(b.pool.bytes.slice(from, from + frame.length), frame);
  }
  b.pool.free(burst.slot[0]);
  assert.equal(b.pool.available, 8);
  assert.equal(a.pool.available, 8);
  assert.equal(a.stats().txFrames, 40);
  assert.equal(b.stats().rxFrames, 40);
  assert.equal(b.stats().rxBytes, frames.reduce((sum, frame) => sum + frame.length, 0));
  for (const port of [a, b]) port.close();
});

nativeTest("NL-O-003: a train of another VNI is dropped, one of ours is not", async () => {
  const pool = new Pool({ slotBytes: SLOT_BYTES.large, slots: 8 });
  const b = await openUdpNativePort({ listen: loopback, vni: VNI, pool, trains: true });
  const a = await openUdpNativePort({ listen: loopback, vni: VNI + 1, trains: true });
  const frames = Array.from({ length: 4 }, (_, n) => numbered(n, 100));
  send(a, a.peer(b.localAddress), frames);
  const good = await opened();
  send(good, good.peer(b.localAddress), frames);
  assert.deepEqual(await receiveAll(b, 4), frames);
  assert.equal(b.stats().rxWrongVni, 4);
  for (const port of [a, b, good]) port.close();
});

nativeTest(
  "NL-P-003: a train descriptor that does not hold together is refused, counted",
  async () => {
    const a = await openUdpNativePort({ listen: loopback, vni: VNI, trains: true });
    const b = await opened();
    const burst = new Burst();
    const refused = [
      { length: 4 * 100 - OVERLAY_BYTES, segment: 40 }, // no room for a frame
      { length: 65 * 100 - OVERLAY_BYTES, segment: 100 }, // more than a train may have
      { length: 200 + 20, segment: 100 }, // a stump at the end
      { length: a.pool.slotBytes, segment: 1000 }, // past the slot
    ];
    for (const { length, segment } of refused) {
      const slot = a.pool.alloc();
      burst.clear();
      burst.push(slot, a.pool.frameOffsetOf(slot), length, 0, a.peer(b.localAddress), segment);
      const before = a.stats().txErrors;
      assert.equal(a.txBurst(burst), 1);
      assert(a.stats().txErrors > before);
    }
    assert.equal(a.pool.available, a.pool.slots);
    for (const port of [a, b]) port.close();
  },
);

nativeTest("NL-P-003: frames back to back in a slot leave as one train", async () => {
  const a = await opened();
  const b = await opened();
  const frames = Array.from({ length: 20 }, (_, sequence) => numbered(sequence, 900));
  const burst = new Burst();
  const slot = a.pool.alloc();
  let at = a.pool.frameOffsetOf(slot);
  for (const [i, frame] of frames.entries()) {
    if (i > 0) a.pool.share(slot);
    a.pool.bytes.set(frame, at);
    burst.push(slot, at, frame.length, 0, a.peer(b.localAddress));
    at += frame.length + OVERLAY_BYTES;
  }
  assert.equal(a.txBurst(burst), frames.length);
  assert.equal(a.trainStats().txTrains, 1);
  assert.equal(a.pool.available, a.pool.slots);
  assert.deepEqual(await receive(b, frames.length), frames);
  for (const port of [a, b]) port.close();
});

for (const host of ["127.0.0.1", "::1", "mapped"]) {
  const needs = host === "127.0.0.1" ? [NATIVE_LIBRARY] : [NATIVE_LIBRARY, IPV6];
  testNeeding(needs, `NL-O-002: ECN marks cross in both directions (${host})`, async () => {
    const listen = { host: host === "mapped" ? "::" : host, port: 0 };
    const a = await openUdpNativePort({ listen, vni: VNI });
    const b = host === "mapped"
      ? await openUdpNativePort({ listen: loopback, vni: VNI })
      : await openUdpNativePort({ listen, vni: VNI });
    const there = a.peer(b.localAddress);
    const marks = [1, 2, 3, 0, 2, 2, 2];
    sendMarked(a, there, marks);
    const burst = new Burst();
    const seen: number[] = [];
    let peer = -1;
    while (seen.length < marks.length) {
      await b.wait(Infinity);
      b.rxBurst(burst);
      for (let i = 0; i < burst.count; i++) {
        seen.push(burst.flags[i]);
        peer = burst.peer[i];
        b.pool.free(burst.slot[i]);
      }
    }
    assert.deepEqual(seen, marks);
    sendMarked(b, peer, [3]);
    await a.wait(Infinity);
    assert.equal(a.rxBurst(burst), 1);
    assert.equal(burst.flags[0], 3);
    a.pool.free(burst.slot[0]);
    a.close();
    b.close();
  });
}

nativeTest("NL-P-003: a port that was awake for long sleeps and is woken again", async () => {
  const [a, b] = [await opened(), await opened(VNI, { spinUsMax: 0 })];
  const peer = a.peer(b.localAddress);
  const burst = new Burst();
  for (let round = 0; round < 3; round++) {
    const woken = b.wait(Infinity);
    send(a, peer, [numbered(round, 10)]);
    await woken;
    // Far more than the port stays in the waker for.
    for (let i = 0; i < 200; i++) {
      b.pool.commit(burst.slot, b.rxBurst(burst), 0);
      send(a, peer, [numbered(i, 10)]);
    }
    while (b.rxBurst(burst) > 0) b.pool.commit(burst.slot, burst.count, 0);
  }
  await a.close();
  await b.close();
});

nativeTest("NL-F-009: frames carry the kernel's receive time", async () => {
  const [a, b] = [await opened(), await opened(VNI, { timestamps: true })];
  const before = BigInt(Date.now() - 1) * 1_000_000n;
  send(a, a.peer(b.localAddress), [numbered(1, 10)]);
  await b.wait(Infinity);
  const burst = new Burst();
  assert.equal(b.rxBurst(burst), 1);
  const time = BigInt(burst.timeHigh[0]) << 32n | BigInt(burst.timeLow[0]);
  assert(time >= before && time <= BigInt(Date.now() + 1) * 1_000_000n, `${time}`);
  b.pool.free(burst.slot[0]);
  a.close();
  b.close();
});

nativeTest(
  "NL-P-003: what the kernel's buffer cannot hold is counted as a full queue",
  async () => {
    const a = await opened();
    const b = await openUdpNativePort({ listen: loopback, vni: VNI, socketBufferBytes: 4096 });
    const peer = a.peer(b.localAddress);
    for (let n = 0; n < 60; n++) send(a, peer, [numbered(n, 1000)]);
    b.poll();
    // The count comes with the next frame that gets in.
    send(a, peer, [numbered(60, 10)]);
    b.poll();
    const { rxFrames, rxQueueFull } = b.stats();
    assert(rxQueueFull > 0);
    assert.equal(rxFrames + rxQueueFull, 61);
    a.close();
    b.close();
  },
);

nativeTest(
  "NL-P-003: a burst past a small send buffer passes, taken in parts where need be",
  async () => {
    const a = await openUdpNativePort({
      listen: loopback,
      vni: VNI,
      socketBufferBytes: 4096,
      without: ["gso"],
    });
    const b = await opened();
    const frames = Array.from({ length: 64 }, (_, n) => numbered(n, 1500));
    const burst = new Burst();
    for (const frame of frames) push(a, burst, a.peer(b.localAddress), frame);
    while (burst.count > 0) {
      burst.shift(a.txBurst(burst));
      if (burst.count > 0) await a.wait(Infinity);
    }
    assert.deepEqual(await receive(b, 64), frames);
    a.close();
    b.close();
  },
);

nativeTest("NL-P-006: native and portable ports speak to each other", async () => {
  const native = await opened();
  const portable = await openUdpPort({ listen: loopback, vni: VNI });
  const frames = Array.from({ length: 50 }, (_, n) => numbered(n, n < 25 ? 1000 : 10 * n));
  send(native, native.peer(portable.localAddress), frames);
  assert.deepEqual(await receive(portable, frames.length), frames);
  send(portable, portable.peer(native.localAddress), frames);
  assert.deepEqual(await receive(native, frames.length), frames);
  native.close();
  await portable.close();
});

nativeTest("NL-P-003: a pool of 64 KiB slots carries the largest datagrams", async () => {
  const pool = () => new Pool({ slotBytes: SLOT_BYTES.large, slots: 8 });
  const a = await openUdpNativePort({ listen: loopback, vni: VNI, pool: pool() });
  const b = await openUdpNativePort({ listen: loopback, vni: VNI, pool: pool() });
  assert.equal(a.frameBytesMax, 65_507 - OVERLAY_BYTES);
  const frames = [numbered(1, a.frameBytesMax - 68), numbered(2, 60_000)];
  send(a, a.peer(b.localAddress), frames);
  assert.deepEqual(await receive(b, 2), frames);
  a.close();
  b.close();
});

nativeTest(
  "NL-P-006: the peer table is bounded and a forgotten number never means another peer",
  async () => {
    await using port = await opened();
    const known = port.peer({ host: "10.0.0.1", port: 1 });
    for (let n = 0; n < 5000; n++) port.peer({ host: "10.1.0.1", port: 1 + n });
    // 4,096 known peers; the oldest gave way, numbers are not reused.
    assert.equal(port.peerAddress(known), undefined);
    const again = port.peer({ host: "10.0.0.1", port: 1 });
    assert(again >= 5001);
    assert.deepEqual(port.peerAddress(again), { host: "10.0.0.1", port: 1 });
  },
);

type Closing = UdpNativePort & AsyncDisposable;

async function opened(vni = VNI, more: Partial<UdpNativePortOptions> = {}): Promise<Closing> {
  const port = await openUdpNativePort({ listen: loopback, vni, ...more });
  return Object.assign(port, { [Symbol.asyncDispose]: async () => await port.close() });
}

function numbered(sequence: number, payloadBytes: number): Uint8Array {
  return buildFrame({ sequence }, [], new Uint8Array(payloadBytes).fill(sequence));
}

function push(port: Port, burst: Burst, peer: number, frame: Uint8Array, flags = 0): void {
  const slot = port.pool.alloc();
  port.pool.bytes.set(frame, port.pool.frameOffsetOf(slot));
  burst.push(slot, port.pool.frameOffsetOf(slot), frame.length, flags, peer);
}

function send(port: Port, peer: number, frames: Uint8Array[]): void {
  const burst = new Burst();
  for (const frame of frames) push(port, burst, peer, frame);
  assert.equal(port.txBurst(burst), frames.length);
}

function sendMarked(port: Port, peer: number, marks: number[]): void {
  const burst = new Burst();
  marks.forEach((mark, n) => push(port, burst, peer, numbered(n, 10), mark));
  assert.equal(port.txBurst(burst), marks.length);
}

async function receive(port: Port, count: number): Promise<Uint8Array[]> {
  const burst = new Burst();
  const frames: Uint8Array[] = [];
  while (frames.length < count) {
    await port.wait(Infinity);
    port.rxBurst(burst);
    for (let i = 0; i < burst.count; i++) {
      frames.push(port.pool.bytes.slice(burst.offset[i], burst.offset[i] + burst.length[i]));
      port.pool.free(burst.slot[i]);
    }
  }
  return frames;
}

/** As receive, for a port of trains. */
async function receiveAll(port: Port, count: number): Promise<Uint8Array[]> {
  const burst = new Burst();
  const frames: Uint8Array[] = [];
  while (frames.length < count) {
    await port.wait(Infinity);
    port.rxBurst(burst);
    for (let i = 0; i < burst.count; i++) {
      const end = burst.offset[i] + burst.length[i];
      const segment = burst.segment[i] || burst.length[i] + OVERLAY_BYTES;
      for (let at = burst.offset[i]; at < end; at += segment) {
        frames.push(port.pool.bytes.slice(at, Math.min(at + segment - OVERLAY_BYTES, end)));
      }
      port.pool.free(burst.slot[i]);
    }
  }
  return frames;
}

/** One turn of the event loop: sockets are polled. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
