/** Encrypted bulk transfer on one RO stream between two processes on loopback. */
import { MODE_RELIABLE_ORDERED } from "../lib/l3_stream/mod.ts";
import { benchAuthority, benchDriver } from "./mesh.ts";
import { type Bench, median, type Row } from "./row.ts";

const TRANSFER_BYTES = 16 * 1024 * 1024;
const ROUNDS = 3;

export const streamBench: Bench = {
  name: "stream",
  about: "NexStream, portable path, two processes on loopback",
  async *run(): AsyncGenerator<Row> {
    const sink = new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-net", "--allow-sys", "--allow-read", "--allow-env", SINK],
      stdout: "piped",
    }).spawn();
    const lines = sink.stdout.pipeThrough(new TextDecoderStream());
    const reader = lines.getReader();
    const port = Number((await reader.read()).value);
    const { driver } = await benchDriver(benchAuthority());
    try {
      const session = await driver.dial({ host: "127.0.0.1", port });
      const rates: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        const started = performance.now();
        const stream = session.open(MODE_RELIABLE_ORDERED);
        await stream.sendBytes(new Uint8Array(TRANSFER_BYTES));
        stream.finish();
        await stream.receiveBytes(); // The sink answers when it has everything.
        rates.push(TRANSFER_BYTES * 8 / (performance.now() - started) / 1e6);
      }
      yield { bench: "stream", name: "ro_goodput_gbps", value: median(rates), unit: "Gbit/s" };
    } finally {
      await driver.close();
      sink.kill("SIGTERM");
      reader.cancel();
      await sink.status;
    }
  },
};

const SINK = new URL("./stream_sink.ts", import.meta.url).pathname;
