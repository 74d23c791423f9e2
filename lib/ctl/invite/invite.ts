/** `nexus invite`: another token, from a node that runs. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { formatDuration, formatTime, parseDuration, parseInteger } from "../output/values.ts";
import { INVITE_LIFE_S_MAX, INVITE_USES_MAX } from "./limits.ts";

/** Adds the command. */
export function addInvite(program: Command, context: Context): void {
  program.command("invite")
    .description("print an invite token of the mesh, on the node that made it")
    .option("--uses <n>", "how many may join with it", "1")
    .option("--expires <duration>", "how long it is good", "1h")
    .addHelpText("after", "\nExamples:\n  nexus invite\n  nexus invite --uses 5 --expires 15m\n")
    .action(async (flags: { uses: string; expires: string }) => {
      const request = {
        uses: parseInteger(flags.uses, "--uses", 1, INVITE_USES_MAX),
        lifeS: parseDuration(flags.expires, "--expires", INVITE_LIFE_S_MAX),
      };
      const { ADMIN_PATHS, Invite } = await import("../../admin_api/mod.ts");
      const invite = await (await context.admin()).post(ADMIN_PATHS.invites, request, Invite);
      await context.print({
        data: invite,
        table: () => `${invite.token}\n`,
        names: () => [invite.token],
      });
      if (context.isMachine) return;
      const who = invite.uses === 1 ? "one node or client" : `${invite.uses} nodes or clients`;
      context.note(
        `for ${who} within ${formatDuration(request.lifeS)} (until ` +
          `${formatTime(invite.expiresS)}); whoever has it may join: nexus up --join TOKEN`,
      );
    });
}
