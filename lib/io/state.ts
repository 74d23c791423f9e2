/**
 * The state of a node: one SQLite database (WAL) in a directory that belongs to one process at a
 * time. It survives `kill -9` at any moment; a damaged database is reported, never replaced.
 *
 * The directory holds `nexus.db` (and its -wal, -shm), `nexus.lock` (an OS lock that goes with the
 * process) and `admin.token`. Directory 0700, files 0600: the database holds private keys.
 */
import type { DatabaseSync } from "node:sqlite";
import { join, resolve } from "node:path";
import {
  formatSocketAddress,
  NexusError,
  parseSocketAddress,
  type SocketAddress,
} from "../base/mod.ts";
import { openDatabase, prepareDirectory, sqliteError, takeLock } from "./state_files.ts";

/** Certificates and keys of this node's own certificate authority. */
export interface CaRecord {
  readonly seed: Uint8Array;
  readonly rootMic: Uint8Array;
}

/** A node that was met before. */
export interface PeerRecord {
  readonly nodeId: Uint8Array;
  readonly addresses: readonly SocketAddress[];
  readonly lastSeenMs: number;
  /** SHA-256 of the public key, once pinned; never changes after that. */
  readonly fingerprint?: Uint8Array;
}

/** A certificate that this node's CA issued. */
export interface IssuedMic {
  readonly serial: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly notAfterS: number;
  readonly mic: Uint8Array;
  /** The invite it was issued for. */
  readonly inviteId?: Uint8Array;
}

/** An invite as stored. */
export interface InviteRecord {
  readonly id: Uint8Array;
  readonly secret: Uint8Array;
  readonly expiresS: number;
  readonly usesLeft: number;
}

/** Peers remembered; the ones not seen longest are forgotten first. */
export const PEERS_MAX = 10_000;
/** Invites that may stand open at once. */
export const INVITES_MAX = 10_000;

/**
 * Where the state is kept when nothing else is said: /var/lib/nexus for root, else
 * $XDG_STATE_HOME/nexus, else ~/.local/state/nexus.
 */
export function defaultStateDir(
  env: Readonly<Record<string, string | undefined>>,
  uid: number | null,
): string {
  if (uid === 0) return "/var/lib/nexus";
  // XDG Base Directory Specification: a relative value is invalid and must be ignored.
  if (env.XDG_STATE_HOME?.startsWith("/")) return join(env.XDG_STATE_HOME, "nexus");
  return env.HOME ? join(env.HOME, ".local/state/nexus") : resolve(".nexus");
}

/** The open state of one node. All calls are synchronous and durable when they return. */
export class State {
  readonly dir: string;
  readonly #database: DatabaseSync;
  readonly #lock: Deno.FsFile;
  #open = true;

  /**
   * Opens the state in `dir`, made when missing. Throws NexusError:
   * STATE_NOT_WRITABLE, STATE_INSECURE (others may write there), STATE_LOCKED (another process
   * has it), STATE_DAMAGED, STATE_TOO_NEW (made by a newer version).
   */
  static open(dir: string): State {
    const path = resolve(dir);
    prepareDirectory(path);
    const lock = takeLock(path);
    try {
      return new State(path, openDatabase(path), lock);
    } catch (thrown) {
      lock.close();
      throw thrown;
    }
  }

  private constructor(dir: string, database: DatabaseSync, lock: Deno.FsFile) {
    this.dir = dir;
    this.#database = database;
    this.#lock = lock;
  }

