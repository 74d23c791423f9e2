/**
 * Reads the config: file, then environment, then flags; all checked at once, so that a person
 * sees every mistake in one go.
 */
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { isMap, isPair, isScalar, isSeq, LineCounter, parseAllDocuments } from "yaml";
import type { Document, Node } from "yaml";
import { clip, errorMessage, NexusError } from "../../base/mod.ts";
import { knownKeysAt } from "./json_schema.ts";
import {
  ConfigError,
  type ConfigMistake,
  describeIssues,
  formatPath,
  type Found,
  type KeyPath,
  valueAt,
} from "./mistakes.ts";
import { type Override, readEnv, readFlags } from "./overrides.ts";
import { configSchema, type ParsedConfig } from "./schema.ts";
import { readSecrets, type Secrets } from "./secrets.ts";

/** A config of this size is a mistake (a wrong file). */
const FILE_BYTES_MAX = 1 << 20;

/** Of what the parser says, which may repeat a piece of the file; its own words are shorter. */
const YAML_CHARS_MAX = 100;

/** Where the config comes from. */
export interface ConfigSources {
  /** YAML file. Without file and text everything has its default. */
  readonly file?: string;
  /** The file's text, when it was read already; `file` then only names it. */
  readonly text?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Flags: "section.key" → text. They win over the environment, which wins over the file. */
  readonly overrides?: Readonly<Record<string, string>>;
  /** Keys whose flag is not `--set section.key`: "mesh.join" → "--join". */
  readonly flagNames?: Readonly<Record<string, string>>;
}

/** The config of a node, ready for use: paths absolute, names filled in, secrets apart. */
export interface NodeConfig extends ParsedConfig {
  readonly node: ParsedConfig["node"] & { name: string };
}

/** A loaded config. */
export interface LoadedConfig {
  readonly config: NodeConfig;
  /** Never part of `config`, so that the config can be shown. */
  readonly secrets: Secrets;
  readonly file?: string;
  /** `providers:` was said, be it an empty list. */
  readonly providersGiven: boolean;
  /** What is allowed but unwise, one line each. */
  readonly warnings: readonly string[];
}

/** Default place of the config of the service. */
export const CONFIG_FILE = "/etc/nexus/nexus.yaml";

