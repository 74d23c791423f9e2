import { MB, PATH, type Scenario } from "../scenario.ts";

export const transfercorruption: Scenario = {
  name: "transfercorruption",
  about: "2 % of the packets damaged, at most 3 in a row; one file of 2 MiB",
  run(stage) {
    stage.set({ ...PATH, corruptRate: 0.02, corruptRunMax: 3 });
    stage.download(2 * MB);
    const { drops } = stage.client.endpoint.counters;
    stage.check("damaged frames are dropped and counted", drops.get("frame_frame_crc")! > 0);
  },
};
