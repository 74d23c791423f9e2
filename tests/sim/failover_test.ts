/** NS-PR-003: the first path's network fails, the connection goes on over that of another path. */
import assert from "node:assert/strict";
import { MODE_PROBABILISTIC, MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { connect, type ConnectionHost, type Ends, runToEnd } from "./connection_harness.ts";
import { type LinkOptions, type SimNetwork, simulate } from "./network.ts";
import { addLink } from "./second_link.ts";

const REPLAY = "deno test -A tests/sim/failover_test.ts";
const START_US = 1e6;
const KILL_US = 1.3e6;
/** 31 probe timeouts of about 50 ms, and what the second link needs for the rest. */
const DONE_US = 5e6;
const BYTES = 2e6;
/** The initial congestion window (RFC 9002 §7.2) of frames of 1,200 bytes. */
const WINDOW_BYTES = 12_000;

const first: LinkOptions = { rateBps: 20e6, delayUs: 2_000, queueMax: 20 };
const second: LinkOptions = { rateBps: 20e6, delayUs: 20_000, queueMax: 100 };

type Way = "up" | "down";
const ways: Record<string, Way[]> = {
  "both directions": ["up", "down"],
  "the way to the server": ["up"],
  "the way to the client": ["down"],
};

/** Two links, and a path of the client's over the second. */
function joinTwice(network: SimNetwork): Ends {
  const ends = connect(network, first);
  addLink(network, ends, second);
  at(network, START_US / 2, ends.client, () => ends.client.openPath("server-b"));
  network.run(START_US);
  const { client, server } = ends;
  for (const { connection } of [client, server]) {
    assert.ok(connection.pathStats()[1].isUsable);
  }
  return ends;
}

function at(network: SimNetwork, atUs: number, host: ConnectionHost, action: () => void): void {
  network.at(atUs, () => {
    action();
    network.wake(host.name);
  });
}

function setLoss(network: SimNetwork, from: string, to: string, lossRate: number): void {
  const link = network.linkBetween(from, to);
  link.options = { ...link.options, lossRate };
}

/** The link whose names end in `suffix` carries nothing from a time on. */
function kill(network: SimNetwork, atUs: number, suffix: "" | "-b", dead: Way[]): void {
  network.at(atUs, () => {
    if (dead.includes("up")) setLoss(network, "client", `server${suffix}`, 1);
    if (dead.includes("down")) setLoss(network, "server", `client${suffix}`, 1);
  });
}

function transfer(network: SimNetwork, { client, server }: Ends, ways: Way[]): void {
  for (const way of ways) {
    const host = way === "up" ? client : server;
    host.add({ mode: MODE_RELIABLE_ORDERED, total: BYTES });
    network.wake(host.name);
  }
}

/** Counts "migrated" events of both ends, and calls `then` at each. */
function countMoves(
  { client, server }: Ends,
  then: (host: ConnectionHost) => void = () => {},
): Record<string, number> {
  const moves: Record<string, number> = { client: 0, server: 0 };
  for (const host of [client, server]) {
    host.onEvent = ({ type }) => {
      if (type !== "migrated") return;
      moves[host.name]++;
      then(host);
    };
  }
  return moves;
}

for (const [dead, deadWays] of Object.entries(ways)) {
  for (const [busy, busyWays] of Object.entries(ways)) {
    Deno.test(`NS-PR-003: ${dead} of the first network dead for good, data on ${busy}: all arrives`, () => {
      for (let seed = 1; seed <= 5; seed++) {
        simulate(seed, REPLAY, (network) => {
          const ends = joinTwice(network);
          const moves = countMoves(ends, ({ connection }) => {
            const { windowBytes, srttUs } = connection.stats();
            assert.equal(windowBytes, WINDOW_BYTES);
            assert.ok(srttUs >= 2 * second.delayUs!, `${srttUs}`);
          });
          transfer(network, ends, busyWays);
          kill(network, KILL_US, "", deadWays);
          const tookUs = runToEnd(network, ends, busyWays.length, DONE_US);
          assert.ok(tookUs > KILL_US);
          network.run(network.nowUs + 2e6);
          assert.deepEqual(moves, { client: 1, server: 1 });
          assert.equal(ends.client.peerName, "server-b");
          assert.equal(ends.server.peerName, "client-b");
        });
      }
    });
  }
}

Deno.test("NS-PR-003: with the other network dead too the connection ends by its own timeouts", () => {
  for (const withPr of [false, true]) {
    simulate(1, REPLAY, (network) => {
      const ends = joinTwice(network);
      const moves = countMoves(ends);
      transfer(network, ends, ["up", "down"]);
      if (withPr) ends.client.add({ mode: MODE_PROBABILISTIC, total: 5_000 });
      kill(network, KILL_US, "", ["up", "down"]);
      kill(network, KILL_US, "-b", ["up", "down"]);
      const isOver = () => ends.client.closed.length > 0 && ends.server.closed.length > 0;
      network.run(isOver, { untilUs: KILL_US + 65e6 });
      assert.deepEqual(moves, { client: 0, server: 0 });
    });
  }
});

Deno.test("NS-PR-003: a path that loses 30 % keeps its network", () => {
  for (let seed = 1; seed <= 20; seed++) {
    simulate(seed, REPLAY, (network) => {
      const ends = joinTwice(network);
      const moves = countMoves(ends);
      setLoss(network, "client", "server", 0.3);
      setLoss(network, "server", "client", 0.3);
      transfer(network, ends, ["up"]);
      runToEnd(network, ends, 1);
      assert.ok(ends.client.connection.stats().ptoCount <= 4);
      assert.deepEqual(moves, { client: 0, server: 0 });
    });
  }
});

Deno.test("NS-PR-003: a network that answers again before the other one did is kept", () => {
  simulate(1, REPLAY, (network) => {
    const ends = joinTwice(network);
    const moves = countMoves(ends);
    let challenges = 0;
    for (const [from, to] of [["client", "server-b"], ["server", "client-b"]]) {
      const link = network.linkBetween(from, to);
      const send = link.send.bind(link);
      link.send = (packet) => {
        challenges++;
        send(packet);
      };
      link.options = { ...second, delayUs: 1e6 };
    }
    transfer(network, ends, ["up"]);
    kill(network, KILL_US, "", ["up", "down"]);
    network.run(() => challenges > 0);
    setLoss(network, "client", "server", 0);
    setLoss(network, "server", "client", 0);
    runToEnd(network, ends, 1, 15e6);
    network.run(network.nowUs + 5e6);
    assert.deepEqual(moves, { client: 0, server: 0 });
  });
});

Deno.test("NS-PR-003: when the first choice is dead as well, the next one is tried", () => {
  simulate(1, REPLAY, (network) => {
    const ends = joinTwice(network);
    addLink(network, ends, second, second, "c");
    ends.client.openPath("server-c");
    network.wake("client");
    network.run(START_US + 500_000);
    const moves = countMoves(ends);
    transfer(network, ends, ["up", "down"]);
    kill(network, KILL_US + 500_000, "", ["up", "down"]);
    kill(network, KILL_US + 500_000, "-b", ["up", "down"]);
    runToEnd(network, ends, 2, 20e6);
    assert.deepEqual(moves, { client: 1, server: 1 });
    assert.equal(ends.client.peerName, "server-c");
  });
});

Deno.test("NS-PR-003: ends that leave for different networks at once come to agree", () => {
  for (let seed = 1; seed <= 20; seed++) {
    simulate(seed, REPLAY, (network) => {
      const ends = connect(network, first);
      addLink(network, ends, second);
      addLink(network, ends, second, second, "c");
      // Each end tries the path first that it opened itself.
      at(network, START_US / 2, ends.client, () => ends.client.openPath("server-b"));
      at(network, START_US / 2, ends.server, () => ends.server.openPath("client-c"));
      network.run(START_US);
      const chosen: string[] = [];
      const moves = countMoves(ends, ({ peerName }) => chosen.push(peerName));
      transfer(network, ends, ["up", "down"]);
      kill(network, KILL_US, "", ["up", "down"]);
      runToEnd(network, ends, 2, DONE_US + 2e6);
      network.run(network.nowUs + 2e6);
      assert.ok(chosen.includes("server-b") && chosen.includes("client-c"), "both chose");
      assert.equal(ends.client.peerName.slice(-2), ends.server.peerName.slice(-2));
      assert.ok(moves.client === 1 && moves.server <= 2);
    });
  }
});

for (const [busy, busyWays] of Object.entries(ways)) {
  Deno.test(`NS-PR-003: back to the first network when it is whole and the second is dead, data on ${busy}`, () => {
    simulate(1, REPLAY, (network) => {
      const ends = joinTwice(network);
      const moves = countMoves(ends);
      transfer(network, ends, busyWays);
      kill(network, KILL_US, "", ["up", "down"]);
      runToEnd(network, ends, busyWays.length, DONE_US);
      setLoss(network, "client", "server", 0);
      setLoss(network, "server", "client", 0);
      ends.client.openPath("server");
      network.wake("client");
      network.run(network.nowUs + 1e6);
      transfer(network, ends, busyWays);
      kill(network, network.nowUs + 300_000, "-b", ["up", "down"]);
      runToEnd(network, ends, 2 * busyWays.length, network.nowUs + 15e6);
      assert.deepEqual(moves, { client: 2, server: 2 });
      assert.equal(ends.client.peerName, "server");
      assert.equal(ends.server.peerName, "client");
    });
  });
}
