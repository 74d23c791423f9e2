/**
 * Enums of the messages. On the wire a u8; in records the word. Value 0 is "unknown" in every
 * enum: what a reader calls a value that a newer schema added.
 */
import { clip, NexusError } from "../../base/mod.ts";
import { NONE_U8 } from "../nexbuf/reader.ts";

/** Who speaks, by wire value. */
export const ROLES = [
  "unknown",
  "system",
  "developer",
  "user",
  "assistant",
  "tool",
  "function",
] as const;
/** Who speaks; OpenAI's words. */
export type Role = (typeof ROLES)[number];

/** Why a generation ended, by wire value. */
export const FINISH_REASONS = [
  "unknown",
  "stop",
  "length",
  "tool_calls",
  "content_filter",
  "function_call",
  "cancelled",
  "error",
] as const;
/** Why a generation ended; OpenAI's words, and two of ours. */
export type FinishReason = (typeof FINISH_REASONS)[number];

const roleValues: ReadonlyMap<string, number> = new Map(ROLES.map((word, i) => [word, i]));
const reasonValues: ReadonlyMap<string, number> = new Map(
  FINISH_REASONS.map((word, i) => [word, i]),
);

/** Wire values that schema defaults name. */
export const ROLE_USER = 3;
export const ROLE_ASSISTANT = 4;
export const FINISH_REASON_UNKNOWN = 0;

export function roleOf(value: number): Role {
  return ROLES[value] ?? "unknown";
}
export function roleOptionalOf(value: number): Role | undefined {
  return value === NONE_U8 ? undefined : roleOf(value);
}
export function roleValue(role: Role): number {
  return roleValues.get(role) ?? refuse("role", role);
}
export function finishReasonOf(value: number): FinishReason {
  return FINISH_REASONS[value] ?? "unknown";
}
export function finishReasonOptionalOf(value: number): FinishReason | undefined {
  return value === NONE_U8 ? undefined : finishReasonOf(value);
}
export function finishReasonValue(reason: FinishReason): number {
  return reasonValues.get(reason) ?? refuse("finish reason", reason);
}

function refuse(what: string, word: unknown): never {
  throw new NexusError(
    "INVALID_VALUE",
    `cannot encode message: ${what} "${clip(String(word))}" is not one of the enum`,
  );
}
