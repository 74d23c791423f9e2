import { KB, PATH, type Scenario } from "../scenario.ts";

const DELAY_US = 750_000;

export const longrtt: Scenario = {
  name: "longrtt",
  about: "750 ms one way, one file of 1 KiB",
  run(stage) {
    stage.set({ ...PATH, delayUs: DELAY_US });
    stage.download(KB);
    const { network, client } = stage;
    stage.check("done within three round trips", network.nowUs < 3 * 2 * DELAY_US);
    stage.check("repeated HELLOs do no harm", client.endpoint.connectionCount === 1);
  },
};
