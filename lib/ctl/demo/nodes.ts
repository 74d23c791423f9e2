/** What the demo's three nodes are: a choice that has one winner, one loser and three misfits. */

/** A node and the config it runs with; JSON is YAML. */
export interface DemoNode {
  readonly name: string;
  readonly models: readonly Readonly<Record<string, unknown>>[];
}

const CODER = ["text_gen", "code_gen", "tool_use"];

/** The first makes the mesh; the others join with the invite that it prints. */
export const DEMO_NODES: readonly DemoNode[] = [
  {
    name: "alder",
    models: [{
      name: "alder-coder",
      capabilities: CODER,
      context: "128k",
      latency_ms: 220,
      tokens_per_second: 60,
      cost: "$0.004/1k",
    }],
  },
  {
    name: "birch",
    models: [
      {
        name: "birch-coder",
        capabilities: CODER,
        context: "64k",
        latency_ms: 40,
        tokens_per_second: 100,
        cost: "$0.001/1k",
        answer_tokens: 107, // two whole functions for the default prompt
      },
      {
        name: "birch-mini",
        capabilities: CODER,
        context: "16k",
        latency_ms: 10,
        tokens_per_second: 300,
        cost: "$0.0002/1k",
      },
    ],
  },
  {
    name: "cedar",
    models: [
      {
        name: "cedar-writer",
        capabilities: ["text_gen", "reasoning"],
        context: "128k",
        latency_ms: 60,
        tokens_per_second: 80,
        cost: "$0.001/1k",
      },
      { name: "cedar-embed", capabilities: ["embedding"], context: "8k", latency_ms: 5 },
    ],
  },
];

/** Config text of a node: everything on loopback, ports chosen by the system. */
export function configText(node: DemoNode, stateDir: string, joinFile?: string): string {
  return JSON.stringify(
    {
      node: { name: node.name, state_dir: stateDir },
      link: { listen: "127.0.0.1:0" },
      admin: { listen: "127.0.0.1:0" },
      bridge: { listen: "127.0.0.1:0" },
      ...(joinFile === undefined ? {} : { mesh: { join_file: joinFile } }),
      providers: [{ type: "embedded", name: "embedded", models: node.models }],
      log: { level: "warning", format: "logfmt" },
    },
    null,
    2,
  );
}
