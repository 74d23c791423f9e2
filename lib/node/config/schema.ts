/**
 * The config of a node: every key, its type, its default and what it means. Keys keep the spelling
 * of the file (snake_case) in the program, so that a word found in one is found in the other.
 * The descriptions here become `schemas/config.schema.json`.
 */
import { z } from "zod";
import { RECORD_ENGINES } from "../../io/native_records.ts";
import { PORT_KINDS } from "../../io/open_port.ts";
import { TOP_K_DEFAULT, WEIGHTS_DEFAULT } from "../../l2_route/mod.ts";
import {
  address,
  ADMIN_PORT,
  arch,
  BRIDGE_PORT,
  capabilities,
  cost,
  LINK_PORT,
  listenAddress,
  region,
  sadText,
  seed,
  tokens,
} from "./values.ts";

/** Most providers of a node, and most models of a provider; an advertisement holds them all. */
const PROVIDERS_MAX = 64;
const MODELS_MAX = 256;
/** An hour: longer waits are a mistake of units. */
const WAIT_MS_MAX = 3_600_000;

const word = (what: string) =>
  z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, {
    message: `expected ${what} of letters, digits, ".", "_" and "-", at most 63`,
  });
const modelName = z.string().min(1).max(128);
const path = z.string().min(1).max(4096);
const milliseconds = z.int().min(1).max(WAIT_MS_MAX);
const says = <T extends z.ZodType>(schema: T, description: string): T =>
  schema.meta({ description });

const node = z.strictObject({
  name: says(word("a name").optional(), "Name shown to people; default: the host name"),
  state_dir: says(
    path.optional(),
    "Keys, peers, admin token; default: /var/lib/nexus for root, else ~/.local/state/nexus",
  ),
  region: says(region.optional(), "Country of the node, two letters (ISO 3166-1), advertised"),
});

const link = z.strictObject({
  listen: says(
    listenAddress("0.0.0.0", LINK_PORT).prefault(`0.0.0.0:${LINK_PORT}`),
    'Where the mesh port listens, host:port or a port; "[::]:6477" takes IPv4 and IPv6',
  ),
  advertise: says(
    z.array(address(LINK_PORT)).max(16).default([]),
    "Addresses told to others; default: what the port is bound to",
  ),
  vni: says(z.int().min(0).max(0xffffff).optional(), "Tenant network; default: the mesh's"),
  port: says(
    z.enum(PORT_KINDS).default("auto"),
    "udp: the portable port; udp-native: the native one; auto: the best that runs here",
  ),
  records: says(
    z.enum(RECORD_ENGINES).default("auto"),
    "Who encrypts traffic: intel-ipsec-mb or libcrypto of the native library, portable: the " +
      "runtime's own; auto: the fastest, measured when the node starts",
  ),
  faults: says(
    z.strictObject({
      loss_rate: says(z.number().min(0).max(1).default(0), "Part of sent datagrams to drop"),
      seed: says(z.int().min(0).max(0xffffffff).default(1), "Seed of the drops"),
    }).optional(),
    "For tests only: drops datagrams on purpose",
  ),
});

const mesh = z.strictObject({
  seeds: says(
    z.array(seed).max(64).default([]),
    "Nodes to meet first: host:port or <node id>@host:port",
  ),
  join: says(
    z.string().regex(
      /^nxi1_[A-Za-z0-9_-]+$/,
      'is not an invite token, expected one that starts with "nxi1_"',
    ).optional(),
    "Invite token; used once, when the state directory holds no certificate yet",
  ),
  join_file: says(path.optional(), "File that holds the invite token"),
});

const hosts = says(
  z.array(z.string().min(1).max(253)).max(64).default([]),
  "Further values of the Host header that are served (guards against DNS rebinding)",
);

const admin = z.strictObject({
  enabled: says(z.boolean().default(true), "Serve the admin API"),
  listen: says(
    listenAddress("127.0.0.1", ADMIN_PORT).prefault(`127.0.0.1:${ADMIN_PORT}`),
    "host:port, or a port of 127.0.0.1",
  ),
  hosts,
});

