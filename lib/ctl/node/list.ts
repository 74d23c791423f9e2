/** `nexus node list`. */
import type { Command } from "commander";
import type { NodeSummary } from "../../admin_api/mod.ts";
import type { Context } from "../context.ts";
import { type Column, formatTable } from "../output/table.ts";
import { formatAgo, formatMs, shortId } from "../output/values.ts";

/** Adds the command. */
export function addNodeList(parent: Command, context: Context): void {
  parent.command("list")
    .description("nodes that the node knows")
    .addHelpText("after", "\nExamples:\n  nexus node list\n  nexus node list -o wide\n")
    .action(async () => {
      const { ADMIN_PATHS, NodeList } = await import("../../admin_api/mod.ts");
      const list = await (await context.admin()).get(ADMIN_PATHS.nodes, NodeList);
      const nodes = [...list.nodes].sort(byStanding);
      const nowMs = Date.now();
      await context.print({
        data: { nodes },
        table: (options) => formatTable(columns(nowMs), nodes, options),
        names: () => nodes.map((node) => node.id),
      });
    });
}

/** This node, then the connected ones, then by id. */
function byStanding(a: NodeSummary, b: NodeSummary): number {
  return Number(b.self) - Number(a.self) || Number(b.connected) - Number(a.connected) ||
    (a.id < b.id ? -1 : 1);
}

/** How a node stands, in a word. */
export function standingOf(node: NodeSummary): string {
  if (node.draining) return "draining";
  if (node.self) return "self";
  return node.connected ? "connected" : "known";
}

function columns(nowMs: number): Column<NodeSummary>[] {
  return [
    { head: "NODE", value: (node) => shortId(node.id), mark: (text, _, paint) => paint.bold(text) },
    { head: "NAME", value: (node) => node.name ?? "", narrow: { by: "cut", to: 10 } },
    {
      head: "STATE",
      value: standingOf,
      mark: (text, node, paint) =>
        node.draining ? paint.yellow(text) : node.connected ? paint.green(text) : paint.dim(text),
    },
    {
      head: "ADDRESS",
      value: (node) => node.addresses.join(" "),
      narrow: { by: "wrap", to: 21 }, // Any IPv4 address with its port.
      drop: true,
    },
    {
      head: "RTT",
      right: true,
      drop: true,
      value: (node) => node.rttMs === undefined ? "" : formatMs(node.rttMs),
    },
    {
      head: "LOAD",
      right: true,
      drop: true,
      value: (node) => node.load === undefined ? "" : `${Math.round(node.load * 100)} %`,
    },
    { head: "QUEUE", right: true, wide: true, value: (node) => String(node.queueDepth ?? "") },
    { head: "REGION", wide: true, value: (node) => node.region ?? "" },
    {
      head: "MODELS",
      value: (node) => node.models.join(" "),
      narrow: { by: "wrap", to: 18 },
      below: true,
    },
    { head: "CAPABILITIES", wide: true, value: (node) => node.capabilities.join("+") },
    {
      head: "SEEN",
      wide: true,
      value: (node) =>
        node.self || node.lastSeenMs === undefined ? "" : formatAgo(node.lastSeenMs, nowMs),
    },
    { head: "ID", wide: true, value: (node) => node.id },
  ];
}
