/** The node as a command: config, signals, what is printed when it is up. */
import { errorMessage, formatSocketAddress, NexusError } from "../base/mod.ts";
import { findConfigFile, loadConfig } from "./config/mod.ts";
import { startLog } from "./log.ts";
import { Node } from "./node.ts";

export interface RunOptions {
  /** Default: $NEXUS_CONFIG, /etc/nexus/nexus.yaml if it exists, else defaults. */
  configFile?: string;
  /** Flags: "section.key" → text. */
  overrides: Record<string, string>;
  /** Flags that stand for a key: "mesh.join" → "--join". */
  flagNames?: Record<string, string>;
  /** Print an invite token when this node is the mesh's CA. */
  printInvite: boolean;
  inviteUses?: number;
  inviteLifeS?: number;
  output: "table" | "json";
}

/** An invite printed at start admits this many newcomers within an hour (08-node.md). */
const INVITE_USES = 16;
const INVITE_LIFE_S = 3_600;

/**
 * Runs a node until SIGTERM or SIGINT (a second one ends it at once).
 * @returns exit code
 * @throws NexusError what kept it from starting
 */
export async function runNode(options: RunOptions): Promise<number> {
  const env = Deno.env.toObject();
  const loaded = loadConfig({
    file: options.configFile ?? findConfigFile(env),
    env,
    overrides: options.overrides,
    flagNames: options.flagNames,
  });
  startLog(loaded.config.log);
  const node = await Node.start(loaded);
  let signals = 0;
  const onSignal = () => {
    if (++signals > 1) Deno.exit(130);
    node.stop().catch((error) => {
      console.error(`nexus: cannot stop cleanly: ${errorMessage(error)}`);
      Deno.exit(1);
    });
  };
  Deno.addSignalListener("SIGTERM", onSignal);
  Deno.addSignalListener("SIGINT", onSignal);
  try {
    announce(node, options);
    await node.stopped;
    return 0;
  } finally {
    Deno.removeSignalListener("SIGTERM", onSignal);
    Deno.removeSignalListener("SIGINT", onSignal);
  }
}

function announce(node: Node, options: RunOptions): void {
  const invite = options.printInvite && node.membership.ca !== undefined
    ? node.membership.invite(node.advertised, {
      uses: options.inviteUses ?? INVITE_USES,
      lifeS: options.inviteLifeS ?? INVITE_LIFE_S,
    })
    : undefined;
  const link = formatSocketAddress(node.port.localAddress);
  const admin = node.admin && formatSocketAddress(node.admin.address);
  const bridge = node.bridge && formatSocketAddress(node.bridge.address);
  const { name } = node.loaded.config.node;
  if (options.output === "json") {
    const { nodeId, stateDir } = node;
    const ready = {
      event: "ready",
      nodeId,
      name,
      stateDir,
      link: [link],
      admin,
      bridge,
      invite: invite && { token: invite.token, expiresS: invite.expiresS, uses: invite.uses },
    };
    console.log(JSON.stringify(ready));
    return;
  }
  const lines = [
    `node ${name} (${node.nodeId}) is up`,
    `  mesh      udp ${link}`,
    ...(bridge === undefined ? [] : [`  OpenAI    http://${bridge}/v1`]),
    ...(admin === undefined ? [] : [`  admin     http://${admin}`]),
    `  state     ${node.stateDir}`,
    `  models    ${node.local.entries().map((entry) => entry.name).join(", ") || "none"}`,
  ];
  if (invite !== undefined) {
    const hours = ((options.inviteLifeS ?? INVITE_LIFE_S) / 3600).toFixed(1).replace(/\.0$/, "");
    lines.push(
      "",
      `join from another machine (${invite.uses} uses, ${hours} h; whoever has it may join):`,
      `  nexus up --join ${invite.token}`,
    );
  }
  console.log(lines.join("\n"));
}

/** A mistake that a restart cannot mend: exit status 78 for the service manager (EX_CONFIG). */
export function isConfigMistake(error: unknown): boolean {
  // A lock is gone when the node that holds it has drained: that is worth another start.
  return error instanceof NexusError && error.code !== "STATE_LOCKED" &&
    /^(CONFIG_|STATE_|INVALID_|NO_CERTIFICATE|OTHER_MESH|VNI_MISMATCH)/.test(error.code);
}
