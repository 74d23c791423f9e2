import { MB, PATH, type Scenario } from "../scenario.ts";

export const ecn: Scenario = {
  name: "ecn",
  about: "CoDel on a queue of 200 packets, which marks instead of dropping; one file of 2 MiB",
  run(stage) {
    stage.set({ ...PATH, queueMax: 200, aqm: "codel" });
    stage.download(2 * MB);
    const { server, fileServer, toClient: { counts: down }, toServer: { counts: up } } = stage;
    stage.check(
      "all but handshake frames are ECN-capable",
      // HELLO and FINISH one way, ACCEPT the other.
      up.ecnCapable === up.sent - 2 && down.ecnCapable === down.sent - 1,
      `${up.ecnCapable} of ${up.sent}, ${down.ecnCapable} of ${down.sent}`,
    );
    const { isEcnCapable } = server.use(fileServer.ids[0]).stats();
    stage.check("the path is validated", isEcnCapable);
    stage.check("CoDel marks", down.marked > 0);
    const { dropped, tooLarge } = down;
    stage.check("nothing is dropped but probes for the MTU", dropped === tooLarge, `${dropped}`);
    stage.check("goodput ≥ 75 % of the rate", stage.utilisation >= 0.75, `${stage.utilisation}`);
  },
};
