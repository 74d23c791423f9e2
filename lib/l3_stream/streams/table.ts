/**
 * The streams of a connection by id: who may open which, what an unknown id means, and when one
 * is forgotten (docs/protocol.md §5.3). The acceptor's count never exceeds the opener's: it drops
 * a stream before it tells the opener so.
 */
import {
  CLIENT_STREAM_ID_MAX,
  type Mode,
  SERVER_STREAM_ID_MAX,
  SERVER_STREAM_ID_MIN,
} from "../frames/frame.ts";
import { Stream, type StreamLimits } from "./stream.ts";

/** What a stream id in a frame means. */
export const ID_LIVE = 0;
/** It was open; frames for it are ignored. */
export const ID_FORGOTTEN = 1;
/** The peer may open it by this frame. */
export const ID_UNSEEN = 2;
/** Ours and never opened, or no stream id at all. */
export const ID_INVALID = 3;

const FIRST_CLIENT_ID = 1;
const CLIENT_COUNT = (CLIENT_STREAM_ID_MAX - FIRST_CLIENT_ID) / 2 + 1;
const SERVER_COUNT = (SERVER_STREAM_ID_MAX - SERVER_STREAM_ID_MIN) / 2 + 1;

export class StreamTable {
  readonly #isClient: boolean;
  readonly #streams = new Map<number, Stream>();
  /** Ids of the peer below its highest that did not appear yet; they count as open. */
  readonly #reserved = new Set<number>();
  /** How many streams each end has opened, ever. */
  #localOpened: number;
  #peerOpened = 0;
  #localLive = 0;
  #peerLive = 0;
  /** Streams that the peer lets us have open. */
  localMax: number;

  constructor(
    side: "client" | "server",
    localMax: number,
    readonly peerMax: number,
    /** What a new stream starts with; the owner keeps it up to date. */
    readonly limits: Readonly<StreamLimits>,
    /** Streams that this end opened before: tests begin near the last id. */
    localOpened = 0,
  ) {
    this.#localOpened = localOpened;
    this.#isClient = side === "client";
    this.localMax = localMax;
  }

  get size(): number {
    return this.#streams.size;
  }
  /** Whether as many of our streams are open as the peer allows. */
  get isFull(): boolean {
    return this.#localLive >= this.localMax;
  }
  /** Whether this end has opened as many streams as there are ids: ids are never used again. */
  get isUsedUp(): boolean {
    return this.#localOpened >= (this.#isClient ? CLIENT_COUNT : SERVER_COUNT);
  }
  get(id: number): Stream | undefined {
    return this.#streams.get(id);
  }
  values(): IterableIterator<Stream> {
    return this.#streams.values();
  }

  /** Opens our next stream; the caller checked isFull and isUsedUp. */
  open(mode: Mode, priority: number): Stream {
    const index = this.#localOpened++;
    const id = this.#isClient ? FIRST_CLIENT_ID + 2 * index : SERVER_STREAM_ID_MIN + 2 * index;
    const stream = new Stream(id, mode, priority, true, this.limits);
    this.#localLive++;
    this.#streams.set(id, stream);
    return stream;
  }

  meaning(id: number): number {
    if (this.#streams.has(id)) return ID_LIVE;
    const isClients = id <= CLIENT_STREAM_ID_MAX;
    if (isClients ? id % 2 === 0 : id % 2 !== 0) return ID_INVALID;
    const index = indexOf(id);
    if (isClients === this.#isClient) {
      return index < this.#localOpened ? ID_FORGOTTEN : ID_INVALID;
    }
    return index >= this.#peerOpened || this.#reserved.has(id) ? ID_UNSEEN : ID_FORGOTTEN;
  }

  /** Makes a stream of the peer whose id is UNSEEN; undefined when its limit is exceeded. */
  accept(id: number, mode: Mode, priority: number): Stream | undefined {
    const index = indexOf(id);
    if (index >= this.#peerOpened) {
      const skipped = index - this.#peerOpened;
      if (this.#peerLive + skipped + 1 > this.peerMax) return undefined;
      for (let i = skipped; i > 0; i--) this.#reserved.add(id - 2 * i);
      this.#peerLive += skipped + 1;
      this.#peerOpened = index + 1;
    } else {
      this.#reserved.delete(id);
    }
    const stream = new Stream(id, mode, priority, false, this.limits);
    this.#streams.set(id, stream);
    return stream;
  }

  forget(stream: Stream): void {
    if (!this.#streams.delete(stream.id)) return;
    if (stream.isLocal) this.#localLive--;
    else this.#peerLive--;
  }
}

function indexOf(id: number): number {
  return Math.floor((id <= CLIENT_STREAM_ID_MAX ? id : id - SERVER_STREAM_ID_MIN) / 2);
}
