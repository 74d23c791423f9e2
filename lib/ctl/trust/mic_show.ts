/** `nexus trust mic show`: the chain of a file, checked offline, or of the node that runs. */
import type { Command } from "commander";
import { fromHex, NexusError, toHex } from "../../base/mod.ts";
import type { CertificateSummary } from "../../admin_api/mod.ts";
import type { Context } from "../context.ts";
import { usageError } from "../exit.ts";

/** Adds the command. */
export function addMicShow(parent: Command, context: Context): void {
  parent.command("show")
    .description("certificates in words: of a file, checked offline, or of the running node")
    .argument("[file]", "chain of certificates (default: the node's own, through its admin API)")
    .option("--root <fingerprint>", "with a file: the root that must have signed it")
    .addHelpText("after", EXAMPLES)
    .action(async (file: string | undefined, { root }: { root?: string }) => {
      if (file === undefined && root !== undefined) {
        throw usageError("cannot check: --root goes with a file");
      }
      if (file === undefined) return await showNode(context);
      await showFile(context, file, root);
    });
}

async function showNode(context: Context): Promise<void> {
  const { ADMIN_PATHS, TrustMic } = await import("../../admin_api/mod.ts");
  const mic = await (await context.admin()).get(ADMIN_PATHS.mic, TrustMic);
  if (mic.chain.length === 0) {
    throw new NexusError("NOT_FOUND", "cannot show certificate: the node has not joined a mesh");
  }
  await print(context, mic, mic.chain);
}

async function showFile(context: Context, file: string, root: string | undefined): Promise<void> {
  if (root !== undefined && !/^[0-9a-fA-F]{64}$/.test(root)) {
    throw usageError("cannot read --root: it is not 64 hex digits");
  }
  const { decodeMic, fingerprintOf, verifyChain, verifySelfSigned } = await import(
    "../../l4_trust/mod.ts"
  );
  const { nodeEngine } = await import("../../io/crypto.ts");
  const { systemClock } = await import("../../io/clock.ts");
  const { readChainFile } = await import("./certificate_files.ts");
  const { summarizeMic } = await import("../../admin_api/mod.ts");
  const encoded = readChainFile(file);
  const mics = encoded.map((bytes) => decodeMic(bytes, nodeEngine));
  const summaries = mics.map((mic) => summarizeMic(mic, nodeEngine));
  const last = mics[mics.length - 1];
  const fingerprint = toHex(fingerprintOf(last.publicKey, nodeEngine));
  const policy = {
    unixS: Math.floor(systemClock.unixMs() / 1000),
    vni: mics[0].extensions.tenant ?? 0,
    engine: nodeEngine,
  };
  let error: NexusError | undefined;
  try {
    if (mics.length > 1) {
      verifyChain(encoded, { ...policy, roots: [fromHex(root ?? fingerprint)] });
    } else {
      verifySelfSigned(encoded, policy);
      checkRoot(fingerprint, root);
    }
  } catch (thrown) {
    if (!(thrown instanceof NexusError)) throw thrown;
    error = thrown;
  }
  const check = { valid: error === undefined, error: error?.code, root: fingerprint };
  await print(context, { chain: summaries, check }, summaries);
  if (error !== undefined) throw error;
  context.note(
    root === undefined
      ? `signatures and dates are right; whether to trust root ${fingerprint} is yours to say`
      : "signatures, dates and root are right",
  );
}

function checkRoot(fingerprint: string, root: string | undefined): void {
  if (root !== undefined && root.toLowerCase() !== fingerprint) {
    throw new NexusError(
      "UNKNOWN_CA",
      `cannot trust certificate: root is ${fingerprint}, expected ${root.toLowerCase()}`,
    );
  }
}

async function print(
  context: Context,
  data: unknown,
  chain: readonly CertificateSummary[],
): Promise<void> {
  const { formatChain } = await import("./certificate_view.ts");
  const nowS = Math.floor(Date.now() / 1000);
  await context.print({
    data,
    table: (options) => formatChain(chain, nowS, options),
    names: () => chain.map((mic) => mic.serial),
  });
}

const EXAMPLES = `
Examples:
  nexus trust mic show
  nexus trust mic show node.mic --root 5f2c…

Exit code 1: a signature, date or root is wrong.
`;
