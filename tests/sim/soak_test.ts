/** The first seeds of the soak, and those that once found something. */
import { soak } from "./soak.ts";

const SEEDS = 100;

Deno.test(`NS-NF-008: soak over the seeds 1…${SEEDS}: all arrives, once, in order`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) soak(seed);
});
