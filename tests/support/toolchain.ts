/** Compilers that a test may need, and how a test calls them. */
import type { Need } from "./needs.ts";

/** A program of the machine. */
export interface Tool extends Need {
  readonly path: string;
}

/** Any C compiler. */
export const C_COMPILER = tool("a C compiler (cc)", ["cc"], "apt-get install gcc libc6-dev");
/** clang with its BPF back end. */
export const CLANG_BPF = tool(
  "clang for BPF",
  ["clang", "clang-19", "clang-16", "clang-14"],
  "apt-get install clang",
);

/** The C compiler with ThreadSanitizer. */
export const THREAD_SANITIZER: Need = {
  name: "ThreadSanitizer",
  present: C_COMPILER.present && hasLibrary("libtsan.so"),
  enable: "apt-get install gcc (with libtsan)",
};

/** Whether the compiler finds a library of its own: it answers with a path then. */
function hasLibrary(name: string): boolean {
  const { stdout } = new Deno.Command(C_COMPILER.path, { args: [`-print-file-name=${name}`] })
    .outputSync();
  return new TextDecoder().decode(stdout).startsWith("/");
}

function tool(name: string, candidates: readonly string[], enable: string): Tool {
  for (const directory of (Deno.env.get("PATH") ?? "").split(":")) {
    for (const candidate of candidates) {
      const path = `${directory}/${candidate}`;
      if (isFile(path)) return { name, present: true, enable, path };
    }
  }
  return { name, present: false, enable, path: candidates[0] };
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Compiles C source from the repository's root; returns what the compiler complained about. */
export async function compileC(
  source: string,
  args: readonly string[],
  compiler: string = C_COMPILER.path,
): Promise<string> {
  const child = new Deno.Command(compiler, {
    args: ["-x", "c", "-", ...args],
    cwd: new URL("../../", import.meta.url),
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(source));
  await writer.close();
  const { stderr } = await child.output();
  return new TextDecoder().decode(stderr);
}
