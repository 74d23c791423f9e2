/** `nexus up`: a node in one command, alone or in a mesh that exists. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { usageError } from "../exit.ts";
import { INVITE_LIFE_S_MAX, INVITE_USES_MAX } from "../invite/limits.ts";
import { parseDuration, parseInteger } from "../output/values.ts";
import { collect, overridesOf } from "./overrides.ts";

interface UpFlags {
  readonly join?: string;
  readonly joinFile?: string;
  readonly config?: string;
  readonly name?: string;
  readonly listen?: string;
  readonly port?: string;
  readonly admin?: string;
  readonly bridge?: string;
  readonly set?: string[];
  readonly uses?: string;
  readonly expires?: string;
}

/** Adds the command. */
export function addUp(program: Command, context: Context): void {
  program.command("up")
    .description("run a node here: makes a private mesh and prints an invite token, or joins one")
    .option("--join <token>", "invite token of the mesh to join")
    .option("--join-file <file>", "the same from a file, out of sight of `ps`")
    .option("--config <file>", "config of the node (YAML)")
    .option("--name <name>", "name shown to people (default: host name)")
    .option("--listen <host:port>", "mesh port, UDP (default 0.0.0.0:6477)")
    .option("--port <kind>", "mesh port: auto, udp (portable) or udp-native (default auto)")
    .option("--admin <host:port>", "admin API (default 127.0.0.1:6478)")
    .option("--bridge <host:port>", "OpenAI-compatible API (default 127.0.0.1:6479)")
    .option("--set <section.key=value>", "any key of the config; may be repeated", collect)
    .option("--uses <n>", "how many may join with the printed token (default 16)")
    .option("--expires <duration>", "how long the printed token is good (default 1h)")
    .addHelpText("after", EXAMPLES)
    .action(async (flags: UpFlags) => {
      if (flags.join !== undefined && flags.joinFile !== undefined) {
        throw usageError("cannot join: --join and --join-file exclude each other");
      }
      const { output, stateDir } = context.flags;
      context.exitCode = await context.handlers.runNode({
        configFile: flags.config,
        ...overridesOf(flags.set ?? [], [
          ["--name", "node.name", flags.name],
          ["--state-dir", "node.state_dir", stateDir],
          ["--listen", "link.listen", flags.listen],
          ["--port", "link.port", flags.port],
          ["--admin", "admin.listen", flags.admin],
          ["--bridge", "bridge.listen", flags.bridge],
          ["--join", "mesh.join", flags.join?.trim()],
          ["--join-file", "mesh.join_file", flags.joinFile],
        ]),
        printInvite: true,
        inviteUses: flags.uses === undefined
          ? undefined
          : parseInteger(flags.uses, "--uses", 1, INVITE_USES_MAX),
        inviteLifeS: flags.expires === undefined
          ? undefined
          : parseDuration(flags.expires, "--expires", INVITE_LIFE_S_MAX),
        output: output === "json" ? "json" : "table",
      });
    });
}

const EXAMPLES = `
Examples:
  nexus up
  nexus up --join nxi1_AbC… --name worker-2
  nexus up --config node.yaml --uses 3 --expires 15m
  nexus up --listen 127.0.0.1:0 --admin 127.0.0.1:0 --bridge 127.0.0.1:0 --state-dir ./state

Only the node that made the mesh prints a token; \`nexus invite\` prints another one there.
Ctrl-C finishes what runs and stops; a second one stops at once.
`;
