/** CSR_SUBMIT: an invited node asks for its certificate. */
import { bytesField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** Asks for a certificate. */
export interface CsrSubmit {
  /** docs/protocol.md §3.2 */
  csr: Uint8Array;
  /** Name the node would like to be known by; "" = none. */
  name: string;
}

/** Offsets in the fixed part. */
export const CsrSubmitLayout = { csr: 4, name: 8, size: 12 } as const;

export const CsrSubmitShape: TableShape = {
  name: "CsrSubmit",
  fields: [bytesField(CsrSubmitLayout.csr), bytesField(CsrSubmitLayout.name)],
};

export function writeCsrSubmit(w: Writer, t: number, submit: CsrSubmit): void {
  w.bytes(t + CsrSubmitLayout.csr, submit.csr);
  w.string(t + CsrSubmitLayout.name, submit.name);
}

export function readCsrSubmit(r: Reader, t: number): CsrSubmit {
  return { csr: r.bytesCopy(t, CsrSubmitLayout.csr), name: r.string(t, CsrSubmitLayout.name) };
}
