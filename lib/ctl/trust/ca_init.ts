/** `nexus trust ca init`. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { parseDuration, parseInteger } from "../output/values.ts";

interface CaInitFlags {
  readonly out: string;
  readonly vni?: string;
  readonly life?: string;
  readonly pathLength?: string;
  readonly capabilities?: string;
}

/** Twenty years: longer lives outlast the algorithms. */
const LIFE_S_MAX = 20 * 365 * 86_400;

/** Adds the command. */
export function addCaInit(parent: Command, context: Context): void {
  parent.command("init")
    .description("make a root: key and self-signed certificate; works offline")
    .requiredOption("--out <dir>", "new directory for ca.key (0600) and ca.mic")
    .option("--vni <n>", "confine it to one tenant network (default: any)")
    .option("--life <duration>", "how long it is good (default 3650d)")
    .option("--path-length <n>", "authorities that may stand below it, 0 to 2 (default 2)")
    .option("--capabilities <a+b>", "all that certificates below may claim (default: anything)")
    .addHelpText("after", "\nExamples:\n  nexus trust ca init --out ./ca --vni 7\n")
    .action(async (flags: CaInitFlags) => {
      const { CertificateAuthority, decodeMic, ROOT_PATH_LENGTH } = await import(
        "../../l4_trust/mod.ts"
      );
      const { nodeEngine } = await import("../../io/crypto.ts");
      const { randomFill, systemClock } = await import("../../io/clock.ts");
      const { parseCapabilities } = await import("../../l2_route/mod.ts");
      const { saveAuthority } = await import("./ca_store.ts");
      const { formatChain } = await import("./certificate_view.ts");
      const { summarizeMic } = await import("../../admin_api/mod.ts");
      const { vni, life, pathLength, capabilities } = flags;
      const unixS = Math.floor(systemClock.unixMs() / 1000);
      const authority = CertificateAuthority.create(randomFill, nodeEngine, {
        unixS,
        vni: vni === undefined ? undefined : parseInteger(vni, "--vni", 0, 0xffffff),
        lifeS: life === undefined ? undefined : parseDuration(life, "--life", LIFE_S_MAX),
        pathLength: pathLength === undefined
          ? undefined
          : parseInteger(pathLength, "--path-length", 0, ROOT_PATH_LENGTH),
        capabilityConstraint: capabilities === undefined
          ? undefined
          : parseCapabilities(capabilities),
      });
      saveAuthority(flags.out, authority);
      const certificate = summarizeMic(decodeMic(authority.rootMic, nodeEngine), nodeEngine);
      authority.wipe();
      await context.print({
        data: { directory: flags.out, certificate },
        table: (options) => formatChain([certificate], unixS, options),
        names: () => [certificate.fingerprint],
      });
      context.note(`${flags.out}/ca.key signs for the whole mesh: keep it offline`);
    });
}
