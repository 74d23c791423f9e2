import assert from "node:assert/strict";
import { buildFrame, Burst, Pool, type Port } from "../../lib/l1_link/mod.ts";
import { openUdpPort, type UdpPort } from "../../lib/io/udp_port.ts";
import { portConformance, type PortHarness } from "../l1_link/port_conformance.ts";
import { IPV6 } from "../support/ipv6.ts";
import { testNeeding } from "../support/needs.ts";

const VNI = 5;
const loopback = { host: "127.0.0.1", port: 0 };

/** Turns of the event loop that an effect on loopback may take at most. */
const TURNS_MAX = 5000;

class UdpHarness implements PortHarness {
  readonly #raw: Deno.DatagramConn;

  constructor(readonly host: string) {
    this.#raw = Deno.listenDatagram({ transport: "udp", hostname: host, port: 0 });
  }
  open(options: { vni: number; pool: Pool; rxFramesMax?: number }) {
    return openUdpPort({ listen: { host: this.host, port: 0 }, ...options });
  }
  async sendRaw(to: Port, datagram: Uint8Array) {
    const { host, port } = to.localAddress;
    await this.#raw.send(datagram, { transport: "udp", hostname: host, port });
  }
  async settle(condition: () => boolean) {
    for (let turn = 0; !condition(); turn++) {
      assert(turn < TURNS_MAX, `not so after ${TURNS_MAX} turns: ${condition}`);
      await nextTurn();
    }
  }
  elapse() {}
  close() {
    this.#raw.close();
    return Promise.resolve();
  }
}

portConformance("udp over IPv4", () => new UdpHarness("127.0.0.1"));
if (IPV6.present) portConformance("udp over IPv6", () => new UdpHarness("::1"));
else testNeeding([IPV6], "udp over IPv6: all of the port's conformance", () => {});

Deno.test("NL-P-002: an address in use is one typed error on one line", async () => {
  const port = await openUdpPort({ listen: loopback, vni: VNI });
  try {
    await assert.rejects(openUdpPort({ listen: port.localAddress, vni: VNI }), (thrown: Error) => {
      assert.equal((thrown as Error & { code: string }).code, "ADDRESS_IN_USE");
      assert(!thrown.message.includes("\n"));
      assert(thrown.message.includes(`127.0.0.1:${port.localAddress.port}`));
      return true;
    });
  } finally {
    await port.close();
  }
});

Deno.test("NL-P-002: an address of another machine and a wrong VNI are typed errors", async () => {
  await assert.rejects(openUdpPort({ listen: { host: "192.0.2.1", port: 0 }, vni: VNI }), {
    code: "ADDRESS_NOT_AVAILABLE",
  });
  await assert.rejects(openUdpPort({ listen: loopback, vni: 2 ** 24 }), { code: "INVALID_VNI" });
});

Deno.test("NL-P-002: a peer must be numeric, in any spelling", async () => {
  const port = await openUdpPort({ listen: loopback, vni: VNI });
  try {
    assert.throws(() => port.peer({ host: "localhost", port: 1 }), { code: "INVALID_ADDRESS" });
    const peer = port.peer({ host: "0:0:0:0:0:0:0:1", port: 1 });
    assert.equal(port.peer({ host: "::1", port: 1 }), peer);
    assert.deepEqual(port.peerAddress(peer), { host: "::1", port: 1 });
  } finally {
    await port.close();
  }
});

Deno.test("NL-P-002: a frame that the system refuses to send is counted, never thrown", async () => {
  const port = await openUdpPort({ listen: loopback, vni: VNI });
  // An IPv4 socket cannot reach an IPv6 address.
  sendOne(port, port.peer({ host: "::1", port: 9 }));
  await port.close();
  assert.equal(port.stats().txErrors, 1);
  assert.equal(port.pool.available, port.pool.slots);
});

Deno.test("NL-P-002: a frame longer than the system's datagrams is counted, never thrown", async () => {
  const pool = new Pool({ slotBytes: 131_072, slots: 2 });
  const port = await openUdpPort({ listen: loopback, vni: VNI, pool });
  const burst = new Burst();
  const slot = pool.alloc();
  burst.push(slot, pool.frameOffsetOf(slot), 65_500, 0, port.peer(port.localAddress));
  assert.equal(port.txBurst(burst), 1);
  await port.close();
  assert.equal(port.stats().txErrors, 1);
});

