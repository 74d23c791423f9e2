import { MB, PATH, type Scenario } from "../scenario.ts";

export const transferloss: Scenario = {
  name: "transferloss",
  about: "2 % loss both ways, at most 3 in a row; one file of 2 MiB",
  run(stage) {
    stage.set({ ...PATH, lossRate: 0.02, lossRunMax: 3 });
    stage.download(2 * MB);
    stage.check("the path lost packets", stage.outcome.lost > 0);
  },
};