/** $NEXUS_CONFIG, else /etc/nexus/nexus.yaml if it exists, else undefined. */
export function findConfigFile(env: Readonly<Record<string, string>>): string | undefined {
  if (env.NEXUS_CONFIG) return env.NEXUS_CONFIG;
  try {
    return Deno.statSync(CONFIG_FILE).isFile ? CONFIG_FILE : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Loads and checks. Throws ConfigError (CONFIG_INVALID) with every mistake, CONFIG_NOT_FOUND when
 * there is no such file, or CONFIG_UNREADABLE when it cannot be read.
 */
export function loadConfig(sources: ConfigSources = {}): LoadedConfig {
  const env = sources.env ?? {};
  const file = sources.file;
  const text = sources.text ?? (file === undefined ? "" : readFile(file));
  const mistakes: ConfigMistake[] = [];
  const source = parseYaml(text, file ?? "config", mistakes);
  const overrides = [...readEnv(env, mistakes), ...readFlags(sources, mistakes)];
  const raw = source.value;
  for (const override of overrides) put(raw, override);

  const place = (found: Found): ConfigMistake => locate(found, source, overrides);
  const result = configSchema.safeParse(raw);
  if (!result.success) {
    const keysAt = (path: KeyPath) => knownKeysAt(path, (where) => valueAt(raw, where));
    mistakes.push(...describeIssues(result.error.issues, raw, keysAt).map(place));
    throw new ConfigError(sorted(mistakes));
  }
  const config = finish(result.data, file, overrides, env);
  const found: Found[] = duplicateNames(config);
  const warnings: string[] = [];
  const secrets = readSecrets(config, env, found, warnings);
  warnings.push(...unwise(config, secrets));
  mistakes.push(...found.map(place));
  if (mistakes.length > 0) throw new ConfigError(sorted(mistakes));
  return { config, secrets, file, warnings, providersGiven: raw.providers !== undefined };
}

function readFile(file: string): string {
  try {
    const { size, isDirectory } = Deno.statSync(file);
    if (isDirectory) throw new Error("it is a directory");
    if (size > FILE_BYTES_MAX) {
      throw new Error(`it has ${size} bytes, expected ≤ ${FILE_BYTES_MAX}`);
    }
    return Deno.readTextFileSync(file);
  } catch (thrown) {
    const missing = thrown instanceof Deno.errors.NotFound;
    throw new NexusError(
      missing ? "CONFIG_NOT_FOUND" : "CONFIG_UNREADABLE",
      `cannot read config ${file}: ${missing ? "no such file" : errorMessage(thrown)}`,
      { cause: thrown },
    );
  }
}

interface Source {
  readonly name: string;
  readonly value: Record<string, unknown>;
  readonly document?: Document;
  readonly lines: LineCounter;
}

/** YAML 1.2 (core schema): "no" is text, duplicate keys are mistakes, aliases are bounded. */
function parseYaml(text: string, name: string, mistakes: ConfigMistake[]): Source {
  const lines = new LineCounter();
  const add = (offset: number, key: string, message: string) => {
    const line = lines.linePos(Math.min(offset, text.length)).line || 1;
    mistakes.push({ where: `${name}:${line}`, line, key, message });
  };
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    schema: "core",
  }) as Document.Parsed[];
  // One broken line makes errors of what follows it: the first is the one to mend.
  const [error] = documents.flatMap((document) => document.errors);
  if (error !== undefined) {
    const first = error.message.split("\n")[0];
    add(
      error.pos[0],
      "",
      error.code === "DUPLICATE_KEY" ? "this key stands twice" : clip(first, YAML_CHARS_MAX),
    );
  }
  if (documents.length > 1) {
    add(documents[1].range?.[0] ?? 0, "", "a second YAML document, expected one");
  }
  const document = documents[0];
  const empty = { name, value: {}, lines };
  if (mistakes.length > 0) throw new ConfigError(sorted(mistakes));
  if (document === undefined || document.contents === null) return empty;
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (thrown) {
    throw new ConfigError([{
      where: `${name}:1`,
      line: 1,
      key: "",
      message: clip(errorMessage(thrown), YAML_CHARS_MAX),
    }]);
  }
  if (value === null) return empty;
  if (typeof value !== "object" || Array.isArray(value)) {
    add(0, "", "expected sections such as node: and link:");
    throw new ConfigError(mistakes);
  }
  // "admin:" with nothing below it is an empty section, not a null.
  const root = value as Record<string, unknown>;
  for (const [key, section] of Object.entries(root)) {
    if (section === null && key !== "providers") root[key] = {};
    if (section === null && key === "providers") root[key] = [];
  }
  return { name, value: root, document, lines };
}

/** Sets an override in the raw config; a file that has no section there gets one. */
function put(raw: Record<string, unknown>, { path, value }: Override): void {
  let at = raw;
  for (const step of path.slice(0, -1)) {
    const next = Object.hasOwn(at, step) ? at[step] : undefined;
    if (typeof next !== "object" || next === null || Array.isArray(next)) at[step] = {};
    at = at[step] as Record<string, unknown>;
  }
  at[path[path.length - 1]] = value;
}

/** Says where a mistake comes from: flag, variable, or line of the file. */
function locate(found: Found, source: Source, overrides: readonly Override[]): ConfigMistake {
  const key = formatPath(found.path);
  const override = overrides.findLast(({ path }) =>
    path.every((step, index) => found.path[index] === step)
  );
  if (override !== undefined) {
    // A flag names its key, or stands for it.
    const said = override.where.startsWith("--") && found.path.length === override.path.length;
    return { where: override.where, key: said ? "" : key, message: found.message };
  }
  const line = lineOf(found.path, source);
  return line === undefined
    ? { where: source.name, key, message: found.message }
    : { where: `${source.name}:${line}`, line, key, message: found.message };
}

