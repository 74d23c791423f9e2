/** The words of the SAD's two enumerations: capability bits and model architectures. */
import { clip, NexusError } from "../base/mod.ts";

/** Capability names; the index is the bit (protocol.md §6). */
export const CAPABILITIES = [
  "text_gen",
  "code_gen",
  "image_gen",
  "audio_gen",
  "embedding",
  "classification",
  "tool_use",
  "reasoning",
  "vision",
  "rerank",
  "speech_to_text",
] as const;

/** All capability bits that have a meaning. */
export const CAPABILITY_MASK = 2 ** CAPABILITIES.length - 1;

/** Architecture names; the value on the wire is the index + 1. */
export const ARCHITECTURES = ["transformer", "diffusion", "moe", "cnn", "rnn", "rl_agent"] as const;

/** Highest architecture value of the SAD. */
export const ARCH_MAX = ARCHITECTURES.length;

/**
 * Bits of names joined by `+`, as "code_gen+tool_use"; the empty text is 0.
 * Throws UNKNOWN_CAPABILITY, naming the known ones.
 */
export function parseCapabilities(text: string): number {
  if (text.trim() === "") return 0;
  let bits = 0;
  for (const part of text.split("+")) {
    const bit = (CAPABILITIES as readonly string[]).indexOf(part.trim());
    if (bit < 0) {
      throw new NexusError(
        "UNKNOWN_CAPABILITY",
        `cannot read capabilities: "${clip(part.trim())}" is unknown, expected one of ${
          CAPABILITIES.join(", ")
        }`,
      );
    }
    bits |= 1 << bit;
  }
  return bits;
}

/** Names of the bits joined by `+`, ascending; bits without a name are left out, 0 is "". */
export function formatCapabilities(bits: number): string {
  return CAPABILITIES.filter((_, bit) => (bits >>> bit) & 1).join("+");
}

/** How many bits are set. */
export function countBits(bits: number): number {
  let n = 0;
  for (let rest = bits >>> 0; rest !== 0; rest &= rest - 1) n++;
  return n;
}

/** Architecture value of a name. Throws UNKNOWN_ARCHITECTURE, naming the known ones. */
export function parseArchitecture(text: string): number {
  const index = (ARCHITECTURES as readonly string[]).indexOf(text.trim());
  if (index < 0) {
    throw new NexusError(
      "UNKNOWN_ARCHITECTURE",
      `cannot read architecture: "${clip(text)}" is unknown, expected one of ${
        ARCHITECTURES.join(", ")
      }`,
    );
  }
  return index + 1;
}

/** Name of an architecture value, the number itself when it has no name. */
export function formatArchitecture(arch: number): string {
  return ARCHITECTURES[arch - 1] ?? String(arch);
}
