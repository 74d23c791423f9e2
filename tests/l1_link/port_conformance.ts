/**
 * The contract of `Port` as tests (NL-P-006). Every port runs the same suite:
 *
 *     portConformance("udp", () => new UdpHarness());
 */
import assert from "node:assert/strict";
import { toHex } from "../../lib/base/mod.ts";
import {
  buildFrame,
  Burst,
  BURST_FRAMES_MAX,
  decodeFrame,
  Flag,
  FrameError,
  FrameInfo,
  type FrameOption,
  OPTION_HEADER_BYTES,
  optionBytes,
  OptionType,
  OVERLAY_BYTES,
  padFor,
  Pool,
  type Port,
  writeOverlay,
} from "../../lib/l1_link/mod.ts";

/** What the suite needs of a kind of port. One harness per test; all its ports reach each other. */
export interface PortHarness {
  open(options: { vni: number; pool: Pool; rxFramesMax?: number }): Promise<Port>;
  /** Sends bytes to a port from an address that is no port. */
  sendRaw(to: Port, datagram: Uint8Array): Promise<void>;
  /** Waits until what was sent has had its effect. */
  settle(condition: () => boolean): Promise<void>;
  /** Lets at least `us` pass. Real time passes by itself. */
  elapse(us: number): void;
  /** Closes what the harness itself opened. */
  close(): Promise<void>;
}

const VNI = 0x010203;

/** A frame that carries its number. */
function numbered(n: number, payloadBytes = 10): Uint8Array {
  return buildFrame({ sequence: n }, [], new Uint8Array(payloadBytes).fill(n));
}

/** Puts frames in slots of the port's pool and sends them; all must be taken. */
function send(port: Port, peer: number, ...frames: Uint8Array[]): void {
  const burst = new Burst();
  for (const frame of frames) push(port, burst, peer, frame);
  assert.equal(port.txBurst(burst), frames.length);
}

function push(port: Port, burst: Burst, peer: number, frame: Uint8Array, shift = 0): void {
  const slot = port.pool.alloc();
  const offset = port.pool.frameOffsetOf(slot) + shift;
  port.pool.bytes.set(frame, offset);
  burst.push(slot, offset, frame.length, 0, peer);
}

/** Everything that waits at the port, as copies; the slots are freed. */
function receive(port: Port): { bytes: Uint8Array; peer: number }[] {
  const burst = new Burst();
  const frames = [];
  while (port.rxBurst(burst) > 0) {
    for (let i = 0; i < burst.count; i++) {
      const bytes = port.pool.bytes.slice(burst.offset[i], burst.offset[i] + burst.length[i]);
      frames.push({ bytes, peer: burst.peer[i] });
      port.pool.free(burst.slot[i]);
    }
  }
  return frames;
}

/** Receives until `count` frames are there. */
async function receiveFrames(port: Port, count: number): Promise<Uint8Array[]> {
  const frames = receive(port);
  while (frames.length < count) {
    await port.wait(Infinity);
    frames.push(...receive(port));
  }
  return frames.map(({ bytes }) => bytes);
}

