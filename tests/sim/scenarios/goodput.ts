import { MB, type Scenario } from "../scenario.ts";

export const goodput: Scenario = {
  name: "goodput",
  about: "one file of 10 MiB",
  run(stage) {
    stage.set();
    stage.download(10 * MB);
    stage.check("goodput ≥ 80 % of the rate", stage.utilisation >= 0.8, `${stage.utilisation}`);
  },
};
