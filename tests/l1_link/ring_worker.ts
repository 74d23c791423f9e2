/** The other thread of ring_test.ts: plays one side of a ring. */
import { consume, produce } from "./ring_stream.ts";

export interface RingJob {
  readonly side: "produce" | "consume";
  readonly memory: Int32Array;
  readonly count: number;
  readonly seed: number;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<RingJob>) => void;
  postMessage(message: string): void;
};
scope.onmessage = ({ data: { side, memory, count, seed } }) => {
  scope.postMessage("started");
  if (side === "produce") produce(memory, count, seed);
  scope.postMessage(side === "consume" ? consume(memory, count, seed) : "");
};
