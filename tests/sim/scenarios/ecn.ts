import type { PendingScenario } from "../scenario.ts";

export const ecn: PendingScenario = {
  name: "ecn",
  about: "one file of 100 KiB",
  waitsFor: "ECN on the frames of an endpoint (paths)",
};
