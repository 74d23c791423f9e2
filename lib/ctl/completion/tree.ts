/** The command tree as plain data. */
import type { Command } from "commander";

/** One command: the words behind "nexus", what may follow. */
export interface CommandNode {
  /** "node list"; "" for the program. */
  readonly path: string;
  readonly description: string;
  readonly commands: ReadonlyArray<{ readonly name: string; readonly description: string }>;
  /** Long flags, those that every command takes included. */
  readonly flags: ReadonlyArray<{
    readonly name: string;
    readonly description: string;
    readonly takesValue: boolean;
  }>;
}

/** Every command, the program first. */
export function commandTree(program: Command): CommandNode[] {
  const nodes: CommandNode[] = [];
  const visit = (command: Command, path: string[]) => {
    nodes.push({
      path: path.join(" "),
      description: command.description(),
      commands: command.commands.map((each) => ({
        name: each.name(),
        description: each.description(),
      })),
      flags: [...command.options, ...(command === program ? [] : program.options)]
        .filter((option) => option.long)
        .map((option) => ({
          name: option.long!,
          description: option.description,
          takesValue: option.required || option.optional,
        })),
    });
    for (const each of command.commands) visit(each, [...path, each.name()]);
  };
  visit(program, []);
  return nodes;
}
