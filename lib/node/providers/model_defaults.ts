/**
 * What a model can do, guessed from the name under which an OpenAI-compatible server lists it.
 * `/v1/models` says nothing of capabilities, so these rules stand until the config says
 * otherwise. They err towards the capabilities that servers commonly switch on:
 *
 * | rule (on the lower-case name)                     | capabilities                            |
 * | ------------------------------------------------- | --------------------------------------- |
 * | embed, bge-, e5-, gte-, minilm                    | embedding                               |
 * | rerank                                            | rerank                                  |
 * | whisper, transcribe, stt                          | speech_to_text                          |
 * | tts, speech                                       | audio_gen                               |
 * | dall-e, gpt-image, stable-diffusion, sdxl, flux   | image_gen                               |
 * | moderation, guard                                 | classification                          |
 * | everything else                                   | text_gen + tool_use + code_gen, and     |
 * | … vl, vision, llava, gpt-4o, gpt-5, claude, …     | + vision                                |
 * | … o1, o3, r1, qwq, think, reason, gpt-5, gpt-oss  | + reasoning                             |
 * | … tinyllama, gpt-2, pythia, phi-2, *-base         | text_gen only                           |
 */
import { parseArchitecture, parseCapabilities } from "../../l2_route/mod.ts";

/** Smallest context that current servers start a model with unless told more (Ollama's 4,096). */
export const CONTEXT_DEFAULT = 4096;

/** Time to first token of a mid-sized model on one GPU with a short prompt. */
export const LATENCY_MS_DEFAULT = 300;

const SPECIAL: readonly (readonly [RegExp, string])[] = [
  [/rerank/, "rerank"],
  [/embed|\bbge-|\be5-|\bgte-|minilm/, "embedding"],
  [/whisper|transcribe|\bstt\b/, "speech_to_text"],
  [/\btts\b|speech/, "audio_gen"],
  [/dall-e|gpt-image|stable-diffusion|sdxl|\bflux/, "image_gen"],
  [/moderation|guard\b/, "classification"],
];
const BASIC = /tinyllama|gpt-?2|pythia|phi-?[12]\b|[-_]base\b/;
const VISION =
  /\bvl\b|[-\d]vl\b|vision|llava|pixtral|gpt-4o|gpt-4\.1|gpt-5|claude|gemini|gemma-?3|moondream|minicpm-v/;
const REASONING = /\bo[134]\b|\br1\b|qwq|think|reason|gpt-5|gpt-oss|magistral/;
const MOE = /\bmoe\b|mixtral|\d+x\d+b|-a\d+b|deepseek-(?:v[23]|r1)(?!-distill)|gpt-oss/;

/** Capability bits by the table above. */
export function guessCapabilities(name: string): number {
  const text = name.toLowerCase();
  for (const [pattern, capability] of SPECIAL) {
    if (pattern.test(text)) return parseCapabilities(capability);
  }
  if (BASIC.test(text)) return parseCapabilities("text_gen");
  const words = ["text_gen", "tool_use", "code_gen"];
  if (VISION.test(text)) words.push("vision");
  if (REASONING.test(text)) words.push("reasoning");
  return parseCapabilities(words.join("+"));
}

/** SAD architecture: diffusion for image models, moe where the name says so, else transformer. */
export function guessArchitecture(name: string): number {
  const text = name.toLowerCase();
  if (guessCapabilities(text) === parseCapabilities("image_gen")) {
    return parseArchitecture("diffusion");
  }
  return parseArchitecture(MOE.test(text) ? "moe" : "transformer");
}

/** The context that a `/v1/models` entry announces, under the names servers use for it. */
export function announcedContext(entry: Record<string, unknown>): number | undefined {
  const meta = entry.meta as Record<string, unknown> | null | undefined;
  const values = [
    entry.max_model_len, // vLLM, SGLang
    entry.context_length, // OpenRouter, Together
    entry.max_context_length, // LM Studio
    entry.context_window, // Groq
    meta?.n_ctx, // llama.cpp, the running context
    meta?.n_ctx_train, // llama.cpp, what the model was trained for
  ];
  return values.find((value): value is number =>
    typeof value === "number" && Number.isInteger(value) && value > 0 && value <= 0xffffffff
  );
}
