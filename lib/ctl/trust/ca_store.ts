/** An offline authority in a directory: `ca.key` (0600), `ca.mic`, and what it issued. */
import { join } from "node:path";
import { toHex } from "../../base/mod.ts";
import { nodeEngine } from "../../io/crypto.ts";
import { CertificateAuthority, decodeMic } from "../../l4_trust/mod.ts";
import { encodeChainFile, readChainFile } from "./certificate_files.ts";
import { makePrivateDirectory, writePrivateFile } from "./files.ts";
import { encodeKey, readKey } from "./key_file.ts";

const KEY = "ca.key";
const CHAIN = "ca.mic";
const ISSUED = "issued";

/** Writes a new authority into a new or empty directory. */
export function saveAuthority(dir: string, authority: CertificateAuthority): void {
  makePrivateDirectory(dir);
  makePrivateDirectory(join(dir, ISSUED));
  writePrivateFile(join(dir, KEY), encodeKey(authority.keySeed));
  writePrivateFile(join(dir, CHAIN), encodeChainFile(authority.chain));
}

/** The authority of a directory. FILE_NOT_FOUND, MALFORMED or INVALID_KEY otherwise. */
export function loadAuthority(dir: string): CertificateAuthority {
  const key = readKey(join(dir, KEY));
  try {
    return CertificateAuthority.load(key.seed, readChainFile(join(dir, CHAIN)), nodeEngine);
  } finally {
    key.wipe();
  }
}

/** Keeps a copy of what was issued, by serial: what a revocation will have to name. */
export function recordIssued(dir: string, chain: readonly Uint8Array[]): void {
  const { serial } = decodeMic(chain[0], nodeEngine);
  const file = join(dir, ISSUED, `${toHex(serial)}.mic`);
  writePrivateFile(file, encodeChainFile(chain), true);
}
