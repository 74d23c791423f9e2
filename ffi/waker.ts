/**
 * One waker thread for the ports of this isolate (ffi/native/waker.c). Its callback is kept for
 * good, because the thread may be about to call it; while no port is open it does not keep the
 * process alive.
 *
 * An isolate that ends under a call of the thread takes the process down (SIGSEGV). So the last port
 * that leaves has the thread call once more, behind all that it was about to call, and the callback
 * keeps the process alive until then.
 */
import { type NexusIo, NX_WAKER_LAST } from "./nexus_io.ts";

const callbacks = new Map<number, () => void>();
let nextTag = NX_WAKER_LAST + 1;
let waker: Waker | undefined;

/** A port's place at the waker. */
export interface WakerSeat {
  /** For NxOpenOptions.waker and tag. */
  readonly waker: number;
  readonly tag: number;
  /**
   * Gives the place back, after nx_close. A call that is on its way finds nobody; resolves when the
   * isolate may end as far as this port is concerned.
   */
  leave(): Promise<void>;
}

/** Opens the waker; called before tests that look for leaks begin. Negative errno on failure. */
export function openWaker(io: NexusIo): number {
  return (waker ??= new Waker(io)).handle;
}

/** Takes a place; `ready` is called once for each nx_arm that is met. Undefined without waker. */
export function takeSeat(io: NexusIo, ready: () => void): WakerSeat | undefined {
  const handle = openWaker(io);
  if (handle < 0) return undefined;
  const tag = nextTag++;
  callbacks.set(tag, ready);
  waker!.keepAlive();
  return {
    waker: handle,
    tag,
    leave: () => callbacks.delete(tag) && callbacks.size === 0 ? waker!.rest() : Promise.resolve(),
  };
}

class Waker {
  readonly handle: number;
  readonly #io: NexusIo;
  readonly #callback = Deno.UnsafeCallback.threadSafe(
    { parameters: ["u32"], result: "void" } as const,
    (tag) => tag === NX_WAKER_LAST ? this.#rested() : callbacks.get(tag)?.(),
  );
  /** Keeps the process alive. */
  #isKept = true;
  #resting?: PromiseWithResolvers<void>;
  #isAskedAgain = false;

  constructor(io: NexusIo) {
    this.#io = io;
    this.#letGo();
    this.handle = io.nx_waker_open(this.#callback.pointer);
  }

  keepAlive(): void {
    if (!this.#isKept) this.#callback.ref();
    this.#isKept = true;
  }

  /** Lets the process go once the thread has made its last call; resolves then. */
  rest(): Promise<void> {
    if (this.#resting === undefined) {
      this.#resting = Promise.withResolvers();
      this.#io.nx_waker_last(this.handle);
    } else {
      this.#isAskedAgain = true;
    }
    return this.#resting.promise;
  }

  #rested(): void {
    // A port that came and went since it was asked may have a call behind this one.
    const isLast = !this.#isAskedAgain;
    this.#isAskedAgain = false;
    if (callbacks.size > 0 || isLast) {
      if (callbacks.size === 0) this.#letGo();
      this.#resting?.resolve();
      this.#resting = undefined;
    } else {
      this.#io.nx_waker_last(this.handle);
    }
  }

  #letGo(): void {
    if (this.#isKept) this.#callback.unref();
    this.#isKept = false;
  }
}
