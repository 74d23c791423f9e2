/** `nexus demo`. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { usageError } from "../exit.ts";

/** Adds the command. */
export function addDemo(program: Command, context: Context): void {
  program.command("demo")
    .description("three nodes on this machine, one question, an encrypted answer; leaves nothing")
    .option("--prompt <text>", "what to ask", "Write some small functions.")
    .option(
      "--sad <sad>",
      "whom to ask",
      "cap=code_gen+tool_use,ctx>=32k,latency<500ms",
    )
    .addHelpText("after", "\nExamples:\n  nexus demo\n  nexus demo -o json\n")
    .action(async ({ prompt, sad }: { prompt: string; sad: string }) => {
      if (context.flags.output === "name") {
        throw usageError("cannot print names: the demo has none", "use -o table or json");
      }
      const { runDemo } = await import("./demo.ts");
      await runDemo(context, { prompt, sad });
    });
}
