import { KB, type Scenario } from "../scenario.ts";

export const handshake: Scenario = {
  name: "handshake",
  about: "one file of 1 KiB",
  run(stage) {
    stage.set();
    stage.download(KB);
    const { handshakesDone } = stage.client.endpoint.counters;
    stage.check("one round trip before the request", handshakesDone === 1);
  },
};
