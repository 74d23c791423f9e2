import { PATH, type Scenario } from "../scenario.ts";
import { PATIENT } from "./patient.ts";

export const handshakeloss: Scenario = {
  name: "handshakeloss",
  about: "30 % loss both ways, at most 3 in a row; 50 connections, a file of 1 KiB each",
  run(stage) {
    stage.set({ ...PATH, lossRate: 0.3, lossRunMax: 3 }, undefined, PATIENT);
    stage.connections(50);
    stage.check("the path lost a quarter or more", stage.outcome.lost > stage.outcome.packets / 4);
  },
};
