/** TOKEN_STREAM_START: the request was accepted, chunks follow on an RU stream. */
import { bytesField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** Who will answer. */
export interface TokenStreamStart {
  model: string;
  /** The node that answers, 16 bytes; empty when unknown. */
  nodeId: Uint8Array;
  /** Other members (id, created, system_fingerprint …), one JSON object. */
  extraJson?: string;
}

/** Offsets in the fixed part. */
export const TokenStreamStartLayout = { model: 4, nodeId: 8, extraJson: 12, size: 16 } as const;

export const TokenStreamStartShape: TableShape = {
  name: "TokenStreamStart",
  fields: [
    bytesField(TokenStreamStartLayout.model),
    bytesField(TokenStreamStartLayout.nodeId),
    bytesField(TokenStreamStartLayout.extraJson),
  ],
};

export function writeTokenStreamStart(w: Writer, t: number, start: TokenStreamStart): void {
  w.string(t + TokenStreamStartLayout.model, start.model);
  w.bytes(t + TokenStreamStartLayout.nodeId, start.nodeId);
  w.stringOptional(t + TokenStreamStartLayout.extraJson, start.extraJson);
}

export function readTokenStreamStart(r: Reader, t: number): TokenStreamStart {
  return {
    model: r.string(t, TokenStreamStartLayout.model),
    nodeId: r.bytesCopy(t, TokenStreamStartLayout.nodeId),
    extraJson: r.stringOptional(t, TokenStreamStartLayout.extraJson),
  };
}
