/** The config of a node: schema, loading, mistakes that name file, line and key. */
export * from "./load.ts";
export { ConfigError, type ConfigMistake, mistakeLine } from "./mistakes.ts";
export { checkConfigJsonSchema, configJsonSchemaText, configLeaves } from "./json_schema.ts";
export { envName } from "./overrides.ts";
export type {
  EmbeddedModel,
  EmbeddedProviderConfig,
  OpenaiModel,
  OpenaiProviderConfig,
  ParsedConfig,
  ProviderConfig,
} from "./schema.ts";
export { type Secrets, withoutSecrets } from "./secrets.ts";
export { ADMIN_PORT, BRIDGE_PORT, type Cost, LINK_PORT, type Seed } from "./values.ts";
