/** CSR_RESULT: the certificate of an invited node. */
import { bytesVectorField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** The certificate and those above it. */
export interface CsrResult {
  /** MICs, leaf first, root last. */
  chain: Uint8Array[];
}

/** Offsets in the fixed part. */
export const CsrResultLayout = { chain: 4, size: 8 } as const;

export const CsrResultShape: TableShape = {
  name: "CsrResult",
  fields: [bytesVectorField(CsrResultLayout.chain)],
};

export function writeCsrResult(w: Writer, t: number, result: CsrResult): void {
  w.bytesVector(t + CsrResultLayout.chain, result.chain);
}

export function readCsrResult(r: Reader, t: number): CsrResult {
  return { chain: r.bytesCopies(t, CsrResultLayout.chain) };
}
