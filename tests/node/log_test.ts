import assert from "node:assert/strict";
import fc from "fast-check";
import { NexusError } from "../../lib/base/mod.ts";
import { LINE_CHARS_MAX, type LogOptions, nodeLog, startLog, stopLog } from "../../lib/node/log.ts";

/** Lines that `work` logs. */
function logged(options: Omit<LogOptions, "write">, work: () => void): string[] {
  const lines: string[] = [];
  startLog({ ...options, write: (line) => lines.push(line) });
  try {
    work();
  } finally {
    stopLog();
  }
  return lines;
}

Deno.test("log: JSON has one object a line with time, level, logger, message and properties", () => {
  const lines = logged({ level: "info", format: "json" }, () => {
    nodeLog("mesh").info("peer {node} connected", { node: "ab", rttMs: 1.5, level: "own" });
  });
  assert.equal(lines.length, 1);
  assert.ok(lines[0].endsWith("\n") && !lines[0].slice(0, -1).includes("\n"));
  const { time, ...rest } = JSON.parse(lines[0]);
  assert.match(time, /^\d{4}-.*Z$/);
  assert.deepEqual(rest, {
    level: "info",
    logger: "nexus.mesh",
    message: "peer ab connected",
    node: "ab",
    rttMs: 1.5,
    level_: "own",
  });
});

Deno.test("log: logfmt has one line of key=value", () => {
  const [line] = logged({ level: "info", format: "logfmt" }, () => {
    nodeLog("mesh").warn("two words", { node: "a b", n: 5 });
  });
  assert.match(line, /level=warn\w* /);
  assert.match(line, /"two words"/);
  assert.match(line, /node="a b"/);
  assert.match(line, /n=5/);
});

Deno.test("log: records below the level are dropped", () => {
  const lines = logged({ level: "warning", format: "json" }, () => {
    nodeLog("a").debug("no");
    nodeLog("a").info("no");
    nodeLog("a").warn("yes");
    nodeLog("a").error("yes");
  });
  assert.deepEqual(lines.map((line) => JSON.parse(line).message), ["yes", "yes"]);
});

Deno.test("log: secrets never appear, by name of the property or by their look", () => {
  const secret = "abcdefgh12345678";
  for (const format of ["json", "logfmt"] as const) {
    const lines = logged({ level: "info", format }, () => {
      nodeLog("a").info("config", {
        apiKey: secret,
        api_key: secret,
        token: secret,
        admin_token: secret,
        invite: { secret, list: [{ password: secret }] },
        seed: new TextEncoder().encode(secret),
        headers: new Map([["authorization", secret]]),
        prompt: secret,
      });
      nodeLog("a").info(`joined with nxi1_${secret}`, { url: `http://x?key=sk-${secret}` });
      nodeLog("a").error("failed", {
        error: new Error("bad header Bearer " + secret, { cause: new Error("nxa_" + secret) }),
      });
      nodeLog("a").info("value {secret}", { secret });
      nodeLog("a").info("value {user.token}", { user: { token: secret } });
    });
    assert.equal(lines.length, 5);
    for (const line of lines) {
      assert.ok(!line.includes(secret), line);
      assert.ok(!line.includes("6162636465666768"), line);
    }
  }
});

Deno.test("log: counts and addresses that only sound like secrets do appear", () => {
  const [line] = logged({ level: "info", format: "json" }, () => {
    nodeLog("a").info("done", { tokens: 128, seeds: ["10.0.0.1:6477"], key: "link.listen" });
  });
  const { tokens, seeds, key } = JSON.parse(line);
  assert.deepEqual({ tokens, seeds, key }, {
    tokens: 128,
    seeds: ["10.0.0.1:6477"],
    key: "link.listen",
  });
});

Deno.test("log: errors are written with code and causes", () => {
  const [line] = logged({ level: "info", format: "json" }, () => {
    const error = new NexusError("ADDRESS_IN_USE", "cannot listen", { cause: new Error("busy") });
    nodeLog("a").error("start failed", { error });
  });
  assert.equal(JSON.parse(line).error, "ADDRESS_IN_USE: cannot listen; because busy");
});

Deno.test("log: a record is one line, whatever is in it, and bounded", () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const values = fc.oneof(fc.string({ unit: "binary" }), fc.anything({ withBigInt: true }));
  for (const format of ["json", "logfmt"] as const) {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), values, (text, value) => {
        const lines = logged({ level: "info", format }, () => {
          nodeLog("a").info(text, { value, cycle });
        });
        assert.equal(lines.length, 1);
        assert.equal(lines[0].indexOf("\n"), lines[0].length - 1);
      }),
      { numRuns: 100 },
    );
  }
  const [line] = logged({ level: "info", format: "json" }, () => {
    nodeLog("a").info("long", { text: "x".repeat(1 << 20) });
  });
  assert.ok(line.length <= LINE_CHARS_MAX + 2);
});
