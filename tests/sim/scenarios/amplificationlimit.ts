import { KB, PATH, type Scenario } from "../scenario.ts";

/** RFC 9000 §8.1, docs/protocol.md §4.1. */
const AMPLIFICATION_MAX = 3;
/** Enough to fill an ACCEPT of three frames. */
const MODEL_NAMES = Array.from({ length: 20 }, (_, i) => `model-${i}-${"x".repeat(90)}`);

export const amplificationlimit: Scenario = {
  name: "amplificationlimit",
  about: "an ACCEPT of three frames, the client's packets 2 to 7 are lost; one file of 5 KiB",
  run(stage) {
    const path = { ...PATH, dropNumbers: [2, 3, 4, 5, 6, 7] };
    stage.set(path, PATH, { serverClaims: { modelNames: MODEL_NAMES } });
    const { server } = stage;
    let worst = 0;
    let frames = 0;
    stage.onTurn = () => {
      if (stage.fileServer.connected > 0) return; // FINISH has proven the address
      const { bytesIn, bytesOut, framesOut } = server.endpoint.counters;
      if (bytesIn > 0) worst = Math.max(worst, bytesOut / bytesIn);
      frames = framesOut;
    };
    stage.download(5 * KB);
    stage.check("the ACCEPT takes three frames", frames % 3 === 0 && frames > 0, `${frames}`);
    stage.check(
      "never more than 3 × what came from the unproven address",
      worst > 1 && worst <= AMPLIFICATION_MAX,
      `${worst}`,
    );
  },
};
