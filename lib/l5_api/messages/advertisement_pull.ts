/** ADVERTISEMENT_PULL: asks for all advertisements, now and as they come. */
import type { TableShape } from "../nexbuf/mod.ts";

/** Has no fields yet. */
export type AdvertisementPull = Record<never, never>;

/** The fixed part: nothing but its size. */
export const AdvertisementPullLayout = { size: 4 } as const;

export const AdvertisementPullShape: TableShape = { name: "AdvertisementPull", fields: [] };

export function writeAdvertisementPull(): void {}

export function readAdvertisementPull(): AdvertisementPull {
  return {};
}
