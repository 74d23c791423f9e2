/** CANCEL: the client no longer wants the answer. */
import { bytesField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** Stops the request of the header's request id. */
export interface Cancel {
  /** For logs. */
  reason?: string;
}

/** Offsets in the fixed part. */
export const CancelLayout = { reason: 4, size: 8 } as const;

export const CancelShape: TableShape = {
  name: "Cancel",
  fields: [bytesField(CancelLayout.reason)],
};

export function writeCancel(w: Writer, t: number, cancel: Cancel): void {
  w.stringOptional(t + CancelLayout.reason, cancel.reason);
}

export function readCancel(r: Reader, t: number): Cancel {
  return { reason: r.stringOptional(t, CancelLayout.reason) };
}