/** Line of the key (or list entry) at a path, or of the nearest thing above it that exists. */
function lineOf(path: KeyPath, { document, lines }: Source): number | undefined {
  let node: unknown = document?.contents;
  let offset: number | undefined;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) =>
        isPair(item) && isScalar(item.key) && String(item.key.value) === String(step)
      );
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === "number" && step < node.items.length) {
      node = node.items[step];
      offset = (node as Node | null)?.range?.[0] ?? offset;
    } else break;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

function sorted(mistakes: readonly ConfigMistake[]): ConfigMistake[] {
  return [...mistakes].sort((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity) || 0);
}

/** Fills in what depends on the machine and makes paths absolute (relative to the file). */
function finish(
  parsed: ParsedConfig,
  file: string | undefined,
  overrides: readonly Override[],
  env: Readonly<Record<string, string>>,
): NodeConfig {
  const absolute = (path: string | undefined, ...key: string[]) => {
    if (path === undefined) return undefined;
    const home = path.startsWith("~/") ? env.HOME : undefined;
    if (home) return resolve(home, path.slice(2));
    const outside = overrides.some((override) => override.path.join(".") === key.join("."));
    return outside || file === undefined ? resolve(path) : resolve(dirname(file), path);
  };
  const { node, mesh, bridge } = parsed;
  return {
    ...parsed,
    node: {
      ...node,
      name: node.name ?? defaultName(),
      state_dir: absolute(node.state_dir, "node", "state_dir"),
    },
    mesh: { ...mesh, join_file: absolute(mesh.join_file, "mesh", "join_file") },
    bridge: { ...bridge, api_keys_file: absolute(bridge.api_keys_file, "bridge", "api_keys_file") },
    providers: parsed.providers.map((provider) => ({
      ...provider,
      name: provider.name ?? provider.type,
      ...("api_key_file" in provider
        ? { api_key_file: absolute(provider.api_key_file, "providers") }
        : {}),
    })),
  };
}

/** The host name, as far as it is a name. */
function defaultName(): string {
  const name = hostname().split(".")[0].replace(/[^A-Za-z0-9._-]/g, "-").slice(0, 63);
  return /^[A-Za-z0-9]/.test(name) ? name : "node";
}

function duplicateNames(config: NodeConfig): Found[] {
  const found: Found[] = [];
  const seen = new Map<string, number>();
  config.providers.forEach((provider, index) => {
    const name = provider.name ?? provider.type;
    const before = seen.get(name);
    if (before === undefined) seen.set(name, index);
    else {
      found.push({
        path: ["providers", index, "name"],
        message: `is "${name}" as providers[${before}].name is, expected a name of its own`,
      });
    }
    const models = new Set<string>();
    provider.models.forEach((model, at) => {
      if (models.has(model.name)) {
        found.push({
          path: ["providers", index, "models", at],
          message: `model "${clip(model.name)}" stands twice in this provider`,
        });
      }
      models.add(model.name);
    });
  });
  return found;
}

/** Allowed, but a person should know. */
function unwise(config: NodeConfig, secrets: Secrets): string[] {
  const warnings: string[] = [];
  const { admin, bridge, link } = config;
  if (bridge.enabled && !isLoopback(bridge.listen.host) && secrets.bridgeKeys.length === 0) {
    warnings.push(
      `bridge.listen is ${bridge.listen.host} and there are no bridge.api_keys: ` +
        "anyone who reaches this address can use the mesh",
    );
  }
  if (admin.enabled && !isLoopback(admin.listen.host)) {
    warnings.push(`admin.listen is ${admin.listen.host}: the admin API is plain HTTP`);
  }
  if (link.faults !== undefined && link.faults.loss_rate > 0) {
    warnings.push(`link.faults.loss_rate is ${link.faults.loss_rate}: datagrams are dropped`);
  }
  return warnings;
}

/** Whether a host means this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
