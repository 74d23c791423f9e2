/**
 * Cuts the byte stream of an RO stream into messages. `push` what arrived, then call `next` until
 * it returns nothing, and only then `push` again.
 *
 * A message that lies whole in what was pushed is returned in place; only a message cut by the
 * stream is copied, once. The buffer grows with the bytes that arrived, never to what a header
 * merely claims.
 */
import { NexusError } from "../base/mod.ts";
import { BODY_BYTES_MAX, MESSAGE_HEADER_BYTES, readMessageHeader } from "./header.ts";

const NOTHING = new Uint8Array(0);

/** First size of the buffer for a cut message: most fit, and 10,000 streams stay cheap. */
const BUFFER_BYTES_MIN = 1024;

/** Splits bytes into messages, in linear time and bounded memory. */
export class MessageAssembler {
  readonly #bodyBytesMax: number;
  /** What was pushed, and how far it is used. */
  #pushed: Uint8Array = NOTHING;
  #pushedAt = 0;
  /** The start of a cut message. */
  #buffer: Uint8Array = NOTHING;
  #held = 0;
  #failure: NexusError | undefined;

  /** Bodies above `bodyBytesMax` fail the stream with TOO_LARGE. */
  constructor(bodyBytesMax: number = BODY_BYTES_MAX) {
    this.#bodyBytesMax = Math.min(bodyBytesMax, BODY_BYTES_MAX);
  }

  /** Bytes of an unfinished message; a stream that ends with some was cut short. */
  get bytesHeld(): number {
    return this.#held + this.#pushed.length - this.#pushedAt;
  }

  /** Hands in the next bytes of the stream. They must not change until `next` returns nothing. */
  push(bytes: Uint8Array): void {
    if (this.#pushedAt < this.#pushed.length && this.#failure === undefined) {
      throw new NexusError(
        "WRONG_STATE",
        "cannot push bytes: messages are waiting, expected next() until it returns nothing",
      );
    }
    this.#pushed = bytes;
    this.#pushedAt = 0;
  }

  /**
   * The next whole message, header included: a view, valid until the next call of `next` or
   * `push`. A TOO_LARGE error ends the stream: every later call throws it again.
   */
  next(): Uint8Array | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return this.#held === 0 ? this.#nextInPlace() : this.#nextCopied();
    } catch (failure) {
      this.#failure = failure as NexusError;
      this.#pushed = this.#buffer = NOTHING;
      this.#pushedAt = this.#held = 0;
      throw failure;
    }
  }

  #nextInPlace(): Uint8Array | undefined {
    const rest = this.#pushed.subarray(this.#pushedAt);
    if (rest.length >= MESSAGE_HEADER_BYTES) {
      const length = this.#messageLength(rest);
      if (rest.length >= length) {
        this.#pushedAt += length;
        if (this.#pushedAt === this.#pushed.length) this.#forgetPushed();
        return rest.subarray(0, length);
      }
    }
    this.#take(rest.length);
    return undefined;
  }

  #nextCopied(): Uint8Array | undefined {
    if (this.#held < MESSAGE_HEADER_BYTES) {
      this.#take(MESSAGE_HEADER_BYTES - this.#held);
      if (this.#held < MESSAGE_HEADER_BYTES) return undefined;
    }
    const length = this.#messageLength(this.#buffer);
    this.#take(length - this.#held);
    if (this.#held < length) return undefined;
    const message = this.#buffer.subarray(0, length);
    this.#held = 0;
    this.#buffer = NOTHING; // the caller's view keeps it alive, an idle stream does not
    return message;
  }

  /** Length of the message whose header is in front. */
  #messageLength(bytes: Uint8Array): number {
    return MESSAGE_HEADER_BYTES + readMessageHeader(bytes, this.#bodyBytesMax).bodyLength;
  }

  /** Copies up to `wanted` pushed bytes into the buffer. */
  #take(wanted: number): void {
    const count = Math.min(wanted, this.#pushed.length - this.#pushedAt);
    const held = this.#held + count;
    if (held > this.#buffer.length) {
      const doubled = Math.max(BUFFER_BYTES_MIN, 2 * this.#buffer.length);
      const bigger = new Uint8Array(Math.max(held, Math.min(doubled, this.#held + wanted)));
      bigger.set(this.#buffer.subarray(0, this.#held));
      this.#buffer = bigger;
    }
    this.#buffer.set(this.#pushed.subarray(this.#pushedAt, this.#pushedAt + count), this.#held);
    this.#held = held;
    this.#pushedAt += count;
    if (this.#pushedAt === this.#pushed.length) this.#forgetPushed();
  }

  #forgetPushed(): void {
    this.#pushed = NOTHING;
    this.#pushedAt = 0;
  }
}