const bridge = z.strictObject({
  enabled: says(z.boolean().default(true), "Serve the OpenAI-compatible API"),
  listen: says(
    listenAddress("127.0.0.1", BRIDGE_PORT).prefault(`127.0.0.1:${BRIDGE_PORT}`),
    "host:port, or a port of 127.0.0.1",
  ),
  hosts,
  api_keys: says(
    z.array(z.string().min(8).max(512)).max(1024).default([]),
    "Keys that clients must send; none: every client that reaches the address",
  ),
  api_keys_file: says(path.optional(), "File with one key a line, # starts a comment"),
  api_keys_env: says(z.string().min(1).optional(), "Environment variable with keys, by commas"),
  aliases: says(
    z.record(z.string().min(1).max(128), sadText).default({}),
    "Model names of your own: name → SAD text",
  ),
});

/** What a model is advertised as; on a provider: for all its models that do not say otherwise. */
const advertised = {
  arch: says(arch.optional(), "transformer, diffusion, moe, cnn, rnn, rl_agent"),
  capabilities: says(capabilities.optional(), "Words of the SAD: [text_gen, tool_use] or a+b"),
  context: says(tokens.optional(), "Context window in tokens, 32768 or 32k"),
  latency_ms: says(z.int().min(0).max(0xffffffff).optional(), "Expected time to first token"),
  cost: says(cost.optional(), "Dollars a request (0.002, $0.002) or a thousand tokens ($0.002/1k)"),
  benchmark: says(
    // On the wire and in the program it is in thousandths.
    z.number().min(0).max(4_000_000).transform((score) => Math.round(score * 1000)).optional(),
    "Benchmark score",
  ),
};

const embeddedModel = z.strictObject({
  name: says(modelName, "Name it is asked by"),
  ...advertised,
  tokens_per_second: says(z.number().min(0).max(1e6).default(0), "Speed; 0: as fast as can be"),
  answer: says(
    z.enum(["words", "echo", "text"]).default("words"),
    "words: text made from the prompt; echo: the prompt itself; text: answer_text",
  ),
  answer_text: says(z.string().max(1 << 20).optional(), "The answer when answer is text"),
  answer_tokens: says(z.int().min(1).max(1_000_000).default(64), "Length of an answer of words"),
}).refine((model) => (model.answer === "text") === (model.answer_text !== undefined), {
  message: "expected answer: text and answer_text together",
});

const openaiModelObject = z.strictObject({
  name: says(modelName, "Name it is asked by in the mesh"),
  upstream: says(modelName.optional(), "Name at the provider; default: the same"),
  ...advertised,
});

const providerCommon = {
  name: says(word("a name").optional(), "Name in logs and metrics; default: the type"),
  max_concurrency: says(z.int().min(1).max(100_000).default(16), "Requests at once"),
  queue_max: says(z.int().min(0).max(100_000).default(64), "Requests that may wait; more: refused"),
  ...advertised,
};

const embeddedProvider = z.strictObject({
  type: z.literal("embedded"),
  ...providerCommon,
  models: says(z.array(embeddedModel).min(1).max(MODELS_MAX), "Models of the built-in provider"),
});

const openaiProvider = z.strictObject({
  type: z.literal("openai"),
  ...providerCommon,
  url: says(
    z.url({ protocol: /^https?$/, error: "expected an http:// or https:// URL" }),
    "Base URL of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1",
  ),
  api_key_env: says(z.string().min(1).optional(), "Environment variable with the API key"),
  api_key_file: says(path.optional(), "File with the API key"),
  models: says(
    z.array(z.union([
      modelName.transform((name): OpenaiModel => ({ name })),
      openaiModelObject,
    ])).max(MODELS_MAX).default([]),
    "Models to offer; empty: all that the provider lists",
  ),
  timeouts: says(
    z.strictObject({
      connect_ms: says(milliseconds.default(5_000), "Until the provider accepts a request"),
      first_token_ms: says(milliseconds.default(60_000), "Until the first token"),
      idle_ms: says(milliseconds.default(30_000), "Between tokens"),
      answer_ms: says(milliseconds.default(600_000), "Until an answer that is not streamed"),
    }).prefault({}),
    "Longest waits",
  ),
}).refine((provider) => provider.api_key_env === undefined || provider.api_key_file === undefined, {
  message: "expected at most one of api_key_env and api_key_file",
});