Deno.test("NL-P-002: a burst past what may be in flight is taken in part, and wait says when there is room", async () => {
  const [a, b] = [
    await openUdpPort({ listen: loopback, vni: VNI }),
    await openUdpPort({
      listen: loopback,
      vni: VNI,
    }),
  ];
  try {
    // Nothing leaves before the first await, so the queue must fill up.
    const peer = a.peer(b.localAddress);
    const burst = new Burst();
    let frames = 0;
    do {
      while (!burst.full) pushOne(a, burst, peer, frames++);
      burst.shift(a.txBurst(burst));
    } while (burst.count === 0);
    while (burst.count > 0) {
      await a.wait(Infinity);
      burst.shift(a.txBurst(burst));
    }
    for (let arrived = 0; arrived < frames; arrived += burst.count) {
      await b.wait(Infinity);
      b.rxBurst(burst);
      for (let i = 0; i < burst.count; i++) {
        assert.equal(b.pool.view.getUint32(burst.offset[i] + 12), arrived + i);
        b.pool.free(burst.slot[i]);
      }
    }
  } finally {
    await a.close();
    await b.close();
  }
});

Deno.test("NL-P-002: scripted loss drops the same frames for the same seed", async () => {
  async function survivors(seed: number): Promise<number[]> {
    const b = await openUdpPort({ listen: loopback, vni: VNI });
    const a = await openUdpPort({ listen: loopback, vni: VNI, faults: { lossRate: 0.3, seed } });
    const sequences: number[] = [];
    const burst = new Burst();
    for (let n = 0; n < 60; n++) pushOne(a, burst, a.peer(b.localAddress), n);
    a.txBurst(burst);
    await a.close();
    const { txFaults, txFrames } = a.stats();
    assert.equal(txFaults + txFrames, 60);
    assert(txFaults > 5 && txFaults < 35, `${txFaults} of 60 dropped`);
    while (sequences.length < txFrames) {
      await b.wait(Infinity);
      b.rxBurst(burst);
      for (let i = 0; i < burst.count; i++) {
        sequences.push(b.pool.view.getUint32(burst.offset[i] + 12));
        b.pool.free(burst.slot[i]);
      }
    }
    await b.close();
    return sequences;
  }
  const first = await survivors(7);
  assert.deepEqual(await survivors(7), first);
  assert.notDeepEqual(await survivors(8), first);
});

testNeeding(
  [IPV6],
  "NL-O-002: a socket on :: hears IPv4 senders under their IPv4 address",
  async () => {
    const all = await openUdpPort({ listen: { host: "::", port: 0 }, vni: VNI });
    const v4 = await openUdpPort({ listen: loopback, vni: VNI });
    try {
      sendOne(v4, v4.peer({ host: "127.0.0.1", port: all.localAddress.port }));
      await all.wait(Infinity);
      const burst = new Burst();
      assert.equal(all.rxBurst(burst), 1);
      all.pool.free(burst.slot[0]);
      assert.deepEqual(all.peerAddress(burst.peer[0]), v4.localAddress);
      sendOne(all, burst.peer[0]);
      await v4.wait(Infinity);
      assert.equal(v4.stats().rxFrames, 1);
    } finally {
      await all.close();
      await v4.close();
    }
  },
);

function pushOne(port: UdpPort, burst: Burst, peer: number, sequence = 0): void {
  const slot = port.pool.alloc();
  const frame = buildFrame({ sequence });
  port.pool.bytes.set(frame, port.pool.frameOffsetOf(slot));
  burst.push(slot, port.pool.frameOffsetOf(slot), frame.length, 0, peer);
}

function sendOne(port: UdpPort, peer: number): void {
  const burst = new Burst();
  pushOne(port, burst, peer);
  assert.equal(port.txBurst(burst), 1);
}

/** One turn of the event loop: sockets are polled. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
