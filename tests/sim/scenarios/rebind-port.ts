import { rebinding } from "./rebind.ts";

export const rebindPort = rebinding(
  "rebind-port",
  "the NAT shows another port",
  (n) => `192.0.2.1:${40_000 + n}`,
  (stage) => {
    // The path is the same, so the window is kept.
    stage.check("goodput ≥ 60 % of the rate", stage.utilisation >= 0.6, `${stage.utilisation}`);
  },
);
