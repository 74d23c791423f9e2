import assert from "node:assert/strict";
import { NexusError, type SocketAddress } from "../../lib/base/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { Identity } from "../../lib/l4_trust/mod.ts";
import { type Driver, join } from "../../lib/sdk/mod.ts";

/** Joins with an invite whose seeds are ports of one host and fail with these codes. */
async function failing(codes: Record<number, string>): Promise<[NexusError, string[]]> {
  const driver = {
    dial: ({ port }: SocketAddress) =>
      Promise.reject(new NexusError(codes[port], `cannot connect: ${codes[port].toLowerCase()}`)),
  } as unknown as Driver;
  const tried: string[] = [];
  const joining = join({
    driver,
    identity: Identity.fromSeed(new Uint8Array(32), nodeEngine),
    invite: {
      vni: 0,
      expiresS: 0,
      caFingerprint: new Uint8Array(32),
      id: new Uint8Array(8),
      secret: new Uint8Array(32),
      seeds: Object.keys(codes).map((port) => ({
        nodeId: new Uint8Array(16),
        address: `192.0.2.1:${port}`,
      })),
    },
    engine: nodeEngine,
    claims: {},
    role: "node",
    name: "n",
    onTry: (address) => tried.push(address),
  });
  const error = await joining.then(() => assert.fail("it joined"), (thrown) => thrown);
  assert.ok(error instanceof NexusError);
  return [error, tried];
}

Deno.test("join: a failure names the addresses tried, and what to do about silence", async () => {
  const [error, tried] = await failing({ 1: "HANDSHAKE_TIMEOUT", 2: "CONNECT_TIMEOUT" });
  assert.equal(error.code, "CONNECT_TIMEOUT");
  assert.equal(
    error.message,
    "cannot join the mesh via 192.0.2.1:1, 192.0.2.1:2: connect_timeout",
  );
  assert.match(error.hint!, /is the node there up/);
  assert.deepEqual(tried, ["192.0.2.1:1", "192.0.2.1:2"]);
});

Deno.test("join: a refusal is told before the silence of another seed, with where to get a token", async () => {
  for (
    const order of [["ALERT_INVITE_REFUSED", "UNKNOWN_HOST"], ["HANDSHAKE_TIMEOUT", "UNKNOWN_CA"]]
  ) {
    const [error] = await failing({ 1: order[0], 2: order[1] });
    assert.match(error.code, /INVITE_REFUSED|UNKNOWN_CA/);
    assert.match(error.hint!, /nexus invite/);
  }
});
