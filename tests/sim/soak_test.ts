/**
 * The first seeds of the soak. What it found is a test of its own name beside the code's, for a
 * seed means another run as soon as the soak changes: connection_test.ts (messages as large as the
 * window), migration_test.ts (an answer to a challenge under a full window).
 */
import { soak } from "./soak.ts";

const SEEDS = 100;

Deno.test(`NS-NF-008: soak over the seeds 1…${SEEDS}: all arrives, once, in order`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) soak(seed);
});
