/** `nexus route table`. */
import type { Command } from "commander";
import type { RouteEntry } from "../../admin_api/mod.ts";
import type { Context } from "../context.ts";
import { type Column, formatTable } from "../output/table.ts";
import { formatCost, formatDuration, formatMs, formatTokens, shortId } from "../output/values.ts";

/** Adds the command. */
export function addRouteTable(parent: Command, context: Context): void {
  parent.command("table")
    .description("every model of the mesh and the node that offers it")
    .addHelpText("after", "\nExamples:\n  nexus route table\n  nexus route table -o json\n")
    .action(async () => {
      const { ADMIN_PATHS, RouteTable } = await import("../../admin_api/mod.ts");
      const table = await (await context.admin()).get(ADMIN_PATHS.routes, RouteTable);
      const routes = [...table.routes].sort((a, b) =>
        compare(a.model, b.model) || compare(a.nodeId, b.nodeId)
      );
      await context.print({
        data: { ...table, routes },
        table: (options) => formatTable(COLUMNS, routes, options),
        names: () => routes.map((route) => route.model),
      });
    });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const COLUMNS: readonly Column<RouteEntry>[] = [
  {
    head: "MODEL",
    value: (route) => route.model,
    mark: (text, _, paint) => paint.bold(text),
    narrow: { by: "cut", to: 36 },
  },
  {
    head: "NODE",
    value: (route) => route.nodeName ?? shortId(route.nodeId),
    mark: (text, route, paint) => route.local ? paint.green(text) : text,
    narrow: { by: "cut", to: 8 },
  },
  { head: "CONTEXT", drop: true, right: true, value: (route) => formatTokens(route.context) },
  {
    head: "LATENCY",
    right: true,
    drop: true,
    value: (route) => formatMs(route.effectiveLatencyMs ?? route.latencyMs),
  },
  {
    head: "COST",
    right: true,
    drop: true,
    value: (route) => formatCost(route.costMicros, route.costPer1k),
  },
  {
    head: "LOAD",
    right: true,
    drop: true,
    value: (route) => route.load === undefined ? "" : `${Math.round(route.load * 100)} %`,
  },
  {
    head: "CAPABILITIES",
    value: (route) => route.capabilities.join("+"),
    narrow: { by: "wrap", to: 18 }, // The longest capabilities are about as long.
    below: true,
  },
  { head: "ARCH", wide: true, value: (route) => route.arch ?? "" },
  { head: "REGION", wide: true, value: (route) => route.region ?? "" },
  { head: "TRUST", wide: true, right: true, value: (route) => String(route.trust) },
  {
    head: "QUEUE",
    wide: true,
    right: true,
    value: (route) => route.queueDepth === undefined ? "" : String(route.queueDepth),
  },
  { head: "BREAKER", wide: true, value: (route) => route.breaker ?? "" },
  {
    head: "EXPIRES",
    wide: true,
    right: true,
    value: (route) => route.expiresInS === undefined ? "" : formatDuration(route.expiresInS),
  },
  { head: "NODE ID", wide: true, value: (route) => route.nodeId },
];
