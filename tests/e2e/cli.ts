/** Runs `nexus` to its end, as a user types it. */
import assert from "node:assert/strict";
import { nexus, type NodeProcess, within } from "./harness.ts";

const CLI_MS_MAX = 30_000;

/** What one run came to. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run it, beside its arguments. */
export interface CliOptions {
  readonly cwd?: string;
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Any exit code is an answer. */
export async function runCli(args: string[], options: CliOptions = {}): Promise<CliResult> {
  const [program, ...words] = nexus(...args);
  const child = new Deno.Command(program, {
    args: words,
    cwd: options.cwd,
    env: { NO_COLOR: "1", ...options.env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  // A command that does not read may be gone before all is written.
  const written = input.write(new TextEncoder().encode(options.stdin ?? ""))
    .then(() => input.close()).catch(() => {});
  try {
    const output = await within(CLI_MS_MAX, `nexus ${args.join(" ")}`, child.output());
    await written;
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
  } catch (thrown) {
    child.kill("SIGKILL");
    await child.status;
    throw thrown;
  }
}

/** Standard output of a run that must succeed. */
export async function cli(args: string[], options: CliOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runCli(args, options);
  assert.equal(code, 0, `nexus ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** The same with `-o json`, read. */
// deno-lint-ignore no-explicit-any
export async function cliJson(args: string[], options: CliOptions = {}): Promise<any> {
  return JSON.parse(await cli([...args, "-o", "json"], options));
}

/** Runs it against a node of the test. */
export function on(node: NodeProcess, ...args: string[]): string[] {
  return [...args, "--endpoint", node.ready.admin, "--state-dir", node.place.stateDir];
}

/**
 * A run that must fail: nothing on standard output, one line on standard error and perhaps a hint.
 * @returns that line, after checking the exit code
 */
export async function cliFails(
  code: number,
  args: string[],
  options: CliOptions = {},
): Promise<string> {
  const result = await runCli(args, options);
  const lines = result.stderr.trimEnd().split("\n");
  assert.equal(result.code, code, `nexus ${args.join(" ")}: ${result.stderr}`);
  assert.match(lines[0], /^nexus: /);
  for (const line of lines.slice(1)) assert.match(line, /^hint: /);
  return lines[0];
}
