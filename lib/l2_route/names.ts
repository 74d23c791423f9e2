/** Model names: the limits they share in SADs and advertisements, and matching. */

/** UTF-8 bytes of a model name or pattern (protocol.md §6, §3.1). */
export const MODEL_NAME_BYTES_MAX = 128;

// A byte order mark is kept: dropping it would give one name two byte strings.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

/** Exact text of UTF-8 bytes; undefined when they are not UTF-8. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** What is wrong with a SAD's model field, to be read after "model"; undefined when it is right. */
export function checkModelPattern(text: string): string | undefined {
  const star = text.indexOf("*");
  if (star >= 0 && star !== text.length - 1) return "has a * that is not its last character";
  return checkText(text);
}

/** What is wrong with the name of a model that is offered; undefined when it is right. */
export function checkModelName(text: string): string | undefined {
  return text.includes("*") ? "has a *, which only queries may have" : checkText(text);
}

/** Whether a name is the pattern, or starts with it when the pattern ends in `*`. Cases differ. */
export function matchesModel(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** Whether text of a peer is safe to print: no C0 or C1 control characters. */
export function isPrintable(text: string): boolean {
  return !CONTROL.test(text);
}

function checkText(text: string): string | undefined {
  if (!text.isWellFormed()) return "is not well-formed Unicode";
  // Names are printed on terminals and in logs: no peer may put control sequences there.
  if (!isPrintable(text)) return "has control characters";
  const length = encoder.encode(text).length;
  if (length < 1 || length > MODEL_NAME_BYTES_MAX) {
    return `is ${length} bytes, expected 1…${MODEL_NAME_BYTES_MAX}`;
  }
  return undefined;
}
