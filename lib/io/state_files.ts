/** The files under `State`: directory, lock, database, and what SQLite's errors mean. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errorMessage, NexusError } from "../base/mod.ts";
import { migrate, readVersion } from "./state_schema.ts";

const DATABASE = "nexus.db";
const LOCK = "nexus.lock";

/** Makes the directory, or checks that an existing one is fit to hold keys. */
export function prepareDirectory(dir: string): void {
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
    const { mode, isDirectory } = Deno.statSync(dir);
    if (!isDirectory) throw new Error("it is not a directory");
    if (mode === null || (mode & 0o077) === 0) return;
    // Ours or fresh (systemd makes 0755): tighten. Somebody else's directory is left as it is.
    const names = [...Deno.readDirSync(dir)].map((entry) => entry.name);
    if (names.length === 0 || names.includes(DATABASE)) Deno.chmodSync(dir, 0o700);
    else if ((mode & 0o022) !== 0) {
      throw new NexusError(
        "STATE_INSECURE",
        `cannot use state directory ${dir}: other users may write to it, expected one of its own`,
        { hint: "choose another node.state_dir" },
      );
    }
  } catch (thrown) {
    throw thrown instanceof NexusError ? thrown : notWritable(dir, thrown);
  }
}

/** An advisory lock (flock) on nexus.lock: the kernel drops it when the process ends, however. */
export function takeLock(dir: string): Deno.FsFile {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(join(dir, LOCK), { read: true, write: true, create: true, mode: 0o600 });
  } catch (thrown) {
    throw notWritable(dir, thrown);
  }
  if (!file.tryLockSync(true)) {
    const pid = /^\d+/.exec(Deno.readTextFileSync(join(dir, LOCK)))?.[0];
    file.close();
    throw new NexusError(
      "STATE_LOCKED",
      `cannot use state directory ${dir}: ` +
        (pid === undefined ? "another process has it" : `process ${pid} has it`),
      { hint: "stop that node or choose another node.state_dir" },
    );
  }
  file.truncateSync(0);
  file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
  return file;
}

/** Opens and checks the database; a missing one is made whole beside it and then renamed. */
export function openDatabase(dir: string): DatabaseSync {
  const path = join(dir, DATABASE);
  if (!exists(path)) {
    if (exists(path + "-wal")) {
      throw damaged(dir, `${DATABASE} is missing but its ${DATABASE}-wal is there`);
    }
    create(dir, path);
  } else if (Deno.statSync(path).size === 0) {
    // Never made empty by us (see create), so this was a whole database once.
    throw damaged(dir, `${DATABASE} is empty`);
  }
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    database.exec("PRAGMA busy_timeout = 5000");
    const version = readVersion(database, dir); // before anything is changed: it may not be ours
    Deno.chmodSync(path, 0o600);
    configure(database);
    const check = database.prepare("PRAGMA quick_check(1)").get() as { quick_check: string };
    if (check.quick_check !== "ok") throw damaged(dir, check.quick_check.replaceAll("\n", " "));
    migrate(database, version);
    return database;
  } catch (thrown) {
    database?.close();
    throw sqliteError(dir, thrown);
  }
}

function create(dir: string, path: string): void {
  const fresh = path + ".new";
  try {
    for (const suffix of ["", "-wal", "-shm", "-journal"]) {
      if (exists(fresh + suffix)) Deno.removeSync(fresh + suffix); // a first start that was cut off
    }
    Deno.openSync(fresh, { write: true, createNew: true, mode: 0o600 }).close();
    const database = new DatabaseSync(fresh);
    database.exec("PRAGMA journal_mode = DELETE");
    migrate(database, 0);
    database.close();
    Deno.renameSync(fresh, path);
  } catch (thrown) {
    throw notWritable(dir, thrown);
  }
}

function configure(database: DatabaseSync): void {
  database.exec("PRAGMA journal_mode = WAL");
  // Each commit is on the disk when it returns: an invite used twice after a power cut, or a key
  // that is gone while its certificate is not, costs more than the few milliseconds.
  database.exec("PRAGMA synchronous = FULL");
  database.exec("PRAGMA foreign_keys = ON");
  // A hostile schema in a restored file must not run functions of ours.
  database.exec("PRAGMA trusted_schema = OFF");
  database.exec("PRAGMA secure_delete = ON");
}

/** SQLite's primary result codes (sqlite.org/rescode.html) that have a meaning of their own here. */
const SQLITE_PERM = 3;
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/** A failure of SQLite in our words; anything else as it is. */
export function sqliteError(dir: string, thrown: unknown): unknown {
  if (thrown instanceof NexusError || !(thrown instanceof Error)) return thrown;
  const code = ((thrown as { errcode?: number }).errcode ?? 0) & 0xff;
  const text = thrown.message;
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB || /malformed|not a database/.test(text)) {
    return damaged(dir, text, thrown);
  }
  if (code === SQLITE_BUSY || /is locked/.test(text)) {
    return new NexusError(
      "STATE_LOCKED",
      `cannot use state directory ${dir}: another process has ${DATABASE} open`,
      { cause: thrown },
    );
  }
  const storage = [SQLITE_PERM, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN];
  if (storage.includes(code) || /readonly|disk|unable to open/.test(text)) {
    return notWritable(dir, thrown);
  }
  return thrown;
}

function damaged(dir: string, what: string, cause?: unknown): NexusError {
  return new NexusError("STATE_DAMAGED", `cannot read state in ${dir}: ${what}`, {
    cause,
    hint: `restore ${DATABASE} from a snapshot, or move the directory away to start as a new node`,
  });
}

function notWritable(dir: string, thrown: unknown): NexusError {
  return new NexusError(
    "STATE_NOT_WRITABLE",
    `cannot use state directory ${dir}: ${errorMessage(thrown).split("\n")[0]}`,
    { cause: thrown, hint: "make it writable for this user or set node.state_dir" },
  );
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return false;
    throw thrown;
  }
}
