/** `nexus config validate`. */
import type { Command } from "commander";
import { NexusError } from "../../base/mod.ts";
import type { Context } from "../context.ts";
import { exitCodeOf } from "../exit.ts";
import { collect, overridesOf } from "../run/overrides.ts";

/** Adds the command. */
export function addConfigValidate(parent: Command, context: Context): void {
  parent.command("validate")
    .description("check a config; mistakes are named with file, line and key")
    .argument("[file]", "default: $NEXUS_CONFIG, else /etc/nexus/nexus.yaml if it exists")
    .option("--set <section.key=value>", "as the node would be given it; may be repeated", collect)
    .addHelpText("after", "\nExamples:\n  nexus config validate node.yaml\n")
    .action(async (file: string | undefined, flags: { set?: string[] }) => {
      const given = overridesOf(flags.set ?? [], []);
      try {
        const checked = await context.handlers.checkConfig({ configFile: file, ...given });
        for (const warning of checked.warnings) context.note(`warning: ${warning}`);
        const name = checked.file ?? "defaults";
        await context.print({
          data: { valid: true, file: checked.file, warnings: checked.warnings, mistakes: [] },
          table: () => `${name}: ok\n`,
          names: () => [name],
        });
      } catch (thrown) {
        const mistakes = mistakesOf(thrown);
        if (mistakes === undefined || !context.isMachine) throw thrown;
        await context.print({
          data: { valid: false, file, warnings: [], mistakes },
          table: () => "",
        });
        context.exitCode = exitCodeOf(thrown);
      }
    });
}

/** The list that the node's ConfigError carries beside its message. */
function mistakesOf(thrown: unknown): readonly unknown[] | undefined {
  if (!(thrown instanceof NexusError) || thrown.code !== "CONFIG_INVALID") return undefined;
  const { mistakes } = thrown as { mistakes?: unknown };
  return Array.isArray(mistakes) ? mistakes : undefined;
}
