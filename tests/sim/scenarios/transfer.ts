import { MB, type Scenario } from "../scenario.ts";

export const transfer: Scenario = {
  name: "transfer",
  about: "files of 2, 3 and 5 MiB at once",
  run(stage) {
    stage.set();
    stage.download(2 * MB, 3 * MB, 5 * MB);
    stage.check("goodput ≥ 80 % of the rate", stage.utilisation >= 0.8, `${stage.utilisation}`);
  },
};
