import { PATH, type Scenario } from "../scenario.ts";
import { PATIENT } from "./patient.ts";

export const handshakecorruption: Scenario = {
  name: "handshakecorruption",
  about: "30 % of the packets damaged, at most 3 in a row; 50 connections, a file of 1 KiB each",
  run(stage) {
    stage.set({ ...PATH, corruptRate: 0.3, corruptRunMax: 3 }, undefined, PATIENT);
    stage.connections(50);
    stage.check(
      "the path damaged a quarter or more",
      stage.outcome.lost > stage.outcome.packets / 4,
    );
  },
};
