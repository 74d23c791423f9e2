/** What each worker of worker_group_test.ts runs: on each stream its index, then what came. */
import { randomFill } from "../../lib/io/clock.ts";
import { type Channel, serveInGroup } from "../../lib/sdk/mod.ts";
import { type EchoSetup, memberOptions, TRIP } from "./test_mesh.ts";

serveInGroup((setup: EchoSetup, index) => {
  if (setup.broken) throw new Error("no models");
  return {
    ...memberOptions(setup, randomFill),
    onSession: (session) => session.onChannel = (channel) => void echo(channel, index),
  };
});

async function echo(channel: Channel, index: number): Promise<void> {
  await channel.sendBytes(Uint8Array.of(index));
  for (;;) {
    const bytes = await channel.receiveBytes();
    if (bytes === undefined) return channel.finish();
    // Nobody catches it.
    if (bytes[0] === TRIP) throw new Error("tripped");
    await channel.sendBytes(bytes.slice());
  }
}
