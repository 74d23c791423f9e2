/** Which models the mesh offers. */
import type { TableSnapshot } from "./table.ts";

/** One model name over all nodes that offer it. */
export interface ModelSummary {
  readonly name: string;
  /** Node ids, ascending. */
  readonly nodes: readonly string[];
  /** Capability bits that at least one of them has. */
  readonly capabilities: number;
  /** Largest context window, tokens. */
  readonly contextMax: number;
}

/** All distinct model names, ascending; entries expired at `nowUs` do not count. */
export function listModels(table: TableSnapshot, nowUs: number): ModelSummary[] {
  const byName = new Map<string, { nodes: string[]; capabilities: number; contextMax: number }>();
  for (const node of table.nodes()) {
    if (node.expiresUs <= nowUs) continue;
    for (const entry of node.entries) {
      const summary = byName.get(entry.name) ?? { nodes: [], capabilities: 0, contextMax: 0 };
      summary.nodes.push(node.nodeId);
      summary.capabilities |= entry.capabilities;
      summary.contextMax = Math.max(summary.contextMax, entry.context);
      byName.set(entry.name, summary);
    }
  }
  return [...byName]
    .map(([name, summary]) => ({ name, ...summary, nodes: summary.nodes.sort() }))
    .sort((a, b) => a.name < b.name ? -1 : 1);
}
