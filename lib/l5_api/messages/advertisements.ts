/** ADVERTISEMENTS: signed advertisements, opaque at this layer. */
import { bytesVectorField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** Some advertisements (docs/protocol.md §7). */
export interface Advertisements {
  adverts: Uint8Array[];
}

/** Offsets in the fixed part. */
export const AdvertisementsLayout = { adverts: 4, size: 8 } as const;

export const AdvertisementsShape: TableShape = {
  name: "Advertisements",
  fields: [bytesVectorField(AdvertisementsLayout.adverts)],
};

export function writeAdvertisements(w: Writer, t: number, message: Advertisements): void {
  w.bytesVector(t + AdvertisementsLayout.adverts, message.adverts);
}

export function readAdvertisements(r: Reader, t: number): Advertisements {
  return { adverts: r.bytesCopies(t, AdvertisementsLayout.adverts) };
}
