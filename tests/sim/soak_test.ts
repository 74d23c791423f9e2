/**
 * Random networks and workloads, one per seed. SOAK_SEEDS=from-to runs others than the default:
 *
 *     SOAK_SEEDS=1000-2000 deno test --allow-env=SOAK_SEEDS tests/sim/soak_test.ts
 */
import assert from "node:assert/strict";
import { NEVER, type SeededRandom } from "../../lib/base/mod.ts";
import {
  type CongestionName,
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
} from "../../lib/l3_stream/mod.ts";
import { checkArrived, connect, runToEnd, type Task } from "./connection_harness.ts";
import { type LinkOptions, type SimNetwork, simulate } from "./network.ts";

const [FROM, TO] = seeds();

Deno.test(`NS-NF-008: soak over the seeds ${FROM}…${TO}: all arrives, once, in order`, () => {
  for (let seed = FROM; seed <= TO; seed++) {
    const replay =
      `SOAK_SEEDS=${seed}-${seed} deno test --allow-env=SOAK_SEEDS tests/sim/soak_test.ts`;
    simulate(seed, replay, (network) => {
      const random = network.random("workload");
      const congestion: CongestionName = random.chance(0.7) ? "cubic" : "newreno";
      const config = () => ({
        congestion,
        maxStreams: 16 + random.below(100),
        maxDataBytes: 65_536 << random.below(6),
        streamWindowBytes: 65_536 << random.below(3),
        maxMessageBytes: 65_536,
      });
      const ends = connect(network, randomLink(random), {
        back: randomLink(random),
        client: config(),
        server: config(),
      });
      let streams = 0;
      for (const end of [ends.client, ends.server]) {
        end.refuses = () => random.chance(0.05);
        const list = Array.from({ length: 1 + random.below(12) }, () => randomTask(random));
        streams += list.length;
        // Not all at once: some streams begin while others end.
        list.forEach((task, i) =>
          network.at(i * random.below(200_000), () => {
            end.add(task);
            network.wake(end.name);
          })
        );
      }
      runToEnd(network, ends, streams, 900e6);
      checkArrived(ends.client, ends.server);
      checkArrived(ends.server, ends.client);
      sayGoodbye(network, ends);
    });
  }
});

/** A connection with nothing to do rests, and when one end leaves the other one learns of it. */
function sayGoodbye(network: SimNetwork, ends: ReturnType<typeof connect>): void {
  const { client, server } = ends;
  network.run(network.nowUs + 30e6);
  const { events } = network;
  network.run(network.nowUs + 10e6);
  assert.ok(network.events - events < 200, `${network.events - events} events while idle`);
  for (const { connection } of [client, server]) assert.equal(connection.openStreamCount, 0);
  client.connection.close(0, "done", network.nowUs);
  network.wake("client");
  network.run(network.nowUs + 100e6);
  for (const end of [client, server]) {
    assert.equal(end.closed.length, 1);
    assert.equal(end.connection.state, "closed");
    assert.equal(end.connection.nextTimeoutUs(), NEVER);
    assert.equal(end.protection.isWiped, true);
  }
}

function randomTask(random: SeededRandom): Task {
  const task: Task = random.chance(0.6)
    ? { mode: MODE_RELIABLE_ORDERED, total: random.below(2 ** random.below(18)) }
    : {
      mode: MODE_RELIABLE_UNORDERED,
      total: random.below(40),
      messageBytesMax: 2 ** random.below(14),
    };
  if (random.chance(0.1)) task.resetAt = random.below(task.total + 1);
  return task;
}

function randomLink(random: SeededRandom): LinkOptions {
  const sometimes = (chance: number, value: number) => random.chance(chance) ? value : 0;
  const holeUs = random.below(2_000_000);
  return {
    delayUs: 2 ** (6 + random.below(11)),
    jitterUs: sometimes(0.4, random.below(20_000)),
    rateBps: random.chance(0.7) ? 1e6 * 2 ** random.below(8) : undefined,
    queueMax: 8 + random.below(200),
    markAt: random.chance(0.3) ? 4 + random.below(30) : undefined,
    lossRate: sometimes(0.6, random.float() * 0.3),
    burst: random.chance(0.2) ? { enter: 0.005, leave: 0.05 + random.float() / 2 } : undefined,
    reorderRate: sometimes(0.4, random.float() * 0.3),
    reorderDelayUs: random.below(30_000),
    duplicateRate: sometimes(0.3, random.float() * 0.3),
    corruptRate: sometimes(0.3, random.float() * 0.1),
    blackholes: random.chance(0.2)
      ? [{ fromUs: holeUs, untilUs: holeUs + random.below(2_000_000) }]
      : [],
  };
}

function seeds(): [number, number] {
  const given = Deno.permissions.querySync({ name: "env", variable: "SOAK_SEEDS" }).state ===
      "granted"
    ? /^(\d+)-(\d+)$/.exec(Deno.env.get("SOAK_SEEDS") ?? "")
    : null;
  return given === null ? [1, 50] : [Number(given[1]), Number(given[2])];
}
