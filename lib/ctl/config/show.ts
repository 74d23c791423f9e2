/** `nexus config show`. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { formatView } from "../output/view.ts";
import { collect, overridesOf } from "../run/overrides.ts";

/** Adds the command. */
export function addConfigShow(parent: Command, context: Context): void {
  parent.command("show")
    .description("the effective config: file, environment, flags and defaults; secrets left out")
    .argument("[file]", "default: $NEXUS_CONFIG, else /etc/nexus/nexus.yaml if it exists")
    .option("--set <section.key=value>", "as the node would be given it; may be repeated", collect)
    .addHelpText("after", "\nExamples:\n  nexus config show node.yaml --set log.level=debug\n")
    .action(async (file: string | undefined, flags: { set?: string[] }) => {
      const { presentConfig } = await import("./present.ts");
      const given = overridesOf(flags.set ?? [], [
        ["--state-dir", "node.state_dir", context.flags.stateDir],
      ]);
      const checked = await context.handlers.checkConfig({ configFile: file, ...given });
      for (const warning of checked.warnings) context.note(`warning: ${warning}`);
      const data = presentConfig(checked.config);
      const yaml = await formatView({ data, table: () => "" }, "yaml", context.paint);
      await context.print({ data, table: () => yaml });
    });
}
