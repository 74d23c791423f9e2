/** Path MTU discovery while other packets are lost too (RFC 8899 §5.1, §5.2). */
import assert from "node:assert/strict";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { ConnectionHost, runToEnd } from "./connection_harness.ts";
import { type LinkOptions, simulate } from "./network.ts";
import { HEADER_BYTES } from "./scenario.ts";

const REPLAY = "deno test tests/sim/path_mtu_test.ts";
const LOOPBACK_BYTES = 65_499;
const MTU_BYTES = 1_500;
const SEEDS = 5;
/** Time for probes that waited for better times, when the transfer is over. */
const QUIET_US = 3_000_000;

const ethernet: LinkOptions = { rateBps: 20e6, headerBytes: HEADER_BYTES, mtuBytes: MTU_BYTES };

const links: Record<string, LinkOptions> = {
  "2 % loss": { ...ethernet, delayUs: 10_000, lossRate: 0.02 },
  "bursts of loss": { ...ethernet, delayUs: 10_000, burst: { enter: 0.01, leave: 0.1 } },
  "a full queue of 2 packets": { ...ethernet, delayUs: 100, queueMax: 2 },
  "a full queue of 8 packets": { ...ethernet, delayUs: 100, queueMax: 8 },
  "a full queue on a long path": { ...ethernet, delayUs: 40_000, queueMax: 4 },
};

for (const [what, link] of Object.entries(links)) {
  Deno.test(`path MTU: frames come to fill 1,500 bytes in spite of ${what}`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      simulate(seed, REPLAY, (network) => {
        const ends = {
          client: new ConnectionHost(network, "client", "server", "client", {}, LOOPBACK_BYTES),
          server: new ConnectionHost(network, "server", "client", "server", {}, LOOPBACK_BYTES),
        };
        network.link("client", "server", link, link);
        network.addHost("client", ends.client);
        network.addHost("server", ends.server);
        ends.client.add({ mode: MODE_RELIABLE_ORDERED, total: 3e6 });
        network.wake("client");
        runToEnd(network, ends, 1);
        network.run(network.nowUs + QUIET_US);
        const { frameBytes, packetsLost } = ends.client.connection.stats();
        assert.ok(packetsLost > 0);
        assert.equal(frameBytes, MTU_BYTES - HEADER_BYTES, `seed ${seed}`);
      });
    }
  });
}
