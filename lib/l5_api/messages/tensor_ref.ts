/** Names a tensor that travels (or travelled) on a stream of its own. */
import { bytesField, type Reader, type TableShape, type Writer } from "../nexbuf/mod.ts";

/** Reference to a tensor of the same connection. */
export interface TensorRef {
  tensorId: number;
  /** Which input it is; "" = the only one. */
  name: string;
}

/** Offsets in the fixed part. */
export const TensorRefLayout = { tensorId: 4, name: 8, size: 12 } as const;

export const TensorRefShape: TableShape = {
  name: "TensorRef",
  fields: [bytesField(TensorRefLayout.name)],
};

export function writeTensorRef(w: Writer, t: number, tensor: TensorRef): void {
  w.u32(t + TensorRefLayout.tensorId, tensor.tensorId);
  w.string(t + TensorRefLayout.name, tensor.name);
}

export function readTensorRef(r: Reader, t: number): TensorRef {
  return {
    tensorId: r.u32(t, TensorRefLayout.tensorId, 0),
    name: r.string(t, TensorRefLayout.name),
  };
}
