/** `nexus trust csr create`. */
import type { Command } from "commander";
import { toHex } from "../../base/mod.ts";
import type { Context } from "../context.ts";
import { formatFields } from "../output/table.ts";
import { collect } from "../run/overrides.ts";
import type { ClaimFlags } from "./claims.ts";

interface CsrFlags extends ClaimFlags {
  readonly key: string;
  readonly role: string;
  readonly out?: string;
}

/** Adds the command. */
export function addCsrCreate(parent: Command, context: Context): void {
  parent.command("create")
    .description("ask for a certificate: a request signed by the key; works offline")
    .requiredOption("--key <file>", "key of the node")
    .option("--role <role>", "node (may answer) or client (may only ask)", "node")
    .option("--capabilities <a+b>", "what its models can do")
    .option("--context <tokens>", "context window, such as 32k")
    .option("--model <name>", "a model's name; may be repeated", collect)
    .option("--region <country>", "where it stands; may be repeated", collect)
    .option("--out <file>", "write it there (default: standard output)")
    .addHelpText(
      "after",
      "\nExamples:\n  nexus trust csr create --key node.key --capabilities code_gen+tool_use " +
        "--context 128k --out node.csr\n",
    )
    .action(async (flags: CsrFlags) => {
      const { createCsr } = await import("../../l4_trust/mod.ts");
      const { encodeCsrFile } = await import("./certificate_files.ts");
      const { claimsOf, roleOf } = await import("./claims.ts");
      const { writePrivateFile } = await import("./files.ts");
      const { readKey } = await import("./key_file.ts");
      const claims = claimsOf(flags);
      const role = roleOf(flags.role);
      const identity = readKey(flags.key);
      const pem = encodeCsrFile(createCsr(identity, claims, { role }));
      identity.wipe();
      if (flags.out !== undefined) writePrivateFile(flags.out, pem);
      const data = {
        nodeId: toHex(identity.nodeId),
        publicKey: toHex(identity.publicKey),
        ...(flags.out === undefined ? { csr: pem } : { file: flags.out }),
      };
      await context.print({
        data,
        table: ({ paint }) =>
          flags.out === undefined ? pem : formatFields([
            ["file", flags.out],
            ["node id", data.nodeId],
            ["public key", data.publicKey],
          ], { paint }),
        names: () => [data.nodeId],
      });
    });
}
