/**
 * One end of a stream measurement, in a process of its own (started by stream.ts). CERTIFICATE is a
 * directory with cert.pem and key.pem, for the peers that need one.
 *
 *     sink CONTENDER CERTIFICATE HOST WARM_UP_MS MEASURE_MS   prints its port, then Gbit/s received
 *     source CONTENDER CERTIFICATE HOST PORT                  writes until it is ended
 *     echo CONTENDER CERTIFICATE HOST                         prints its port, sends back what comes
 *     ping CONTENDER CERTIFICATE HOST PORT WARM_UP_MS COUNT   prints the median round trip in µs
 */
import { median } from "./row.ts";
import { contender, type ContenderName, type Pipe } from "./stream_pipes.ts";

const WRITE_BYTES = 262_144;
/** The clock is read once for so many bytes: short reads must not be charged for it. */
const CLOCK_BYTES = 16_384;
const PING_BYTES = 64;

const [role, name, certificate, host, ...numbers] = Deno.args;
const runtime = contender(name as ContenderName, () => ({
  cert: Deno.readTextFileSync(`${certificate}/cert.pem`),
  key: Deno.readTextFileSync(`${certificate}/key.pem`),
}));

const roles: Record<string, (...args: number[]) => Promise<void>> = { sink, source, echo, ping };

async function accept(): Promise<Pipe> {
  const { port, accepted } = await runtime.listen(host);
  console.log(port);
  return await accepted;
}

async function sink(warmUpMs: number, measureMs: number): Promise<void> {
  const pipe = await accept();
  const begunMs = performance.now();
  let bytes = 0;
  let clockAt = 0;
  let fromMs = 0;
  let fromBytes = 0;
  for (;;) {
    const got = await pipe.read();
    if (got === 0) throw new Error("the source ended early");
    bytes += got;
    if (bytes < clockAt) continue;
    clockAt = bytes + CLOCK_BYTES;
    const nowMs = performance.now();
    if (fromMs === 0) {
      if (nowMs < begunMs + warmUpMs) continue;
      fromMs = nowMs;
      fromBytes = bytes;
    } else if (nowMs >= fromMs + measureMs) {
      console.log((bytes - fromBytes) * 8 / (nowMs - fromMs) / 1e6);
      return;
    }
  }
}

async function source(port: number): Promise<void> {
  const pipe = await runtime.dial(host, port);
  const bytes = new Uint8Array(WRITE_BYTES);
  for (;;) await pipe.write(bytes);
}

async function echo(): Promise<void> {
  const pipe = await accept();
  const bytes = new Uint8Array(PING_BYTES);
  for (let got = await pipe.read(); got > 0; got = await pipe.read()) {
    await pipe.write(got === PING_BYTES ? bytes : bytes.subarray(0, got));
  }
}

async function ping(port: number, warmUpMs: number, count: number): Promise<void> {
  const pipe = await runtime.dial(host, port);
  const bytes = new Uint8Array(PING_BYTES);
  const times: number[] = [];
  const warmMs = performance.now() + warmUpMs;
  while (times.length < count) {
    const begunMs = performance.now();
    await pipe.write(bytes);
    for (let got = 0; got < PING_BYTES;) got += await pipe.read() || PING_BYTES;
    if (begunMs >= warmMs) times.push(performance.now() - begunMs);
  }
  console.log(1000 * median(times));
}

await roles[role](...numbers.map(Number));
Deno.exit(0);
