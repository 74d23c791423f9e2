import type { PendingScenario } from "../scenario.ts";

export const retry: PendingScenario = {
  name: "retry",
  about: "the server proves the client's address before it keeps state",
  waitsFor: "RETRY and cookies in the handshake (L4)",
};
