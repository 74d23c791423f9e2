/** One signal of several, in place of `AbortSignal.any`. */

/** A signal that aborts when one of its sources does. */
export interface JoinedSignal {
  readonly signal: AbortSignal;
  /** Lets go of the sources; call it when the work is over, long-lived sources remember else. */
  release(): void;
}

/**
 * `AbortSignal.any` of Deno 2.7.11 holds its result weakly: after a garbage collection a signal
 * that only its own listeners refer to never aborts (denoland/deno#29075). Here the sources'
 * listeners hold it.
 */
export function joinSignals(...sources: readonly AbortSignal[]): JoinedSignal {
  const controller = new AbortController();
  const abort = (event: Event) => stop((event.target as AbortSignal).reason);
  const release = () => {
    for (const source of sources) source.removeEventListener("abort", abort);
  };
  const stop = (reason: unknown) => {
    release();
    controller.abort(reason);
  };
  for (const source of sources) source.addEventListener("abort", abort);
  const aborted = sources.find((source) => source.aborted);
  if (aborted !== undefined) stop(aborted.reason);
  return { signal: controller.signal, release };
}
