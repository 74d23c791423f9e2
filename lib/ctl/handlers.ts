/**
 * What main.ts hands to the CLI: the commands that run a node in this process. ctl and node do not
 * import each other.
 */

/** How a node is to be run; the same shape as the node's own. */
export interface RunOptions {
  /** Default: $NEXUS_CONFIG, /etc/nexus/nexus.yaml if it exists, else defaults. */
  configFile?: string;
  /** Config keys set by flags, "section.key" → text. */
  overrides: Record<string, string>;
  /** Flags that stand for a key, "mesh.join" → "--join", for mistakes; others are `--set key`. */
  flagNames?: Record<string, string>;
  /** Print an invite token when this node is the mesh's CA. */
  printInvite: boolean;
  inviteUses?: number;
  inviteLifeS?: number;
  output: "table" | "json";
}

/** The one line that a node prints on standard output with `output: "json"` once it serves. */
export interface ReadyLine {
  readonly event: "ready";
  readonly nodeId: string;
  readonly name: string;
  readonly stateDir: string;
  readonly link: readonly string[];
  readonly admin?: string;
  readonly bridge?: string;
  readonly invite?: { readonly token: string; readonly expiresS: number; readonly uses: number };
}

/** A config that was read and found right. */
export interface CheckedConfig {
  /** Undefined when there is no file and every key has its default. */
  readonly file?: string;
  /** Effective values without secrets. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What is allowed but unwise, one line each. */
  readonly warnings: readonly string[];
}

/** Handed in by main.ts. */
export interface Handlers {
  /** Version of the program and of the wire protocol. */
  readonly version: string;
  readonly protocol: number;
  /** Executable and arguments that start this program again; the demo starts its nodes so. */
  readonly self: readonly string[];
  /** Runs a node until it is told to stop; resolves with the exit code. */
  runNode(options: RunOptions): Promise<number>;
  /** Whether an error of `runNode` is one that a restart cannot mend (exit status 78). */
  isConfigMistake(error: unknown): Promise<boolean>;
  /** Reads and checks a config; throws what the node would throw. */
  checkConfig(
    options: Pick<RunOptions, "configFile" | "overrides" | "flagNames">,
  ): Promise<CheckedConfig>;
}
