/** Completion scripts. They hold the whole tree, so that a keystroke starts no program. */
import type { CommandNode } from "./tree.ts";

/** By name of the shell. */
export const SHELLS = { bash, zsh, fish } as const;

function wordsOf(node: CommandNode): string {
  const names = node.commands.map((command) => command.name);
  return [...names, ...node.flags.map((flag) => flag.name), "--help"].join(" ");
}

/** bash 4 and later. The path is the words so far that are no flags and name a command. */
function bash(tree: readonly CommandNode[]): string {
  const cases = tree.map((node) => `    "${node.path}") words="${wordsOf(node)}" ;;`).join("\n");
  const paths = tree.filter((node) => node.path !== "").map((node) => `"${node.path}"`).join("|");
  return `# bash completion of nexus; made by \`nexus completion bash\`
_nexus() {
  local path="" next i words current="\${COMP_WORDS[COMP_CWORD]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="\${path:+$path }\${COMP_WORDS[i]}"
    case "$next" in
      ${paths}) path="$next" ;;
    esac
  done
  case "$path" in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ \${#COMPREPLY[@]} -eq 0 && $current != -* ]]; then
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -o filenames -F _nexus nexus nexctl
`;
}

/** zsh runs the bash function. */
function zsh(tree: readonly CommandNode[]): string {
  return `#compdef nexus nexctl
# zsh completion of nexus; made by \`nexus completion zsh\`
autoload -Uz +X bashcompinit && bashcompinit
${bash(tree)}`;
}

function fish(tree: readonly CommandNode[]): string {
  const quote = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const lines = tree.flatMap((node) => {
    const condition = quote(`__nexus_at ${node.path}`.trim());
    return [
      ...node.commands.map((command) =>
        `complete -c nexus -f -n ${condition} -a ${command.name} -d ${quote(command.description)}`
      ),
      ...node.flags.map((flag) =>
        `complete -c nexus -n ${condition} -l ${flag.name.slice(2)}${
          flag.takesValue ? " -r" : ""
        }` +
        ` -d ${quote(flag.description)}`
      ),
    ];
  });
  const paths = tree.filter((node) => node.path !== "").map((node) => quote(node.path)).join(" ");
  return `# fish completion of nexus; made by \`nexus completion fish\`
function __nexus_at
    set -l paths ${paths}
    set -l path
    for word in (commandline -opc)[2..]
        contains -- (string trim -- "$path $word") $paths; and set -a path $word
    end
    test "$path" = "$argv"
end
${lines.join("\n")}
`;
}
