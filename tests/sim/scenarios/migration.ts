import type { PendingScenario } from "../scenario.ts";

export const migration: PendingScenario = {
  name: "migration",
  about: "the client moves to another network; one file of 2 MiB",
  waitsFor: "migration (paths)",
};
