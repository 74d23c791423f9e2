/** Rows with another controller than CUBIC. */
import { MB, PATH, type Scenario } from "../scenario.ts";
import { besideTcp } from "./crosstraffic.ts";

const BBR = { stream: { congestion: "bbr" } } as const;
const BBR_ENDS = { client: BBR, server: BBR };

export const goodputBbr: Scenario = {
  name: "goodput-bbr",
  about: "BBR; one file of 10 MiB",
  run(stage) {
    stage.set(PATH, PATH, BBR_ENDS);
    stage.download(10 * MB);
    stage.check("goodput ≥ 80 % of the rate", stage.utilisation >= 0.8, `${stage.utilisation}`);
  },
};

export const transferlossBbr: Scenario = {
  name: "transferloss-bbr",
  about: "BBR; 2 % loss both ways, at most 3 in a row; one file of 2 MiB",
  run(stage) {
    const path = { ...PATH, lossRate: 0.02, lossRunMax: 3 };
    stage.set(path, path, BBR_ENDS);
    stage.download(2 * MB);
    // Which packets are lost decides much in so short a file: 66 to 84 % over twenty seeds.
    stage.check("goodput ≥ 65 % of the rate", stage.utilisation >= 0.65, `${stage.utilisation}`);
  },
};

export const crosstrafficBbr: Scenario = {
  name: "crosstraffic-bbr",
  about: "BBR; otherwise as crosstraffic",
  run: (stage) => besideTcp(stage, BBR_ENDS, 0.25, 0.85),
};
