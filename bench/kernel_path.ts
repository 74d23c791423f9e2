/**
 * One stream over an emulated path (100 Mbit/s, 50 ms round trip, 1 % loss), beside the kernel's TCP
 * (iperf3) on the same path: what a congestion controller makes of loss that is no congestion. Both
 * ways of the path are alike and its losses come from a seed; contenders take turns. Of the line, at
 * 1,500-byte packets, TCP's headers leave 96.5 Mbit/s for content, ours 90.9, and the loss takes one
 * in a hundred of that.
 */
import { C_COMPILER } from "../tests/support/toolchain.ts";
import type { Side, Wire } from "../tests/netns/namespaces.ts";
import { Program, programOptions } from "./program.ts";
import { type Bench, median, paired, type Row, withTarget } from "./row.ts";
import { denoArgs } from "./stream.ts";
import type { ContenderName } from "./stream_pipes.ts";

const MBIT_PER_S = 100;
const DELAY_US = 25_000;
const LOSS_RATE = 0.01;
/** What is under way when the path is full. */
const BDP_BYTES = MBIT_PER_S * 2 * DELAY_US / 8;
const SEED = 4;
const ROUNDS = 3;
/** Past slow start, and past the path MTU search. */
const WARM_UP_MS = 2_000;
const MEASURE_MS = 4_000;
/** What headers at MTU 1,500 and the loss leave of the line for our content. */
const CONTENT_MBPS_MAX = 90.9 * (1 - LOSS_RATE);
/** 03-stream.md: how much of the path BBR uses. */
const BBR_UTILISATION = 0.9;

const END = new URL("./stream_end.ts", import.meta.url).pathname;

/** NexStream's controllers; the kernel has one of the same name. */
const CONTROLLERS = ["cubic", "bbr"] as const;
type Controller = typeof CONTROLLERS[number];

export const kernelPathBench: Bench = {
  name: "kernel",
  about: "NexStream and the kernel's TCP over an emulated path: 100 Mbit/s, 50 ms, 1 % loss",
  async *run(): AsyncGenerator<Row> {
    // Loaded only here: they try what the machine can do.
    const { NAMESPACES, Wire } = await import("../tests/netns/namespaces.ts");
    const { EmulatedPath, PATH_ADDRESS } = await import("../tests/netns/emulated_path.ts");
    for (const need of [NAMESPACES, C_COMPILER]) {
      if (!need.present) return console.error(`kernel: left out: needs ${need.name}`);
    }
    await using wire = await Wire.create({ mtu: 1500 });
    await using _path = await EmulatedPath.create(wire, {
      mbitPerS: MBIT_PER_S,
      delayUs: DELAY_US,
      lossRate: LOSS_RATE,
      queueBytes: BDP_BYTES,
      seed: SEED,
    });
    const own = new Figures();
    const kernel = new Figures();
    const iperf3 = await hasIperf3();
    if (!iperf3) console.error("kernel: peers left out: apt-get install iperf3");
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of CONTROLLERS) {
        own[name].push(await nexStreamMbps(wire, PATH_ADDRESS.b, `nexus_${name}`));
        if (iperf3) kernel[name].push(await kernelMbps(wire, PATH_ADDRESS.b, name));
      }
    }
    yield compared("cubic", own, kernel);
    yield compared("bbr", own, kernel);
    yield withTarget(
      {
        bench: "stream",
        name: "emulated_bbr_utilisation",
        value: median(own.bbr) / CONTENT_MBPS_MAX,
        unit: "of what the path carries",
      },
      ["value", "≥", BBR_UTILISATION],
    );
  },
};

/** Mbit/s of content that arrive, by round. */
class Figures implements Record<Controller, number[]> {
  readonly cubic: number[] = [];
  readonly bbr: number[] = [];
}

async function nexStreamMbps(wire: Wire, host: string, name: ContenderName): Promise<number> {
  const start = (side: Side, ...args: (string | number)[]) =>
    new Program(wire.command(side, Deno.execPath(), programOptions([...denoArgs(END), ...args])));
  await using sink = start("b", "sink", name, "", host, WARM_UP_MS, MEASURE_MS);
  await using _source = start("a", "source", name, "", host, await sink.line());
  return 1000 * Number(await sink.line());
}

/** TCP by iperf3, which may choose any controller for its socket. */
async function kernelMbps(wire: Wire, host: string, name: Controller): Promise<number> {
  const start = (side: Side, ...args: (string | number)[]) =>
    new Program(wire.command(side, "iperf3", programOptions(args)));
  await using server = start("b", "--server", "--one-off", "--forceflush");
  while (!(await server.line()).startsWith("Server listening"));
  const [omitS, timeS] = [WARM_UP_MS / 1000, MEASURE_MS / 1000];
  await using client = start(
    ...["a", "--client", host, "--congestion", name, "--json"] as const,
    ...["--omit", omitS, "--time", timeS],
  );
  const { end, error } = JSON.parse(await client.rest());
  if (error !== undefined) throw new Error(`iperf3: ${error}`);
  return end.sum_received.bits_per_second / 1e6;
}

async function hasIperf3(): Promise<boolean> {
  try {
    return (await new Deno.Command("iperf3", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}

function compared(name: Controller, own: Figures, kernel: Figures): Row {
  const row = {
    bench: "stream",
    name: `emulated_${name}_mbps`,
    value: median(own[name]),
    unit: "Mbit/s",
  };
  if (kernel[name].length === 0) return row;
  return {
    ...row,
    peer: `kernel_${name}`,
    peerValue: median(kernel[name]),
    ratio: paired(own[name], kernel[name]),
  };
}
