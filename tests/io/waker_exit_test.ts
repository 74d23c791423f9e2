/** Processes that use the native port and end. */
import assert from "node:assert/strict";
import { NATIVE_LIBRARY } from "../support/native.ts";
import { testNeeding } from "../support/needs.ts";

/** Each ends in a race of two threads, which most runs lost before it was mended. */
const RUNS = 6;

/** Exit codes of RUNS processes, one after the other. */
async function exitCodes(how: "close" | "fail"): Promise<number[]> {
  const program = new URL("./waker_exit_process.ts", import.meta.url).pathname;
  const codes: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--allow-net", "--allow-read", "--allow-ffi", program, how],
      stderr: "null",
    }).output();
    codes.push(code);
  }
  return codes;
}

testNeeding(
  [NATIVE_LIBRARY],
  "NL-P-003: native: a process that closes its ports while the waker calls ends well",
  async () => assert.deepEqual(await exitCodes("close"), new Array(RUNS).fill(0)),
);

testNeeding(
  [NATIVE_LIBRARY],
  "NL-P-003: native: an error that nobody catches ends a process with open ports by its own code",
  async () => assert.deepEqual(await exitCodes("fail"), new Array(RUNS).fill(1)),
);
