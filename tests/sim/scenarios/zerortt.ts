import type { PendingScenario } from "../scenario.ts";

export const zerortt: PendingScenario = {
  name: "zerortt",
  about: "data in the first packet of a resumed connection",
  waitsFor: "session tickets and early data (L4)",
};
