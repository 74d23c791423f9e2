/** Counts up a byte in memory that the other thread mapped. */
import { viewPoolMemory } from "../../lib/io/pool_memory.ts";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<{ address: number; bytes: number }>) => void;
  postMessage(message: string): void;
};
scope.onmessage = ({ data }) => {
  viewPoolMemory(data)[7]++;
  scope.postMessage("done");
};
