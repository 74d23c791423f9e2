/** Connections that move and that have further paths, on simulated networks. */
import assert from "node:assert/strict";
import { MODE_PROBABILISTIC, MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { connect, ConnectionHost, runToEnd } from "./connection_harness.ts";
import { simulate } from "./network.ts";

const REPLAY = "deno test tests/sim/migration_test.ts";

Deno.test("NS-C-004: an answer to a challenge does not wait for a full window", () => {
  simulate(1, REPLAY, (network) => {
    // Found by the soak: acknowledgements go to the old address until the server knows the new
    // one, so a window that filled up in the dark stays full, and probes are seconds apart.
    const blackholes = [{ fromUs: 200_000, untilUs: 3_200_000 }];
    const ends = connect(network, { rateBps: 20e6, delayUs: 2_000, blackholes });
    ends.client.add({ mode: MODE_RELIABLE_ORDERED, total: 2e6 });
    network.wake("client");
    network.at(1e6, () => network.rebind("client", "192.0.2.1:40000"));
    const tookUs = runToEnd(network, ends, 1, 60e6);
    assert.ok(network.unreachable > 0);
    // The first probe after the dark, which is at most as long again, is enough.
    assert.ok(tookUs < 8e6, `${tookUs}`);
  });
});

for (const seed of [1, 2, 3, 4]) {
  Deno.test(`NS-C-004: an upload survives four rebindings at 20 % loss, seed ${seed}`, () => {
    simulate(seed, REPLAY, (network) => {
      const ends = connect(network, { rateBps: 20e6, delayUs: 2_000, lossRate: 0.2 });
      ends.client.add({ mode: MODE_RELIABLE_ORDERED, total: 300_000 });
      network.wake("client");
      for (let i = 1; i <= 4; i++) {
        network.at(i * 150_000, () => network.rebind("client", `192.0.2.${i}:40000`));
      }
      runToEnd(network, ends, 1, 60e6);
      assert.ok(network.unreachable > 0);
    });
  });
}

Deno.test("NS-PR-003: a stream ends when its last repairs are too long for the path whose turn it is", () => {
  simulate(31, REPLAY, (network) => {
    // Found by the soak: repairs of large symbols were given up on a path that is still at the
    // base size, and nobody noticed that nothing was left to send.
    const client = new ConnectionHost(network, "client", "server", "client", {}, 1_464);
    const server = new ConnectionHost(network, "server", "client", "server", {}, 1_464);
    network.link("client", "server", { rateBps: 20e6, delayUs: 2_000, lossRate: 0.3 });
    network.addHost("client", client);
    network.addHost("server", server);
    network.run(5e6);
    assert.equal(client.connection.stats().frameBytes, 1_464);
    const mode = MODE_PROBABILISTIC;
    client.onEvent = ({ type }) => {
      if (type !== "pathUsable") return;
      for (let i = 0; i < 20; i++) {
        client.add({ mode, total: 20, messageBytes: 1_300, probability: 0.99 });
      }
    };
    client.openPath();
    network.wake("client");
    runToEnd(network, { client, server }, 20, 300e6);
  });
});
