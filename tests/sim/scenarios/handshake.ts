import { KB, PATH, type Scenario } from "../scenario.ts";

export const handshake: Scenario = {
  name: "handshake",
  about: "one file of 1 KiB",
  run(stage) {
    stage.set();
    stage.download(KB);
    const roundTrips = stage.network.nowUs / (2 * PATH.delayUs!);
    stage.check("a round trip for each, handshake and file", roundTrips < 2.2, `${roundTrips}`);
  },
};
