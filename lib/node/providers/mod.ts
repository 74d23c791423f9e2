/** Sources of tokens: the built-in one and OpenAI-compatible servers. */
export { chooseModel, findModel } from "./choose.ts";
export { type EmbeddedModel, type EmbeddedOptions, EmbeddedProvider } from "./embedded.ts";
export { guessArchitecture, guessCapabilities } from "./model_defaults.ts";
export { type OpenAiModel, type OpenAiOptions, OpenAiProvider } from "./openai.ts";
export { type SseEvent, SseParser } from "./sse.ts";
export { TIMEOUTS_DEFAULT, type UpstreamTimeouts } from "./upstream_http.ts";
