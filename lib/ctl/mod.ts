/** The command line: `nexus <noun> <verb>`. See README.md. */
import { CommanderError } from "commander";
import { Context } from "./context.ts";
import { EXIT, exitCodeOf, failureLines } from "./exit.ts";
import type { Handlers } from "./handlers.ts";
import { createProgram } from "./program.ts";
import { systemTerminal, type Terminal } from "./terminal.ts";

export type { CheckedConfig, Handlers, ReadyLine, RunOptions } from "./handlers.ts";
export type { Terminal } from "./terminal.ts";

/**
 * Runs one command line.
 * @param args what stands behind the program's name
 * @returns the exit code; failures are told on standard error, never thrown
 */
export async function runCli(
  args: readonly string[],
  handlers: Handlers,
  terminal: Terminal = systemTerminal,
): Promise<number> {
  const context = new Context(terminal, handlers);
  try {
    await createProgram(context).parseAsync(args, { from: "user" });
    return context.exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return commanderExitCode(thrown);
    const paint = context.errPaint;
    for (const line of failureLines(thrown, context.flags.verbose === true)) {
      context.note(line.replace(/^(nexus|hint):/, (word) => paint.bold(word)));
    }
    return exitCodeOf(thrown);
  }
}

/** Commander has told what is wrong; help and version that were asked for are no failures. */
function commanderExitCode({ code }: CommanderError): number {
  return code === "commander.helpDisplayed" || code === "commander.version"
    ? EXIT.done
    : EXIT.usage;
}
