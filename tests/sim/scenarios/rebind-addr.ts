import { rebinding } from "./rebind.ts";

export const rebindAddr = rebinding(
  "rebind-addr",
  "the NAT shows another address",
  (n) => `192.0.2.${1 + n}:40000`,
  (stage) => {
    // Another address may be another path: window, round trip and MTU begin anew.
    stage.check("goodput ≥ 50 % of the rate", stage.utilisation >= 0.5, `${stage.utilisation}`);
  },
);
