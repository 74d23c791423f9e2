/** `nexus version`. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { formatFields } from "../output/table.ts";

/** Adds the command. */
export function addVersion(program: Command, context: Context): void {
  program.command("version")
    .description("version of this program and of the protocol it speaks")
    .action(async () => {
      const { version, protocol } = context.handlers;
      const runtime = `deno ${Deno.version.deno}`;
      const platform = Deno.build.target;
      await context.print({
        data: { version, protocol, runtime, platform },
        table: ({ paint }) =>
          formatFields([
            ["nexus", version],
            ["protocol", String(protocol)],
            ["runtime", runtime],
            ["platform", platform],
          ], { paint }),
        names: () => [version],
      });
    });
}