/** Registers the suite for one kind of port. */
export function portConformance(kind: string, makeHarness: () => PortHarness): void {
  function test(behaviour: string, body: (harness: PortHarness, open: Open) => Promise<void>) {
    Deno.test(`NL-P-006: ${kind} port: ${behaviour}`, async () => {
      const harness = makeHarness();
      const ports: Port[] = [];
      const open: Open = async (options = {}) => {
        const pool = new Pool({ slots: options.slots ?? 256 });
        const port = await harness.open({ vni: options.vni ?? VNI, pool, ...options });
        ports.push(port);
        return port;
      };
      try {
        await body(harness, open);
      } finally {
        for (const port of ports) await port.close();
        await harness.close();
      }
      for (const { pool } of ports) assert.equal(pool.available, pool.slots, "a slot was lost");
    });
  }
  type Open = (
    options?: { vni?: number; slots?: number; rxFramesMax?: number },
  ) => Promise<Port>;

  test("a frame arrives unchanged and names its sender", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    send(a, a.peer(b.localAddress), numbered(1));
    await b.wait(Infinity);
    const [{ bytes, peer }] = receive(b);
    assert.deepEqual(bytes, numbered(1));
    assert.deepEqual(b.peerAddress(peer), a.localAddress);
    assert.equal(b.peer(a.localAddress), peer);
  });

  test("an answer to the sender's number reaches it", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    send(a, a.peer(b.localAddress), numbered(1));
    await b.wait(Infinity);
    send(b, receive(b)[0].peer, numbered(2));
    assert.deepEqual(await receiveFrames(a, 1), [numbered(2)]);
  });

  test("received frames start on a 64-byte line with headroom", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    send(a, a.peer(b.localAddress), numbered(1), numbered(2));
    await receiveOne(b, (burst, i) => {
      assert.equal(burst.offset[i] % 64, 0);
      assert(burst.offset[i] - b.pool.offsetOf(burst.slot[i]) >= 64);
    });
  });

  test(
    "a payload that is aligned in the sender's slot is so in the receiver's",
    async (_harness, open) => {
      const [a, b] = [await open(), await open()];
      for (const alignment of [16, 32, 64]) {
        const shape: FrameOption = { type: OptionType.TENSOR_SHAPE, dims: [2, 3] };
        const length = padFor(optionBytes(shape), alignment) - OPTION_HEADER_BYTES;
        const options: FrameOption[] = [shape, { type: OptionType.PAD, length }];
        const fields = { flags: Flag.TENSOR_PAYLOAD, tensorAlignment: alignment };
        send(a, a.peer(b.localAddress), buildFrame(fields, options, new Uint8Array(24).fill(7)));
        const info = new FrameInfo();
        await receiveOne(b, ({ offset, length }, i) => {
          const { bytes, view } = b.pool;
          assert.equal(decodeFrame(bytes, view, offset[i], length[i], info), FrameError.OK);
          assert.equal(info.tensorAlignment, alignment);
          assert.equal(info.payloadOffset % alignment, 0);
          assert.equal(bytes[info.payloadOffset], 7);
        });
      }
    },
  );

  test("a frame may lie anywhere in its slot behind the overlay", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    const burst = new Burst();
    const peer = a.peer(b.localAddress);
    push(a, burst, peer, numbered(1), OVERLAY_BYTES - 64);
    push(a, burst, peer, numbered(2), 333);
    assert.equal(a.txBurst(burst), 2);
    assert.deepEqual(await receiveFrames(b, 2), [numbered(1), numbered(2)]);
  });

  test("a full burst arrives in order and is counted", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    const frames = Array.from({ length: BURST_FRAMES_MAX }, (_, n) => numbered(n, 100 + n));
    send(a, a.peer(b.localAddress), ...frames);
    const arrived = await receiveFrames(b, frames.length);
    assert.deepEqual(arrived.map(toHex), frames.map(toHex));
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
    assert.deepEqual([b.stats().rxFrames, b.stats().rxBytes], [frames.length, bytes]);
    assert.deepEqual([a.stats().txFrames, a.stats().txBytes], [frames.length, bytes]);
  });

  test("the longest frame arrives, a longer or shorter one is counted", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    const peer = a.peer(b.localAddress);
    const longest = numbered(3, a.frameBytesMax - 68);
    send(a, peer, longest);
    assert.deepEqual(await receiveFrames(b, 1), [longest]);

    const burst = new Burst();
    for (const length of [a.frameBytesMax + 1, 67]) {
      const slot = a.pool.alloc();
      burst.push(slot, a.pool.frameOffsetOf(slot), length, 0, peer);
    }
    assert.equal(a.txBurst(burst), 2);
    assert.equal(a.stats().txErrors, 2);
    send(a, peer, numbered(4));
    assert.deepEqual(await receiveFrames(b, 1), [numbered(4)]);
  });

  test("frames of another tenant are dropped and counted", async (harness, open) => {
    const [a, b, other] = [await open(), await open(), await open({ vni: VNI + 1 })];
    send(other, other.peer(b.localAddress), numbered(1));
    await harness.settle(() => b.stats().rxWrongVni === 1);
    send(a, a.peer(b.localAddress), numbered(2));
    assert.deepEqual(await receiveFrames(b, 1), [numbered(2)]);
  });

  test("datagrams that are no overlay are dropped and counted", async (harness, open) => {
    const b = await open();
    const valid = new Uint8Array(OVERLAY_BYTES + 78);
    valid.set(numbered(1), OVERLAY_BYTES);
    writeOverlay(valid, 0, VNI);
    const version = valid.slice();
    version[0] = 0x20;
    const garbage = [new Uint8Array(0), new Uint8Array(7), valid.slice(0, 75), version];
    for (const datagram of garbage) await harness.sendRaw(b, datagram);
    await harness.settle(() => b.stats().rxMalformed === garbage.length);
    await harness.sendRaw(b, valid);
    assert.deepEqual(await receiveFrames(b, 1), [numbered(1)]);
  });

  test("a frame longer than a slot is dropped and counted", async (harness, open) => {
    const b = await open();
    const long = new Uint8Array(OVERLAY_BYTES + b.frameBytesMax + 1);
    writeOverlay(long, 0, VNI);
    await harness.sendRaw(b, long);
    await harness.settle(() => b.stats().rxTooLong === 1);
    assert.deepEqual(receive(b), []);
  });

  test(
    "with an empty pool frames are dropped and counted, then flow again",
    async (harness, open) => {
      const [a, b] = [await open(), await open({ slots: 2 })];
      const peer = a.peer(b.localAddress);
      send(a, peer, numbered(1), numbered(2), numbered(3));
      await harness.settle(() => b.stats().rxNoSlot === 1);
      assert.deepEqual(receive(b).map(({ bytes }) => bytes), [numbered(1), numbered(2)]);
      send(a, peer, numbered(4));
      assert.deepEqual(await receiveFrames(b, 1), [numbered(4)]);
    },
  );

  test("the receive queue is bounded, what exceeds it is counted", async (harness, open) => {
    const [a, b] = [await open(), await open({ rxFramesMax: 3 })];
    send(a, a.peer(b.localAddress), ...[1, 2, 3, 4, 5].map((n) => numbered(n)));
    await harness.settle(() => b.stats().rxQueueFull === 2);
    assert.equal(receive(b).length, 3);
  });

  test("a peer number that is not in the table is counted, not sent", async (_harness, open) => {
    const a = await open();
    send(a, 12_345, numbered(1));
    send(a, -1, numbered(1));
    assert.equal(a.stats().txUnknownPeer, 2);
    assert.equal(a.peerAddress(12_345), undefined);
  });

  test("wait takes any time that a deadline can be", async (harness, open) => {
    const port = await open();
    for (const timeoutUs of [0, 0.25, 3.7, 49.999, 50.001, 1_000.5, -1]) {
      const waited = port.wait(timeoutUs);
      harness.elapse(Math.max(1, Math.ceil(timeoutUs)));
      await waited;
    }
    assert.equal(receive(port).length, 0);
  });

  test("wait resolves at once while frames wait", async (harness, open) => {
    const [a, b] = [await open(), await open()];
    send(a, a.peer(b.localAddress), numbered(1));
    await harness.settle(() => b.stats().rxFrames === 1);
    await b.wait(Infinity);
    assert.equal(receive(b).length, 1);
  });

  test("wait ends when its time is over", async (harness, open) => {
    const b = await open();
    const waiting = b.wait(2000);
    harness.elapse(2000);
    await waiting;
    assert.equal(receive(b).length, 0);
    await b.wait(0);
  });

  test("wake ends the waits that are open and no later one", async (harness, open) => {
    const b = await open();
    const waits = [b.wait(Infinity), b.wait(1e12)];
    b.wake();
    await Promise.all(waits);
    b.wake();
    const order: string[] = [];
    const later = b.wait(2000).then(() => order.push("wait"));
    await Promise.resolve().then(() => order.push("turn"));
    harness.elapse(2000);
    await later;
    assert.deepEqual(order, ["turn", "wait"]);
  });

  test("a frame ends every wait, close too", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    const waits = [b.wait(Infinity), b.wait(1e12)];
    send(a, a.peer(b.localAddress), numbered(1));
    await Promise.all(waits);
    receive(b);
    const more = [b.wait(Infinity), b.wait(1e12)];
    await b.close();
    await Promise.all(more);
    await b.wait(Infinity);
  });

  test(
    "a closed port takes nothing, keeps no slot, and may be closed again",
    async (harness, open) => {
      const [a, b] = [await open(), await open()];
      send(a, a.peer(b.localAddress), numbered(1), numbered(2));
      await harness.settle(() => b.stats().rxFrames === 2);
      await b.close();
      await b.close();
      assert.equal(b.pool.available, b.pool.slots);
      const burst = new Burst();
      push(b, burst, b.peer(a.localAddress), numbered(3));
      assert.equal(b.txBurst(burst), 0);
      b.pool.free(burst.slot[0]);
      assert.equal(b.rxBurst(burst), 0);
    },
  );

  test("frames sent just before close still leave", async (_harness, open) => {
    const [a, b] = [await open(), await open()];
    send(a, a.peer(b.localAddress), numbered(1));
    await a.close();
    assert.deepEqual(await receiveFrames(b, 1), [numbered(1)]);
  });

  test("a frame to nobody changes nothing but counters", async (harness, open) => {
    const [a, b] = [await open(), await open()];
    const gone = await open();
    await gone.close();
    send(a, a.peer(gone.localAddress), numbered(1));
    send(a, a.peer(b.localAddress), numbered(2));
    assert.deepEqual(await receiveFrames(b, 1), [numbered(2)]);
    await harness.settle(() => a.pool.available === a.pool.slots);
  });
}

async function receiveOne(port: Port, check: (burst: Burst, i: number) => void): Promise<void> {
  await port.wait(Infinity);
  const burst = new Burst();
  port.rxBurst(burst);
  for (let i = 0; i < burst.count; i++) {
    check(burst, i);
    port.pool.free(burst.slot[i]);
  }
}
