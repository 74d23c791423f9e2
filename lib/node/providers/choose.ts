/** Which of a provider's models a request means. */
import { clip, errorMessage, NexusError, utf8 } from "../../base/mod.ts";
import {
  countBits,
  decodeSad,
  formatSad,
  matchesModel,
  MODEL_NAME_BYTES_MAX,
  OPTION_PARTIAL,
  type Sad,
} from "../../l2_route/mod.ts";
import { InferenceError, type ProviderModel } from "../inference.ts";

/**
 * The first model whose name, capabilities and context fit the selector. Latency, cost, trust
 * and region were the resolver's business, which chose this node.
 */
export function findModel<M extends ProviderModel>(models: readonly M[], sad: Sad): M | undefined {
  const fitting = models.filter((model) =>
    (sad.model === undefined || matchesModel(sad.model, model.name)) &&
    (sad.contextMin ?? 0) <= model.context
  );
  const lacks = ({ capabilities }: M) => countBits((sad.capabilities ?? 0) & ~capabilities);
  const partial = ((sad.options ?? 0) & OPTION_PARTIAL) !== 0;
  return fitting.find((model) => lacks(model) === 0) ??
    (partial ? fitting.sort((a, b) => lacks(a) - lacks(b))[0] : undefined);
}

/** `findModel` for the selector bytes of a request. Throws MODEL_NOT_FOUND, INVALID_REQUEST. */
export function chooseModel<M extends ProviderModel>(
  what: string,
  models: readonly M[],
  selector: Uint8Array,
): M {
  let sad: Sad;
  try {
    sad = selector.length === 0 ? {} : decodeSad(selector);
  } catch (error) {
    if (!(error instanceof NexusError)) throw error;
    throw new InferenceError("INVALID_REQUEST", errorMessage(error), {
      param: "model",
    });
  }
  const model = findModel(models, sad);
  if (model === undefined) {
    throw new InferenceError(
      "MODEL_NOT_FOUND",
      `cannot choose model: ${what} has none that fits "${clip(formatSad(sad), 200)}"`,
      { retryable: true, param: "model" },
    );
  }
  return model;
}

/** Whether a name that a server lists can stand in an advertisement (protocol.md §6, §7). */
export function isOfferable(name: string): boolean {
  const bytes = utf8(name).length;
  // deno-lint-ignore no-control-regex
  return bytes >= 1 && bytes <= MODEL_NAME_BYTES_MAX && !/[*\x00-\x1f\x7f]/.test(name) &&
    name.isWellFormed();
}
