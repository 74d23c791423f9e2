import { KB, PATH, type Scenario } from "../scenario.ts";

/** RFC 9000 §8.1, docs/protocol.md §4.1. */
const AMPLIFICATION_MAX = 3;

export const amplificationlimit: Scenario = {
  name: "amplificationlimit",
  about: "the client's packets 2 to 7 are lost; one file of 5 KiB",
  run(stage) {
    stage.set({ ...PATH, dropNumbers: [2, 3, 4, 5, 6, 7] }, PATH);
    const { server } = stage;
    let worst = 0;
    stage.onTurn = () => {
      if (stage.fileServer.connected > 0) return; // FINISH has proven the address
      const { bytesIn, bytesOut } = server.endpoint.counters;
      if (bytesIn > 0) worst = Math.max(worst, bytesOut / bytesIn);
    };
    stage.download(5 * KB);
    stage.check("an ACCEPT was sent to an unproven address", worst > 0);
    stage.check("never more than 3 × what came from it", worst <= AMPLIFICATION_MAX, `${worst}`);
  },
};
