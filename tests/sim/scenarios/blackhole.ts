import { MB, PATH, type Scenario } from "../scenario.ts";

const ON_US = 5e6;
const OFF_US = 2e6;

export const blackhole: Scenario = {
  name: "blackhole",
  about: "5 s of service, 2 s of nothing, again and again; one file of 10 MiB",
  run(stage) {
    stage.set({ ...PATH, outage: { onUs: ON_US, offUs: OFF_US } });
    stage.download(10 * MB);
    const { blackholed } = stage.toClient.counts;
    stage.check("the path went dark meanwhile", blackholed > 0);
    const served = stage.utilisation * (ON_US + OFF_US) / ON_US;
    stage.check("goodput ≥ 60 % of what the path serves", served >= 0.6, `${served}`);
  },
};
