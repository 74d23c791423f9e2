/** NS-C-004 over real sockets: sessions whose addresses change. */
import assert from "node:assert/strict";
import { benchAuthority, benchDriver } from "../../bench/mesh.ts";
import type { SocketAddress } from "../../lib/base/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import type { Channel, Session } from "../../lib/sdk/mod.ts";
import { RebindingRelay } from "./rebinding_relay.ts";

const EXCHANGES_MAX = 1_000;

async function echo(channel: Channel): Promise<void> {
  for (let bytes = await channel.receiveBytes(); bytes; bytes = await channel.receiveBytes()) {
    await channel.sendBytes(bytes);
  }
}

/** A client that dials `via` with a channel that comes back, and the server's session of it. */
async function withSessions(
  via: (server: SocketAddress) => SocketAddress,
  body: (
    ends: { client: Session; served: Session; exchange: () => Promise<void> },
  ) => Promise<void>,
): Promise<void> {
  const authority = benchAuthority();
  const taken = Promise.withResolvers<Session>();
  const server = await benchDriver(authority, {
    onSession: (session) => {
      session.onChannel = (channel) => echo(channel).catch(() => {});
      taken.resolve(session);
    },
  });
  const { driver } = await benchDriver(authority);
  try {
    const client = await driver.dial(via(server.address));
    const channel = client.open(MODE_RELIABLE_ORDERED);
    let next = 0;
    const exchange = async () => {
      const sent = next++ & 0xff;
      await channel.sendBytes(new Uint8Array([sent]));
      assert.deepEqual([...(await channel.receiveBytes())!], [sent]);
    };
    await exchange();
    await body({ client, served: await taken.promise, exchange });
  } finally {
    await Promise.all([driver.close(), server.driver.close()]);
  }
}

Deno.test("NS-C-004: a session over a NAT that rebinds keeps its channel and tells its new address", async () => {
  let relay!: RebindingRelay;
  try {
    await withSessions(
      (server) => (relay = new RebindingRelay(server)).address,
      async ({ served, exchange }) => {
        const before = served.address;
        relay.rebind();
        for (let i = 0; i < EXCHANGES_MAX && served.address === before; i++) await exchange();
        assert.notDeepEqual(served.address, before);
        await exchange();
      },
    );
  } finally {
    await relay[Symbol.asyncDispose]();
  }
});

Deno.test("NS-C-004: a session moves to another address of its peer on demand", async () => {
  let home!: SocketAddress;
  let relay!: RebindingRelay;
  try {
    await withSessions(
      (server) => home = server,
      async ({ client, exchange }) => {
        relay = new RebindingRelay(home);
        const before = client.address;
        client.migrate(relay.address);
        for (let i = 0; i < EXCHANGES_MAX && client.address === before; i++) await exchange();
        assert.deepEqual(client.address, relay.address);
        await exchange();
      },
    );
  } finally {
    await relay[Symbol.asyncDispose]();
  }
});
