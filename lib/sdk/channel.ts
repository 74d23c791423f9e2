/** One NexStream stream as a program uses it: whole application messages, in and out. */
import { NexusError } from "../base/mod.ts";
import { type Mode, MODE_BEST_EFFORT, MODE_RELIABLE_ORDERED } from "../l3_stream/mod.ts";
import { MessageAssembler } from "../l5_api/mod.ts";
import type { Session } from "./session.ts";

/** STREAM_RESET and STREAM_STOP error codes that the SDK uses. */
export const STREAM_ERROR = { CANCELLED: 1, PROTOCOL: 2, REFUSED: 3 } as const;

/**
 * Messages are pulled: what the program does not read is not given back as credit, so that a
 * slow reader slows the sender and nothing piles up. One reader and one writer at a time.
 */
export class Channel {
  readonly #assembler?: MessageAssembler;
  readonly #abort = new AbortController();
  #wakeReader?: () => void;
  #wakeWriter?: () => void;
  #peerFinished = false;
  #finished = false;
  #error?: NexusError;
  /** A handler answers on this stream later; until it finishes, the end of the peer's side means nothing. */
  answering = false;

  /** @internal made by a Session */
  constructor(readonly session: Session, readonly id: number, readonly mode: Mode) {
    if (mode === MODE_RELIABLE_ORDERED) this.#assembler = new MessageAssembler();
  }

  /** Fires when the stream or its session is over, or the peer cancelled what it asked for. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** False once either end gave the stream up. */
  get isOpen(): boolean {
    return this.#error === undefined;
  }

  /**
   * Sends one encoded message; waits while windows and buffers are full.
   * @throws NexusError what ended the stream or the session
   */
  async send(message: Uint8Array): Promise<void> {
    if (this.#assembler !== undefined) return await this.sendBytes(message);
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      if (this.session.requireConnection().sendMessage(this.id, message)) break;
      if (this.mode === MODE_BEST_EFFORT) return; // Best effort does not wait.
      await this.#room();
    }
    this.session.touch();
  }

  /** Sends raw bytes on an RO stream, for protocols that bring their own framing. */
  async sendBytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0;;) {
      if (this.#error !== undefined) throw this.#error;
      at += this.session.requireConnection().write(this.id, at === 0 ? bytes : bytes.subarray(at));
      if (at === bytes.length) break;
      await this.#room();
    }
    this.session.touch();
  }

  /**
   * The next whole message, header included; undefined once the other end has finished. The bytes
   * are valid until the next call.
   * @throws NexusError what ended the stream or the session
   */
  async receive(): Promise<Uint8Array | undefined> {
    const message = await this.#next(() => this.#takeMessage());
    if (message === undefined && (this.#assembler?.bytesHeld ?? 0) > 0) {
      throw new NexusError("MALFORMED", "cannot read message: the stream ended inside it");
    }
    return message;
  }

  /** The next bytes of an RO stream as they come; not to be mixed with `receive`. */
  async receiveBytes(): Promise<Uint8Array | undefined> {
    return await this.#next(() => this.#takeBytes());
  }

  /** No more from this end. */
  finish(): void {
    if (this.#finished || this.#error !== undefined) return;
    this.#finished = true;
    this.session.connection?.finish(this.id);
    this.session.touch();
  }

  /** Gives both directions up: what is under way is dropped. */
  cancel(code: number = STREAM_ERROR.CANCELLED): void {
    if (this.#error !== undefined) return;
    const connection = this.session.connection;
    if (!this.#finished) connection?.reset(this.id, code);
    if (!this.#peerFinished) connection?.stop(this.id, code);
    this.fail(new NexusError("CANCELLED", "cannot use stream: it was cancelled"));
    this.session.touch();
  }

  /** Reads and drops what still comes, so that the stream can close. */
  async discard(): Promise<void> {
    try {
      while (await this.receive() !== undefined);
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
    }
  }

  /** Fires `signal` without touching the stream: the peer cancelled, an answer is still due. */
  abort(): void {
    this.#abort.abort();
  }

  /** @internal there may be something to take */
  readable(): void {
    this.#wakeReader?.();
  }
  /** @internal there is room again */
  writable(): void {
    this.#wakeWriter?.();
  }
  /** @internal all that the peer will ever send is here */
  peerFinished(): void {
    this.#peerFinished = true;
    this.readable();
  }
  /** @internal the stream is over, for both directions */
  fail(error: NexusError): void {
    this.#error ??= error;
    this.#abort.abort();
    this.readable();
    this.writable();
  }

  async #next(take: () => Uint8Array | undefined): Promise<Uint8Array | undefined> {
    for (;;) {
      const taken = take();
      if (taken !== undefined) return taken;
      if (this.#error !== undefined) throw this.#error;
      if (this.#peerFinished) return undefined;
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
  }

  #takeMessage(): Uint8Array | undefined {
    if (this.#assembler === undefined) {
      const message = this.session.received.readMessage(this.id);
      if (message !== undefined) this.session.noteRead();
      return message;
    }
    for (;;) {
      const message = this.#assembler.next();
      if (message !== undefined) return message;
      const bytes = this.#takeBytes();
      if (bytes === undefined) return undefined;
      this.#assembler.push(bytes);
    }
  }

  #takeBytes(): Uint8Array | undefined {
    const bytes = this.session.received.read(this.id);
    if (bytes !== undefined) this.session.noteRead();
    return bytes;
  }

  /** Waits for a window or a buffer to open. */
  #room(): Promise<void> {
    this.session.touch();
    return new Promise<void>((resolve) => this.#wakeWriter = resolve);
  }
}
