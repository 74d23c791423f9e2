import { HEADER_BYTES, MB, PATH, type Scenario } from "../scenario.ts";

const CHANGE_US = 3e6;
const MTU_AFTER = 1_280;

export const mtu: Scenario = {
  name: "mtu",
  about: "the path carries 1,500 B, after 3 s no more than 1,280 B; one file of 10 MiB",
  run(stage) {
    const { network, fileServer } = stage;
    stage.set({ ...PATH, mtuChange: { atUs: CHANGE_US, mtuBytes: MTU_AFTER } });
    const frameBytes = () => stage.server.use(fileServer.ids[0]).stats().frameBytes;
    let before = 0;
    network.at(CHANGE_US, () => before = frameBytes());
    stage.download(10 * MB);
    stage.check("frames fill 1,500 B before", before === 1_500 - HEADER_BYTES, `${before}`);
    const after = frameBytes();
    stage.check("frames fit 1,280 B after", after <= MTU_AFTER - HEADER_BYTES, `${after}`);
    stage.check("goodput ≥ 75 % of the rate", stage.utilisation >= 0.75, `${stage.utilisation}`);
  },
};
