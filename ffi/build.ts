/**
 * `deno task build`: compiles ffi/native into ffi/native/build/libnexus_io.so. What the machine
 * lacks is named with the one line that brings it; everything works without the library, slower.
 *
 *     deno run --allow-read --allow-write --allow-run --allow-env ffi/build.ts [--required]
 *
 * With --required a missing part is an error (CI); else the exit code is 0 unless cc fails.
 */
import { ISAL_SONAME } from "./libisal.ts";

const NATIVE = new URL("./native/", import.meta.url).pathname;
const BUILD = `${NATIVE}build/`;

/** Something to build with: how to see that it is there, and what it adds. */
interface Part {
  readonly name: string;
  readonly aptPackage: string;
  /** A program that compiles only where the part is installed. */
  readonly probe: string;
  readonly define?: string;
  /** What the linker is told, after our objects. */
  readonly link: readonly string[];
  readonly without: string;
}

const PARTS: readonly Part[] = [
  {
    name: "ISA-L",
    aptPackage: "libisal-dev",
    probe: "#include <isa-l/crc.h>\n#include <isa-l/erasure_code.h>\n",
    define: "NX_WITH_ISAL",
    link: ["-lisal"],
    without: "no native CRC-32C and Reed-Solomon",
  },
  {
    name: "intel-ipsec-mb",
    aptPackage: "libipsec-mb-dev",
    probe: "#include <intel-ipsec-mb.h>\n",
    define: "NX_WITH_IMB",
    link: ["-l:libIPSec_MB.a"],
    without: "AEAD by libcrypto only",
  },
  {
    name: "libcrypto",
    aptPackage: "libssl-dev",
    probe: "#include <openssl/evp.h>\n",
    define: "NX_WITH_EVP",
    link: ["-l:libcrypto.a", "-ldl"],
    without: "native AEAD only where intel-ipsec-mb suits the CPU",
  },
];

/** Flags of every C file of ours, in the library, its tests and its bench. */
export const C_FLAGS: readonly string[] = [
  "-std=c17",
  "-D_GNU_SOURCE",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-fno-strict-aliasing",
  "-pthread",
];

/** What was found and where the result lies. */
export interface BuildResult {
  readonly built: boolean;
  readonly missing: readonly string[];
  /** Packages that `apt-get install` would need. */
  readonly aptPackages: readonly string[];
}

/** Builds the library with all parts that are installed. Throws when the compiler refuses it. */
export async function build(log: (line: string) => void): Promise<BuildResult> {
  if (!await run("cc", ["--version"])) {
    return {
      built: false,
      missing: ["a C compiler: no native library, the portable path stays"],
      aptPackages: ["gcc", "libc6-dev", ...PARTS.map((part) => part.aptPackage)],
    };
  }
  await Deno.mkdir(BUILD, { recursive: true });
  const present: Part[] = [];
  const absent: Part[] = [];
  for (const part of PARTS) (await probe(part) ? present : absent).push(part);
  await compileLibrary(present);
  await copyIsal(present);
  log(
    `built ${BUILD}libnexus_io.so with ${
      present.map((part) => part.name).join(", ") || "libc only"
    }`,
  );
  return {
    built: true,
    missing: absent.map((part) => `${part.name}: ${part.without}`),
    aptPackages: absent.map((part) => part.aptPackage),
  };
}

/** Header and, where one is needed, archive are both there. */
async function probe(part: Part): Promise<boolean> {
  const source = await Deno.makeTempFile({ suffix: ".c" });
  try {
    await Deno.writeTextFile(source, `${part.probe}int main(void) { return 0; }\n`);
    return await run("cc", [source, ...part.link, "-o", "/dev/null"]);
  } finally {
    await Deno.remove(source);
  }
}

async function compileLibrary(parts: readonly Part[]): Promise<void> {
  // Written beside and moved over: a process that has the old one open keeps it.
  const target = `${BUILD}libnexus_io.so`;
  await compile("cc", parts, [
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-shared",
    "-Wl,-soname,libnexus_io.so",
    "-Wl,--gc-sections",
    "-Wl,-z,relro,-z,now",
    // The runtime unloads what an isolate loaded when that ends, under the feet of the waker's thread.
    "-Wl,-z,nodelete",
    "-Wl,-s",
    "-o",
    `${target}.new`,
  ]);
  await Deno.rename(`${target}.new`, target);
}

/** How to build a program that contains the library's sources: tests, fuzzers. */
export interface ProgramOptions {
  /** C files besides the library's, relative to ffi/native. */
  readonly sources: readonly string[];
  readonly output: string;
  readonly compiler?: string;
  readonly flags?: readonly string[];
}

/** Builds such a program with the parts that are installed. */
export async function buildProgram(options: ProgramOptions): Promise<void> {
  const { sources, output, compiler = "cc", flags = [] } = options;
  const present: Part[] = [];
  for (const part of PARTS) if (await probe(part)) present.push(part);
  await compile(compiler, present, [
    ...flags,
    ...sources.map((name) => NATIVE + name),
    "-o",
    output,
  ]);
}

async function compile(compiler: string, parts: readonly Part[], args: string[]): Promise<void> {
  const sources: string[] = [];
  for await (const { name } of Deno.readDir(NATIVE)) {
    if (name.endsWith(".c")) sources.push(NATIVE + name);
  }
  const all = [
    ...C_FLAGS,
    ...parts.map((part) => `-D${part.define}`),
    ...args,
    ...sources.sort(),
    // libisal and libIPSec_MB both have a gf_mul: without this each would call the other's.
    "-Wl,--exclude-libs,ALL",
    ...parts.flatMap((part) => part.link),
  ];
  if (!await run(compiler, all, true)) {
    throw new Error("cannot build ffi/native: the compiler failed (above)");
  }
}

/** The compiled binary embeds the build folder, so libisal must lie in it. */
async function copyIsal(parts: readonly Part[]): Promise<void> {
  if (!parts.some((part) => part.define === "NX_WITH_ISAL")) return;
  const { stdout } = await new Deno.Command("cc", {
    args: [`-print-file-name=${ISAL_SONAME}`],
    stdout: "piped",
  }).output();
  await Deno.copyFile(new TextDecoder().decode(stdout).trim(), BUILD + ISAL_SONAME);
}

/** Whether a command can be started and succeeds; its words are shown when `loud`. */
async function run(command: string, args: string[], loud = false): Promise<boolean> {
  try {
    const output = loud ? "inherit" : "null";
    const child = new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: output,
      stderr: output,
    });
    return (await child.output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

if (import.meta.main) {
  const { missing, aptPackages } = await build(console.log);
  for (const line of missing) console.log(`missing ${line}`);
  if (aptPackages.length > 0) {
    console.log(`to enable: apt-get update && apt-get install -y ${aptPackages.join(" ")}`);
    if (Deno.args.includes("--required")) Deno.exit(1);
  }
}
