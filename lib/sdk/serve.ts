/** The receiving side of a session: gives each message a peer sends to its handler. */
import { NexusError } from "../base/mod.ts";
import { MODE_RELIABLE_ORDERED, MODE_RELIABLE_UNORDERED } from "../l3_stream/mod.ts";
import {
  ApiFault,
  encodeMessage,
  errorMessageOf,
  MessageType,
  readMessageHeader,
} from "../l5_api/mod.ts";
import { type Channel, STREAM_ERROR } from "./channel.ts";
import type { Session } from "./session.ts";

/**
 * Handles one message that arrived on a stream of the peer's. While its promise is pending the
 * next message of that stream is not read: long work is started, not awaited. The bytes are valid
 * until the handler returns.
 */
export type Handler = (message: Uint8Array, channel: Channel) => void | Promise<void>;
/** By message type (docs/protocol.md §8.1). */
export type Handlers = Readonly<Record<number, Handler>>;

/** Serves every stream that the peer opens on this session, until the session closes. */
export function serve(session: Session, handlers: Handlers): void {
  session.onChannel = (channel) => {
    serveChannel(channel, handlers).catch((error) => {
      // What a peer sent is wrong, or the stream ended under us: this stream is over, not more.
      if (!(error instanceof NexusError)) throw error;
      channel.cancel(STREAM_ERROR.PROTOCOL);
    });
  };
}

async function serveChannel(channel: Channel, handlers: Handlers): Promise<void> {
  for (;;) {
    const message = await channel.receive();
    if (message === undefined) {
      if (!channel.answering) channel.finish();
      return;
    }
    const { type, requestId } = readMessageHeader(message);
    if (type === MessageType.TOKEN_STREAM_CHUNK && channel.mode === MODE_RELIABLE_UNORDERED) {
      const take = channel.session.chunkTakers.get(requestId);
      if (take === undefined) channel.cancel(); // Nobody waits for it any more.
      else await take(channel, message);
      return;
    }
    const handler = handlers[type];
    if (handler !== undefined) {
      await handler(message, channel);
    } else if (requestId !== 0 && channel.mode === MODE_RELIABLE_ORDERED) {
      const fault = new ApiFault(
        "NOT_IMPLEMENTED",
        `cannot handle message: type 0x${type.toString(16)} is not served here`,
      );
      await channel.send(encodeMessage("error", requestId, errorMessageOf(fault)));
    }
  }
}
