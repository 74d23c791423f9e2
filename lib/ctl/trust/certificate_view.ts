/** Certificates in words: chains of files and of nodes look the same. */
import type { CertificateSummary } from "../../admin_api/mod.ts";
import { formatFields, type TableOptions } from "../output/table.ts";
import { formatDuration, formatTime, formatTokens } from "../output/values.ts";

/** Time left, or what is wrong with the time. */
export function validityOf(mic: CertificateSummary, nowS: number): string {
  if (nowS > mic.notAfterS) return `expired ${formatDuration(nowS - mic.notAfterS)} ago`;
  if (nowS < mic.notBeforeS) return `begins in ${formatDuration(mic.notBeforeS - nowS)}`;
  return `${formatDuration(mic.notAfterS - nowS)} left`;
}

/** One paragraph for each certificate, leaf first. */
export function formatChain(
  chain: readonly CertificateSummary[],
  nowS: number,
  options: TableOptions = {},
): string {
  return chain.map((mic, i) => {
    const title = i === 0
      ? mic.role === "ca" ? "authority" : "leaf"
      : i === chain.length - 1
      ? "root"
      : "intermediate";
    return `${options.indent ?? ""}${options.paint?.bold(title) ?? title}\n` + formatFields([
      ["node id", mic.nodeId],
      ["issuer", mic.issuerNodeId === mic.nodeId ? "itself" : mic.issuerNodeId],
      ["role", mic.role],
      ["tenant", mic.vni === undefined ? "any" : String(mic.vni)],
      ["from", formatTime(mic.notBeforeS)],
      ["until", `${formatTime(mic.notAfterS)} (${validityOf(mic, nowS)})`],
      ["capabilities", mic.capabilities.join("+")],
      ["context", mic.context === undefined ? undefined : formatTokens(mic.context)],
      ["models", mic.models.join(" ")],
      ["fingerprint", mic.fingerprint],
      ["public key", mic.publicKey],
      ["serial", mic.serial],
      ["size", `${mic.bytes} bytes`],
    ], { ...options, indent: (options.indent ?? "") + "  " });
  }).join("");
}
