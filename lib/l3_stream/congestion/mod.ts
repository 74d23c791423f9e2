/** Congestion control: one interface, interchangeable controllers. */
import { NexusError } from "../../base/mod.ts";
import { Bbr } from "./bbr/bbr.ts";
import type { CongestionController, CongestionOptions } from "./controller.ts";
import { Cubic } from "./cubic.ts";
import { NewReno } from "./newreno.ts";

export * from "./controller.ts";
export { Bbr } from "./bbr/bbr.ts";
export { Cubic, type CubicOptions } from "./cubic.ts";
export { type DeliveryRate } from "./delivery_rate.ts";
export { NewReno } from "./newreno.ts";
export { Pacer } from "./pacer.ts";

/** Names a configuration may use, the default first. */
export const CONGESTION_NAMES = ["cubic", "bbr", "newreno"] as const;
export type CongestionName = (typeof CONGESTION_NAMES)[number];

/** Makes a controller by name; UNKNOWN_CONGESTION otherwise. */
export function createCongestion(
  name: CongestionName,
  options: CongestionOptions,
): CongestionController {
  switch (name) {
    case "cubic":
      return new Cubic(options);
    case "bbr":
      return new Bbr(options);
    case "newreno":
      return new NewReno(options);
    default:
      throw new NexusError(
        "UNKNOWN_CONGESTION",
        `cannot make congestion controller: name is "${name}", expected one of ${
          CONGESTION_NAMES.join(", ")
        }`,
      );
  }
}
