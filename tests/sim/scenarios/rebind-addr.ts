import type { PendingScenario } from "../scenario.ts";

export const rebindAddr: PendingScenario = {
  name: "rebind-addr",
  about: "the NAT gives another address after 1 s, then every 5 s; one file of 10 MiB",
  waitsFor: "migration (paths)",
};
