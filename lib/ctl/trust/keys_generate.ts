/** `nexus trust keys generate`. */
import type { Command } from "commander";
import { toHex } from "../../base/mod.ts";
import type { Context } from "../context.ts";
import { formatFields } from "../output/table.ts";

/** Adds the command. */
export function addKeysGenerate(parent: Command, context: Context): void {
  parent.command("generate")
    .description("make an Ed25519 key (PKCS #8 PEM); works offline")
    .option("--out <file>", "write it there, mode 0600 (default: standard output)")
    .addHelpText("after", "\nExamples:\n  nexus trust keys generate --out node.key\n")
    .action(async ({ out }: { out?: string }) => {
      const { Identity, fingerprintOf } = await import("../../l4_trust/mod.ts");
      const { nodeEngine } = await import("../../io/crypto.ts");
      const { randomFill } = await import("../../io/clock.ts");
      const { encodeKey } = await import("./key_file.ts");
      const { writePrivateFile } = await import("./files.ts");
      const identity = Identity.generate(randomFill, nodeEngine);
      const pem = encodeKey(identity.seed);
      if (out !== undefined) writePrivateFile(out, pem);
      const data = {
        nodeId: toHex(identity.nodeId),
        publicKey: toHex(identity.publicKey),
        fingerprint: toHex(fingerprintOf(identity.publicKey, nodeEngine)),
        ...(out === undefined ? { privateKey: pem } : { file: out }),
      };
      identity.wipe();
      await context.print({
        data,
        table: ({ paint }) =>
          out === undefined ? pem : formatFields([
            ["file", out],
            ["node id", data.nodeId],
            ["public key", data.publicKey],
            ["fingerprint", data.fingerprint],
          ], { paint }),
        names: () => [data.nodeId],
      });
    });
}
