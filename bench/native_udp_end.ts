/**
 * One end of a native UDP measurement, in a process of its own (started by native_udp.ts):
 *
 *     rx SECONDS                      prints its port, then "BYTES SECONDS" of frames received
 *     tx PORT FRAME_BYTES SECONDS     sends full bursts of frames
 *     both FRAME_BYTES SECONDS        sends a train and receives it, in turn: prints the same
 *     echo SPIN_US | tcp-echo         prints its port, then answers until it is ended
 *     ping PORT SPIN_US COUNT         prints the median round trip in ns of a 64-byte payload
 *     tcp-ping PORT COUNT             the same over the runtime's TCP
 */
import { bestPoolMemory } from "../lib/io/pool_memory.ts";
import { openUdpNativePort, type UdpNativePort } from "../lib/io/udp_native_port.ts";
import { buildFrame, Burst, OVERLAY_BYTES, Pool, SLOT_BYTES } from "../lib/l1_link/mod.ts";
import { median } from "./row.ts";

const VNI = 1;
const SLOTS = 64;
const PAYLOAD_BYTES = 64;
const START_MS_MAX = 10_000;
/** Not measured: until the compiler is done. The raw loop has nothing to warm up. */
const WARM_UP_MS = 300;
const WARM_UP_PINGS = 10_000;
// Flow control as in ffi/native/bench/raw_loop.c: a credit for each so many bytes, a window ahead.
const CREDIT_BYTES = 256 * 1024;
const WINDOW_BYTES = 2 * 1024 * 1024;
const STALL_MS = 50;
/** Bytes of a train: the largest IP packet less IPv6 and UDP headers. */
const TRAIN_BYTES_MAX = 65_487;

const roles: Record<string, (...args: number[]) => Promise<void>> = {
  rx: receive,
  tx: transmit,
  both,
  echo,
  ping,
  "tcp-echo": tcpEcho,
  "tcp-ping": tcpPing,
};
function open(spinUsMax = 0): Promise<UdpNativePort> {
  // The memory that a node takes.
  const memory = bestPoolMemory(SLOTS * SLOT_BYTES.large);
  const pool = new Pool({ slotBytes: SLOT_BYTES.large, slots: SLOTS, memory });
  return openUdpNativePort({
    listen: { host: "127.0.0.1", port: 0 },
    vni: VNI,
    pool,
    spinUsMax,
    trains: true,
  });
}

async function receive(seconds: number): Promise<void> {
  const port = await open();
  console.log(port.localAddress.port);
  const burst = new Burst();
  const begin = performance.now();
  let began = 0;
  let first = 0;
  let last = 0;
  let bytes = 0;
  let warm = 0;
  let credited = 0;
  const credit = new Burst();
  for (;;) {
    const count = port.rxBurst(burst);
    const now = performance.now();
    if (count > 0) {
      if (began === 0) began = now;
      if (first === 0 && now > began + WARM_UP_MS) [first, warm] = [now, bytes];
      for (let i = 0; i < count; i++) bytes += frameBytesOf(burst, i);
      port.pool.commit(burst.slot, count, 0);
      last = now;
      for (; bytes - credited >= CREDIT_BYTES; credited += CREDIT_BYTES) {
        const slot = port.pool.alloc();
        credit.clear();
        credit.push(slot, port.pool.frameOffsetOf(slot), 68, 0, burst.peer[0]);
        port.txBurst(credit);
      }
    }
    if (first === 0 ? now > begin + START_MS_MAX : now > first + 1000 * seconds) break;
  }
  console.log(`${bytes - warm} ${(last - first) / 1000}`);
}

/** Fills bursts with one train of frames, back to back in a slot that holds them already. */
class Trains {
  readonly burst = new Burst();
  readonly frames: number;

  constructor(readonly port: UdpNativePort, readonly peer: number, readonly frameBytes: number) {
    const { pool } = port;
    const frame = buildFrame({}, [], new Uint8Array(frameBytes - 68));
    this.frames = Math.min(64, Math.floor(TRAIN_BYTES_MAX / (frameBytes + OVERLAY_BYTES)));
    for (let slot = 0; slot < pool.slots; slot++) {
      for (let i = 0; i < this.frames; i++) pool.bytes.set(frame, this.#frameAt(slot, i));
    }
  }

  #frameAt(slot: number, i: number): number {
    return this.port.pool.frameOffsetOf(slot) + i * (this.frameBytes + OVERLAY_BYTES);
  }

