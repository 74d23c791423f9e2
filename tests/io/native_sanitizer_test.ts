/** The C of ffi/native under AddressSanitizer and UndefinedBehaviorSanitizer. */
import assert from "node:assert/strict";
import { buildProgram } from "../../ffi/build.ts";
import type { Need } from "../support/needs.ts";
import { testNeeding } from "../support/needs.ts";

const SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
/** Inputs of a fuzz target in the ordinary test run; libFuzzer does millions. */
const FUZZ_INPUTS = "5000";

/** A C compiler that can link sanitizers. */
const SANITIZING_COMPILER: Need = {
  name: "a C compiler with AddressSanitizer",
  present: compilerHas("libasan.so"),
  enable: "apt-get install -y gcc libc6-dev",
};

function compilerHas(library: string): boolean {
  try {
    const { stdout } = new Deno.Command("cc", {
      args: [`-print-file-name=${library}`],
      stdout: "piped",
      stderr: "null",
    }).outputSync();
    return new TextDecoder().decode(stdout).includes("/");
  } catch {
    return false;
  }
}

const programs: [string, string[], string[]][] = [
  ["unit tests pass", ["tests/unit.c"], []],
  ["the receive path survives made-up messages", [
    "tests/fuzz_rx.c",
    "tests/random_inputs.c",
  ], [FUZZ_INPUTS]],
  ["sending does what a plain model does with made-up descriptors", [
    "tests/fuzz_tx.c",
    "tests/random_inputs.c",
  ], [FUZZ_INPUTS]],
  ["the burst helpers survive made-up frames", [
    "tests/fuzz_frame.c",
    "tests/random_inputs.c",
  ], [FUZZ_INPUTS]],
  ["runs open as they were sealed and as a plain model says", [
    "tests/fuzz_run.c",
    "tests/random_inputs.c",
  ], [FUZZ_INPUTS]],
];

for (const [behaviour, sources, args] of programs) {
  testNeeding([SANITIZING_COMPILER], `NL-P-003: native, sanitized: ${behaviour}`, async () => {
    const output = await Deno.makeTempFile();
    try {
      await buildProgram({ sources, output, flags: SANITIZERS });
      const child = await new Deno.Command(output, { args, stderr: "piped" }).output();
      assert.equal(child.code, 0, new TextDecoder().decode(child.stderr));
    } finally {
      await Deno.remove(output);
    }
  });
}
