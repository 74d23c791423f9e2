/** Full 1-RTT mutual handshakes over UDP on loopback; both sides' work in one process. */
import { benchAuthority, benchDriver } from "./mesh.ts";
import { type Bench, median, type Row } from "./row.ts";

const WARM_UP = 10;
const ROUNDS = 60;

export const handshakeBench: Bench = {
  name: "handshake",
  about: "1-RTT mutual handshake, both sides' work",
  async *run(): AsyncGenerator<Row> {
    const authority = benchAuthority();
    const server = await benchDriver(authority, { onSession: () => {} });
    const client = await benchDriver(authority);
    const times: number[] = [];
    for (let i = 0; i < WARM_UP + ROUNDS; i++) {
      const started = performance.now();
      const session = await client.driver.dial(server.address);
      if (i >= WARM_UP) times.push(performance.now() - started);
      session.close();
      await session.closed;
    }
    yield { bench: "handshake", name: "localhost_ms", value: median(times), unit: "ms" };
    await Promise.all([client.driver.close(), server.driver.close()]);
  },
};