  send(): void {
    const { burst, port: { pool }, frames } = this;
    const slot = pool.alloc();
    const segment = this.frameBytes + OVERLAY_BYTES;
    const bytes = frames * segment - OVERLAY_BYTES;
    burst.clear();
    burst.push(slot, pool.frameOffsetOf(slot), bytes, 0, this.peer, segment);
    if (this.port.txBurst(burst) === 0) pool.free(slot);
  }
}

/** Frame bytes of a descriptor, overlays left out. */
function frameBytesOf(burst: Burst, i: number): number {
  return burst.length[i] - (burst.framesAt(i) - 1) * OVERLAY_BYTES;
}

async function transmit(to: number, frameBytes: number, seconds: number): Promise<void> {
  const port = await open();
  const trains = new Trains(port, port.peer({ host: "127.0.0.1", port: to }), frameBytes);
  const credits = new Burst();
  let ahead = 0;
  let sentMs = performance.now();
  for (let now = sentMs, end = now + 1000 * seconds; now < end; now = performance.now()) {
    // Looking costs a system call: only with little room left.
    if (ahead >= WINDOW_BYTES / 2) {
      port.rxBurst(credits);
      // Credits that came together are one train.
      for (let i = 0; i < credits.count; i++) ahead -= CREDIT_BYTES * credits.framesAt(i);
      port.pool.commit(credits.slot, credits.count, 0);
    }
    if (ahead < WINDOW_BYTES) {
      trains.send();
      ahead += trains.frames * frameBytes;
      sentMs = now;
    } else if (now > sentMs + STALL_MS) ahead = 0;
  }
}

async function both(frameBytes: number, seconds: number): Promise<void> {
  const [from, to] = [await open(), await open()];
  const trains = new Trains(from, from.peer(to.localAddress), frameBytes);
  const burst = new Burst();
  let bytes = 0;
  const run = (ms: number) => {
    bytes = 0;
    const begin = performance.now();
    let now = begin;
    for (; now < begin + ms; now = performance.now()) {
      trains.send();
      to.rxBurst(burst);
      for (let i = 0; i < burst.count; i++) bytes += frameBytesOf(burst, i);
      to.pool.commit(burst.slot, burst.count, 0);
    }
    return now - begin;
  };
  run(WARM_UP_MS);
  const ms = run(1000 * seconds);
  console.log(`${bytes} ${ms / 1000}`);
}

async function echo(spinUs: number): Promise<void> {
  const port = await open(spinUs);
  console.log(port.localAddress.port);
  const burst = new Burst();
  for (;;) {
    await port.wait(Infinity);
    if (port.rxBurst(burst) > 0) port.txBurst(burst);
  }
}

async function ping(to: number, spinUs: number, count: number): Promise<void> {
  const port = await open(spinUs);
  const peer = port.peer({ host: "127.0.0.1", port: to });
  const frame = buildFrame({}, [], new Uint8Array(PAYLOAD_BYTES));
  const burst = new Burst();
  const times: number[] = [];
  for (let i = -WARM_UP_PINGS; i < count; i++) {
    const begin = performance.now();
    const slot = port.pool.alloc();
    port.pool.bytes.set(frame, port.pool.frameOffsetOf(slot));
    burst.clear();
    burst.push(slot, port.pool.frameOffsetOf(slot), frame.length, 0, peer);
    port.txBurst(burst);
    do await port.wait(1_000_000); while (port.rxBurst(burst) === 0);
    port.pool.commit(burst.slot, burst.count, 0);
    if (i >= 0) times.push(performance.now() - begin);
  }
  console.log(Math.round(1e6 * median(times)));
}

async function tcpEcho(): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  console.log(listener.addr.port);
  const connection = await listener.accept();
  connection.setNoDelay(true);
  const buffer = new Uint8Array(PAYLOAD_BYTES);
  for (;;) {
    const got = await connection.read(buffer);
    if (got === null) return;
    await connection.write(buffer.subarray(0, got));
  }
}

async function tcpPing(to: number, count: number): Promise<void> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: to });
  connection.setNoDelay(true);
  const buffer = new Uint8Array(PAYLOAD_BYTES);
  const times: number[] = [];
  for (let i = -WARM_UP_PINGS; i < count; i++) {
    const begin = performance.now();
    await connection.write(buffer);
    for (let got = 0; got < PAYLOAD_BYTES;) got += await connection.read(buffer) ?? PAYLOAD_BYTES;
    if (i >= 0) times.push(performance.now() - begin);
  }
  console.log(Math.round(1e6 * median(times)));
}

const [role, ...args] = Deno.args;
await roles[role](...args.map(Number));
Deno.exit(0);
