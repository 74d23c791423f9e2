/** `nexus completion SHELL`: a script made from the command tree. */
import { Argument, type Command } from "commander";
import type { Context } from "../context.ts";
import { commandTree } from "./tree.ts";
import { SHELLS } from "./scripts.ts";

/** Adds the command. */
export function addCompletion(program: Command, context: Context): void {
  program.command("completion")
    .description("print a completion script for a shell")
    .addArgument(new Argument("<shell>", "which one").choices(Object.keys(SHELLS)))
    .addHelpText("after", EXAMPLES)
    .action((shell: keyof typeof SHELLS) => {
      context.terminal.out(SHELLS[shell](commandTree(program)));
    });
}

const EXAMPLES = `
Examples:
  nexus completion bash > /etc/bash_completion.d/nexus
  nexus completion zsh > "\${fpath[1]}/_nexus"
  nexus completion fish > ~/.config/fish/completions/nexus.fish
`;
