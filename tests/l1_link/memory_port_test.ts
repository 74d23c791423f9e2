import assert from "node:assert/strict";
import { buildFrame, Burst, type Fate, MemoryNetwork, Pool } from "../../lib/l1_link/mod.ts";
import { portConformance, type PortHarness } from "./port_conformance.ts";

class MemoryHarness implements PortHarness {
  readonly #network = new MemoryNetwork();
  #ports = 0;

  open(options: { vni: number; pool: Pool; rxFramesMax?: number }) {
    const address = { host: "10.0.0.1", port: ++this.#ports };
    return Promise.resolve(this.#network.open({ address, ...options }));
  }
  sendRaw(to: { localAddress: { host: string; port: number } }, datagram: Uint8Array) {
    this.#network.inject({ host: "10.9.9.9", port: 9 }, to.localAddress, datagram);
    return Promise.resolve();
  }
  settle(condition: () => boolean) {
    assert(condition());
    return Promise.resolve();
  }
  elapse(us: number) {
    this.#network.advance(us);
  }
  close() {
    return Promise.resolve();
  }
}

portConformance("memory", () => new MemoryHarness());

/** Sends frames with sequence 0 … n-1 under a script; returns the sequences that arrive. */
function run(
  count: number,
  script: (index: number, datagram: Uint8Array) => Fate,
  after?: (network: MemoryNetwork) => void,
) {
  const network = new MemoryNetwork((_from, _to, datagram, index) => script(index, datagram));
  const a = network.open({ address: { host: "a", port: 1 }, vni: 1 });
  const b = network.open({ address: { host: "b", port: 1 }, vni: 1 });
  const burst = new Burst();
  for (let n = 0; n < count; n++) {
    const slot = a.pool.alloc();
    const frame = buildFrame({ sequence: n });
    a.pool.bytes.set(frame, a.pool.frameOffsetOf(slot));
    burst.push(slot, a.pool.frameOffsetOf(slot), frame.length, 0, a.peer(b.localAddress));
  }
  a.txBurst(burst);
  after?.(network);
  b.rxBurst(burst);
  return Array.from({ length: burst.count }, (_, i) => b.pool.view.getUint32(burst.offset[i] + 12));
}

Deno.test("NL-P-001: a script drops the datagrams it names", () => {
  assert.deepEqual(run(5, (index) => index % 2 === 1 ? "drop" : "deliver"), [0, 2, 4]);
});

Deno.test("NL-P-001: a script duplicates the datagrams it names", () => {
  assert.deepEqual(run(3, (index) => index === 1 ? "duplicate" : "deliver"), [0, 1, 1, 2]);
});

Deno.test("NL-P-001: held datagrams arrive late and in order", () => {
  const hold = (index: number): Fate => index < 2 ? "hold" : "deliver";
  assert.deepEqual(run(4, hold), [2, 3]);
  assert.deepEqual(
    run(4, hold, (network) => assert.equal(network.releaseHeld(), 2)),
    [2, 3, 0, 1],
  );
});

Deno.test("NL-P-001: what a script changes in a datagram is what arrives", () => {
  assert.deepEqual(run(1, (_index, datagram) => (datagram[8 + 15] = 99, "deliver")), [99]);
});

Deno.test("NL-P-001: an address that is in use is refused, and free again after close", () => {
  const network = new MemoryNetwork();
  const address = { host: "a", port: 1 };
  const port = network.open({ address, vni: 1 });
  assert.throws(() => network.open({ address, vni: 1 }), { code: "ADDRESS_IN_USE" });
  port.close();
  network.open({ address, vni: 1 });
});

Deno.test("NL-P-001: a wait ends exactly when the virtual clock reaches its deadline", async () => {
  const network = new MemoryNetwork();
  const port = network.open({ address: { host: "a", port: 1 }, vni: 1 });
  let done = false;
  const waiting = port.wait(1000).then(() => done = true);
  network.advance(999);
  await Promise.resolve();
  assert.equal(done, false);
  network.advance(1);
  await waiting;
});
