import assert from "node:assert/strict";
import { randomFill, systemClock } from "../../lib/io/clock.ts";
import { numericHost, resolveSocketAddress } from "../../lib/io/numeric_host.ts";

Deno.test("the system clock never goes back and tells Unix time in milliseconds", () => {
  let before = systemClock.nowUs();
  for (let i = 0; i < 1000; i++) {
    const now = systemClock.nowUs();
    assert(now >= before);
    before = now;
  }
  assert(systemClock.unixMs() > Date.UTC(2024, 0));
});

Deno.test("randomFill fills every part of large and of shared memory", () => {
  for (const bytes of [new Uint8Array(200_000), new Uint8Array(new SharedArrayBuffer(200_000))]) {
    randomFill(bytes);
    for (let at = 0; at < bytes.length; at += 20_000) {
      assert(bytes.subarray(at, at + 64).some((byte) => byte !== 0), `zeroes at ${at}`);
    }
  }
  randomFill(new Uint8Array(0));
});

Deno.test("NL-O-002: hosts have one numeric spelling, names have none", () => {
  const hosts: [string, string | undefined][] = [
    ["10.0.0.255", "10.0.0.255"],
    ["10.0.0.256", undefined],
    ["10.0.0", undefined],
    ["::1", "::1"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["2001:DB8::00A", "2001:db8::a"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["fe80::1%eth0", "fe80::1%eth0"],
    ["localhost", undefined],
    ["a:b:c", undefined],
    ["", undefined],
  ];
  for (const [host, expected] of hosts) assert.equal(numericHost(host), expected, host);
});

Deno.test("NL-O-002: a name resolves to a number, an unknown one is a typed error", async () => {
  assert.deepEqual(await resolveSocketAddress({ host: "localhost", port: 7 }), {
    host: "127.0.0.1",
    port: 7,
  });
  await assert.rejects(resolveSocketAddress({ host: "no-such-host.invalid", port: 7 }), {
    code: "UNKNOWN_HOST",
  });
});
