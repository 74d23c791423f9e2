/** Tokens counted for a request. */
import type { Reader, TableShape, Writer } from "../nexbuf/mod.ts";

/** Token counts; `cached` is the part of `prompt` that the provider had cached. */
export interface Usage {
  prompt: number;
  completion: number;
  cached: number;
}

/** Offsets in the fixed part. */
export const UsageLayout = { prompt: 4, completion: 8, cached: 12, size: 16 } as const;

export const UsageShape: TableShape = { name: "Usage", fields: [] };

/** Places a Usage and refers to it from `field`. */
export function writeUsage(w: Writer, field: number, usage: Usage): void {
  const t = w.tableIn(field, UsageLayout.size);
  w.u32(t + UsageLayout.prompt, usage.prompt);
  w.u32(t + UsageLayout.completion, usage.completion);
  w.u32(t + UsageLayout.cached, usage.cached);
}

/** The Usage at `t`; zeroes when t is 0 (absent). */
export function readUsage(r: Reader, t: number): Usage {
  if (t === 0) return { prompt: 0, completion: 0, cached: 0 };
  return {
    prompt: r.u32(t, UsageLayout.prompt, 0),
    completion: r.u32(t, UsageLayout.completion, 0),
    cached: r.u32(t, UsageLayout.cached, 0),
  };
}
