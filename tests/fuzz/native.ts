/**
 * Coverage-guided fuzzing of ffi/native with libFuzzer, ASan and UBSan:
 *
 *     deno run -R -W --allow-run --allow-env tests/fuzz/native.ts rx|tx|frame|run [--inputs N]
 *
 * A crash leaves its input in the directory that is printed; the exit code is then not 0.
 */
import { buildProgram } from "../../ffi/build.ts";

const FLAGS = ["-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"];
const INPUTS_DEFAULT = 1_000_000;
/** Longest input: several messages, bursts or trains, or the largest frame that tells something new. */
const INPUT_BYTES_MAX = { rx: 4096, tx: 2048, frame: 2048, run: 2048 };

const target = Deno.args[0] as keyof typeof INPUT_BYTES_MAX;
if (!Object.hasOwn(INPUT_BYTES_MAX, target)) {
  console.error(`usage: native.ts ${Object.keys(INPUT_BYTES_MAX).join("|")} [--inputs N]`);
  Deno.exit(2);
}
const at = Deno.args.indexOf("--inputs");
const inputs = at < 0 ? INPUTS_DEFAULT : Number(Deno.args[at + 1]);
const compiler = findClang();
if (compiler === undefined) {
  console.error("clang is missing: apt-get install -y clang-14 libclang-rt-14-dev");
  Deno.exit(1);
}
const directory = await Deno.makeTempDir({ prefix: "nexus-fuzz-" });
const output = `${directory}/fuzz_${target}`;
await buildProgram({ sources: [`tests/fuzz_${target}.c`], output, compiler, flags: FLAGS });
await Deno.mkdir(`${directory}/corpus`);
const { code } = await new Deno.Command(output, {
  args: [
    `-runs=${inputs}`,
    `-max_len=${INPUT_BYTES_MAX[target]}`,
    "-print_final_stats=1",
    `${directory}/corpus`,
  ],
  cwd: directory,
}).output().then((result) => {
  console.log(new TextDecoder().decode(result.stderr).split("\n").slice(-8).join("\n"));
  return result;
});
if (code === 0) await Deno.remove(directory, { recursive: true });
else console.error(`crash: see ${directory}`);
Deno.exit(code);

function findClang(): string | undefined {
  for (const name of ["clang", "clang-19", "clang-16", "clang-14"]) {
    try {
      new Deno.Command(name, { args: ["--version"], stdout: "null" }).outputSync();
      return name;
    } catch { /* the next one */ }
  }
  return undefined;
}
