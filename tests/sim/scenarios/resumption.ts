import type { PendingScenario } from "../scenario.ts";

export const resumption: PendingScenario = {
  name: "resumption",
  about: "a second connection without certificates",
  waitsFor: "session tickets (L4)",
};
