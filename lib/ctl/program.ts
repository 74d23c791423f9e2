/** The command tree. Each verb adds itself; what a verb needs is loaded when it runs. */
import { Command, Option } from "commander";
import { addCompletion } from "./completion/completion.ts";
import { addConfigShow } from "./config/show.ts";
import { addConfigValidate } from "./config/validate.ts";
import type { Context, GlobalFlags } from "./context.ts";
import { addDemo } from "./demo/command.ts";
import { addInfer } from "./infer/infer.ts";
import { addInvite } from "./invite/invite.ts";
import { addNodeInfo } from "./node/info.ts";
import { addNodeList } from "./node/list.ts";
import { OUTPUTS } from "./output/view.ts";
import { addRouteResolve } from "./route/resolve.ts";
import { addRouteTable } from "./route/table.ts";
import { addDaemon } from "./run/daemon.ts";
import { addUp } from "./run/up.ts";
import { addCaInit } from "./trust/ca_init.ts";
import { addCaIssue } from "./trust/ca_issue.ts";
import { addCsrCreate } from "./trust/csr_create.ts";
import { addKeysGenerate } from "./trust/keys_generate.ts";
import { addMicShow } from "./trust/mic_show.ts";
import { addVersion } from "./version/version.ts";

/** Builds the program; its actions run in `context`. */
export function createProgram(context: Context): Command {
  const { terminal, handlers } = context;
  const program = new Command("nexus");
  program
    .description("Asks models by what they can do, over an encrypted mesh of nodes.")
    .addOption(
      new Option("-o, --output <format>", "form of the result").choices(OUTPUTS).default("table"),
    )
    .option("--endpoint <address>", "admin address of the node (default 127.0.0.1:6478)")
    .option("--token-file <file>", "admin token of the node (default <state dir>/admin.token)")
    .option("--state-dir <dir>", "state directory of the node on this machine")
    .option("-v, --verbose", "say more, on standard error")
    .option("--no-color", "no colour (also NO_COLOR)")
    .version(handlers.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "help on a command")
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "nexus: ").replace("\n(", " (")),
    })
    .showHelpAfterError("hint: add --help")
    .exitOverride()
    .hook("preAction", () => {
      context.flags = program.opts<GlobalFlags>();
    })
    .addHelpText("after", EXAMPLES);

  program.commandsGroup("Run a node:");
  addUp(program, context);
  addDaemon(program, context);
  addInvite(program, context);
  addDemo(program, context);

  program.commandsGroup("Ask:");
  addInfer(program, context);
  const route = noun(program, "route", "what is offered, and who would answer");
  addRouteResolve(route, context);
  addRouteTable(route, context);

  program.commandsGroup("Look after it:");
  const node = noun(program, "node", "the nodes of the mesh");
  addNodeList(node, context);
  addNodeInfo(node, context);
  const trust = noun(program, "trust", "keys and certificates");
  addKeysGenerate(noun(trust, "keys", "signing keys"), context);
  const ca = noun(trust, "ca", "a certificate authority kept offline");
  addCaInit(ca, context);
  addCaIssue(ca, context);
  addCsrCreate(noun(trust, "csr", "certificate requests"), context);
  addMicShow(noun(trust, "mic", "certificates"), context);
  const config = noun(program, "config", "configuration files");
  addConfigValidate(config, context);
  addConfigShow(config, context);

  program.commandsGroup("About:");
  addVersion(program, context);
  addCompletion(program, context);
  return program;
}

/** A command that only holds others. */
function noun(parent: Command, name: string, description: string): Command {
  return parent.command(name).description(description).helpCommand(false);
}

const EXAMPLES = `
Examples:
  nexus demo                                     three nodes and an answer, on this machine
  nexus up                                       a private mesh; prints an invite token
  nexus up --join nxi1_…                         join it from another machine
  nexus infer 'cap=code_gen,ctx>=32k' 'Write a sieve'
  nexus route resolve 'cap=code_gen,latency<500ms'

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 denied, 5 unreachable.
Environment: NEXUS_ENDPOINT, NEXUS_TOKEN, NEXUS_NODE_STATE_DIR, NO_COLOR; every config
key as NEXUS_SECTION_KEY for \`up\` and \`daemon\`.
`;
