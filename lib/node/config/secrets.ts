/** Secrets that the config points at: read once, kept apart from the config, never logged. */
import { errorMessage } from "../../base/mod.ts";
import type { Found, KeyPath } from "./mistakes.ts";
import type { ParsedConfig } from "./schema.ts";

/** What `loadConfig` read from files and variables. */
export interface Secrets {
  /** Invite token to join with. */
  readonly join?: string;
  /** Keys that clients of the bridge may use; empty: no key needed. */
  readonly bridgeKeys: readonly string[];
  /** API key of a provider by its name. */
  readonly providerKeys: ReadonlyMap<string, string>;
}

/** Largest key file read. */
const KEY_FILE_BYTES_MAX = 256 * 1024;

/** Reads all secrets; what cannot be read is added to `found`. */
export function readSecrets(
  config: ParsedConfig,
  env: Readonly<Record<string, string>>,
  found: Found[],
  warnings: string[],
): Secrets {
  const fromFile = (file: string | undefined, path: KeyPath): string[] => {
    if (file === undefined) return [];
    try {
      const { size, mode } = Deno.statSync(file);
      if (size > KEY_FILE_BYTES_MAX) throw new Error(`it has ${size} bytes`);
      if (mode !== null && (mode & 0o077) !== 0) {
        warnings.push(`${file} can be read by other users, expected mode 0600`);
      }
      const keys = Deno.readTextFileSync(file).split("\n").map((line) => line.trim())
        .filter((line) => line !== "" && !line.startsWith("#"));
      if (keys.length === 0) throw new Error("it holds no key");
      return keys;
    } catch (thrown) {
      const missing = thrown instanceof Deno.errors.NotFound;
      const why = missing ? "no such file" : errorMessage(thrown).split("\n")[0];
      found.push({ path, message: `cannot read ${file}: ${why}, expected a readable key file` });
      return [];
    }
  };
  const fromEnv = (name: string | undefined, path: KeyPath): string[] => {
    if (name === undefined) return [];
    const keys = (env[name] ?? "").split(",").map((key) => key.trim()).filter((key) => key !== "");
    if (keys.length === 0) {
      found.push({
        path,
        message: `environment variable ${name} is not set, expected a key in it`,
      });
    }
    return keys;
  };

  const { mesh, bridge } = config;
  if (mesh.join !== undefined && mesh.join_file !== undefined) {
    found.push({ path: ["mesh", "join_file"], message: "expected at most one of join, join_file" });
  }
  const providerKeys = new Map<string, string>();
  config.providers.forEach((provider, index) => {
    if (provider.type !== "openai") return;
    const [key] = [
      ...fromEnv(provider.api_key_env, ["providers", index, "api_key_env"]),
      ...fromFile(provider.api_key_file, ["providers", index, "api_key_file"]),
    ];
    if (key !== undefined) providerKeys.set(provider.name ?? provider.type, key);
  });
  return {
    join: mesh.join ?? fromFile(mesh.join_file, ["mesh", "join_file"])[0],
    bridgeKeys: [
      ...bridge.api_keys,
      ...fromFile(bridge.api_keys_file, ["bridge", "api_keys_file"]),
      ...fromEnv(bridge.api_keys_env, ["bridge", "api_keys_env"]),
    ],
    providerKeys,
  };
}

/** The config without what may be secret in it, for showing. */
export function withoutSecrets<T extends ParsedConfig>(config: T): T {
  return {
    ...config,
    mesh: { ...config.mesh, join: config.mesh.join === undefined ? undefined : "[redacted]" },
    bridge: { ...config.bridge, api_keys: config.bridge.api_keys.map(() => "[redacted]") },
  };
}