const weight = (value: number, what: string) =>
  says(z.number().min(0).max(1000).default(value), what);

const routing = z.strictObject({
  weights: says(
    z.strictObject({
      capability: weight(WEIGHTS_DEFAULT.capability, "How many of the asked capabilities it has"),
      latency: weight(WEIGHTS_DEFAULT.latency, "How far below the latency limit"),
      cost: weight(WEIGHTS_DEFAULT.cost, "How far below the cost limit"),
      context: weight(WEIGHTS_DEFAULT.context, "Context window suffices"),
      trust: weight(WEIGHTS_DEFAULT.trust, "Trust level suffices"),
      region: weight(WEIGHTS_DEFAULT.region, "In a preferred region"),
    }).prefault({}).refine((weights) => Object.values(weights).some((value) => value > 0), {
      message: "expected at least one weight above 0",
    }),
    "Weights of the score, normalised to 1",
  ),
  top_k: says(
    z.int().min(1).max(64).default(TOP_K_DEFAULT),
    "Best candidates among which requests with an affinity key are spread; others go to the best",
  ),
  mode: says(
    z.enum(["strict", "soft"]).default("strict"),
    "strict: limits of a SAD exclude; soft: capability, latency and cost only lower the score",
  ),
});

const trust = z.strictObject({
  require_certified_capabilities: says(
    z.boolean().default(false),
    "Believe only advertised capabilities that the certificate claims",
  ),
});

const limits = z.strictObject({
  request_bytes_max: says(
    z.int().min(1024).max(1 << 30).default(32 * 1024 * 1024),
    "Largest HTTP request body",
  ),
  deadline_ms: says(
    milliseconds.default(600_000),
    "Deadline of a whole answer when the request names none",
  ),
  drain_ms: says(milliseconds.default(10_000), "How long SIGTERM waits for running requests"),
  requests_max: says(z.int().min(1).max(1_000_000).default(10_000), "Requests at once"),
  connections_max: says(z.int().min(1).max(1_000_000).default(4_096), "Connections at once"),
});

const log = z.strictObject({
  level: says(
    z.enum(["trace", "debug", "info", "warning", "error"]).default("info"),
    "Least severe level that is written",
  ),
  format: says(
    z.enum(["auto", "logfmt", "json"]).default("auto"),
    "auto: logfmt on a terminal, JSON otherwise",
  ),
});

/** The whole file. */
export const configSchema = z.strictObject({
  node: says(node.prefault({}), "This node"),
  link: says(link.prefault({}), "The mesh port"),
  mesh: says(mesh.prefault({}), "How to find and join the mesh"),
  admin: says(admin.prefault({}), "Admin API"),
  bridge: says(bridge.prefault({}), "OpenAI-compatible API"),
  providers: says(
    z.array(z.discriminatedUnion("type", [embeddedProvider, openaiProvider]))
      .max(PROVIDERS_MAX).default([]),
    "What answers requests on this node; []: a node that only asks. Not set: the node that makes a mesh offers a built-in demo model until another node has one",
  ),
  routing: says(routing.prefault({}), "How candidates are scored"),
  trust: says(trust.prefault({}), "What peers must prove"),
  limits: says(limits.prefault({}), "Limits"),
  log: says(log.prefault({}), "Logs, always on standard error"),
});

/** Config after validation, defaults filled in, secrets not yet read. */
export type ParsedConfig = z.output<typeof configSchema>;
export type EmbeddedProviderConfig = z.output<typeof embeddedProvider>;
export type EmbeddedModel = z.output<typeof embeddedModel>;
export type OpenaiModel = z.output<typeof openaiModelObject>;
export type OpenaiProviderConfig = z.output<typeof openaiProvider>;
export type ProviderConfig = ParsedConfig["providers"][number];
