/** `nexus node info`: the node itself, or one that it knows. */
import type { Command } from "commander";
import { clip, NexusError } from "../../base/mod.ts";
import type { NodeInfo, NodeSummary } from "../../admin_api/mod.ts";
import type { Context } from "../context.ts";
import { usageError } from "../exit.ts";
import { formatFields, type TableOptions } from "../output/table.ts";
import { formatDuration, formatMs, formatTime } from "../output/values.ts";
import { standingOf } from "./list.ts";

/** Adds the command. */
export function addNodeInfo(parent: Command, context: Context): void {
  parent.command("info")
    .description("everything about the node, or about another one that it knows")
    .argument("[node]", "name, id, or the first digits of an id (default: the node asked)")
    .addHelpText("after", "\nExamples:\n  nexus node info\n  nexus node info 9f3c21aa -o json\n")
    .action(async (wanted: string | undefined) => {
      const { ADMIN_PATHS, NodeInfo, NodeList } = await import("../../admin_api/mod.ts");
      const admin = await context.admin();
      if (wanted === undefined) {
        const node = await admin.get(ADMIN_PATHS.node, NodeInfo);
        await context.print({
          data: node,
          table: (options) => infoTable(node, options),
          names: () => [node.id],
        });
        return;
      }
      const { nodes } = await admin.get(ADMIN_PATHS.nodes, NodeList);
      const node = pickNode(nodes, wanted);
      await context.print({
        data: node,
        table: (options) => summaryTable(node, options),
        names: () => [node.id],
      });
    });
}

/** The one node of that name, id or start of an id. NOT_FOUND, or USAGE for more than one. */
export function pickNode(nodes: readonly NodeSummary[], wanted: string): NodeSummary {
  const exact = nodes.filter((node) => node.id === wanted.toLowerCase() || node.name === wanted);
  const found = exact.length > 0
    ? exact
    : nodes.filter((node) => wanted !== "" && node.id.startsWith(wanted.toLowerCase()));
  if (found.length === 1) return found[0];
  if (found.length === 0) {
    throw new NexusError("NOT_FOUND", `cannot show node: "${clip(wanted)}" is not known here`, {
      hint: "`nexus node list` shows the nodes that are",
    });
  }
  throw usageError(
    `cannot show node: "${clip(wanted)}" fits ${found.length} nodes, expected one`,
    "give more digits of the id",
  );
}

function infoTable(node: NodeInfo, options: TableOptions): string {
  const { addresses, certificate, ca } = node;
  return formatFields([
    ["id", node.id],
    ["name", node.name],
    ["state", node.state],
    ["not ready", node.notReady.join("; ")],
    ["version", node.version],
    ["region", node.region],
    ["up", formatDuration(node.uptimeS)],
    ["process", String(node.pid)],
    ["state dir", node.stateDir],
    ["mesh port", addresses.link.join(" ")],
    ["told to others", addresses.advertised.join(" ")],
    ["admin API", addresses.admin],
    ["OpenAI API", addresses.bridge && `http://${addresses.bridge}/v1`],
    ["port", node.port.kind + (node.port.reason === undefined ? "" : ` (${node.port.reason})`)],
    ["crypto", node.crypto],
    ["tenant", String(node.vni)],
    ["mesh CA", ca && ca.fingerprint + (ca.here ? " (its key is here)" : "")],
    [
      "certificate",
      certificate && `${certificate.role}, until ${formatTime(certificate.notAfterS)}`,
    ],
    ...node.providers.map(({ name, state, detail, models }): [string, string] => [
      "provider",
      `${name} ${state}, ${models} models${detail === undefined ? "" : `: ${detail}`}`,
    ]),
    ["models", node.models.join(" ")],
    ["connections", String(node.connections)],
    ["requests", String(node.activeRequests)],
  ], options);
}

function summaryTable(node: NodeSummary, options: TableOptions): string {
  return formatFields([
    ["id", node.id],
    ["name", node.name],
    ["state", standingOf(node)],
    ["addresses", node.addresses.join(" ")],
    ["round trip", node.rttMs === undefined ? undefined : formatMs(node.rttMs)],
    ["load", node.load === undefined ? undefined : `${Math.round(node.load * 100)} %`],
    ["queue", node.queueDepth === undefined ? undefined : String(node.queueDepth)],
    ["region", node.region],
    ["models", node.models.join(" ")],
    ["capabilities", node.capabilities.join("+")],
    ["last seen", node.lastSeenMs === undefined ? undefined : formatTime(node.lastSeenMs / 1000)],
  ], options);
}
