import type { PendingScenario } from "../scenario.ts";

export const keyupdate: PendingScenario = {
  name: "keyupdate",
  about: "new keys in the middle of 3 MiB",
  waitsFor: "key phases beyond the first (L4)",
};