  /** Closes the database and gives the directory free. May be called twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#database.close();
    this.#lock.close();
  }

  // --- identity and trust ---------------------------------------------------------------

  /** Seed of the node's Ed25519 key. */
  identitySeed(): Uint8Array | undefined {
    const row = this.#get("SELECT seed FROM identity WHERE one = 1");
    return row && blob(row.seed);
  }
  /** Stored once; a second identity is refused (STATE_CONFLICT), since the first is the node. */
  setIdentitySeed(seed: Uint8Array, unixMs: number): void {
    const { changes } = this.#run(
      "INSERT OR IGNORE INTO identity (one, seed, created_ms) VALUES (1, ?, ?)",
      seed,
      unixMs,
    );
    if (changes === 0) throw conflict("identity");
  }

  /** The mesh CA, when it lives on this node. */
  ca(): CaRecord | undefined {
    const row = this.#get("SELECT seed, root_mic FROM ca WHERE one = 1");
    return row && { seed: blob(row.seed), rootMic: blob(row.root_mic) };
  }
  /** Stored once, as the identity is. */
  setCa(ca: CaRecord, unixMs: number): void {
    const { changes } = this.#run(
      "INSERT OR IGNORE INTO ca (one, seed, root_mic, created_ms) VALUES (1, ?, ?, ?)",
      ca.seed,
      ca.rootMic,
      unixMs,
    );
    if (changes === 0) throw conflict("certificate authority");
  }

  /** The node's own certificate chain, leaf first; empty before it has joined. */
  chain(): Uint8Array[] {
    return this.#all("SELECT mic FROM chain ORDER BY position").map((row) => blob(row.mic));
  }
  /** Replaces the chain, all or nothing. */
  setChain(chain: readonly Uint8Array[]): void {
    this.#transaction(() => {
      this.#run("DELETE FROM chain");
      chain.forEach((mic, position) =>
        this.#run("INSERT INTO chain (position, mic) VALUES (?, ?)", position, mic)
      );
    });
  }

  /** Fingerprints (SHA-256 of the key) of the roots that this node trusts. */
  roots(): Uint8Array[] {
    return this.#all("SELECT fingerprint FROM roots ORDER BY fingerprint")
      .map((row) => blob(row.fingerprint));
  }
  /** Trusts one more root. */
  addRoot(fingerprint: Uint8Array, unixMs: number): void {
    this.#run("INSERT OR IGNORE INTO roots VALUES (?, ?)", fingerprint, unixMs);
  }

  // --- peers ----------------------------------------------------------------------------

  /** Known peers, seen last first. */
  peers(): PeerRecord[] {
    return this.#all(
      "SELECT node_id, addresses, last_seen_ms, fingerprint FROM peers ORDER BY last_seen_ms DESC",
    ).map(peerRecord);
  }
  /** One peer. */
  peer(nodeId: Uint8Array): PeerRecord | undefined {
    const row = this.#get(
      "SELECT node_id, addresses, last_seen_ms, fingerprint FROM peers WHERE node_id = ?",
      nodeId,
    );
    return row && peerRecord(row);
  }
  /**
   * Remembers a peer. A fingerprint is pinned when none is yet; returns false, with nothing
   * changed, when another one is pinned.
   */
  putPeer({ nodeId, addresses, lastSeenMs, fingerprint }: PeerRecord): boolean {
    return this.#transaction(() => {
      const { changes } = this.#run(
        `INSERT INTO peers (node_id, addresses, last_seen_ms, fingerprint) VALUES (?, ?, ?, ?)
         ON CONFLICT (node_id) DO UPDATE SET
           addresses = excluded.addresses,
           last_seen_ms = max(last_seen_ms, excluded.last_seen_ms),
           fingerprint = coalesce(fingerprint, excluded.fingerprint)
         WHERE fingerprint IS NULL OR excluded.fingerprint IS NULL
           OR fingerprint = excluded.fingerprint`,
        nodeId,
        JSON.stringify(addresses.map(formatSocketAddress)),
        lastSeenMs,
        fingerprint ?? null,
      );
      if (changes === 0) return false;
      this.#run(
        `DELETE FROM peers WHERE node_id IN
           (SELECT node_id FROM peers ORDER BY last_seen_ms DESC, node_id LIMIT -1 OFFSET ?)`,
        PEERS_MAX,
      );
      return true;
    });
  }
  /** Forgets a peer and its pin; true when there was one. */
  removePeer(nodeId: Uint8Array): boolean {
    return this.#run("DELETE FROM peers WHERE node_id = ?", nodeId).changes > 0;
  }

  // --- what the CA issued ---------------------------------------------------------------

  /** Records an issued certificate and forgets those that have expired. */
  addIssued({ serial, nodeId, notAfterS, mic, inviteId }: IssuedMic, unixMs: number): void {
    this.#transaction(() => {
      this.#run("DELETE FROM issued WHERE not_after_s < ?", Math.floor(unixMs / 1000));
      this.#run(
        "INSERT OR IGNORE INTO issued VALUES (?, ?, ?, ?, ?, ?)",
        serial,
        nodeId,
        notAfterS,
        mic,
        inviteId ?? null,
        unixMs,
      );
    });
  }
  /** Certificates issued, newest first; of one node when `nodeId` is given. */
  issued(nodeId?: Uint8Array): IssuedMic[] {
    const columns = "SELECT serial, node_id, not_after_s, mic, invite_id FROM issued";
    const order = "ORDER BY issued_ms DESC, serial";
    const rows = nodeId === undefined
      ? this.#all(`${columns} ${order}`)
      : this.#all(`${columns} WHERE node_id = ? ${order}`, nodeId);
    return rows.map((row) => ({
      serial: blob(row.serial),
      nodeId: blob(row.node_id),
      notAfterS: Number(row.not_after_s),
      mic: blob(row.mic),
      inviteId: row.invite_id === null ? undefined : blob(row.invite_id),
    }));
  }

  // --- invites --------------------------------------------------------------------------

  /** Stores an invite. Throws STATE_FULL past INVITES_MAX open ones (expired ones are dropped). */
  addInvite({ id, secret, expiresS, usesLeft }: InviteRecord, unixS: number): void {
    this.#transaction(() => {
      this.#run("DELETE FROM invites WHERE expires_s <= ? OR uses_left <= 0", unixS);
      const open = Number(this.#get("SELECT count(*) AS n FROM invites")?.n);
      if (open >= INVITES_MAX) {
        throw new NexusError(
          "STATE_FULL",
          `cannot make invite: ${open} are open, expected fewer than ${INVITES_MAX}`,
        );
      }
      this.#run("INSERT INTO invites VALUES (?, ?, ?, ?)", id, secret, expiresS, usesLeft);
    });
  }
  /** Secret of an invite that is still good at `unixS`. */
  inviteSecret(id: Uint8Array, unixS: number): Uint8Array | undefined {
    const row = this.#get(
      "SELECT secret FROM invites WHERE id = ? AND expires_s > ? AND uses_left > 0",
      id,
      unixS,
    );
    return row && blob(row.secret);
  }
  /** Takes one use in one step; false when none is left or the invite has expired. */
  useInvite(id: Uint8Array, unixS: number): boolean {
    return this.#run(
      `UPDATE invites SET uses_left = uses_left - 1
       WHERE id = ? AND expires_s > ? AND uses_left > 0`,
      id,
      unixS,
    ).changes === 1;
  }
  /** Invites that are still good, soonest to expire first. */
  invites(unixS: number): InviteRecord[] {
    return this.#all(
      `SELECT id, secret, expires_s, uses_left FROM invites
       WHERE expires_s > ? AND uses_left > 0 ORDER BY expires_s, id`,
      unixS,
    ).map((row) => ({
      id: blob(row.id),
      secret: blob(row.secret),
      expiresS: Number(row.expires_s),
      usesLeft: Number(row.uses_left),
    }));
  }
  /** Withdraws an invite; true when there was one. */
  removeInvite(id: Uint8Array): boolean {
    return this.#run("DELETE FROM invites WHERE id = ?", id).changes > 0;
  }

  // --- everything small -----------------------------------------------------------------

  /** A small value by name, such as "vni". */
  get(key: string): string | undefined {
    return this.#get("SELECT value FROM kv WHERE key = ?", key)?.value as string | undefined;
  }
  /** Sets it; undefined removes it. */
  set(key: string, value: string | undefined): void {
    if (value === undefined) this.#run("DELETE FROM kv WHERE key = ?", key);
    else this.#run("INSERT INTO kv VALUES (?, ?) ON CONFLICT DO UPDATE SET value = ?2", key, value);
  }

  // --- plumbing -------------------------------------------------------------------------

  #get(sql: string, ...values: Value[]): Row | undefined {
    return this.#guard(() => this.#database.prepare(sql).get(...values) as Row | undefined);
  }
  #all(sql: string, ...values: Value[]): Row[] {
    return this.#guard(() => this.#database.prepare(sql).all(...values) as Row[]);
  }
  #run(sql: string, ...values: Value[]): { changes: number } {
    const { changes } = this.#guard(() => this.#database.prepare(sql).run(...values.map(whole)));
    return { changes: Number(changes) };
  }
  #transaction<T>(work: () => T): T {
    this.#guard(() => this.#database.exec("BEGIN IMMEDIATE"));
    try {
      const result = work();
      this.#guard(() => this.#database.exec("COMMIT"));
      return result;
    } catch (thrown) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw thrown;
    }
  }
  #guard<T>(work: () => T): T {
    if (!this.#open) throw new NexusError("STATE_CLOSED", "cannot use state: it is closed");
    try {
      return work();
    } catch (thrown) {
      throw sqliteError(this.dir, thrown);
    }
  }
}

type Value = string | number | Uint8Array | null;
type Row = Record<string, unknown>;

/** Every number here is a count or a time; clocks give fractions, STRICT columns take none. */
function whole(value: Value): Value {
  return typeof value === "number" ? Math.floor(value) : value;
}

function blob(value: unknown): Uint8Array {
  // node:sqlite hands out views of its own fresh copies.
  return value as Uint8Array;
}

function peerRecord(row: Row): PeerRecord {
  return {
    nodeId: blob(row.node_id),
    addresses: (JSON.parse(String(row.addresses)) as string[]).map((text) =>
      parseSocketAddress(text)
    ),
    lastSeenMs: Number(row.last_seen_ms),
    fingerprint: row.fingerprint === null ? undefined : blob(row.fingerprint),
  };
}

function conflict(what: string): NexusError {
  return new NexusError("STATE_CONFLICT", `cannot store ${what}: the state has one already`);
}
