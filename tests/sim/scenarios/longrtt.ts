import { KB, PATH, type Scenario } from "../scenario.ts";

const DELAY_US = 750_000;

export const longrtt: Scenario = {
  name: "longrtt",
  about: "750 ms one way, one file of 1 KiB",
  run(stage) {
    stage.set({ ...PATH, delayUs: DELAY_US });
    let hellos = 0;
    stage.onTurn = () => {
      if (stage.fileServer.connected === 0) hellos = stage.server.endpoint.counters.framesIn;
    };
    stage.download(KB);
    const roundTrips = stage.network.nowUs / (2 * DELAY_US);
    stage.check("a round trip for each, handshake and file", roundTrips < 2.2, `${roundTrips}`);
    const { connectionCount } = stage.server.endpoint;
    stage.check("HELLO is repeated, all begin one connection", hellos > 1 && connectionCount === 1);
  },
};
