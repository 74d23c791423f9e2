/**
 * Paths beside the first one (docs/protocol.md §5.8, NS-PR-003): how they are opened, accepted and
 * given up. They carry PR data only, so that the failure of one harms nothing; when the first one
 * fails it goes on at the address of another (migration.ts).
 *
 *   opener    openPath ── PATH_OPEN ─►            ◄─ PATH_ACCEPT ── challenge ─► answered: usable
 *   acceptor  "pathRequested" → acceptPath        first packet ── challenge ─► answered: usable
 *
 * Each end validates the other's address. Path ids ascend and are never used twice, as they are
 * part of the nonce; a closed path is forgotten at once.
 */
import { NexusError } from "../base/mod.ts";
import { CloseReason } from "./config.ts";
import type { ConnectionCore } from "./core.ts";
import { type Frame, PATH_ACCEPT, PATH_CLOSE, PATH_OPEN } from "./frames/mod.ts";
import { validate } from "./migration.ts";
import { type Path, PEER_UNKNOWN } from "./path.ts";

const PATH_ID_MAX = 0xffffffff;
/** Ours: PATH_ frames that wait to be sent; a peer that makes us queue more is up to no good. */
const FRAMES_QUEUED_MAX = 64;

export class ExtraPaths {
  readonly #core: ConnectionCore;
  /** PATH_ frames to send: type, path id, connection id (0 in PATH_CLOSE). */
  readonly frames: number[] = [];
  /** Paths that the peer accepts at once; 0 until its parameters are here. */
  peerMax = 0;
  /** Next own path id: odd for the client, even for the server. */
  #nextId: number;
  /** Largest id that the peer has opened. */
  #peerId = 0;

  constructor(core: ConnectionCore) {
    this.#core = core;
    this.#nextId = core.isClient ? 1 : 2;
  }

  /** The path whose packets carry this connection id to us. */
  withConnectionId(id: number): Path | undefined {
    const { paths } = this.#core;
    for (let i = 1; i < paths.length; i++) if (paths[i].localConnectionId === id) return paths[i];
    return undefined;
  }

  /** Asks the peer for another path to `peer`; its id. */
  open(peer: number, localConnectionId: number): number {
    const core = this.#core;
    const count = this.#count(core.isClient);
    if (count >= this.peerMax || this.#nextId > PATH_ID_MAX) {
      throw new NexusError(
        "PATH_LIMIT",
        `cannot open path: ${count} are open, the peer accepts ${this.peerMax}`,
      );
    }
    const id = this.#nextId;
    this.#nextId += 2;
    core.addPath(id, localConnectionId, 0, peer);
    this.frames.push(PATH_OPEN, id, localConnectionId);
    return id;
  }

  /** Lets the peer have the path it asked for; nothing happens when it no longer wants it. */
  accept(id: number, localConnectionId: number): boolean {
    const path = this.#withId(id);
    if (path === undefined || path.localConnectionId !== 0) return false;
    path.localConnectionId = localConnectionId;
    this.frames.push(PATH_ACCEPT, id, localConnectionId);
    return true;
  }

  /** Ends a path, or refuses one, and tells the peer. */
  close(id: number): void {
    if (!this.#forget(id)) return;
    this.#queueClose(id);
  }

  onPathOpen({ path: id, connectionId }: Frame): void {
    const core = this.#core;
    if (id === 0 || id % 2 === (core.isClient ? 1 : 0) || connectionId === 0) {
      return core.fail(CloseReason.PROTOCOL_VIOLATION, `path ${id} is not the peer's to open`);
    }
    if (id <= this.#peerId) return; // sent again, answered already
    this.#peerId = id;
    if (this.#count(!core.isClient) >= core.config.maxPaths) return this.#queueClose(id);
    core.addPath(id, 0, connectionId, PEER_UNKNOWN);
    core.events.push({ type: "pathRequested", path: id });
  }

  onPathAccept({ path: id, connectionId }: Frame): void {
    const core = this.#core;
    const path = this.#withId(id);
    const isOwn = id % 2 === (core.isClient ? 1 : 0);
    if (!isOwn || id >= this.#nextId || connectionId === 0) {
      return core.fail(CloseReason.PROTOCOL_VIOLATION, `path ${id} was never opened`);
    }
    if (path === undefined || path.peerConnectionId !== 0) return;
    path.peerConnectionId = connectionId;
    validate(core, path, path.peer, true);
  }

  onPathClose({ path: id }: Frame): void {
    this.#forget(id);
  }

  /** A packet with this PATH_ frame is lost: it is sent again if it still matters. */
  onFrameLost(type: number, id: number, connectionId: number): void {
    const path = this.#withId(id);
    const stillMatters = type === PATH_CLOSE ||
      path !== undefined && (type === PATH_ACCEPT || path.peerConnectionId === 0);
    if (stillMatters) this.frames.push(type, id, connectionId);
  }

  #withId(id: number): Path | undefined {
    return id === 0 ? undefined : this.#core.paths.find((path) => path.id === id);
  }

  /** Paths that the client, or the server, opened. */
  #count(byClient: boolean): number {
    const parity = byClient ? 1 : 0;
    let count = 0;
    for (const { id } of this.#core.paths) if (id !== 0 && id % 2 === parity) count++;
    return count;
  }

  #queueClose(id: number): void {
    if (this.frames.length >= 3 * FRAMES_QUEUED_MAX) {
      return this.#core.fail(CloseReason.PROTOCOL_VIOLATION, "peer opens too many paths");
    }
    this.frames.push(PATH_CLOSE, id, 0);
  }

  #forget(id: number): boolean {
    const { paths, events } = this.#core;
    const path = this.#withId(id);
    if (path === undefined) return false;
    paths.splice(paths.indexOf(path), 1);
    events.push({ type: "pathClosed", path: id, connectionId: path.localConnectionId });
    return true;
  }
}
