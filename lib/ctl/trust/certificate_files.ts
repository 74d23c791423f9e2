/** Certificates and requests as files: PEM blocks, a chain leaf first. */
import { fromBase64Url, NexusError, utf8 } from "../../base/mod.ts";
import { decodePem, encodePem } from "./pem.ts";
import { readFile, readTextFile } from "./files.ts";

const MIC_LABEL = "NEXUS CERTIFICATE";
const CSR_LABEL = "NEXUS CERTIFICATE REQUEST";

/** A chain as text. */
export function encodeChainFile(chain: readonly Uint8Array[]): string {
  return chain.map((mic) => encodePem(MIC_LABEL, mic)).join("");
}

/**
 * The certificates in a file: PEM blocks, one base64url certificate a line (as the admin API gives
 * them), or one certificate in binary. MALFORMED when it holds none.
 */
export function readChainFile(file: string): Uint8Array[] {
  const bytes = readFile(file, "certificate");
  if (startsWith(bytes, "MIC\0")) return [bytes];
  const text = new TextDecoder().decode(bytes);
  const blocks = decodePem(text, MIC_LABEL);
  if (blocks.length > 0) return blocks;
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (lines.length > 0 && lines.every((line) => /^[A-Za-z0-9_-]+$/.test(line))) {
    const chain = lines.map(fromBase64Url);
    if (chain.every((mic) => startsWith(mic, "MIC\0"))) return chain;
  }
  throw new NexusError("MALFORMED", `cannot read certificate ${file}: it holds none`, {
    hint: "expected PEM blocks, base64url lines, or one certificate in binary",
  });
}

/** A request as text. */
export function encodeCsrFile(csr: Uint8Array): string {
  return encodePem(CSR_LABEL, csr);
}

/** The request in a file; MALFORMED when it holds none. */
export function readCsrFile(file: string): Uint8Array {
  const [csr] = decodePem(readTextFile(file, "request"), CSR_LABEL);
  if (csr !== undefined) return csr;
  throw new NexusError("MALFORMED", `cannot read request ${file}: it holds none`, {
    hint: "make one with `nexus trust csr create`",
  });
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return utf8(text).every((byte, i) => bytes[i] === byte);
}
