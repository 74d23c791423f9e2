/**
 * One waker thread for the ports of this isolate (ffi/native/waker.c). Its callback is kept for
 * good, because the thread may be about to call it; while no port is open it does not keep the
 * process alive.
 */
import type { NexusIo } from "./nexus_io.ts";

const callbacks = new Map<number, () => void>();
let nextTag = 1;
let waker: { handle: number; keepAlive: () => void; letGo: () => void } | undefined;

/** A port's place at the waker. */
export interface WakerSeat {
  /** For NxOpenOptions.waker and tag. */
  readonly waker: number;
  readonly tag: number;
  /** Gives the place back. A call that is on its way finds nobody. */
  leave(): void;
}

/** Opens the waker; called before tests that look for leaks begin. Negative errno on failure. */
export function openWaker(io: NexusIo): number {
  waker ??= startWaker(io);
  return waker.handle;
}

function startWaker(io: NexusIo) {
  const callback = Deno.UnsafeCallback.threadSafe(
    { parameters: ["u32"], result: "void" } as const,
    (tag) => callbacks.get(tag)?.(),
  );
  callback.unref();
  return {
    handle: io.nx_waker_open(callback.pointer),
    keepAlive: () => callback.ref(),
    letGo: () => callback.unref(),
  };
}

/** Takes a place; `ready` is called once for each nx_arm that is met. Undefined without waker. */
export function takeSeat(io: NexusIo, ready: () => void): WakerSeat | undefined {
  const handle = openWaker(io);
  if (handle < 0) return undefined;
  const tag = nextTag++;
  if (callbacks.size === 0) waker!.keepAlive();
  callbacks.set(tag, ready);
  return {
    waker: handle,
    tag,
    leave() {
      if (callbacks.delete(tag) && callbacks.size === 0) waker!.letGo();
    },
  };
}
