/** `nexus trust ca issue`. */
import type { Command } from "commander";
import { fromHex } from "../../base/mod.ts";
import type { Context } from "../context.ts";
import { usageError } from "../exit.ts";
import { parseDuration, parseInteger } from "../output/values.ts";
import { collect } from "../run/overrides.ts";
import type { ClaimFlags } from "./claims.ts";

interface CaIssueFlags extends ClaimFlags {
  readonly ca: string;
  readonly csr?: string;
  readonly publicKey?: string;
  readonly role: string;
  readonly vni?: string;
  readonly life?: string;
  readonly out?: string;
}

/** Ten years, as long as a root lives by default; it is cut to the authority's own end. */
const LIFE_S_MAX = 3_650 * 86_400;

/** Adds the command. */
export function addCaIssue(parent: Command, context: Context): void {
  parent.command("issue")
    .description("issue a certificate for a request or a public key; works offline")
    .requiredOption("--ca <dir>", "directory of the authority")
    .option("--csr <file>", "request, signed by the key that asks; its claims are granted")
    .option("--public-key <hex>", "instead of a request: the key, with the claims given here")
    .option("--role <role>", "node (may answer) or client (may only ask)", "node")
    .option("--vni <n>", "tenant network (default: the authority's, else 0)")
    .option("--life <duration>", "how long it is good (default 30d)")
    .option("--capabilities <a+b>", "with --csr: all it may claim; with --public-key: its claim")
    .option("--context <tokens>", "with --public-key: context window, such as 32k")
    .option("--model <name>", "with --public-key: a model's name; may be repeated", collect)
    .option("--region <country>", "with --public-key: where it stands; may be repeated", collect)
    .option("--out <file>", "write the chain there (default: standard output)")
    .addHelpText("after", EXAMPLES)
    .action(async (flags: CaIssueFlags) => {
      if ((flags.csr === undefined) === (flags.publicKey === undefined)) {
        throw usageError("cannot issue: expected one of --csr and --public-key");
      }
      if (flags.csr !== undefined && (flags.context ?? flags.model ?? flags.region) !== undefined) {
        throw usageError("cannot issue: a request brings its own --context, --model and --region");
      }
      const { chain, summary, nowS } = await issue(flags);
      const { encodeChainFile } = await import("./certificate_files.ts");
      const { formatChain } = await import("./certificate_view.ts");
      const { writePrivateFile } = await import("./files.ts");
      const pem = encodeChainFile(chain);
      if (flags.out !== undefined) writePrivateFile(flags.out, pem);
      await context.print({
        data: { chain: summary, pem, file: flags.out },
        table: (options) =>
          flags.out === undefined ? pem : formatChain(summary.slice(0, 1), nowS, options),
        names: () => [summary[0].serial],
      });
    });
}

async function issue(flags: CaIssueFlags) {
  const { decodeMic, verifyCsr, nodeIdOf } = await import("../../l4_trust/mod.ts");
  const { nodeEngine } = await import("../../io/crypto.ts");
  const { systemClock } = await import("../../io/clock.ts");
  const { parseCapabilities } = await import("../../l2_route/mod.ts");
  const { loadAuthority, recordIssued } = await import("./ca_store.ts");
  const { readCsrFile } = await import("./certificate_files.ts");
  const { summarizeMic } = await import("../../admin_api/mod.ts");
  const { claimsOf, roleOf } = await import("./claims.ts");
  const role = roleOf(flags.role);
  const lifeS = flags.life === undefined
    ? undefined
    : parseDuration(flags.life, "--life", LIFE_S_MAX);
  const authority = loadAuthority(flags.ca);
  try {
    const tenant = decodeMic(authority.chain[0], nodeEngine).extensions.tenant;
    const publicKey = flags.publicKey === undefined ? undefined : publicKeyOf(flags.publicKey);
    // Without a request nobody proved to hold the key: the operator vouches for it.
    const csr = publicKey === undefined ? verifyCsr(readCsrFile(flags.csr!), nodeEngine) : {
      publicKey,
      nodeId: nodeIdOf(publicKey, nodeEngine),
      claims: claimsOf(flags),
      extensions: {},
    };
    const unixS = Math.floor(systemClock.unixMs() / 1000);
    const chain = authority.chainOf(authority.issue(csr, {
      unixS,
      role,
      lifeS,
      vni: flags.vni === undefined ? tenant ?? 0 : parseInteger(flags.vni, "--vni", 0, 0xffffff),
      capabilityConstraint: flags.csr === undefined || flags.capabilities === undefined
        ? undefined
        : parseCapabilities(flags.capabilities),
    }));
    recordIssued(flags.ca, chain);
    return {
      chain,
      summary: chain.map((mic) => summarizeMic(decodeMic(mic, nodeEngine), nodeEngine)),
      nowS: unixS,
    };
  } finally {
    authority.wipe();
  }
}

function publicKeyOf(hex: string): Uint8Array {
  if (/^[0-9a-fA-F]{64}$/.test(hex)) return fromHex(hex);
  throw usageError(`cannot read --public-key: it is not 64 hex digits`);
}

const EXAMPLES = `
Examples:
  nexus trust csr create --key node.key --capabilities code_gen --out node.csr
  nexus trust ca issue --ca ./ca --csr node.csr --life 30d --out node.mic
  nexus trust ca issue --ca ./ca --public-key 3b6a27bc… --role client
`;
