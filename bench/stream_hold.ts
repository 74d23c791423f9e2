/**
 * Many idle connections between two processes (started by stream.ts):
 *
 *     hold FIRST ALL     prints its port, then with FIRST and with ALL connections how many it has
 *                        and its resident bytes
 *     dial PORT COUNT    opens so many connections and keeps them
 */
import { benchAuthority, benchDriver } from "./mesh.ts";

/** Handshakes at once: both cores are busy, and the limit of one source (64) is far. */
const DIALS_AT_ONCE = 16;
/** Connections are settled when their first acknowledgements have been sent. */
const SETTLE_MS = 200;
const LOOPBACK = "127.0.0.1";

declare const gc: () => void;

async function hold(first: number, all: number): Promise<void> {
  let count = 0;
  const reached = new Map([first, all].map((at) => [at, Promise.withResolvers<void>()]));
  const onSession = () => reached.get(++count)?.resolve();
  const { address } = await benchDriver(benchAuthority(), { kind: "auto", onSession });
  console.log(address.port);
  for (const { promise } of reached.values()) {
    await promise;
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    gc();
    console.log(count, Deno.memoryUsage().rss);
  }
}

async function dial(port: number, count: number): Promise<void> {
  const { driver } = await benchDriver(benchAuthority(), { kind: "auto" });
  let left = count;
  const dials = async () => {
    while (left-- > 0) await driver.dial({ host: LOOPBACK, port });
  };
  await Promise.all(Array.from({ length: DIALS_AT_ONCE }, dials));
}

const [role, ...numbers] = Deno.args;
if (role === "hold") await hold(Number(numbers[0]), Number(numbers[1]));
else await dial(Number(numbers[0]), Number(numbers[1]));
