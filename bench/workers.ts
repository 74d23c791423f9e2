/**
 * What a second worker brings where the processor is the limit: handshakes. To keep the clients from
 * being the limit, on machines of few cores, they are recorded HELLOs, so that what is measured is
 * the server's answer (key exchange, signature, sealed certificates) and nothing else. Groups of
 * one and two workers take turns.
 */
import type { SocketAddress } from "../lib/base/mod.ts";
import { randomFill, systemClock } from "../lib/io/clock.ts";
import { openUdpNativePort, udpNativeUnavailable } from "../lib/io/udp_native_port.ts";
import { Endpoint } from "../lib/endpoint/mod.ts";
import { Burst, Pool, type Port } from "../lib/l1_link/mod.ts";
import { WorkerGroup } from "../lib/sdk/mod.ts";
import { memberOptions, TestMesh, VNI } from "../tests/sdk/test_mesh.ts";
import { median, paired, type Row } from "./row.ts";

const MODULE = new URL("../tests/sdk/echo_worker.ts", import.meta.url);
const ROUNDS = 5;
/** Answered by each worker before the clock starts: they begin with cold code. */
const WARM_UP = 320;
/** With the warm-up fewer than the half-open handshakes that one worker keeps. */
const HELLOS = 640;
/** Addresses that they come from: a server takes 64 half-open handshakes of each. */
const SOURCES = 16;
/** How often it is looked for answers; they take several hundred ms in all. */
const POLL_MS = 2;

/** The row stream/workers_goodput; none, with a note, where there can be only one worker. */
export async function* workersRows(): AsyncGenerator<Row> {
  const unavailable = udpNativeUnavailable();
  if (unavailable !== undefined) {
    console.error(`stream: workers_goodput left out: ${unavailable}`);
    return;
  }
  const one: number[] = [];
  const two: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    one.push(await answersPerSecond(1));
    two.push(await answersPerSecond(2));
  }
  yield {
    bench: "stream",
    name: "workers_goodput",
    value: median(two),
    unit: "handshakes/s",
    peer: "1 worker",
    peerValue: median(one),
    ratio: paired(two, one),
  };
}

async function answersPerSecond(workers: number): Promise<number> {
  const mesh = new TestMesh(1);
  const listen = { host: "127.0.0.1", port: 0 };
  const group = await WorkerGroup.open({ module: MODULE, setup: mesh.node(), listen, workers });
  const sources = await Promise.all(
    Array.from(
      { length: SOURCES },
      (_, i) => openUdpNativePort({ listen: { host: `127.0.0.${2 + i}`, port: 0 }, vni: VNI }),
    ),
  );
  try {
    const warmUp = recordHellos(mesh, workers * WARM_UP);
    const hellos = recordHellos(mesh, HELLOS);
    await answer(sources, group.address, warmUp);
    const startedMs = performance.now();
    await answer(sources, group.address, hellos);
    return HELLOS / (performance.now() - startedMs) * 1000;
  } finally {
    for (const source of sources) source.close();
    await group.close(0);
  }
}

/** Frames with HELLOs of as many attempts. */
function recordHellos(mesh: TestMesh, count: number): Uint8Array[] {
  const address = { host: "127.0.0.1", port: 1 };
  const endpoint = new Endpoint({
    ...memberOptions(mesh.node(), randomFill),
    peers: { peer: () => 0, peerAddress: () => address },
  });
  const pool = new Pool();
  const burst = new Burst();
  const unixMs = systemClock.unixMs();
  return Array.from({ length: count }, () => {
    endpoint.connect({ address }, 0, Math.floor(unixMs / 1000));
    burst.clear();
    endpoint.pollFrames(pool, burst, 0, unixMs);
    pool.free(burst.slot[0]);
    return pool.bytes.slice(burst.offset[0], burst.offset[0] + burst.length[0]);
  });
}

/** Sends them all and sleeps while the workers have something to do. */
async function answer(sources: Port[], to: SocketAddress, hellos: Uint8Array[]): Promise<void> {
  const burst = new Burst();
  for (const [i, hello] of hellos.entries()) {
    const port = sources[i % SOURCES];
    const slot = port.pool.alloc();
    const offset = port.pool.frameOffsetOf(slot);
    port.pool.bytes.set(hello, offset);
    burst.clear();
    burst.push(slot, offset, hello.length, 0, port.peer(to));
    if (port.txBurst(burst) === 0) throw new Error("cannot send HELLO: the socket is full");
  }
  for (let answers = 0; answers < hellos.length;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    for (const port of sources) {
      while (port.rxBurst(burst) > 0) {
        answers += burst.count;
        for (let i = 0; i < burst.count; i++) port.pool.free(burst.slot[i]);
      }
    }
  }
}
