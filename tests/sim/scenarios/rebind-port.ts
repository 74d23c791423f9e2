import type { PendingScenario } from "../scenario.ts";

export const rebindPort: PendingScenario = {
  name: "rebind-port",
  about: "the NAT gives another port after 1 s, then every 5 s; one file of 10 MiB",
  waitsFor: "migration (paths)",
};
