/** `nexus daemon`: the node as a service. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { EXIT, Failure } from "../exit.ts";
import { collect, overridesOf } from "./overrides.ts";

interface DaemonFlags {
  readonly config?: string;
  readonly port?: string;
  readonly set?: string[];
}

/** Adds the command. */
export function addDaemon(program: Command, context: Context): void {
  program.command("daemon")
    .description("run a node from its config until SIGTERM, as a service does")
    .option("--config <file>", "default: $NEXUS_CONFIG, else /etc/nexus/nexus.yaml if it exists")
    .option("--port <kind>", "mesh port: auto, udp (portable) or udp-native (default auto)")
    .option("--set <section.key=value>", "any key of the config; may be repeated", collect)
    .addHelpText("after", EXAMPLES)
    .action(async (flags: DaemonFlags) => {
      const { handlers } = context;
      const { output, stateDir } = context.flags;
      try {
        context.exitCode = await handlers.runNode({
          configFile: flags.config,
          ...overridesOf(flags.set ?? [], [
            ["--state-dir", "node.state_dir", stateDir],
            ["--port", "link.port", flags.port],
          ]),
          printInvite: false,
          output: output === "json" ? "json" : "table",
        });
      } catch (thrown) {
        throw await handlers.isConfigMistake(thrown) ? new Failure(thrown, EXIT.config) : thrown;
      }
    });
}

const EXAMPLES = `
Examples:
  nexus daemon --config node.yaml
  nexus daemon --config node.yaml --set log.level=debug -o json

Logs go to standard error. SIGTERM drains: running requests are finished (limits.drain_ms).
Exit code 78: a mistake that a restart cannot mend, such as a wrong config key.
`;
