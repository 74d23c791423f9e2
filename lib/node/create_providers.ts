/** Providers from the config. */
import type { Cost, LoadedConfig, ProviderConfig } from "./config/mod.ts";
import type { Provider, ProviderModel } from "./inference.ts";
import { EmbeddedProvider, OpenAiProvider } from "./providers/mod.ts";

/** What the config may say of a model, on the model or for all of its provider. */
interface Advertised {
  arch?: number;
  capabilities?: number;
  context?: number;
  latency_ms?: number;
  cost?: Cost;
  /** Thousandths. */
  benchmark?: number;
}

/** All providers of the config, not started. */
export function createProviders({ config, secrets }: LoadedConfig): Provider[] {
  return config.providers.map((provider) => {
    const name = provider.name ?? provider.type;
    return provider.type === "embedded"
      ? embedded(provider, name)
      : openai(provider, name, secrets.providerKeys.get(name));
  });
}

/** What a first mesh answers with before anything is configured: so that `nexus up` can be tried. */
export function demoProvider(): Provider {
  return new EmbeddedProvider({ name: "demo", models: [{ name: "nexus-demo" }] });
}

function embedded(config: ProviderConfig & { type: "embedded" }, name: string): Provider {
  return new EmbeddedProvider({
    name,
    maxConcurrency: config.max_concurrency,
    queueMax: config.queue_max,
    models: config.models.map((model) => ({
      ...modelFields({ ...definedOf(config), ...definedOf(model) }),
      name: model.name,
      tokensPerSecond: model.tokens_per_second,
      answer: model.answer,
      answerText: model.answer_text,
      answerTokens: model.answer_tokens,
    })),
  });
}

function openai(
  config: ProviderConfig & { type: "openai" },
  name: string,
  apiKey: string | undefined,
): Provider {
  return new OpenAiProvider({
    name,
    baseUrl: config.url,
    apiKey: () => apiKey,
    maxConcurrency: config.max_concurrency,
    queueMax: config.queue_max,
    defaults: modelFields(config),
    models: config.models.map((model) => ({
      ...modelFields({ ...definedOf(config), ...definedOf(model) }),
      name: model.name,
      upstream: model.upstream,
    })),
    timeouts: {
      connectMs: config.timeouts.connect_ms,
      firstByteMs: config.timeouts.first_token_ms,
      idleMs: config.timeouts.idle_ms,
      answerMs: config.timeouts.answer_ms,
    },
  });
}

const KEYS = ["arch", "capabilities", "context", "latency_ms", "cost", "benchmark"] as const;

/** Only the members that are set, so that a model's silence does not hide its provider's word. */
function definedOf(from: Advertised): Advertised {
  return Object.fromEntries(
    KEYS.filter((key) => from[key] !== undefined).map((key) => [key, from[key]]),
  );
}

function modelFields(from: Advertised): Partial<Omit<ProviderModel, "name" | "maxConcurrency">> {
  const { arch, capabilities, context, latency_ms: latencyMs, cost, benchmark } = from;
  return {
    ...(arch === undefined ? {} : { arch }),
    ...(capabilities === undefined ? {} : { capabilities }),
    ...(context === undefined ? {} : { context }),
    ...(latencyMs === undefined ? {} : { latencyMs }),
    ...(cost === undefined ? {} : { cost: cost.micros, per1k: cost.per1k }),
    ...(benchmark === undefined ? {} : { benchmark }),
  };
}
