/** What a connection tells the application: data in a queue, never a callback. */
import type { NexusError } from "../base/mod.ts";
import type { Mode } from "./frames/frame.ts";

export type ConnectionEvent =
  /** The peer's parameters arrived. */
  | { readonly type: "established" }
  /** The peer opened a stream. */
  | {
    readonly type: "streamOpened";
    readonly stream: number;
    readonly mode: Mode;
    readonly priority: number;
  }
  /** There are bytes (RO) or messages (RU, BE): call read() or readMessage() until undefined. */
  | { readonly type: "readable"; readonly stream: number }
  /** A write() that was cut short or a sendMessage() that was refused may be tried again. */
  | { readonly type: "writable"; readonly stream: number }
  /** Everything the peer sends on the stream has arrived; there may be something left to read. */
  | { readonly type: "peerFinished"; readonly stream: number }
  /** The peer gave up its direction; undelivered data is gone. */
  | { readonly type: "reset"; readonly stream: number; readonly error: number }
  /** The peer does not want our direction; it was reset in answer. */
  | { readonly type: "stopped"; readonly stream: number; readonly error: number }
  /** Both directions are over on both ends; the id means nothing any more. */
  | { readonly type: "streamClosed"; readonly stream: number }
  /** Frames go to another network address now: the peer moved, migrate() succeeded, or a failover. */
  | { readonly type: "migrated"; readonly peer: number }
  /** migrate() got no answer from there; everything goes on as before. */
  | { readonly type: "migrationFailed"; readonly peer: number }
  /** The peer asks for another path: answer with acceptPath() or closePath(). */
  | { readonly type: "pathRequested"; readonly path: number }
  /** Another path is validated in both directions: PR data may take it. */
  | { readonly type: "pathUsable"; readonly path: number }
  /** Another path is gone, and the connection id that we gave it; 0: none was given. */
  | { readonly type: "pathClosed"; readonly path: number; readonly connectionId: number }
  /** The connection is over for the application; the last event. */
  | {
    readonly type: "closed";
    readonly reason: number;
    readonly phrase: string;
    readonly byPeer: boolean;
    readonly error?: NexusError;
  };
