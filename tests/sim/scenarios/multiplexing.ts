import { type Scenario } from "../scenario.ts";

const FILES = 1_999;

export const multiplexing: Scenario = {
  name: "multiplexing",
  about: "1,999 files of 32 B, a stream each, 1,024 streams at most",
  run(stage) {
    stage.set();
    stage.download(...new Array(FILES).fill(32));
    const [id] = stage.fileServer.ids;
    stage.runUntil(() => stage.server.use(id).openStreamCount === 0);
    stage.check("no stream is left", stage.server.use(id).openStreamCount === 0);
  },
};
