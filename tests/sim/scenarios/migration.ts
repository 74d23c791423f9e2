import { parseSocketAddress } from "../../../lib/base/mod.ts";
import { CLIENT, MB, PATH, type Scenario, SERVER } from "../scenario.ts";

const MOVES_US = 500_000;
const ELSEWHERE = { ...PATH, rateBps: 5e6, delayUs: 40_000, mtuBytes: 1_400 };

export const migration: Scenario = {
  name: "migration",
  about: "after 0.5 s the client moves to a network of 5 Mbit/s, 40 ms, 1,400 B and says so; " +
    "one file of 2 MiB",
  run(stage) {
    stage.set();
    const { network, client, files, fileServer } = stage;
    network.at(MOVES_US, () => {
      network.rebind(CLIENT, "198.51.100.7:5001");
      for (const link of [stage.toServer, stage.toClient]) link.options = ELSEWHERE;
      client.endpoint.migrate(files.ids[0], parseSocketAddress(SERVER), network.nowUs);
      network.wake(CLIENT);
    });
    stage.download(2 * MB);
    stage.check("both ends prove the new path", files.migrations + fileServer.migrations === 2);
    const { minRttUs } = stage.server.use(fileServer.ids[0]).stats();
    stage.check("the round trip is the new one's", minRttUs >= 80_000, `${minRttUs}`);
    stage.check("goodput ≥ 70 % of the new rate", stage.utilisation >= 0.7, `${stage.utilisation}`);
  },
};
