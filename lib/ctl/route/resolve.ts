/** `nexus route resolve SAD`. */
import type { Command } from "commander";
import { clip, NexusError } from "../../base/mod.ts";
import type { Context } from "../context.ts";
import { formatMs } from "../output/values.ts";
import { formatCandidates } from "./candidates.ts";

/** Adds the command. */
export function addRouteResolve(parent: Command, context: Context): void {
  parent.command("resolve")
    .description("who would answer, with every candidate's score, or why not")
    .argument("<sad>", "what is wanted: cap=…, ctx>=…, latency<…, cost<…, region=…, model=…")
    .addHelpText("after", EXAMPLES)
    .action(async (sad: string) => {
      const { ADMIN_PATHS, ResolveResponse } = await import("../../admin_api/mod.ts");
      const admin = await context.admin();
      const resolution = await admin.post(ADMIN_PATHS.resolve, { sad }, ResolveResponse);
      const { candidates } = resolution;
      await context.print({
        data: resolution,
        table: (options) => formatCandidates(candidates, options),
        names: () => candidates.filter((each) => each.chosen).map((each) => each.nodeId),
      });
      if (context.flags.verbose) {
        context.note(`resolved in ${formatMs(resolution.durationUs / 1000)}: ${resolution.sad}`);
      }
      if (!candidates.some((each) => each.chosen)) {
        throw new NexusError(
          "NOT_FOUND",
          `no node can answer "${clip(resolution.sad, 200)}"` +
            (candidates.length === 0 ? ": no models are known there yet" : ""),
        );
      }
    });
}

const EXAMPLES = `
Examples:
  nexus route resolve 'cap=code_gen+tool_use,ctx>=32k,latency<500ms'
  nexus route resolve 'model=llama-*,region=DE' -o json

The terms of a score are 0 to 1 before their weights. Exit code 3: nobody can answer.
`;
