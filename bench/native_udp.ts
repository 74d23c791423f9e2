/**
 * The native UDP port between two processes on loopback, beside the shortest C loop that does the
 * same (ffi/native/bench/raw_loop.c), iperf3 where it is installed, and the runtime's TCP. Rounds
 * alternate between the competitors, so that a busy moment hits all of them.
 */
import { udpNativeUnavailable } from "../lib/io/udp_native_port.ts";
import { C_FLAGS } from "../ffi/build.ts";
import { C_COMPILER } from "../tests/support/toolchain.ts";
import { Program } from "./program.ts";
import { type Bench, median, paired, type Row, withTarget } from "./row.ts";

/** Frames of a plain Ethernet path and of a jumbo one; datagrams are 8 bytes longer. */
const FRAME_BYTES = { "": 1422, "_jumbo": 8900 };
const OVERLAY_BYTES = 8;
const ROUNDS = 5;
const SECONDS = 0.6;
const PINGS = 3000;
/** The port's own default. */
const SPIN_US = 250;

const ROOT = new URL("../", import.meta.url).pathname;
const END = new URL("./native_udp_end.ts", import.meta.url).pathname;

export const nativeUdpBench: Bench = {
  name: "native_udp",
  about: "L1: the native UDP port beside a raw C loop, iperf3 and TCP",
  run: nativeUdpRows,
};

/** The rows link/udp_native_*; none, with a note, where the library is missing. */
export async function* nativeUdpRows(): AsyncGenerator<Row> {
  const unavailable = udpNativeUnavailable();
  if (unavailable !== undefined) {
    console.error(`link: udp_native_* left out: ${unavailable}`);
    return;
  }
  if (!C_COMPILER.present) {
    console.error(
      `link: udp_native_* left out: their peer needs ${C_COMPILER.name}: ${C_COMPILER.enable}`,
    );
    return;
  }
  const rawLoop = await buildRawLoop();
  try {
    for (const [suffix, frameBytes] of Object.entries(FRAME_BYTES)) {
      yield* throughput(rawLoop, suffix, frameBytes);
    }
    yield* roundTrips(rawLoop);
  } finally {
    await Deno.remove(rawLoop);
  }
}

async function buildRawLoop(): Promise<string> {
  const output = await Deno.makeTempFile({ prefix: "nexus-raw-loop-" });
  const source = `${ROOT}ffi/native/bench/raw_loop.c`;
  const { success } = await new Deno.Command(C_COMPILER.path, {
    args: [...C_FLAGS, "-O2", source, "-o", output],
  }).output();
  if (!success) throw new Error("cannot build ffi/native/bench/raw_loop.c");
  return output;
}

function deno(...args: (string | number)[]): Program {
  const permissions = ["--allow-ffi", "--allow-read", "--allow-net"];
  return Program.start(Deno.execPath(), ["run", "-q", ...permissions, END, ...args]);
}

/** Gbit/s that arrive at `receiver` while `send` runs; without it the receiver feeds itself. */
async function gbps(receiver: Program, send?: (port: string) => Program): Promise<number> {
  const sender = send?.(await receiver.line());
  const [bytes, seconds] = (await receiver.line()).split(" ").map(Number);
  await sender?.end();
  await receiver.end();
  return bytes * 8 / seconds / 1e9;
}

async function* throughput(
  rawLoop: string,
  suffix: string,
  frameBytes: number,
): AsyncGenerator<Row> {
  const datagram = frameBytes + OVERLAY_BYTES;
  const longer = 20 * SECONDS; // The receiver ends the round.
  const native: number[] = [];
  const raw: number[] = [];
  const iperf: number[] = [];
  const oneNative: number[] = [];
  const oneRaw: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    native.push(
      await gbps(deno("rx", SECONDS), (port) => deno("tx", port, frameBytes, longer)),
    );
    raw.push(
      await gbps(
        Program.start(rawLoop, ["rx", SECONDS]),
        (port) => Program.start(rawLoop, ["tx", port, datagram, longer]),
      ),
    );
    oneNative.push(await gbps(deno("both", frameBytes, SECONDS)));
    oneRaw.push(await gbps(Program.start(rawLoop, ["both", datagram, SECONDS])));
    const measured = await iperf3(datagram);
    if (measured !== undefined) iperf.push(measured);
  }
  const row = { bench: "link", unit: "Gbit/s" };
  const name = `udp_native_tx_rx${suffix}_gbps`;
  const value = median(native);
  yield withTarget(
    { ...row, name, value, peer: "raw C loop", peerValue: median(raw), ratio: paired(native, raw) },
    ["ratio", "≥", 0.85],
  );
  if (iperf.length > 0) {
    const peerValue = median(iperf);
    yield { ...row, name, value, peer: "iperf3 -u", peerValue, ratio: paired(native, iperf) };
  }
  yield {
    ...row,
    name: `udp_native_one_thread${suffix}_gbps`,
    value: median(oneNative),
    peer: "raw C loop",
    peerValue: median(oneRaw),
    ratio: paired(oneNative, oneRaw),
  };
}

/** What iperf3 gets through, undefined where it is not installed. */
async function iperf3(datagram: number): Promise<number | undefined> {
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  try {
    new Deno.Command("iperf3", { args: ["--version"], stdout: "null" }).outputSync();
  } catch {
    return undefined;
  }
  const server = Program.start("iperf3", ["-s", "-1", "-p", port, "--forceflush"]);
  while (!(await server.line()).includes("listening"));
  const client = Program.start("iperf3", [
    ...["-c", "127.0.0.1", "-p", port, "-u", "-b", "0", "-l", datagram, "-t", 1, "--json"],
  ]);
  const report = JSON.parse(await client.rest());
  await server.end();
  const { bits_per_second: sent, lost_percent: lost } = report.end.sum;
  return sent * (1 - lost / 100) / 1e9;
}

/** Median round trip in µs: one program answers, the other asks. */
async function roundTrip(echo: Program, ping: (port: string) => Program): Promise<number> {
  const asking = ping(await echo.line());
  const ns = Number(await asking.line());
  await asking.end();
  await echo.end();
  return ns / 1000;
}

async function* roundTrips(rawLoop: string): AsyncGenerator<Row> {
  const spinning: number[] = [];
  const sleeping: number[] = [];
  const tcp: number[] = [];
  const raw: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const native = (spin: number) =>
      roundTrip(deno("echo", spin), (port) => deno("ping", port, spin, PINGS));
    spinning.push(await native(SPIN_US));
    tcp.push(await roundTrip(deno("tcp-echo"), (port) => deno("tcp-ping", port, PINGS)));
    sleeping.push(await native(0));
    raw.push(
      await roundTrip(
        Program.start(rawLoop, ["echo"]),
        (port) => Program.start(rawLoop, ["ping", port, 140, PINGS]),
      ),
    );
  }
  const peer = "TCP in the same runtime";
  const row = { bench: "link", unit: "µs", peer, peerValue: median(tcp) };
  const against = (values: number[]) => paired(tcp, values);
  yield withTarget(
    { ...row, name: "udp_native_rtt_us", value: median(spinning), ratio: against(spinning) },
    ["ratio", "≥", 5],
  );
  yield {
    ...row,
    name: "udp_native_sleeping_rtt_us",
    value: median(sleeping),
    ratio: against(sleeping),
  };
  yield { ...row, name: "udp_raw_c_rtt_us", value: median(raw), ratio: against(raw) };
  yield { bench: "link", name: "tcp_rtt_us", value: median(tcp), unit: "µs" };
}

if (import.meta.main) { for await (const row of nativeUdpRows()) console.log(JSON.stringify(row)); }
