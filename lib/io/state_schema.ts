/** Tables of the state database and the steps that bring an older one up to date. */
import type { DatabaseSync } from "node:sqlite";
import { NexusError } from "../base/mod.ts";

/** "NxSt" in the file header: tells our database from another program's. */
export const APPLICATION_ID = 0x4e785374;

/**
 * Step N brings version N to N + 1. Steps are never edited once released; each runs in one
 * transaction with the version it leads to.
 */
const STEPS: readonly string[] = [
  `
  CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seed BLOB NOT NULL CHECK (length(seed) = 32),
    created_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE ca (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seed BLOB NOT NULL CHECK (length(seed) = 32),
    root_mic BLOB NOT NULL,
    created_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE chain (position INTEGER PRIMARY KEY, mic BLOB NOT NULL) STRICT;
  CREATE TABLE roots (
    fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32),
    added_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE peers (
    node_id BLOB PRIMARY KEY CHECK (length(node_id) = 16),
    addresses TEXT NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    fingerprint BLOB CHECK (fingerprint IS NULL OR length(fingerprint) = 32)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX peers_by_age ON peers (last_seen_ms);
  CREATE TABLE issued (
    serial BLOB PRIMARY KEY CHECK (length(serial) = 32),
    node_id BLOB NOT NULL CHECK (length(node_id) = 16),
    not_after_s INTEGER NOT NULL,
    mic BLOB NOT NULL,
    invite_id BLOB,
    issued_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX issued_by_node ON issued (node_id);
  CREATE TABLE invites (
    id BLOB PRIMARY KEY CHECK (length(id) = 8),
    secret BLOB NOT NULL CHECK (length(secret) = 32),
    expires_s INTEGER NOT NULL,
    uses_left INTEGER NOT NULL CHECK (uses_left >= 0)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  `,
];

/** Version of the schema that this program writes. */
export const SCHEMA_VERSION = STEPS.length;

/** Version of an existing database; STATE_DAMAGED when it is not ours, STATE_TOO_NEW past ours. */
export function readVersion(database: DatabaseSync, dir: string): number {
  const pragma = (name: string) => Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
  const application = pragma("application_id");
  const version = pragma("user_version");
  if (application !== APPLICATION_ID || version < 1) {
    throw new NexusError(
      "STATE_DAMAGED",
      `cannot read state in ${dir}: nexus.db is not the database of a Nexus node`,
      { hint: "choose another node.state_dir" },
    );
  }
  if (version > SCHEMA_VERSION) {
    throw new NexusError(
      "STATE_TOO_NEW",
      `cannot read state in ${dir}: its version is ${version}, ` +
        `expected at most ${SCHEMA_VERSION}`,
      { hint: "it was written by a newer nexus; use that one" },
    );
  }
  return version;
}

/** Runs the steps that are missing, each all or nothing. */
export function migrate(database: DatabaseSync, from: number): void {
  for (let version = from; version < SCHEMA_VERSION; version++) {
    database.exec(
      `BEGIN IMMEDIATE; ${STEPS[version]}
       PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${version + 1}; COMMIT`,
    );
  }
}
