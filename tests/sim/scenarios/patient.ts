import type { StageOptions } from "../scenario.ts";

const SECONDS_60 = 60;

/** The interop runner lets a connect attempt on a bad path take a minute. */
const options = {
  timeoutUs: SECONDS_60 * 1e6,
  stream: { connectTimeoutMs: SECONDS_60 * 1e3 },
};
export const PATIENT: StageOptions = { client: options, server: options };
