/** HEALTH_CHECK: asks a node how busy it is. Fits one packet (BE stream). */
import type { Reader, TableShape, Writer } from "../nexbuf/mod.ts";

/** Asks for a HEALTH_STATUS. */
export interface HealthCheck {
  /** Wants the list of models too. */
  models: boolean;
}

/** Offsets in the fixed part. */
export const HealthCheckLayout = { models: 4, size: 5 } as const;

export const HealthCheckShape: TableShape = { name: "HealthCheck", fields: [] };

export function writeHealthCheck(w: Writer, t: number, check: HealthCheck): void {
  w.bool(t + HealthCheckLayout.models, check.models);
}

export function readHealthCheck(r: Reader, t: number): HealthCheck {
  return { models: r.bool(t, HealthCheckLayout.models, false) };
}
