import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { NexusError, SeededRandom } from "../../lib/base/mod.ts";
import { adminTokenFile, ensureAdminToken, readAdminToken } from "../../lib/io/admin_token.ts";
import { defaultStateDir, INVITES_MAX, State } from "../../lib/io/state.ts";
import { SCHEMA_VERSION } from "../../lib/io/state_schema.ts";

const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill);
const hasCode = (code: string, text?: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof NexusError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.ok(!thrown.message.includes("\n"), "one line");
  if (text !== undefined) assert.match(thrown.message, text);
  return true;
};

function inDir(work: (dir: string) => void): () => void {
  return () => {
    const dir = Deno.makeTempDirSync();
    try {
      work(join(dir, "state"));
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  };
}

function opened<T>(dir: string, work: (state: State) => T): T {
  const state = State.open(dir);
  try {
    return work(state);
  } finally {
    state.close();
  }
}

Deno.test(
  "state: directory is 0700 and every file 0600",
  inDir((dir) => {
    opened(dir, (state) => {
      state.set("a", "b");
      ensureAdminToken(dir, new SeededRandom(1).fill);
      assert.equal(Deno.statSync(dir).mode! & 0o777, 0o700);
      const names = [...Deno.readDirSync(dir)].map((entry) => entry.name).sort();
      assert.ok(names.includes("nexus.db-wal"), "write-ahead log is on");
      for (const name of names) {
        assert.equal(Deno.statSync(join(dir, name)).mode! & 0o777, 0o600, name);
      }
    });
  }),
);

Deno.test(
  "state: identity, CA, chain, roots and values survive reopening",
  inDir((dir) => {
    opened(dir, (state) => {
      assert.equal(state.identitySeed(), undefined);
      assert.equal(state.ca(), undefined);
      assert.deepEqual(state.chain(), []);
      state.setIdentitySeed(bytes(32, 1), 5.5);
      state.setCa({ seed: bytes(32, 2), rootMic: bytes(300, 3) }, 6);
      state.setChain([bytes(9, 9), bytes(8, 8), bytes(7, 7)]);
      state.setChain([bytes(10, 4), bytes(20, 5)]);
      state.addRoot(bytes(32, 7), 1);
      state.addRoot(bytes(32, 7), 2);
      state.set("vni", "1");
      state.set("vni", "7");
      state.set("gone", "x");
      state.set("gone", undefined);
    });
    opened(dir, (state) => {
      assert.deepEqual(state.identitySeed(), bytes(32, 1));
      assert.deepEqual(state.ca(), { seed: bytes(32, 2), rootMic: bytes(300, 3) });
      assert.deepEqual(state.chain(), [bytes(10, 4), bytes(20, 5)]);
      assert.deepEqual(state.roots(), [bytes(32, 7)]);
      assert.equal(state.get("vni"), "7");
      assert.equal(state.get("gone"), undefined);
    });
  }),
);

Deno.test(
  "state: a second identity or CA is refused and the first stays",
  inDir((dir) =>
    opened(dir, (state) => {
      state.setIdentitySeed(bytes(32, 1), 0);
      assert.throws(() => state.setIdentitySeed(bytes(32, 2), 0), hasCode("STATE_CONFLICT"));
      assert.deepEqual(state.identitySeed(), bytes(32, 1));
      state.setCa({ seed: bytes(32, 1), rootMic: bytes(1, 1) }, 0);
      assert.throws(
        () => state.setCa({ seed: bytes(32, 2), rootMic: bytes(1, 1) }, 0),
        hasCode("STATE_CONFLICT"),
      );
    })
  ),
);

Deno.test(
  "state: a peer's pinned fingerprint never changes",
  inDir((dir) =>
    opened(dir, (state) => {
      const nodeId = bytes(16, 1);
      const addresses = [{ host: "10.0.0.1", port: 6477 }, { host: "::1", port: 1 }];
      assert.equal(state.putPeer({ nodeId, addresses, lastSeenMs: 10 }), true);
      assert.deepEqual(state.peer(nodeId)?.addresses, addresses);
      assert.equal(state.peer(nodeId)?.fingerprint, undefined);
      const fingerprint = bytes(32, 5);
      assert.equal(state.putPeer({ nodeId, addresses, lastSeenMs: 20, fingerprint }), true);
      assert.equal(
        state.putPeer({ nodeId, addresses: [], lastSeenMs: 30, fingerprint: bytes(32, 6) }),
        false,
      );
      assert.equal(state.putPeer({ nodeId, addresses, lastSeenMs: 15 }), true);
      assert.deepEqual(state.peers(), [{ nodeId, addresses, lastSeenMs: 20, fingerprint }]);
      assert.equal(state.removePeer(nodeId), true);
      assert.equal(state.removePeer(nodeId), false);
      assert.deepEqual(state.peers(), []);
    })
  ),
);

Deno.test(
  "state: issued certificates are listed newest first and by node",
  inDir((dir) =>
    opened(dir, (state) => {
      const mic = (n: number) => ({
        serial: bytes(32, n),
        nodeId: bytes(16, n % 2),
        notAfterS: 100 + n,
        mic: bytes(5, n),
        inviteId: n === 1 ? bytes(8, 1) : undefined,
      });
      for (const n of [1, 2, 3]) state.addIssued(mic(n), n);
      state.addIssued(mic(3), 9);
      assert.deepEqual(state.issued(), [mic(3), mic(2), mic(1)]);
      assert.deepEqual(state.issued(bytes(16, 0)), [mic(2)]);
    })
  ),
);

Deno.test(
  "state: an invite is good for its uses and until it expires",
  inDir((dir) =>
    opened(dir, (state) => {
      const id = bytes(8, 1);
      const secret = bytes(32, 9);
      state.addInvite({ id, secret, expiresS: 100, usesLeft: 2 }, 0);
      assert.deepEqual(state.inviteSecret(id, 99), secret);
      assert.equal(state.inviteSecret(id, 100), undefined, "expired");
      assert.equal(state.useInvite(id, 100), false, "expired");
      assert.equal(state.useInvite(id, 50), true);
      assert.deepEqual(state.invites(50), [{ id, secret, expiresS: 100, usesLeft: 1 }]);
      assert.equal(state.useInvite(id, 50), true);
      assert.equal(state.useInvite(id, 50), false, "used up");
      assert.equal(state.inviteSecret(id, 50), undefined);
      assert.equal(state.inviteSecret(bytes(8, 2), 50), undefined, "unknown");
      assert.equal(state.useInvite(bytes(8, 2), 50), false);
      state.addInvite({ id: bytes(8, 3), secret, expiresS: 100, usesLeft: 1 }, 50);
      assert.equal(state.removeInvite(bytes(8, 3)), true);
      assert.equal(state.useInvite(bytes(8, 3), 50), false, "withdrawn");
    })
  ),
);

Deno.test(
  "state: open invites are bounded and expired ones make room",
  inDir((dir) => {
    State.open(dir).close();
    const database = new DatabaseSync(join(dir, "nexus.db"));
    database.exec(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${INVITES_MAX})
       INSERT INTO invites SELECT unhex(printf('%016x', i)), zeroblob(32), 100, 1 FROM n`,
    );
    database.close();
    opened(dir, (state) => {
      const invite = { id: bytes(8, 255), secret: bytes(32, 0), expiresS: 300, usesLeft: 1 };
      assert.throws(() => state.addInvite(invite, 50), hasCode("STATE_FULL"));
      state.addInvite(invite, 200);
      assert.equal(state.invites(0).length, 1);
    });
  }),
);

Deno.test(
  "state: a directory that cannot be made or written is STATE_NOT_WRITABLE, one line",
  inDir((dir) => {
    Deno.writeTextFileSync(dir, "a file");
    assert.throws(() => State.open(join(dir, "below")), hasCode("STATE_NOT_WRITABLE"));
    assert.throws(() => State.open(dir), hasCode("STATE_NOT_WRITABLE"));
    assert.throws(() => State.open("/proc/nexus-state"), hasCode("STATE_NOT_WRITABLE"));
  }),
);

Deno.test(
  "state: a directory others may write to is refused, and not changed",
  inDir((dir) => {
    Deno.mkdirSync(dir);
    Deno.writeTextFileSync(join(dir, "other"), "");
    Deno.chmodSync(dir, 0o777);
    assert.throws(() => State.open(dir), hasCode("STATE_INSECURE"));
    assert.equal(Deno.statSync(dir).mode! & 0o777, 0o777);
  }),
);

Deno.test(
  "state: an empty directory made by somebody else is tightened",
  inDir((dir) => {
    Deno.mkdirSync(dir, { mode: 0o755 });
    State.open(dir).close();
    assert.equal(Deno.statSync(dir).mode! & 0o777, 0o700);
  }),
);

for (
  const [name, content] of [
    ["garbage", new TextEncoder().encode("not a database at all, only words".repeat(40))],
    ["an empty file", new Uint8Array()],
  ] as const
) {
  Deno.test(
    `state: ${name} in place of the database is STATE_DAMAGED and left alone`,
    inDir((dir) => {
      Deno.mkdirSync(dir, { mode: 0o700 });
      Deno.writeFileSync(join(dir, "nexus.db"), content);
      assert.throws(() => State.open(dir), hasCode("STATE_DAMAGED"));
      assert.deepEqual(Deno.readFileSync(join(dir, "nexus.db")), Uint8Array.from(content));
    }),
  );
}

Deno.test(
  "state: a database damaged in the middle or cut short is STATE_DAMAGED, never a fresh one",
  inDir((dir) => {
    opened(dir, (state) => {
      for (let n = 0; n < 100; n++) {
        state.addIssued({
          serial: bytes(32, n),
          nodeId: bytes(16, n),
          notAfterS: 1,
          mic: bytes(2000, n),
        }, n);
      }
      state.setIdentitySeed(bytes(32, 1), 0);
    });
    const file = join(dir, "nexus.db");
    const whole = Deno.readFileSync(file);
    const broken = whole.slice();
    broken.fill(0xa5, 4096, 3 * 4096);
    for (const content of [broken, whole.slice(0, whole.length >> 1)]) {
      Deno.writeFileSync(file, content);
      assert.throws(() => State.open(dir), hasCode("STATE_DAMAGED"));
    }
    Deno.writeFileSync(file, whole);
    opened(dir, (state) => assert.deepEqual(state.identitySeed(), bytes(32, 1)));
  }),
);

Deno.test(
  "state: a write-ahead log without its database is STATE_DAMAGED",
  inDir((dir) => {
    Deno.mkdirSync(dir, { mode: 0o700 });
    Deno.writeTextFileSync(join(dir, "nexus.db-wal"), "x");
    assert.throws(() => State.open(dir), hasCode("STATE_DAMAGED", /missing/));
  }),
);

Deno.test(
  "state: another program's database is refused",
  inDir((dir) => {
    Deno.mkdirSync(dir, { mode: 0o700 });
    const other = new DatabaseSync(join(dir, "nexus.db"));
    other.exec("CREATE TABLE bookmarks (url TEXT)");
    other.close();
    assert.throws(() => State.open(dir), hasCode("STATE_DAMAGED", /not the database of a Nexus/));
  }),
);

Deno.test(
  "state: a newer version is STATE_TOO_NEW and left alone",
  inDir((dir) => {
    State.open(dir).close();
    const database = new DatabaseSync(join(dir, "nexus.db"));
    database.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    database.close();
    assert.throws(() => State.open(dir), hasCode("STATE_TOO_NEW"));
    const after = new DatabaseSync(join(dir, "nexus.db"));
    assert.equal(after.prepare("PRAGMA user_version").get()?.user_version, SCHEMA_VERSION + 1);
    after.close();
  }),
);

Deno.test(
  "state: a first start that was cut off leaves nothing in the way",
  inDir((dir) => {
    Deno.mkdirSync(dir, { mode: 0o700 });
    Deno.writeTextFileSync(join(dir, "nexus.db.new"), "half a data");
    Deno.writeTextFileSync(join(dir, "nexus.db.new-journal"), "base");
    opened(dir, (state) => assert.equal(state.identitySeed(), undefined));
  }),
);

Deno.test(
  "state: the same directory opened twice is STATE_LOCKED, free again after close",
  inDir((dir) => {
    const state = State.open(dir);
    assert.throws(() => State.open(dir), hasCode("STATE_LOCKED", new RegExp(`${Deno.pid}`)));
    state.close();
    state.close();
    State.open(dir).close();
    assert.throws(() => state.get("x"), hasCode("STATE_CLOSED"));
  }),
);

Deno.test("state: kill -9 frees the lock and loses nothing that was stored", async () => {
  const dir = Deno.makeTempDirSync();
  const stateDir = join(dir, "state");
  try {
    const module = new URL("../../lib/io/state.ts", import.meta.url);
    const program = `import { State } from ${JSON.stringify(module.href)};
      const state = State.open(Deno.args[0]);
      state.setIdentitySeed(new Uint8Array(32).fill(7), 1);
      console.log("stored");
      setInterval(() => {}, 1000);`;
    const file = join(dir, "hold.ts");
    Deno.writeTextFileSync(file, program);
    const config = new URL("../../deno.json", import.meta.url);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--quiet", "-c", config.pathname, "-A", file, stateDir],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    assert.match(new TextDecoder().decode(value), /stored/);
    assert.throws(() => State.open(stateDir), hasCode("STATE_LOCKED", new RegExp(`${child.pid}`)));
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    opened(stateDir, (state) => assert.deepEqual(state.identitySeed(), bytes(32, 7)));
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test(
  "state: the admin token is made once, kept, and private",
  inDir((dir) => {
    Deno.mkdirSync(dir, { mode: 0o700 });
    assert.throws(() => readAdminToken(dir), hasCode("TOKEN_UNREADABLE"));
    const token = ensureAdminToken(dir, new SeededRandom(1).fill);
    assert.match(token, /^nxa_[A-Za-z0-9_-]{43}$/);
    Deno.chmodSync(adminTokenFile(dir), 0o644);
    assert.equal(ensureAdminToken(dir, new SeededRandom(2).fill), token);
    assert.equal(readAdminToken(dir), token);
    assert.equal(Deno.statSync(adminTokenFile(dir)).mode! & 0o777, 0o600);
    Deno.writeTextFileSync(adminTokenFile(dir), "");
    assert.throws(() => ensureAdminToken(dir, new SeededRandom(3).fill), hasCode("STATE_DAMAGED"));
  }),
);

Deno.test("state: the default directory follows root, XDG and home", () => {
  assert.equal(defaultStateDir({ HOME: "/root" }, 0), "/var/lib/nexus");
  assert.equal(defaultStateDir({ HOME: "/h", XDG_STATE_HOME: "/x" }, 1000), "/x/nexus");
  assert.equal(
    defaultStateDir({ HOME: "/h", XDG_STATE_HOME: "rel" }, 1000),
    "/h/.local/state/nexus",
  );
  assert.equal(defaultStateDir({ HOME: "/h" }, 1000), "/h/.local/state/nexus");
});
